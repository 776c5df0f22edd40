"""PostgreSQL: beside asyncpg with prepared statements, SQLAlchemy Core and py-key-value-aio.

All use the same server; the first two the same table as aiostore. asyncpg is used as well as it can
be by hand: eight connections that are not given back, every statement prepared on each, and no
reset between two operations.
"""

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import asyncpg
from key_value.aio.stores.postgresql import PostgreSQLStore
from sqlalchemy import make_url
from sqlalchemy.dialects.postgresql import insert

from aiostore import open_store
from benchmarks.documents import Documents, Value
from benchmarks.engines.core import core
from benchmarks.engines.ours import fill, ours
from benchmarks.engines.py_key_value import py_key_value
from benchmarks.engines.rows import COLUMNS, decode, new_version, row
from benchmarks.variants import COLLECTION, COUNTRY, Place, Variant

NAME = "PostgreSQL"
NEEDS: str | None = "postgresql"

R = TypeVar("R")

_CONNECTIONS = 8
_CORE = "core_"
_HERE = f"SELECT {COLUMNS} FROM raw_documents WHERE collection = '{COLLECTION}'"
_CHANGES = ", ".join(
    f"{name} = excluded.{name}" for name in COLUMNS.split(", ") if name not in {"collection", "key"}
)
_STATEMENTS = {
    "get": f"{_HERE} AND key = $1",
    "put": f"INSERT INTO raw_documents ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
    f"ON CONFLICT (collection, key) DO UPDATE SET {_CHANGES}",
    "replace": "UPDATE raw_documents SET body = $1, version = $2, updated_at = $3 "
    f"WHERE collection = '{COLLECTION}' AND key = $4 AND version = $5 RETURNING created_at",
    "get_many": f"{_HERE} AND key = ANY($1::text[])",
    "page": f"{_HERE} AND key > $1 ORDER BY key LIMIT $2",
    "find": f"{_HERE} AND body::jsonb ->> 'country' = $1 ORDER BY key",
}


@asynccontextmanager
async def variants(place: Place, documents: Documents) -> AsyncIterator[Sequence[Variant]]:
    """See `Engine`."""
    url = place.servers["postgresql"]
    for prefix in ("raw_", _CORE):
        async with open_store(f"{url}?prefix={prefix}") as store:
            await fill(store, documents)
    pool_size = {"pool_size": _CONNECTIONS, "max_overflow": 0}
    async with AsyncExitStack() as running:
        core_url = make_url(url).set(drivername="postgresql+asyncpg")
        yield [
            await running.enter_async_context(ours(open_store(url), documents)),
            await running.enter_async_context(_asyncpg(url)),
            await running.enter_async_context(core(core_url, insert, _CORE, **pool_size)),
            await py_key_value(await running.enter_async_context(_relative(url)), documents),
        ]


def _relative(url: str) -> PostgreSQLStore:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that its stored shape may change one day
        return PostgreSQLStore(url=url)


class _Pool:
    """Connections with all statements prepared, each lent to one operation at a time."""

    def __init__(self) -> None:
        self._free: asyncio.LifoQueue[Mapping[str, Any]] = asyncio.LifoQueue()
        self.connections: list[asyncpg.Connection] = []

    async def add(self, connection: asyncpg.Connection) -> None:
        prepared = {name: await connection.prepare(text) for name, text in _STATEMENTS.items()}
        self.connections.append(connection)
        self._free.put_nowait(prepared)

    async def use(self, statement: str, call: Callable[[Any], Awaitable[R]]) -> R:
        prepared = await self._free.get()
        try:
            return await call(prepared[statement])
        finally:
            self._free.put_nowait(prepared)


class _Asyncpg:
    """Its connections, each lent to one operation at a time."""

    def __init__(self, pool: _Pool) -> None:
        self._pool = pool
        self._versions: dict[str, str] = {}

    async def get(self, key: str) -> Value:
        """The value."""
        found = await self._pool.use("get", lambda statement: statement.fetchrow(key))
        self._versions[key] = found[3]
        return decode(found[2])

    async def put(self, key: str, value: Value) -> None:
        """An upsert."""
        version = new_version()
        values = row(key, value, version)
        await self._pool.use("put", lambda statement: statement.fetch(*values))
        self._versions[key] = version

    async def replace(self, key: str, value: Value) -> bool:
        """An update of the version that is known."""
        if key not in self._versions:
            await self.get(key)
        version, known = new_version(), self._versions[key]
        _, _, body, _, _, _, updated_at, _ = row(key, value, version)
        found = await self._pool.use(
            "replace",
            lambda statement: statement.fetchrow(body, version, updated_at, key, known),
        )
        self._versions[key] = version
        return found is not None

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, Value]:
        """One query."""
        rows = await self._pool.use("get_many", lambda statement: statement.fetch(keys))
        return {one[1]: decode(one[2]) for one in rows}

    async def page(self, after: str, size: int) -> Sequence[str]:
        """By a range of keys."""
        rows = await self._pool.use("page", lambda statement: statement.fetch(after, size))
        found = [(one[1], decode(one[2])) for one in rows]
        return [key for key, _ in found]

    async def scan(self) -> int:
        """All, in chunks."""
        number = 0
        connection = self._pool.connections[0]
        async with connection.transaction():
            async for one in connection.cursor(f"{_HERE} ORDER BY key", prefetch=500):
                decode(one[2])
                number += 1
        return number

    async def find(self) -> int:
        """By a field of the JSON."""
        rows = await self._pool.use("find", lambda statement: statement.fetch(COUNTRY))
        return len([decode(one[2]) for one in rows])


@asynccontextmanager
async def _asyncpg(url: str) -> AsyncIterator[Variant]:
    pool = _Pool()
    try:
        for _ in range(_CONNECTIONS):
            await pool.add(await asyncpg.connect(url))
        raw = _Asyncpg(pool)
        yield Variant(
            name="asyncpg",
            get=raw.get,
            put=raw.put,
            replace=raw.replace,
            get_many=raw.get_many,
            page=raw.page,
            scan=raw.scan,
            find=raw.find,
        )
    finally:
        for connection in pool.connections:
            await connection.close()
