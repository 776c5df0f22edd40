"""PostgreSQL: the library, asyncpg by hand, SQLAlchemy Core, py-key-value and the original.

The first three read and write the very same rows in turn.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import asyncpg
import msgspec

from aiostore.keys import end_of_prefix
from aiostore.versions import PROCESS_CLOCK
from benchmarks.addresses import parameters_of
from benchmarks.documents import FIELD, Value
from benchmarks.key_value import postgresql_store
from benchmarks.library import library
from benchmarks.original import original
from benchmarks.sqlalchemy_core import sqlalchemy_core
from benchmarks.variants import Documents, Opened, Place, Variant

NAME = "postgresql"
TITLE = "PostgreSQL"
DURABLE = True
LEFT_OUT: Mapping[str, str] = {}
DISTRIBUTIONS: Sequence[str] = (
    "asyncpg",
    "sqlalchemy",
    "py-key-value-aio",
    "object-store-abstraction",
)

PORT = 5432

CONNECTIONS = 8
"""Of each variant, as many as a store of the library's has."""


class Texts(NamedTuple):
    """What each connection prepares."""

    get: str = "SELECT body, version FROM aiostore_documents WHERE collection = $1 AND key = $2"
    put: str = (
        "INSERT INTO aiostore_documents"
        " (collection, key, body, version, mark, created_at, updated_at)"
        " VALUES ($1, $2, $3, $4, 'live', $5, $5) ON CONFLICT (collection, key) DO UPDATE SET"
        " body = excluded.body, version = excluded.version, created_at = excluded.created_at,"
        " updated_at = excluded.updated_at, expires_at = NULL"
    )
    replace: str = (
        "UPDATE aiostore_documents SET body = $3, version = $4, updated_at = $5, expires_at = NULL"
        " WHERE collection = $1 AND key = $2 AND version = $6 RETURNING 1"
    )
    get_many: str = (
        "SELECT key, body, version FROM aiostore_documents"
        " WHERE collection = $1 AND key = ANY($2::text[])"
    )
    page: str = (
        "SELECT key, body, version FROM aiostore_documents"
        " WHERE collection = $1 AND key >= $2 AND key < $3 ORDER BY key LIMIT $4"
    )
    scan: str = (
        "SELECT key, body, version FROM aiostore_documents"
        " WHERE collection = $1 AND key >= $2 AND key < $3 ORDER BY key"
    )
    find: str = (
        "SELECT key, body, version FROM aiostore_documents"
        f" WHERE collection = $1 AND body::jsonb ->> '{FIELD}' = $2 ORDER BY key"
    )


INDEX = (
    "CREATE INDEX IF NOT EXISTS by_hand ON aiostore_documents"
    f" (collection, (body::jsonb ->> '{FIELD}'), key) WHERE collection = 'finding'"
)


class Connection(NamedTuple):
    """One of the pool's, and what it has prepared."""

    raw: Any
    prepared: Mapping[str, Any]


class Pool:
    """Connections with their statements prepared, the one that was used last first."""

    def __init__(self) -> None:
        self._free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()

    async def connect(self, url: str) -> None:
        """Add one more."""
        raw = await asyncpg.connect(**parameters_of(url, PORT))
        texts = Texts()._asdict()
        self._free.put_nowait(
            Connection(raw, {name: await raw.prepare(text) for name, text in texts.items()})
        )

    async def fetch(self, name: str, *arguments: object) -> list[Any]:
        """The rows of one statement, which is a transaction of its own."""
        connection = await self._free.get()
        try:
            rows: list[Any] = await connection.prepared[name].fetch(*arguments)
        finally:
            self._free.put_nowait(connection)
        return rows

    async def execute(self, text: str) -> None:
        """Run a statement that is not prepared."""
        connection = await self._free.get()
        await connection.raw.execute(text)
        self._free.put_nowait(connection)

    async def aclose(self) -> None:
        """Close them, none being in use."""
        while not self._free.empty():
            await self._free.get_nowait().raw.close()


@asynccontextmanager
async def opened(place: Place) -> Opened:
    """See `Engine`."""
    url = place.lend()
    parameters = parameters_of(url, PORT)
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(library(url))
        pool = await stack.enter_async_context(_pool(url))
        core = await stack.enter_async_context(
            sqlalchemy_core("postgresql+asyncpg", parameters, CONNECTIONS)
        )
        others = await stack.enter_async_context(
            asyncpg.create_pool(min_size=CONNECTIONS, max_size=CONNECTIONS, **parameters)
        )
        yield [
            ours,
            Variant(
                "asyncpg",
                lambda name: PostgreSQLDocuments(pool, name),
                remark="statements prepared on each of 8 connections, which are not reset between",
            ),
            core,
            await stack.enter_async_context(postgresql_store(others)),
            *original(
                {
                    "Type": "SQLAlchemy",
                    "connectionString": "postgresql+psycopg://",
                    "create_engine_args": {
                        "connect_args": {
                            **{name: parameters[name] for name in ("host", "port", "user")},
                            "password": parameters["password"],
                            "dbname": parameters["database"],
                        },
                        "pool_size": CONNECTIONS,
                    },
                },
                needs="psycopg",
            ),
        ]


class PostgreSQLDocuments(Documents):
    """A collection in the library's own table."""

    def __init__(self, pool: Pool, name: str) -> None:
        self._pool = pool
        self._name = name

    async def get(self, key: str) -> Value:
        [row] = await self._pool.fetch("get", self._name, key)
        value: Value = msgspec.json.decode(row[0])
        return value

    async def put(self, key: str, value: Value) -> str | None:
        body = msgspec.json.encode(value).decode()
        version = PROCESS_CLOCK.next()
        await self._pool.fetch("put", self._name, key, body, version, PROCESS_CLOCK.now())
        return version

    async def replace(self, key: str, value: Value, version: str) -> str | None:
        body = msgspec.json.encode(value).decode()
        new = PROCESS_CLOCK.next()
        rows = await self._pool.fetch(
            "replace", self._name, key, body, new, PROCESS_CLOCK.now(), version
        )
        return new if rows else None

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, Value]:
        return dict(_pairs(await self._pool.fetch("get_many", self._name, keys)))

    async def page(self, prefix: str, size: int) -> Sequence[tuple[str, Value]]:
        end = end_of_prefix(prefix)
        return _pairs(await self._pool.fetch("page", self._name, prefix, end, size))

    async def scan(self, prefix: str) -> Sequence[tuple[str, Value]]:
        end = end_of_prefix(prefix)
        return _pairs(await self._pool.fetch("scan", self._name, prefix, end))

    async def find(self, text: str) -> Sequence[tuple[str, Value]]:
        return _pairs(await self._pool.fetch("find", self._name, text))

    async def index(self) -> None:
        await self._pool.execute(INDEX)

    async def settle(self) -> None:
        await self._pool.execute("VACUUM ANALYZE")


@asynccontextmanager
async def _pool(url: str) -> AsyncIterator[Pool]:
    pool = Pool()
    try:
        for _ in range(CONNECTIONS):
            await pool.connect(url)
        yield pool
    finally:
        await pool.aclose()


def _pairs(rows: Sequence[Any]) -> list[tuple[str, Value]]:
    return [(row[0], msgspec.json.decode(row[1])) for row in rows]
