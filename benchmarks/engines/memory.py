"""In this process's memory: beside py-key-value-aio's memory and aiocache's.

aiocache's is given JSON text, as a cache of several processes would be; without a serializer it
hands out the very object that it was given, for everybody to change.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
from aiocache import SimpleMemoryCache
from key_value.aio.stores.memory import MemoryStore

from aiostore import open_store
from benchmarks.documents import Documents, Value
from benchmarks.engines.ours import ours
from benchmarks.engines.py_key_value import py_key_value
from benchmarks.variants import Place, Variant

NAME = "memory"
NEEDS: str | None = None


@asynccontextmanager
async def variants(_: Place, documents: Documents) -> AsyncIterator[Sequence[Variant]]:
    """See `Engine`."""
    async with ours(open_store("memory://"), documents) as first:
        yield [
            first,
            await py_key_value(MemoryStore(), documents),
            await _aiocache(documents),
        ]


async def _aiocache(documents: Documents) -> Variant:
    cache = SimpleMemoryCache()
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(dict).decode
    for key, value in documents.items():
        await cache.set(key, encode(value))

    async def get(key: str) -> Value:
        return decode(await cache.get(key))

    async def put(key: str, value: Value) -> None:
        await cache.set(key, encode(value))

    return Variant(name="aiocache", get=get, put=put)
