"""The variant of SQLAlchemy Core: one statement an operation, on an engine with its usual pool."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from sqlalchemy import URL, Table, select, update
from sqlalchemy.ext.asyncio import create_async_engine

from aiostore.adaptors.sql._tables import tables
from benchmarks.documents import Value
from benchmarks.variants import COLLECTION, Variant


@asynccontextmanager
async def core(url: str | URL, insert: Any, prefix: str, **options: Any) -> AsyncIterator[Variant]:
    """Over the table of that prefix, which holds the documents.

    Args:
        url: the database, as SQLAlchemy writes it.
        insert: the dialect's `insert`, which can upsert.
        prefix: of the table's name.
        options: of the engine.
    """
    table: Table = tables(prefix).documents
    columns = table.c
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(dict).decode
    engine = create_async_engine(url, **options)
    versions: dict[str, str] = {}
    number = 0

    def row(key: str, value: Value) -> dict[str, Any]:
        nonlocal number
        number += 1
        now = time.time_ns() // 1000
        version = f"{number:032x}"
        body = encode(value).decode()
        return {
            "collection": COLLECTION,
            "key": key,
            "body": body,
            "version": version,
            "mark": "live",
            "created_at": now,
            "updated_at": now,
            "expires_at": None,
        }

    async def get(key: str) -> Value:
        wanted = select(table).where(columns.collection == COLLECTION, columns.key == key)
        async with engine.connect() as connection:
            found = (await connection.execute(wanted)).one()
        versions[key] = found.version
        return decode(found.body)

    async def put(key: str, value: Value) -> None:
        new = row(key, value)
        statement = insert(table).values(new)
        changed = {name: new[name] for name in new if name not in {"collection", "key"}}
        statement = statement.on_conflict_do_update(
            index_elements=[columns.collection, columns.key], set_=changed
        )
        async with engine.begin() as connection:
            await connection.execute(statement)
        versions[key] = new["version"]

    async def replace(key: str, value: Value) -> bool:
        if key not in versions:
            await get(key)
        new = row(key, value)
        del new["created_at"]
        statement = (
            update(table)
            .where(
                columns.collection == COLLECTION,
                columns.key == key,
                columns.version == versions[key],
            )
            .values(new)
        )
        async with engine.begin() as connection:
            result = await connection.execute(statement)
        versions[key] = new["version"]
        return result.rowcount == 1

    try:
        yield Variant(name="SQLAlchemy Core", get=get, put=put, replace=replace)
    finally:
        await engine.dispose()
