"""The database servers of the tests, and for work by hand: `python tests/servers.py up`.

A test asks `server("postgresql")` or `dynamodb_server("dynalite")` for the one that this process's
tests share, or `private_server("postgresql")` for one that it may kill. Variables of the
environment put one's own servers into the place of the first: `AIOSTORE_TEST_POSTGRESQL_URL` and
`AIOSTORE_TEST_MARIADB_URL`, each the URL of a user who may create databases, and
`AIOSTORE_TEST_DYNAMODB_URL`, that of a store (`dynamodb://any?region=…`) where tables may be
created, which takes its credentials as the store does. An engine that is missing skips the test,
and fails it where `AIOSTORE_REQUIRE`, names with commas between them, names it.
"""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import NoReturn

import pytest
from database_servers import DatabaseServer
from dynamodb_servers import (
    NOBODYS_CREDENTIALS,
    DynaliteServer,
    DynamoDBServer,
    LocalDynamoDB,
    MotoServer,
)
from local_processes import LocalProcess, MissingEngineError, free_port
from local_servers import LocalServer, MariaDBServer, PostgreSQLServer
from served import Server
from sql_engines import SQL_ENGINES

LOCAL_SERVERS: dict[str, type[LocalProcess]] = {
    kind.NAME: kind for kind in (PostgreSQLServer, MariaDBServer, MotoServer, DynaliteServer)
}
"""All engines that are servers."""

DYNAMODB_ENGINES = [name for name, kind in LOCAL_SERVERS.items() if issubclass(kind, LocalDynamoDB)]
"""Those that are DynamoDBs."""

_shared: dict[str, Server] = {}


def shared_server(name: str) -> Server:
    """The server of an engine that all tests of this process share, running.

    Each worker of pytest-xdist is a process, and so has its own.
    """
    if name not in _shared:
        _need_driver(name)
        url = os.environ.get(variable(name))
        _shared[name] = _started(name, durable=False) if url is None else _ones_own(name, url)
    return _shared[name]


def server(name: str) -> DatabaseServer:
    """Likewise, of an SQL engine."""
    shared = shared_server(name)
    assert isinstance(shared, DatabaseServer)
    return shared


def dynamodb_server(name: str) -> DynamoDBServer:
    """Likewise, of one of `DYNAMODB_ENGINES`."""
    shared = shared_server(name)
    assert isinstance(shared, DynamoDBServer)
    return shared


@contextmanager
def private_process(
    name: str, *, durable: bool = True, options: Sequence[str] = ()
) -> Iterator[LocalProcess]:
    """A server that this test alone uses and may stop and kill; see `LocalProcess`."""
    _need_driver(name)
    if variable(name) in os.environ:
        pytest.skip(f"tests do not kill the server that {variable(name)} names")
    with closing(_started(name, durable=durable, options=options)) as started:
        yield started


@contextmanager
def private_server(
    name: str, *, durable: bool = True, options: Sequence[str] = ()
) -> Iterator[LocalServer]:
    """Likewise, of an SQL engine."""
    with private_process(name, durable=durable, options=options) as started:
        assert isinstance(started, LocalServer)
        yield started


@contextmanager
def private_dynamodb(
    name: str, *, durable: bool = True, options: Sequence[str] = ()
) -> Iterator[LocalDynamoDB]:
    """Likewise, of one of `DYNAMODB_ENGINES`."""
    with private_process(name, durable=durable, options=options) as started:
        assert isinstance(started, LocalDynamoDB)
        yield started


def absent_server(name: str) -> str:
    """The URL of a server that does not exist: nothing listens at its port."""
    return LOCAL_SERVERS[name].url_at(free_port())


def close_servers() -> None:
    """End the servers that the tests have shared; in one's own, drop what they have created."""
    while _shared:
        _shared.popitem()[1].close()


def variable(name: str) -> str:
    """The variable of the environment for the URL of one's own server."""
    return f"AIOSTORE_TEST_{name.upper()}_URL"


def _ones_own(name: str, url: str) -> Server:
    return DynamoDBServer(name, url) if name in DYNAMODB_ENGINES else DatabaseServer(name, url)


def _started(name: str, *, durable: bool, options: Sequence[str] = ()) -> LocalProcess:
    try:
        local = LOCAL_SERVERS[name](durable=durable, options=options)
    except MissingEngineError as error:
        _do_without(name, f"{error}, or set {variable(name)}")
    try:
        local.start()
    except BaseException:
        local.close()
        raise
    return local


def _need_driver(name: str) -> None:
    driver = "aiobotocore" if name in DYNAMODB_ENGINES else SQL_ENGINES[name].driver
    if find_spec(driver) is None:
        _do_without(name, f"its driver is not here: pip install {driver}")


def _do_without(name: str, reason: str) -> NoReturn:
    required = set(os.environ.get("AIOSTORE_REQUIRE", "").replace(",", " ").split())
    if unknown := ", ".join(sorted(required - set(LOCAL_SERVERS))):
        pytest.fail(f"AIOSTORE_REQUIRE asks for what nobody knows: {unknown}", pytrace=False)
    if name in required:
        pytest.fail(f"AIOSTORE_REQUIRE asks for {name}: {reason}", pytrace=False)
    pytest.skip(reason)


def main() -> int:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Database servers for work by hand.")
    commands = parser.add_subparsers(required=True)
    up = commands.add_parser("up", help="start every engine there is, and stop them at Ctrl-C")
    up.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the data, and the ports")
    keep = parser.parse_args().keep
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    with ExitStack() as running:
        started: list[LocalProcess] = []
        for name, kind in LOCAL_SERVERS.items():
            try:
                local = kind(durable=keep is not None, keep=keep and keep / name)
            except MissingEngineError as error:
                sys.stderr.write(f"{error}\n")
            else:
                running.enter_context(closing(local)).start()
                started.append(local)
        urls = [f"{each.name:12}{each.url}" for each in started]
        exports = [f"export {variable(each.name)}={quote(each.url)}" for each in started]
        if any(isinstance(each, LocalDynamoDB) for each in started):
            exports += [f"export {name}={each}" for name, each in NOBODYS_CREDENTIALS.items()]
        lines = [*urls, "", "For the tests:", "", *exports, "", "Ctrl-C stops them."]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        signal.sigwait(ENDS)
    return 0


ENDS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}

if __name__ == "__main__":
    sys.exit(main())
