"""This library, on whichever store a URL names."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from aiostore import F, open_store
from aiostore.collection import Collection
from aiostore.errors import ConflictError
from aiostore.store import Store
from benchmarks.documents import FIELD, FINDING, Value
from benchmarks.variants import LIBRARY, Documents, Variant


class LibraryDocuments(Documents):
    """A collection of the library's."""

    def __init__(self, collection: Collection[Value]) -> None:
        self._collection = collection

    async def get(self, key: str) -> Value:
        return (await self._collection.get(key)).value

    async def put(self, key: str, value: Value) -> str | None:
        return (await self._collection.put(key, value)).version

    async def replace(self, key: str, value: Value, version: str) -> str | None:
        try:
            return (await self._collection.replace(key, value, version=version)).version
        except ConflictError:
            return None

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, Value]:
        found = await self._collection.get_many(keys)
        return {key: document.value for key, document in found.items()}

    async def page(self, prefix: str, size: int) -> Sequence[tuple[str, Value]]:
        page = await self._collection.page(prefix=prefix, size=size)
        return [(document.key, document.value) for document in page.documents]

    async def scan(self, prefix: str) -> Sequence[tuple[str, Value]]:
        scanned = self._collection.scan(prefix=prefix)
        return [(document.key, document.value) async for document in scanned]

    async def find(self, text: str) -> Sequence[tuple[str, Value]]:
        found = self._collection.find(getattr(F, FIELD) == text)
        return [(document.key, document.value) async for document in found]

    async def fill(self, values: Mapping[str, Value]) -> Mapping[str, str | None]:
        stored = await self._collection.put_many(values)
        return {key: document.version for key, document in stored.items()}

    async def index(self) -> None:
        await self._collection.ensure_indexes()


@asynccontextmanager
async def library(url: str) -> AsyncIterator[Variant]:
    """The library on the store at a URL."""
    async with open_store(url) as store:
        yield Variant(LIBRARY, lambda name: LibraryDocuments(_collection(store, name)))


def _collection(store: Store, name: str) -> Collection[Value]:
    # One that nothing is found in has no index, as its rivals have none there.
    return store.collection(name, indexes=[FIELD] if name == FINDING else [])
