"""Memory: the library, a plain dict of encoded documents, py-key-value, aiocache, the original."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
from aiocache import SimpleMemoryCache

from benchmarks.documents import Value
from benchmarks.key_value import memory_store
from benchmarks.library import library
from benchmarks.original import original
from benchmarks.variants import Documents, Opened, Place, Variant

NAME = "memory"
TITLE = "memory"
DURABLE = False
LEFT_OUT: Mapping[str, str] = {}
DISTRIBUTIONS: Sequence[str] = (
    "msgspec",
    "py-key-value-aio",
    "aiocache",
    "object-store-abstraction",
)


@asynccontextmanager
async def opened(place: Place) -> Opened:
    """See `Engine`."""
    del place
    async with AsyncExitStack() as stack:
        cache = SimpleMemoryCache()
        bodies: dict[str, bytes] = {}
        yield [
            await stack.enter_async_context(library("memory://")),
            await stack.enter_async_context(memory_store()),
            Variant(
                "aiocache",
                lambda name: CachedDocuments(cache, name),
                home="aiocache",
                remark="keeps and hands out the caller's own object, encodes nothing",
            ),
            Variant(
                "dict",
                lambda name: DictDocuments(bodies, name),
                home="dict",
                remark="a plain dict and msgspec, in coroutines that never wait",
            ),
            *original({"Type": "Memory"}),
        ]


class CachedDocuments(Documents):
    """aiocache's own memory, without a serializer, as it comes."""

    def __init__(self, cache: SimpleMemoryCache, name: str) -> None:
        self._cache = cache
        self._name = name

    async def get(self, key: str) -> Value:
        value: Value = await self._cache.get(key, namespace=self._name)
        return value

    async def put(self, key: str, value: Value) -> str | None:
        await self._cache.set(key, value, namespace=self._name)
        return None

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, Value]:
        values = await self._cache.multi_get(keys, namespace=self._name)
        return dict(zip(keys, values, strict=True))

    async def fill(self, values: Mapping[str, Value]) -> Mapping[str, str | None]:
        await self._cache.multi_set(list(values.items()), namespace=self._name)
        return dict.fromkeys(values)


class DictDocuments(Documents):
    """Encoded and decoded, so that callers have values of their own; and nothing else."""

    def __init__(self, bodies: dict[str, bytes], name: str) -> None:
        self._bodies = bodies
        self._name = name

    async def get(self, key: str) -> Value:
        value: Value = msgspec.json.decode(self._bodies[self._name + key])
        return value

    async def put(self, key: str, value: Value) -> str | None:
        self._bodies[self._name + key] = msgspec.json.encode(value)
        return None

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, Value]:
        return {key: msgspec.json.decode(self._bodies[self._name + key]) for key in keys}

    async def fill(self, values: Mapping[str, Value]) -> Mapping[str, str | None]:
        for key, value in values.items():
            await self.put(key, value)
        return dict.fromkeys(values)
