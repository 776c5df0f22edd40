"""aiostore's variant, the same on every engine."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import aiostore
from aiostore import F
from benchmarks.documents import Documents, Value
from benchmarks.variants import COLLECTION, COUNTRY, OURS, Variant

_CHUNK = 1000


@asynccontextmanager
async def ours(store: aiostore.Store, documents: Documents) -> AsyncIterator[Variant]:
    """A store that holds the documents, as a service uses it."""
    async with store:
        await fill(store, documents)
        collection = store.collection(COLLECTION)
        versions = {one.key: one.version async for one in collection.scan()}

        async def get(key: str) -> Value:
            return (await collection.get(key)).value

        async def replace(key: str, value: Value) -> bool:
            versions[key] = (await collection.replace(key, value, version=versions[key])).version
            return True  # or it has raised

        async def put(key: str, value: Value) -> None:
            versions[key] = (await collection.put(key, value)).version

        async def get_many(keys: Sequence[str]) -> Mapping[str, Value]:
            return {key: one.value for key, one in (await collection.get_many(keys)).items()}

        async def page(after: str, size: int) -> Sequence[str]:
            keys: list[str] = []
            async for one in collection.scan(start_after=after):
                keys.append(one.key)
                if len(keys) == size:
                    break
            return keys

        async def scan() -> int:
            return sum([1 async for _ in collection.scan()])

        async def find() -> int:
            return sum([1 async for _ in collection.find(F.country == COUNTRY)])

        yield Variant(
            name=OURS,
            get=get,
            put=put,
            replace=replace,
            get_many=get_many,
            page=page,
            scan=scan,
            find=find,
        )


async def fill(store: aiostore.Store, documents: Documents) -> None:
    """Put all documents into a store that is open."""
    collection, keys = store.collection(COLLECTION), list(documents)
    for start in range(0, len(keys), _CHUNK):
        some = keys[start : start + _CHUNK]
        await collection.put_many({key: documents[key] for key in some})
