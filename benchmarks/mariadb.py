"""MariaDB: the library, and asyncmy by hand on the very same rows."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncmy
import msgspec

from aiostore.keys import end_of_prefix
from aiostore.versions import PROCESS_CLOCK
from benchmarks.addresses import parameters_of
from benchmarks.documents import Value
from benchmarks.library import library
from benchmarks.variants import Documents, Opened, Place, Variant

NAME = "mariadb"
TITLE = "MariaDB"
DURABLE = True
LEFT_OUT: Mapping[str, str] = {}
DISTRIBUTIONS: Sequence[str] = ("asyncmy", "sqlalchemy")

CONNECTIONS = 8
"""Of each variant, as many as a store of the library's has."""

GET = "SELECT body, version FROM aiostore_documents WHERE collection = %s AND `key` = %s"
PUT = (
    "INSERT INTO aiostore_documents"
    " (collection, `key`, body, version, mark, created_at, updated_at)"
    " VALUES (%s, %s, %s, %s, 'live', %s, %s) ON DUPLICATE KEY UPDATE"
    " body = VALUES(body), version = VALUES(version), created_at = VALUES(created_at),"
    " updated_at = VALUES(updated_at), expires_at = NULL"
)
REPLACE = (
    "UPDATE aiostore_documents SET body = %s, version = %s, updated_at = %s, expires_at = NULL"
    " WHERE collection = %s AND `key` = %s AND version = %s"
)
SOME = "SELECT `key`, body, version FROM aiostore_documents WHERE collection = %s"
SCAN = f"{SOME} AND `key` >= %s AND `key` < %s ORDER BY `key`"
PAGE = f"{SCAN} LIMIT %s"


@asynccontextmanager
async def opened(place: Place) -> Opened:
    """See `Engine`."""
    url = place.lend()
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(library(url))
        pool = await stack.enter_async_context(_pool(url))
        yield [
            ours,
            Variant(
                "asyncmy",
                lambda name: MariaDBDocuments(pool, name),
                remark="8 connections in autocommit, one statement for each operation",
            ),
        ]


class Pool:
    """Connections in autocommit, the one that was used last first."""

    def __init__(self) -> None:
        self._free: asyncio.LifoQueue[Any] = asyncio.LifoQueue()

    async def connect(self, url: str) -> None:
        """Add one more."""
        address = parameters_of(url, 3306)
        self._free.put_nowait(
            await asyncmy.connect(
                **{**address, "password": address["password"].encode()},
                charset="utf8mb4",
                autocommit=True,
            )
        )

    async def run(self, text: str, *values: object) -> tuple[int, Sequence[Any]]:
        """How many rows a statement has changed or found, and those that it returns."""
        connection = await self._free.get()
        try:
            async with connection.cursor() as cursor:
                number = await cursor.execute(text, values)
                return number, await cursor.fetchall()
        finally:
            self._free.put_nowait(connection)

    async def aclose(self) -> None:
        """Close them, none being in use."""
        while not self._free.empty():
            await self._free.get_nowait().ensure_closed()


class MariaDBDocuments(Documents):
    """A collection in the library's own table, whose keys are bytes there."""

    def __init__(self, pool: Pool, name: str) -> None:
        self._pool = pool
        self._name = name.encode()

    async def get(self, key: str) -> Value:
        _, [row] = await self._pool.run(GET, self._name, key.encode())
        value: Value = msgspec.json.decode(row[0])
        return value

    async def put(self, key: str, value: Value) -> str | None:
        version, now = PROCESS_CLOCK.next(), PROCESS_CLOCK.now()
        body = msgspec.json.encode(value).decode()
        await self._pool.run(PUT, self._name, key.encode(), body, version, now, now)
        return version

    async def replace(self, key: str, value: Value, version: str) -> str | None:
        new, now = PROCESS_CLOCK.next(), PROCESS_CLOCK.now()
        body = msgspec.json.encode(value).decode()
        changed, _ = await self._pool.run(
            REPLACE, body, new, now, self._name, key.encode(), version
        )
        return new if changed == 1 else None

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, Value]:
        places = ", ".join(["%s"] * len(keys))
        some = f"{SOME} AND `key` IN ({places})"
        return dict(await self._pairs(some, *(key.encode() for key in keys)))

    async def page(self, prefix: str, size: int) -> Sequence[tuple[str, Value]]:
        return await self._pairs(PAGE, *_bounds(prefix), size)

    async def scan(self, prefix: str) -> Sequence[tuple[str, Value]]:
        return await self._pairs(SCAN, *_bounds(prefix))

    async def settle(self) -> None:
        await self._pool.run("ANALYZE TABLE aiostore_documents")

    async def _pairs(self, statement: str, *values: object) -> list[tuple[str, Value]]:
        _, rows = await self._pool.run(statement, self._name, *values)
        return [(bytes(row[0]).decode(), msgspec.json.decode(row[1])) for row in rows]


def _bounds(prefix: str) -> tuple[bytes, bytes]:
    end = end_of_prefix(prefix)
    if end is None:
        raise ValueError(f"nothing is greater than all that begins with {prefix!r}")
    return prefix.encode(), end.encode()


@asynccontextmanager
async def _pool(url: str) -> AsyncIterator[Pool]:
    pool = Pool()
    try:
        for _ in range(CONNECTIONS):
            await pool.connect(url)
        yield pool
    finally:
        await pool.aclose()
