"""`py-key-value-aio`: documents by collection and key, without versions."""

import warnings
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from key_value.aio.stores.base import BaseStore
from key_value.aio.stores.memory import MemoryStore
from key_value.aio.stores.postgresql import PostgreSQLStore

from benchmarks.documents import Value
from benchmarks.variants import Documents, Variant

KEY_VALUE = "py-key-value"


class KeyValueDocuments(Documents):
    """A collection of one of its stores."""

    def __init__(self, store: BaseStore, name: str) -> None:
        self._store = store
        self._name = name

    async def get(self, key: str) -> Value:
        value: Value | None = await self._store.get(key, collection=self._name)
        if value is None:
            raise KeyError(key)
        return value

    async def put(self, key: str, value: Value) -> str | None:
        await self._store.put(key, value, collection=self._name)
        return None

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, Value]:
        values = await self._store.get_many(keys, collection=self._name)
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}

    async def fill(self, values: Mapping[str, Value]) -> Mapping[str, str | None]:
        await self._store.put_many(list(values), list(values.values()), collection=self._name)
        return dict.fromkeys(values)


@asynccontextmanager
async def memory_store() -> AsyncIterator[Variant]:
    """Its store in memory."""
    store = MemoryStore()
    await store.setup()
    yield _variant(store)


@asynccontextmanager
async def postgresql_store(pool: Any) -> AsyncIterator[Variant]:
    """Its store in PostgreSQL, in a table of its own.

    Args:
        pool: asyncpg's, of as many connections as the others have.
    """
    with warnings.catch_warnings(category=UserWarning, action="ignore"):  # that it may change
        store = PostgreSQLStore(pool=pool)
    await store.setup()
    yield _variant(store)


def _variant(store: BaseStore) -> Variant:
    return Variant(
        KEY_VALUE,
        lambda name: KeyValueDocuments(store, name),
        home=KEY_VALUE,
        remark="as it comes: beartype checks its calls, unless PY_KEY_VALUE_DISABLE_BEARTYPE=1",
    )
