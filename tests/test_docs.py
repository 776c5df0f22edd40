"""The README is executed and compared, so that it cannot become untrue."""

import ast
import asyncio
import json
import os
import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from fastapi import FastAPI

from aiostore.adaptors.dynamodb import _connections
from aiostore.adaptors.dynamodb import urls as dynamodb_urls
from aiostore.adaptors.dynamodb._tables import (
    Layout,
    Table,
    create_request,
    index_path,
    layout_item,
    recovery_request,
    ttl_request,
)
from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.adaptors.sql._tables import tables
from aiostore.adaptors.sql.urls import Options, ServerOptions, SQLiteOptions
from aiostore.cli import main
from aiostore.opening import open_adaptor, schemes
from aiostore.protocols import Adaptor

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
LINES = re.findall(r"```sh\n(.*?)\n```", README)


def block_with(text: str) -> str:
    """The one Python block of the README that holds a text."""
    blocks: list[str] = [block for block in BLOCKS if text in block]
    assert len(blocks) == 1
    return blocks[0]


def run(code: str, folder: Path) -> str:
    """Run a block as a script of its own, warnings being errors."""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603  # the README's own code
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


def test_the_verbs_example_runs(tmp_path: Path) -> None:
    """The example of the verbs prints the one user that it scans for."""
    assert run(block_with("users.create"), tmp_path).startswith("carol {'age': 30} 20")


def test_the_transaction_example_runs(tmp_path: Path) -> None:
    """The example of a transaction moves what it says."""
    prepare = """
import asyncio, aiostore
store = aiostore.open_store("memory://")
accounts = store.collection("accounts")
async def main():
    async with store:
        await accounts.put_many({"alice": {"sum": 30}, "bob": {"sum": 0}})
"""
    body = textwrap.indent(block_with("store.run(transfer)"), " " * 8)
    show = """
        print([account.value async for account in accounts.scan()])
asyncio.run(main())
"""
    assert run(prepare + body + show, tmp_path) == "[{'sum': 0}, {'sum': 30}]\n"


def test_a_repetition_is_no_news_for_the_standard_error(tmp_path: Path) -> None:
    """Where no logging is set up, a transaction that is tried again prints nothing."""
    code = """
import asyncio, aiostore
async def main():
    async with aiostore.open_store("memory://") as store:
        counters = store.collection("counters")
        await counters.put("k", {"n": 0})
        attempts = []
        async def count(tx):
            found = await tx.get(counters, "k")
            attempts.append(found)
            if len(attempts) == 1:
                await counters.put("k", {"n": 5})
            tx.replace(counters, "k", {"n": found.value["n"] + 1})
        await store.run(count)
        print(len(attempts), (await counters.get("k")).value)
asyncio.run(main())
"""
    assert run(code, tmp_path) == "2 {'n': 6}\n"


def test_the_migration_example_runs(tmp_path: Path) -> None:
    """The example of a migration proves both stores equal, and the target opens afterwards."""
    fill = """
import asyncio, aiostore
async def main():
    async with aiostore.open_store("file:data") as store:
        await store.collection("c").put_many({str(n): {"n": n} for n in range(30)})
asyncio.run(main())
"""
    run(fill, tmp_path)
    assert run(block_with("backfill(migration)"), tmp_path) == "30 compared, 0 differ\n"
    count = """
import asyncio, aiostore
async def main():
    async with aiostore.open_store("sqlite:///app.db") as store:
        print(len([document async for document in store.collection("c").scan()]))
asyncio.run(main())
"""
    assert run(count, tmp_path) == "30\n"


@pytest.mark.parametrize("name", ["queries.md", "transactions.md"])
def test_the_example_of_a_page_prints_what_the_page_says(name: str, tmp_path: Path) -> None:
    """The page begins with a script and its output."""
    page = (ROOT / "docs" / name).read_text()
    [code, output, *_] = re.findall(r"```(?:python)?\n(.*?)```", page, re.DOTALL)
    assert run(code, tmp_path) == output


@pytest.fixture(params=["README.md", "examples/fastapi_service.py"])
def service(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FastAPI:
    """The application of one of the examples, imported as at a service's start."""
    monkeypatch.chdir(tmp_path)
    path = ROOT / request.param
    if path.suffix == ".md":
        path = tmp_path / "service.py"
        path.write_text(block_with("FastAPI(lifespan"))
    app = runpy.run_path(str(path))["app"]
    assert isinstance(app, FastAPI)
    return app


async def test_the_service_examples_run(service: FastAPI, tmp_path: Path) -> None:
    """The FastAPI services answer requests, and keep what they are given in a database."""
    transport = httpx.ASGITransport(service)
    async with (
        service.router.lifespan_context(service),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        answer = await client.put("/users/alice", json={"age": 41})
        assert re.fullmatch(r'"[0-9a-f]{32}"', answer.text)
        if "get_user" in {getattr(route, "name", None) for route in service.routes}:
            assert (await client.get("/users/alice")).json() == {"age": 41}
            assert (await client.get("/users/bob")).status_code == 404
            first = (await client.get("/users", params={"size": 1})).json()
            assert first == {"users": {"alice": {"age": 41}}, "next_cursor": None}
            assert (await client.get("/users", params={"cursor": "x"})).status_code == 400
    assert "app.db" in await asyncio.to_thread(os.listdir, tmp_path)


def test_the_table_of_stores_is_true() -> None:
    """Every scheme has a row, whose URLs open and whose flags are the adaptor's own."""
    rows = re.findall(r"^\| .+? \| `(\w+):.+\n?", README, re.MULTILINE)
    assert sorted(rows) == schemes()
    for row in re.findall(r"^\| .+? \| `\w+:.+$", README, re.MULTILINE):
        _, urls, _, shared, persistent, atomic = (
            cell.strip() for cell in row.strip("|").split("|")
        )
        for url in re.findall(r"`(.+?)`", urls):
            adaptor: Adaptor = open_adaptor(url)
            said = [flag == "yes" for flag in (shared, persistent, atomic)]
            flags = adaptor.capabilities
            assert said == [flags.shared, flags.persistent, flags.atomic_writes], url
    assert isinstance(open_adaptor("memory://"), MemoryAdaptor)


def test_the_options_of_sql_stores_are_the_ones_there_are() -> None:
    """Every option of a SQL store's URL has its name in the table, and its default."""
    rows = re.findall(
        r"^\| (`\w+`(?:, `\w+`)*) \| (all|SQLite|servers) \|(?: `?([^`|]+?)`?)? \|",
        (ROOT / "docs" / "sql.md").read_text(),
        re.MULTILINE,
    )
    said = {
        (name, of): default for names, of, default in rows for name in re.findall(r"\w+", names)
    }
    known = {}
    for kind, of in ((SQLiteOptions, "SQLite"), (ServerOptions, "servers")):
        for option in msgspec.structs.fields(kind):
            shared = option.name in Options.__struct_fields__
            default = {None: "", False: "false"}.get(option.default, f"{option.default}")
            known[option.name, "all" if shared else of] = default.removesuffix(".0")
    known["prefix", "all"] = tables().documents.name.removesuffix("documents")
    assert said == known


DYNAMODB = (ROOT / "docs" / "dynamodb.md").read_text()


def json_with(text: str) -> Any:
    """The one JSON block of the page on DynamoDB that holds a text."""
    [block] = [one for one in re.findall(r"```json\n(.*?)```", DYNAMODB, re.DOTALL) if text in one]
    return json.loads(block)


def test_the_options_of_dynamodb_stores_are_the_ones_there_are() -> None:
    """Every option of a DynamoDB store's URL has its row in the table, with its default."""
    [options] = re.findall(r"^## Options of the URL\n(.*?)^## ", DYNAMODB, re.DOTALL | re.MULTILINE)
    said = dict(re.findall(r"^\| `(\w+)` \| ?([^|]*?) ?\|", options, re.MULTILINE))
    known = {
        option.name: {None: "", False: "false", True: "true"}.get(
            option.default, f"{option.default}".removesuffix(".0")
        )
        for option in msgspec.structs.fields(dynamodb_urls.Options)
    }
    assert said == known


def test_the_templates_of_the_table_are_what_is_asked_for() -> None:
    """CloudFormation, Terraform and CDK make the table that the library would make."""
    table = Table(name="documents", indexes=(("email",),), point_in_time_recovery=True)
    ttl, recovery = ttl_request(table.name), recovery_request(table.name)
    template = json_with("AWS::DynamoDB::Table")["Resources"]["Documents"]
    assert template["Properties"] == {**create_request(table), **ttl, **recovery}
    [terraform] = re.findall(r"```terraform\n(.*?)```", DYNAMODB, re.DOTALL)
    blocks = re.findall(r"^  (\w+) \{\n(.*?)^  \}", terraform, re.MULTILINE | re.DOTALL)
    found = [(kind, dict(re.findall(r"(\w+)\s+= \"?([\w-]+)", block))) for kind, block in blocks]
    assert found == [
        ("attribute", {"name": "pk", "type": "S"}),
        ("attribute", {"name": "sk", "type": "S"}),
        ("attribute", {"name": "by-email", "type": "S"}),
        (
            "global_secondary_index",
            {
                "name": "by-email",
                "hash_key": "by-email",
                "range_key": "sk",
                "projection_type": "KEYS_ONLY",
            },
        ),
        ("ttl", {"attribute_name": "ttl", "enabled": "true"}),
        ("point_in_time_recovery", {"enabled": "true"}),
    ]
    outside = dict(re.findall(r"^  (\w+)\s+= \"(.*)\"$", terraform, re.MULTILINE))
    assert outside == {
        "name": "documents",
        "billing_mode": "PAY_PER_REQUEST",
        "hash_key": "pk",
        "range_key": "sk",
    }
    [cdk] = [one for one in re.findall(r"```python\n(.*?)```", DYNAMODB, re.DOTALL) if "cdk" in one]
    names = [
        node.value
        for node in ast.walk(ast.parse(cdk))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert sorted(names) == sorted(
        ["Documents", "documents", "pk", "sk", "ttl", "by-email", "by-email", "sk"]
    )


def test_the_permissions_are_those_of_the_requests_that_are_sent() -> None:
    """The policy names what a service asks for, and nothing else."""
    [statement] = json_with("2012-10-17")["Statement"]
    sent = {*_connections.READS, *_connections.WRITES, "DescribeTable", "ConditionCheckItem"}
    # It has no permission of its own: those of what it is made of are asked for.
    assert {f"dynamodb:{one}" for one in sent - {"TransactWriteItems"}} == set(statement["Action"])


def test_the_layout_item_is_the_one_that_is_written() -> None:
    """Whoever has to write it again finds it on the page."""
    assert json_with('"sk": {"S": "layout"}') == layout_item(Layout(16, (index_path("email"),)))


def test_the_estimate_on_the_page_is_what_the_command_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page shows what the command prints."""
    monkeypatch.setenv("COLUMNS", "80")
    [(command, said)] = re.findall(
        r"```sh\naiostore (dynamodb cost .*?)\n```\n\n```\n(.*?)\n```", DYNAMODB, re.DOTALL
    )
    with pytest.raises(SystemExit):
        main(command.split())
    told = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert told == [line for line in said.splitlines() if line]


def test_the_two_lines() -> None:
    """One line runs the demo and one the tests, each with its environment; CI runs the last."""
    demo, tests = LINES
    for line in (demo, tests):
        assert line.startswith("python3 -m venv .venv")
    assert demo.endswith("aiostore demo")
    assert tests in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_rooms_of_the_design_are_the_packages() -> None:
    """The list of rooms in the design names every module and package, and no other."""
    design = (ROOT / "docs" / "design.md").read_text()
    [listed] = re.findall(r"```\n(cli .*?)```", design, re.DOTALL)
    names = {name for line in listed.splitlines() for name in re.split(r"\s{2,}", line)[0].split()}
    modules = {path.stem for path in (ROOT / "aiostore").iterdir() if path.suffix in ("", ".py")}
    assert names == modules - {"__init__", "__main__", "__pycache__", "py"}


def test_links_lead_somewhere() -> None:
    """Every relative link of the pages leads to a file that is there."""
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_module_says_what_it_is() -> None:
    """Each module of the package begins with a docstring."""
    for path in (ROOT / "aiostore").rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path
