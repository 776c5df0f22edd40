"""SQLite: the library, aiosqlite by hand in two ways, and SQLAlchemy Core, on one file.

All read and write the very same rows in turn, with a write-ahead log that is on the disk before a
write returns.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiosqlite
import msgspec

from aiostore.keys import end_of_prefix
from aiostore.versions import PROCESS_CLOCK
from benchmarks.documents import FIELD, Value
from benchmarks.library import library
from benchmarks.variants import Documents, Opened, Place, Variant

NAME = "sqlite"
TITLE = "SQLite"
DURABLE = True
LEFT_OUT: Mapping[str, str] = {}
DISTRIBUTIONS: Sequence[str] = ("aiosqlite", "sqlalchemy")

GET = "SELECT body, version FROM aiostore_documents WHERE collection = ? AND key = ?"
PUT = (
    "INSERT INTO aiostore_documents"
    " (collection, key, body, version, mark, created_at, updated_at)"
    " VALUES (?1, ?2, ?3, ?4, 'live', ?5, ?5) ON CONFLICT (collection, key) DO UPDATE SET"
    " body = excluded.body, version = excluded.version, created_at = excluded.created_at,"
    " updated_at = excluded.updated_at, expires_at = NULL"
)
REPLACE = (
    "UPDATE aiostore_documents SET body = ?3, version = ?4, updated_at = ?5, expires_at = NULL"
    " WHERE collection = ?1 AND key = ?2 AND version = ?6 RETURNING 1"
)
SOME = "SELECT key, body, version FROM aiostore_documents WHERE collection = ?"
GET_MANY = f"{SOME} AND key IN (SELECT value FROM json_each(?))"
SCAN = f"{SOME} AND key >= ? AND key < ? ORDER BY key"
PAGE = f"{SCAN} LIMIT ?"
FIND = f"{SOME} AND body ->> '$.{FIELD}' = ? ORDER BY key"
INDEX = (
    "CREATE INDEX IF NOT EXISTS by_hand ON aiostore_documents"
    f" (collection, body ->> '$.{FIELD}', key) WHERE collection = 'finding'"
)


@asynccontextmanager
async def opened(place: Place) -> Opened:
    """See `Engine`."""
    path = place.folder / "documents.db"
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(library(f"sqlite:///{path}"))
        by_hand = await stack.enter_async_context(aiosqlite.connect(path, isolation_level=None))
        by_cursor = await stack.enter_async_context(aiosqlite.connect(path))
        for connection in (by_hand, by_cursor):
            await connection.execute_fetchall("PRAGMA synchronous = full")
            await connection.execute_fetchall("PRAGMA busy_timeout = 5000")
        yield [
            ours,
            Variant(
                "aiosqlite",
                lambda name: SQLiteDocuments(by_hand, name),
                remark="one visit to the connection's thread for each operation; autocommit",
            ),
            Variant(
                "aiosqlite by cursor",
                lambda name: CursorDocuments(by_cursor, name),
                remark="as documented: a cursor, fetchone, and a commit for each write",
            ),
        ]


class SQLiteDocuments(Documents):
    """A collection in the library's own table."""

    def __init__(self, connection: aiosqlite.Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    async def get(self, key: str) -> Value:
        [row] = await self._connection.execute_fetchall(GET, (self._name, key))
        value: Value = msgspec.json.decode(row[0])
        return value

    async def put(self, key: str, value: Value) -> str | None:
        version, row = _row(self._name, key, value)
        await self._connection.execute_fetchall(PUT, row)
        return version

    async def replace(self, key: str, value: Value, version: str) -> str | None:
        new, row = _row(self._name, key, value)
        rows = await self._connection.execute_fetchall(REPLACE, (*row, version))
        return new if rows else None

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, Value]:
        return dict(await self._pairs(GET_MANY, msgspec.json.encode(keys).decode()))

    async def page(self, prefix: str, size: int) -> Sequence[tuple[str, Value]]:
        return await self._pairs(PAGE, prefix, end_of_prefix(prefix), size)

    async def scan(self, prefix: str) -> Sequence[tuple[str, Value]]:
        return await self._pairs(SCAN, prefix, end_of_prefix(prefix))

    async def find(self, text: str) -> Sequence[tuple[str, Value]]:
        return await self._pairs(FIND, text)

    async def index(self) -> None:
        await self._connection.execute_fetchall(INDEX)

    async def _pairs(self, statement: str, *values: object) -> list[tuple[str, Value]]:
        rows = await self._connection.execute_fetchall(statement, (self._name, *values))
        return [(row[0], msgspec.json.decode(row[1])) for row in rows]


class CursorDocuments(Documents):
    """Likewise."""

    def __init__(self, connection: aiosqlite.Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._writing = asyncio.Lock()

    async def get(self, key: str) -> Value:
        async with self._connection.execute(GET, (self._name, key)) as cursor:
            row = await cursor.fetchone()
        if row is None:
            raise KeyError(key)
        value: Value = msgspec.json.decode(row[0])
        return value

    async def put(self, key: str, value: Value) -> str | None:
        version, row = _row(self._name, key, value)
        async with self._writing:  # or what is committed, or rolled back, is another's write too
            await self._connection.execute(PUT, row)
            await self._connection.commit()
        return version


def _row(collection: str, key: str, value: Value) -> tuple[str, tuple[Any, ...]]:
    version = PROCESS_CLOCK.next()
    body = msgspec.json.encode(value).decode()
    return version, (collection, key, body, version, PROCESS_CLOCK.now())
