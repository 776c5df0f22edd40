"""SQLAlchemy Core, by its asyncio side: a connection and a transaction for each operation.

As its documentation has it; the statements are made once, so its cache finds them compiled.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, MetaData, String, Table, Text, bindparam, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from aiostore.keys import end_of_prefix
from aiostore.versions import PROCESS_CLOCK
from benchmarks.documents import Value
from benchmarks.variants import Documents, Variant

DOCUMENTS = Table(
    "aiostore_documents",
    MetaData(),
    Column("collection", String(64), primary_key=True),
    Column("key", String(512), primary_key=True),
    Column("body", Text),
    Column("version", String(32)),
    Column("mark", String(16)),
    Column("created_at", BigInteger),
    Column("updated_at", BigInteger),
    Column("expires_at", BigInteger),
)

_ROW = DOCUMENTS.c
_IN_COLLECTION = _ROW.collection == bindparam("of")
_HERE = (_IN_COLLECTION, _ROW.key == bindparam("at"))
_SOME = select(_ROW.key, _ROW.body, _ROW.version).where(_IN_COLLECTION)
_BETWEEN = _SOME.where(_ROW.key >= bindparam("first"), _ROW.key < bindparam("end")).order_by(
    _ROW.key
)

GET = select(_ROW.body, _ROW.version).where(*_HERE)
GET_MANY = _SOME.where(_ROW.key.in_(bindparam("keys", expanding=True)))
PAGE = _BETWEEN.limit(bindparam("size"))
SCAN = _BETWEEN
REPLACE = update(DOCUMENTS).where(*_HERE, _ROW.version == bindparam("expected"))
_INSERTS = {"postgresql": postgresql_insert, "sqlite": sqlite_insert}


@asynccontextmanager
async def sqlalchemy_core(
    driver: str, parameters: Mapping[str, Any], connections: int
) -> AsyncIterator[Variant]:
    """On the library's own table.

    Args:
        driver: of the dialect, as in `postgresql+asyncpg`.
        parameters: what the driver connects with, or `database` alone.
        connections: most of them.
    """
    database = parameters["database"]
    connect = {name: value for name, value in parameters.items() if name != "database"}
    engine = create_async_engine(
        URL.create(driver, database=database),
        connect_args=connect,
        pool_size=connections,
        max_overflow=0,
    )
    try:
        yield Variant(
            "SQLAlchemy",
            lambda name: CoreDocuments(engine, name),
            remark="Core, a connection of the pool and a transaction for each operation",
        )
    finally:
        await engine.dispose()


class CoreDocuments(Documents):
    """A collection in the library's own table."""

    def __init__(self, engine: AsyncEngine, name: str) -> None:
        self._engine = engine
        self._name = name
        insert: Any = _INSERTS[engine.dialect.name](DOCUMENTS)
        written = ("body", "version", "created_at", "updated_at", "expires_at")
        self._upsert = insert.on_conflict_do_update(
            index_elements=["collection", "key"],
            set_={name: insert.excluded[name] for name in written},
        )

    async def get(self, key: str) -> Value:
        async with self._engine.connect() as connection:
            result = await connection.execute(GET, {"of": self._name, "at": key})
            value: Value = msgspec.json.decode(result.one()[0])
            return value

    async def put(self, key: str, value: Value) -> str | None:
        version, now = PROCESS_CLOCK.next(), PROCESS_CLOCK.now()
        row = {
            "collection": self._name,
            "key": key,
            "body": msgspec.json.encode(value).decode(),
            "version": version,
            "mark": "live",
            "created_at": now,
            "updated_at": now,
            "expires_at": None,
        }
        async with self._engine.begin() as connection:
            await connection.execute(self._upsert, row)
        return version

    async def replace(self, key: str, value: Value, version: str) -> str | None:
        new = PROCESS_CLOCK.next()
        row = {
            "of": self._name,
            "at": key,
            "expected": version,
            "body": msgspec.json.encode(value).decode(),
            "version": new,
            "updated_at": PROCESS_CLOCK.now(),
            "expires_at": None,
        }
        async with self._engine.begin() as connection:
            result = await connection.execute(REPLACE, row)
        return new if result.rowcount == 1 else None

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, Value]:
        return dict(await self._pairs(GET_MANY, {"keys": list(keys)}))

    async def page(self, prefix: str, size: int) -> Sequence[tuple[str, Value]]:
        bounds = {"first": prefix, "end": end_of_prefix(prefix), "size": size}
        return await self._pairs(PAGE, bounds)

    async def scan(self, prefix: str) -> Sequence[tuple[str, Value]]:
        return await self._pairs(SCAN, {"first": prefix, "end": end_of_prefix(prefix)})

    async def _pairs(self, statement: Any, values: Mapping[str, Any]) -> list[tuple[str, Value]]:
        async with self._engine.connect() as connection:
            result = await connection.execute(statement, {"of": self._name, **values})
            return [(row[0], msgspec.json.decode(row[1])) for row in result]
