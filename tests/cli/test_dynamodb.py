"""`aiostore dynamodb create-table`, against a server."""

import asyncio
import json
import subprocess
import sys
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from aiobotocore.session import get_session
from servers import dynamodb_server
from test_main import run

from aiostore.adaptors.dynamodb import Provisioned, Table, create_request
from aiostore.adaptors.dynamodb._tables import LAYOUT_KEY, Layout, layout_of
from aiostore.opening import open_store


@pytest.fixture
def endpoint() -> str:
    """The URL of a server of the tests' own, which may make tables."""
    url = dynamodb_server("dynamodb").endpoint
    if url is None:
        pytest.skip("AWS takes a minute for a table and its expiry, and these tests make dozens")
    return url


@pytest.fixture
def place(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """The options that lead to the server; credentials are in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    return ("--region", "eu-central-1", "--endpoint-url", endpoint)


@pytest.fixture
def name() -> str:
    """The name of a table that does not exist yet."""
    return f"t-{uuid4().hex}"


def test_the_group_is_listed_and_needs_no_driver() -> None:
    """Whoever asks for help, or for costs, needs the driver neither installed nor loaded."""
    for command in (
        ["--help"],
        ["dynamodb", "--help"],
        ["dynamodb", "create-table", "--help"],
        ["dynamodb", "cost", "--documents", "1", "--size", "1"],
    ):
        done = run_without("aiobotocore", command)
        assert (done.returncode, done.stderr) == (0, "")
        assert "dynamodb" in done.stdout or "documents" in done.stdout


def test_without_the_driver() -> None:
    """Without the extra, the command says in one line what to install."""
    done = run_without("aiobotocore", ["dynamodb", "create-table", "things"])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "aiostore: making tables needs the package 'aiobotocore', which is not installed: "
        "pip install 'aiostore-db[dynamodb]'\n"
    )


def test_a_broken_package_of_ours_is_not_taken_for_a_missing_extra() -> None:
    """Only what others publish can be installed."""
    done = run_without("aiostore.adaptors.dynamodb._tables", ["dynamodb", "create-table", "things"])
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr


def run_without(module: str, arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    """The command in a Python where a module is not there."""
    program = (
        f"import sys; sys.modules[{module!r}] = None; from aiostore.cli import main; "
        f"main({arguments!r})"
    )
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # a program of this file's


def told(endpoint: str, method: str, table: str, **parameters: Any) -> dict[str, Any]:
    """The server's answer to one question about a table."""

    async def asked() -> dict[str, Any]:
        async with get_session().create_client(
            "dynamodb", region_name="eu-central-1", endpoint_url=endpoint
        ) as client:
            answer: dict[str, Any] = await getattr(client, method)(TableName=table, **parameters)
            return answer

    return asyncio.run(asked())


def test_a_table_that_is_made_can_be_opened(
    capsys: pytest.CaptureFixture[str], endpoint: str, place: tuple[str, ...], name: str
) -> None:
    """The command makes what a store needs, and may be run again."""
    for _ in range(2):
        code, out, err = run(capsys, "dynamodb", "create-table", name, "--prefix", "dev-", *place)
        assert (code, out, err) == (0, f"The table dev-{name} is ready.\n", "")
    store = open_store(
        f"dynamodb://{name}?prefix=dev-&region=eu-central-1&endpoint_url={quote(endpoint)}"
    )

    async def used() -> Any:
        async with store:
            things = store.collection("things")
            await things.put("one", {"n": 1})
            return (await things.get("one")).value

    assert asyncio.run(used()) == {"n": 1}


def test_what_is_asked_for_is_made(
    capsys: pytest.CaptureFixture[str], endpoint: str, place: tuple[str, ...], name: str
) -> None:
    """Every option arrives at the server."""
    code, _, _ = run(
        capsys,
        *("dynamodb", "create-table", name, *place, "--shards", "3", "--index", "email"),
        *("--read-units", "5", "--write-units", "7", "--point-in-time-recovery", "--no-ttl"),
    )
    assert code == 0
    description = told(endpoint, "describe_table", name)["Table"]
    units = description["ProvisionedThroughput"]
    assert (units["ReadCapacityUnits"], units["WriteCapacityUnits"]) == (5, 7)
    backups = told(endpoint, "describe_continuous_backups", name)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    expiry = told(endpoint, "describe_time_to_live", name)["TimeToLiveDescription"]
    assert expiry["TimeToLiveStatus"] == "DISABLED"
    item = told(endpoint, "get_item", name, Key=LAYOUT_KEY)["Item"]
    assert layout_of(item) == Layout(3, (("email",),))


def test_expiry_is_asked_for(
    capsys: pytest.CaptureFixture[str], endpoint: str, place: tuple[str, ...], name: str
) -> None:
    """Unless it is declined, and backups only if they are wanted."""
    run(capsys, "dynamodb", "create-table", name, *place)
    expiry = told(endpoint, "describe_time_to_live", name)["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
    backups = told(endpoint, "describe_continuous_backups", name)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "DISABLED"


def test_a_profile_that_is_not_there(
    capsys: pytest.CaptureFixture[str], place: tuple[str, ...], name: str
) -> None:
    """The profile is looked up in the AWS configuration."""
    code, out, err = run(
        capsys, "dynamodb", "create-table", name, *place, "--profile", "no-such-profile"
    )
    assert (code, out) == (2, "")
    assert "no-such-profile" in err


def test_a_different_table(
    capsys: pytest.CaptureFixture[str], place: tuple[str, ...], name: str
) -> None:
    """A table that differs is told, and how."""
    run(capsys, "dynamodb", "create-table", name, *place)
    code, out, err = run(capsys, "dynamodb", "create-table", name, "--index", "email", *place)
    assert (code, out) == (2, "")
    assert "it has no index 'by-email'" in err


def test_a_server_that_is_not_there(
    capsys: pytest.CaptureFixture[str], place: tuple[str, ...], name: str
) -> None:
    """It is told in one line."""
    options = ("--region", "eu-central-1", "--endpoint-url", "http://127.0.0.1:9")
    code, out, err = run(capsys, "dynamodb", "create-table", name, *options)
    assert (code, out) == (2, "")
    assert "cannot be reached" in err
    assert err.count("\n") == 1


def test_a_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    """What would be asked for is printed, and nothing is asked for."""
    code, out, err = run(
        capsys,
        *("dynamodb", "create-table", "things", "--prefix", "dev-", "--index", "email"),
        *("--index", "address.city", "--read-units", "5", "--write-units", "7", "--dry-run"),
    )
    assert (code, err) == (0, "")
    assert json.loads(out) == create_request(
        Table(
            name="dev-things",
            indexes=(("email",), ("address", "city")),
            provisioned=Provisioned(5, 7),
        )
    )


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["x"], "3 to 255 characters"),
        (["things", "--index", "a-b"], "letters, digits and _"),
        (["things", "--shards", "0"], "1 to 1000 shards"),
        (["things", "--read-units", "5"], "both are given"),
        (["things", "--write-units", "5"], "both are given"),
    ],
)
def test_what_no_table_can_have(
    capsys: pytest.CaptureFixture[str], options: list[str], fault: str
) -> None:
    """It is told in one line, before anything is sent."""
    code, out, err = run(capsys, "dynamodb", "create-table", *options)
    assert (code, out) == (2, "")
    assert fault in " ".join(err.split())
    assert err.count("\n") == 1
