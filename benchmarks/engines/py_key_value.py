"""The variant of py-key-value-aio, the closest relative, over any of its stores."""

from typing import Any

from benchmarks.documents import Documents, Value
from benchmarks.variants import COLLECTION, Variant


async def py_key_value(store: Any, documents: Documents) -> Variant:
    """A store that holds the documents; it has no versions, so no compare-and-set."""
    for key, value in documents.items():
        await store.put(key, value, collection=COLLECTION)

    async def get(key: str) -> Value:
        value: Value = await store.get(key, collection=COLLECTION)
        return value

    async def put(key: str, value: Value) -> None:
        await store.put(key, value, collection=COLLECTION)

    return Variant(name="py-key-value-aio", get=get, put=put)
