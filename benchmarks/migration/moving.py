"""How fast documents are copied, compared and handed off, by one process."""

import random

from aiostore import open_store
from aiostore.migration import Phase, advance, backfill, finish, hand_off, verify
from aiostore.store import Store
from benchmarks.documents import key_of
from benchmarks.figures import Figure, figure
from benchmarks.migration.settings import MigrationSettings
from benchmarks.migration.stores import Watch, document, documents_of, fill, migrating
from benchmarks.operations import WrongAnswerError
from benchmarks.running import Say
from benchmarks.variants import Place

GOALS = {"backfill": 10_000.0, "verify": 50_000.0, "hand-off": 5000.0}
"""Documents a second."""

_LOOKED_AT = 100


async def moving(place: Place, settings: MigrationSettings, say: Say) -> list[Figure]:
    """Move documents of 1 KB from SQLite, and from PostgreSQL, to PostgreSQL.

    Raises:
        WrongAnswerError: the target is not what the source was.
    """
    figures = []
    for source in ("SQLite", "PostgreSQL"):
        rates: dict[str, list[float]] = {name: [] for name in GOALS}
        for move in range(settings.moves):
            say(f"migration: {source} to PostgreSQL, {settings.moved} documents")
            current = place.lend()
            if source == "SQLite":
                current = f"sqlite:///{place.folder}/moved-{move}.db"
            for name, seconds in (await _move(current, place.lend(), settings.moved)).items():
                rates[name].append(settings.moved / seconds)
        figures += [
            figure(f"{name} {source} → PostgreSQL", rates[name], "documents/s", goal)
            for name, goal in GOALS.items()
        ]
    return figures


async def _move(current: str, target: str, count: int) -> dict[str, float]:
    """The seconds that each step takes."""
    taken = {}
    async with open_store(current) as store:
        await fill(store, count)
    async with migrating(current, target) as (_, migration):
        watch = Watch()
        copied = await backfill(migration)
        taken["backfill"] = watch.seconds
        watch = Watch()
        found = await verify(migration)
        taken["verify"] = watch.seconds
        await migration.drain()
        await advance(migration, Phase.HANDOFF)
        watch = Watch()
        handed_off = await hand_off(migration)
        taken["hand-off"] = watch.seconds
        if not found.clean or {copied, found.compared, handed_off} != {count}:
            raise WrongAnswerError(f"of {count}: {copied} copied, {handed_off} handed off, {found}")
        await finish(migration)
    async with open_store(target) as store:
        await _check(store, count)
    return taken


async def _check(store: Store, count: int) -> None:
    documents = documents_of(store)
    if await documents.count() != count:
        raise WrongAnswerError(f"{await documents.count()} documents are there of {count}")
    for number in random.Random(0).sample(range(count), min(_LOOKED_AT, count)):  # noqa: S311  # no secret
        found = await documents.get(key_of(number))
        if found.value != document(number):
            raise WrongAnswerError(f"{key_of(number)} has become {found.value!r:.200}")
