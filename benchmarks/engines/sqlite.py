"""SQLite: beside aiosqlite with a commit for each write, and SQLAlchemy Core over it.

The same table and the same durability: WAL, which stands in the file, and `synchronous = FULL`,
which is SQLite's own default. One connection of aiosqlite's, which has a thread for each: SQLite
has one writer anyway. A lock keeps each write a transaction of its own: without it whoever commits
commits what others have begun, and whoever rolls back takes theirs along.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiosqlite
from sqlalchemy.dialects.sqlite import insert

from aiostore import open_store
from benchmarks.documents import Documents, Value
from benchmarks.engines.core import core
from benchmarks.engines.ours import fill, ours
from benchmarks.engines.rows import COLUMNS, decode, new_version, row
from benchmarks.variants import COLLECTION, COUNTRY, Place, Variant

NAME = "SQLite"
NEEDS: str | None = None

_PREFIX = "aiostore_"
_TABLE = f"{_PREFIX}documents"
_HERE = f"FROM {_TABLE} WHERE collection = '{COLLECTION}'"
_DURABLE = "PRAGMA synchronous = FULL"
_CHANGES = ", ".join(
    f"{name} = excluded.{name}" for name in COLUMNS.split(", ") if name not in {"collection", "key"}
)
_PUT = (
    f"INSERT INTO {_TABLE} ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
    f"ON CONFLICT (collection, key) DO UPDATE SET {_CHANGES}"
)


@asynccontextmanager
async def variants(place: Place, documents: Documents) -> AsyncIterator[Sequence[Variant]]:
    """See `Engine`."""
    raw, by_core = place.folder / "raw.db", place.folder / "core.db"
    for path in (raw, by_core):
        async with open_store(f"sqlite:///{path}") as store:
            await fill(store, documents)
    async with AsyncExitStack() as running:
        store = open_store(f"sqlite:///{place.folder / 'ours.db'}")
        yield [
            await running.enter_async_context(ours(store, documents)),
            await running.enter_async_context(_aiosqlite(raw)),
            await running.enter_async_context(
                core(f"sqlite+aiosqlite:///{by_core}", insert, _PREFIX)
            ),
        ]


class _Aiosqlite:
    """One connection."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._transaction = asyncio.Lock()
        self._versions: dict[str, str] = {}

    async def get(self, key: str) -> Value:
        """The value."""
        statement = f"SELECT {COLUMNS} {_HERE} AND key = ?"
        async with self._connection.execute(statement, (key,)) as cursor:
            found = await cursor.fetchone()
        if found is None:
            raise KeyError(key)
        self._versions[key] = found[3]
        return decode(found[2])

    async def put(self, key: str, value: Value) -> None:
        """An upsert."""
        version = new_version()
        async with self._transaction:
            await self._connection.execute(_PUT, row(key, value, version))
            await self._connection.commit()
        self._versions[key] = version

    async def replace(self, key: str, value: Value) -> bool:
        """An update of the version that is known."""
        if key not in self._versions:
            await self.get(key)
        version = new_version()
        _, _, body, _, _, _, updated_at, _ = row(key, value, version)
        async with self._transaction:
            cursor = await self._connection.execute(
                f"UPDATE {_TABLE} SET body = ?, version = ?, updated_at = ? "
                f"WHERE collection = '{COLLECTION}' AND key = ? AND version = ?",
                (body, version, updated_at, key, self._versions[key]),
            )
            await self._connection.commit()
        self._versions[key] = version
        return cursor.rowcount == 1

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, Value]:
        """One query."""
        marks = ", ".join("?" * len(keys))
        statement = f"SELECT {COLUMNS} {_HERE} AND key IN ({marks})"
        async with self._connection.execute(statement, tuple(keys)) as cursor:
            return {one[1]: decode(one[2]) for one in await cursor.fetchall()}

    async def page(self, after: str, size: int) -> Sequence[str]:
        """By a range of keys."""
        statement = f"SELECT {COLUMNS} {_HERE} AND key > ? ORDER BY key LIMIT ?"
        async with self._connection.execute(statement, (after, size)) as cursor:
            found = [(one[1], decode(one[2])) for one in await cursor.fetchall()]
        return [key for key, _ in found]

    async def scan(self) -> int:
        """All, in chunks."""
        statement = f"SELECT {COLUMNS} {_HERE} ORDER BY key"
        number = 0
        async with self._connection.execute(statement) as cursor:
            while rows := list(await cursor.fetchmany(500)):
                number += len([decode(one[2]) for one in rows])
        return number

    async def find(self) -> int:
        """By a field of the JSON."""
        statement = f"SELECT {COLUMNS} {_HERE} AND body ->> '$.country' = ? ORDER BY key"
        async with self._connection.execute(statement, (COUNTRY,)) as cursor:
            return len([decode(one[2]) for one in await cursor.fetchall()])


@asynccontextmanager
async def _aiosqlite(path: Path) -> AsyncIterator[Variant]:
    async with aiosqlite.connect(path) as connection:
        await connection.execute(_DURABLE)
        raw = _Aiosqlite(connection)
        yield Variant(
            name="aiosqlite",
            get=raw.get,
            put=raw.put,
            replace=raw.replace,
            get_many=raw.get_many,
            page=raw.page,
            scan=raw.scan,
            find=raw.find,
        )
