"""What clients of a service feel of a backfill that is held back by the operator's limit.

They read and write at a pace of their own on a migration from PostgreSQL to PostgreSQL, by turns
with a backfill and without.
"""

import asyncio
import random
import time
from contextlib import suppress

from aiostore import open_store
from aiostore.collection import Collection
from aiostore.migration import MigrationAdaptor, backfill
from benchmarks.documents import Value, key_of
from benchmarks.figures import Figure, figure
from benchmarks.migration.settings import MigrationSettings
from benchmarks.migration.stores import Watch, document, documents_of, fill, migrating
from benchmarks.operations import WrongAnswerError
from benchmarks.running import Say
from benchmarks.variants import Place

GOAL = 1.5

_CLIENTS = 16
_PAUSE = 0.02  # seconds between two requests of a client, on average
_WRITES = 0.2


async def service(place: Place, settings: MigrationSettings, say: Say) -> list[Figure]:
    """The p99 of requests with a backfill by the p99 without.

    Raises:
        WrongAnswerError: a client read what is not there.
    """
    current, target = place.lend(), place.lend()
    say(f"migration: a service during a backfill, {settings.served} documents")
    async with open_store(current) as store:
        await fill(store, settings.served)
    quiet: list[float] = []
    busy: list[float] = []
    async with migrating(current, target) as (store, migration):
        await migration.control.limit(documents_per_second=settings.copied_a_second)
        documents = documents_of(store)
        await _watched(documents, settings)  # warms up
        for _ in range(settings.spells):
            quiet.append(_p99(await _watched(documents, settings)))
            busy.append(_p99(await _during_a_backfill(documents, migration, settings)))
    ratios = [after / before for before, after in zip(quiet, busy, strict=True)]
    return [
        figure("service p99 without a backfill", quiet, "ms"),
        figure("service p99 during a throttled backfill", busy, "ms"),
        figure("service p99 during / without", ratios, "of the time", GOAL, at_least=False),
    ]


async def _during_a_backfill(
    documents: Collection[Value], migration: MigrationAdaptor, settings: MigrationSettings
) -> list[float]:
    copying = asyncio.create_task(backfill(migration))  # goes on where the last one was
    try:
        found = await _watched(documents, settings)
        if copying.done():
            raise WrongAnswerError("the backfill ended before the watch: give it more documents")
    finally:
        copying.cancel()
        with suppress(asyncio.CancelledError):
            await copying
    return found


async def _watched(documents: Collection[Value], settings: MigrationSettings) -> list[float]:
    latencies: list[float] = []
    watch = Watch()

    async def client(chance: random.Random) -> None:
        while watch.seconds < settings.spell.total_seconds():
            await asyncio.sleep(chance.uniform(0, 2 * _PAUSE))
            number = chance.randrange(settings.served)
            key, value = key_of(number), document(number)
            asked = time.perf_counter()
            if chance.random() < _WRITES:
                await documents.put(key, value)
                latencies.append(time.perf_counter() - asked)
            else:
                found = await documents.get(key)
                latencies.append(time.perf_counter() - asked)
                if found.value != value:
                    raise WrongAnswerError(f"{key} is {found.value!r:.200}")

    async with asyncio.TaskGroup() as clients:
        for seed in range(_CLIENTS):
            clients.create_task(client(random.Random(seed)))  # noqa: S311  # no secret
    return latencies


def _p99(latencies: list[float]) -> float:
    return 1000 * sorted(latencies)[len(latencies) * 99 // 100]
