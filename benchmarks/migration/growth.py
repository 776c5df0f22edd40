"""Whether time for a document and memory stay as they are when documents are many.

From SQLite to PostgreSQL, both filled afresh with each number of documents.
"""

import asyncio
import gc
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from aiostore import open_store
from aiostore.collection import Collection
from aiostore.migration import MigrationAdaptor, backfill, verify
from benchmarks.documents import Value
from benchmarks.figures import Figure, figure
from benchmarks.migration.settings import MigrationSettings
from benchmarks.migration.stores import Watch, documents_of, fill, migrating
from benchmarks.operations import WrongAnswerError
from benchmarks.running import Say
from benchmarks.variants import Place

MOST_GROWTH = 1.2
MOST_MEMORY = 50.0

_PAGE = 500
_GLANCE = 0.05  # seconds between two looks at the memory


async def growth(place: Place, settings: MigrationSettings, say: Say) -> list[Figure]:
    """Microseconds for a document, how they grow from the least number on, and memory.

    Raises:
        WrongAnswerError: documents were left out.
    """
    seen = Seen()
    for count in settings.growth:
        say(f"migration: growth, {count} documents")
        current = f"sqlite:///{place.folder}/growth-{count}.db"
        async with open_store(current) as store:
            await fill(store, count)
            await seen.step("scan", count, partial(_scanned, documents_of(store)))
            await seen.step("page", count, partial(_paged, documents_of(store)))
        async with migrating(current, place.lend()) as (_, migration):
            await seen.step("backfill", count, partial(backfill, migration))
            await seen.step("verify", count, partial(_compared, migration))
    figures = []
    few, many = settings.growth[0], settings.growth[-1]
    for name, times in seen.times.items():
        figures += [
            figure(f"{name}, {count} documents", [time], "µs a document")
            for count, time in zip(settings.growth, times, strict=True)
        ]
        grown = f"{name}: {many} documents / {few}"
        growths = [times[-1] / times[0]]
        figures.append(figure(grown, growths, "of the time", MOST_GROWTH, at_least=False))
        memory = f"{name}: memory above idle"
        figures.append(figure(memory, seen.memory[name][-1:], "MB", MOST_MEMORY, at_least=False))
    return figures


class Seen:
    """What steps have taken.

    Attributes:
        times: by the step's name, for each number of documents microseconds a document.
        memory: likewise megabytes above those at the step's beginning, at most.
    """

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)
        self.memory: dict[str, list[float]] = defaultdict(list)

    async def step(self, name: str, count: int, work: Callable[[], Awaitable[int]]) -> None:
        """Do it, and see to it that it has gone through so many documents."""
        gc.collect()
        idle = most = _megabytes()

        async def look() -> None:
            nonlocal most
            while True:
                most = max(most, _megabytes())
                await asyncio.sleep(_GLANCE)

        looking = asyncio.create_task(look())
        watch = Watch()
        try:
            done = await work()
        finally:
            seconds = watch.seconds
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
        if done != count:
            raise WrongAnswerError(f"{name} went through {done} documents of {count}")
        most = max(most, _megabytes())
        self.times[name].append(1_000_000 * seconds / count)
        self.memory[name].append(most - idle)


def _megabytes() -> float:
    """Of this process's memory that is in use; Linux tells."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def _scanned(documents: Collection[Value]) -> int:
    number = 0
    async for _ in documents.scan():
        number += 1
    return number


async def _paged(documents: Collection[Value]) -> int:
    number, cursor = 0, None
    while True:
        page = await documents.page(size=_PAGE, cursor=cursor)
        number += len(page.documents)
        cursor = page.next_cursor
        if cursor is None:
            return number


async def _compared(migration: MigrationAdaptor) -> int:
    found = await verify(migration)
    if not found.clean:
        raise WrongAnswerError(f"the stores differ: {found}")
    return found.compared
