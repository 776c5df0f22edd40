"""Stores with documents in them, and the migration between two."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiostore import open_store
from aiostore.collection import Collection
from aiostore.migration import MigrationAdaptor
from aiostore.store import Store
from benchmarks.documents import Value, key_of, value_of
from benchmarks.goals import SIZE

COLLECTION = "airports"

_AT_ONCE = 1000


async def fill(store: Store, count: int) -> None:
    """Put the first so many documents of 1 KB."""
    collection = documents_of(store)
    for first in range(0, count, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, count))
        await collection.put_many({key_of(each): document(each) for each in numbers})


def document(number: int) -> Value:
    """What `fill` puts."""
    return value_of(number, 1024 * SIZE)


def documents_of(store: Store) -> Collection[Value]:
    """The collection that `fill` fills."""
    return store.collection(COLLECTION)


@asynccontextmanager
async def migrating(current: str, target: str) -> AsyncIterator[tuple[Store, MigrationAdaptor]]:
    """A migration between the stores of two URLs, in the phase `dual-write`."""
    async with open_store(
        {"current": current, "target": target, "migration": "benchmark"}
    ) as store:
        migration = MigrationAdaptor.of(store)
        await migration.connected.wait()
        yield store, migration


class Watch:
    """How many seconds have passed."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.perf_counter() - self._began
