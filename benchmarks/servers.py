"""Servers that the tests have, with their data on the disk when they say so."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

# The tests are no package; what starts their servers is not there twice.
sys.path.append(str(Path(__file__).parents[1] / "tests"))

from database_servers import DatabaseServer
from dynamodb_servers import (
    NOBODYS_ENVIRONMENT,
    DynaliteServer,
    DynamoDBServer,
    MotoServer,
)
from local_processes import MissingEngineError
from local_servers import MariaDBServer, PostgreSQLServer
from served import Lent, Server

_KINDS = {
    "postgresql": (PostgreSQLServer,),
    "mariadb": (MariaDBServer,),
    "dynamodb": (DynaliteServer, MotoServer),
}

SERVED = frozenset(_KINDS)
"""The engines that need one."""

__all__ = ["SERVED", "MissingEngineError", "served", "variable"]


def variable(engine: str) -> str:
    """The variable of the environment for the URL of one's own server, as the tests have it."""
    return f"AIOSTORE_TEST_{engine.upper()}_URL"


@contextmanager
def served(engine: str) -> Iterator[tuple[str, Callable[[], str]]]:
    """What server of an engine there is, and what lends URLs of empty places on it.

    Raises:
        MissingEngineError: there is none on this machine.
    """
    with closing(_running(engine)) as server:
        lent: list[Lent] = []

        def lend() -> str:
            lent.append(server.lend())
            return lent[-1].url

        yield server.name, lend


def _running(engine: str) -> Server:
    own = os.environ.get(variable(engine))
    if own is not None:
        return DynamoDBServer(engine, own) if engine == "dynamodb" else DatabaseServer(engine, own)
    if engine == "dynamodb":
        os.environ.update(NOBODYS_ENVIRONMENT)
    *preferred, last = _KINDS[engine]
    for kind in preferred:
        try:
            server = kind(durable=True)
        except MissingEngineError:
            continue
        break
    else:
        server = last(durable=True)
    try:
        server.start()
    except BaseException:
        server.close()
        raise
    return server
