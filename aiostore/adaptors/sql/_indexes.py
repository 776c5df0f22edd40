"""Declared indexes: made online where the database can, once, by however many processes."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from hashlib import blake2b
from typing import Any

import msgspec
import stamina
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from aiostore.adaptors.sql import _mariadb_json
from aiostore.adaptors.sql._places import Place
from aiostore.filters import Path

MakeIndex = Callable[[AsyncConnection, str, str, Path, Place], Awaitable[None]]
"""Makes the index of a field: on a connection, of a table, for a collection, by path and place."""

_LOCK = 0x61696F69  # "aioi"; the second of PostgreSQL's two keys is the table's
_POLL = 0.2  # seconds
_LONGEST_POLL = 2.0
_LOCK_WAIT_TIMEOUT = 1205  # ER_LOCK_WAIT_TIMEOUT


def index_name(table: str, collection: str, path: Path) -> str:
    """The name of the index of a field of one collection."""
    digest = blake2b(msgspec.json.encode((table, collection, path)), digest_size=8)
    return f"aiostore_i_{digest.hexdigest()}"


async def make_in_sqlite(
    connection: AsyncConnection, table: str, collection: str, path: Path, place: Place
) -> None:
    """Make an index of an expression; meanwhile no other process writes."""
    statement = await connection.run_sync(_statement, table, collection, path, place)
    driver: Any = (await connection.get_raw_connection()).driver_connection
    await _interruptible(connection.exec_driver_sql(statement), driver.interrupt)


def hint_in_sqlite(table: str, collection: str, path: Path) -> str:
    """What makes SQLite go by the index: left to itself it would rather sort the collection."""
    return f"INDEXED BY {index_name(table, collection, path)}"


async def make_in_postgresql(
    connection: AsyncConnection, table: str, collection: str, path: Path, place: Place
) -> None:
    """Make an index of an expression while others read and write.

    To wait for a lock would hold up the one who has it: PostgreSQL waits for all older statements
    before it uses an index. So whoever does not get it asks again. The lock is that of the table,
    for two that are being made there wait for each other.
    """
    name = index_name(table, collection, path)
    key = int.from_bytes(blake2b(table.encode(), digest_size=4).digest(), "big", signed=True)
    names = {"name": name, "lock": _LOCK, "key": key}
    await connection.exec_driver_sql("SET statement_timeout = 0")
    while not await connection.scalar(_IS_VALID, names):
        if not await connection.scalar(_TRY_LOCK, names):
            await asyncio.sleep(_POLL * random.uniform(0.5, 1))  # noqa: S311  # no secret
            continue
        try:
            # What was begun and not ended is of no use, and in the way.
            await connection.exec_driver_sql(f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"')
            await connection.exec_driver_sql(
                await connection.run_sync(_statement, table, collection, path, place)
            )
        finally:
            if not connection.invalidated:  # else the lock has gone with it
                await connection.execute(_UNLOCK, names)


async def make_in_mysql(
    connection: AsyncConnection, table: str, collection: str, path: Path, place: Place
) -> None:
    """Add generated columns and their index, for all collections, while others read and write.

    A statement waits at its beginning for the transactions that use the table, and makes all others
    wait behind it: so it gives up soon, and tries again.
    """
    del collection, place
    await connection.exec_driver_sql("SET SESSION lock_wait_timeout = 1")
    session = await connection.scalar(text("SELECT CONNECTION_ID()"))

    async def interrupt() -> None:
        async with connection.engine.connect() as other:
            await other.exec_driver_sql(f"KILL QUERY {session}")

    async def make(statement: str) -> None:
        await _interruptible(connection.exec_driver_sql(statement), interrupt)

    for statement in _mariadb_json.index_ddl(table, path):
        try:
            await _until_free(_is_in_the_way, make, statement)
        except DBAPIError as error:
            if _code_of(error) not in _mariadb_json.ALREADY_THERE:
                raise


async def _interruptible(
    statement: Coroutine[Any, Any, Any], interrupt: Callable[[], Awaitable[None]]
) -> None:
    """Wait for a statement, which a database would go on with when nobody waits any more."""
    job = asyncio.create_task(statement)
    try:
        await asyncio.shield(job)
    except asyncio.CancelledError:
        try:
            await interrupt()
        except DBAPIError:  # there is no server
            job.cancel()
        await asyncio.gather(job, return_exceptions=True)
        raise


_until_free = stamina.AsyncRetryingCaller(
    attempts=None, timeout=None, wait_initial=_POLL, wait_max=_LONGEST_POLL, wait_jitter=_POLL
)


def _is_in_the_way(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and _code_of(error) == _LOCK_WAIT_TIMEOUT


def _code_of(error: DBAPIError) -> object:
    return None if error.orig is None else error.orig.args[0]


_IS_VALID = text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
_TRY_LOCK = text("SELECT pg_try_advisory_lock(:lock, :key)")
_UNLOCK = text("SELECT pg_advisory_unlock(:lock, :key)")


def _statement(
    connection: Connection,
    table: str,
    collection: str,
    path: Path,
    place: Place,
) -> str:
    """CREATE INDEX, whose expressions are written as queries write them."""
    dialect = connection.dialect
    quote = dialect.identifier_preparer.quote
    columns = ", ".join(
        f"({part.compile(dialect=dialect, compile_kwargs={'literal_binds': True})})"
        for part in place
    )
    name = quote(index_name(table, collection, path))
    manner = "CONCURRENTLY" if dialect.name == "postgresql" else ""
    return (
        f"CREATE INDEX {manner} IF NOT EXISTS {name} ON {quote(table)} ({columns}, key) "
        f"WHERE collection = '{collection}'"
    )
