"""What a write to two slow stores takes, beside a write to the slower one alone."""

import asyncio
from contextlib import AsyncExitStack
from itertools import count

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.migration import MigrationAdaptor
from aiostore.opening import open_adaptor
from aiostore.protocols import Adaptor
from aiostore.store import Store
from aiostore.testing import Faults, FaultyAdaptor
from benchmarks.documents import Content
from benchmarks.figures import Figure, figure
from benchmarks.goals import SIZE
from benchmarks.library import LibraryDocuments
from benchmarks.measuring import Case, compare
from benchmarks.migration.settings import MigrationSettings
from benchmarks.migration.stores import COLLECTION
from benchmarks.running import Say
from benchmarks.variants import Documents, Place

GOAL = 1.1

TASKS = (1, 16)

_DOCUMENTS = 1000
_HALF = 0.001  # seconds: before each call, and again after it


async def dual_write(place: Place, settings: MigrationSettings, say: Say) -> list[Figure]:
    """The ratio of the times, between stores in memory and between real ones, each 2 ms away."""
    folder, numbers = place.folder, count()

    def memory() -> list[Adaptor]:
        return [MemoryAdaptor("current"), MemoryAdaptor("target")]

    def real() -> list[Adaptor]:
        path = folder / f"dual-{next(numbers)}.db"
        return [open_adaptor(f"sqlite:///{path}"), open_adaptor(place.lend())]

    figures = []
    for name, make in (("memory", memory), ("SQLite and PostgreSQL", real)):
        async with AsyncExitStack() as stack:
            current, target = map(_slow, make())
            both = MigrationAdaptor(*map(_slow, make()), name="benchmark")
            taking = {}
            for variant, adaptor in (("both", both), ("current", current), ("target", target)):
                store = await stack.enter_async_context(Store(adaptor))
                taking[variant] = await _filled(store)
            await both.connected.wait()
            for tasks in TASKS:
                say(f"migration: dual write, {name}, {tasks} tasks")
                case = Case("migration", "put", SIZE, tasks)
                found = {
                    each.variant: each.rates for each in await compare(case, taking, settings.pace)
                }
                ratios = [
                    min(alone) / dual
                    for dual, *alone in zip(
                        found["both"], found["current"], found["target"], strict=True
                    )
                ]
                title = f"dual write / the slower store alone, {name}, {tasks} tasks"
                figures.append(figure(title, ratios, "of the time", GOAL, at_least=False))
    return figures


def _slow(adaptor: Adaptor) -> Adaptor:
    return FaultyAdaptor(adaptor, Faults(pauses=(1,), wait=_wait))


async def _wait(pauses: int) -> None:
    await asyncio.sleep(pauses * _HALF)


async def _filled(store: Store) -> tuple[Documents, Content]:
    content = Content(COLLECTION, 1024 * SIZE, _DOCUMENTS)
    documents = LibraryDocuments(store.collection(COLLECTION))
    values = {key: content.value(number, 0) for number, key in enumerate(content.keys)}
    for key, version in (await documents.fill(values)).items():
        content.accept(key, 0, version)
    return documents, content
