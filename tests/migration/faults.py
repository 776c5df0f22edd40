"""Two memories with faults, migrating from one to the other."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from msgspec.structs import replace

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.errors import UnavailableError
from aiostore.limits import SYSTEM_COLLECTION
from aiostore.migration import MigrationAdaptor, Phase, advance, rows
from aiostore.protocols import Outcome, Record, Write
from aiostore.store import Store
from aiostore.testing.faults import Faults, FaultyAdaptor


class FaultyMemory(FaultyAdaptor):
    """A memory with faults.

    Attributes:
        memory: the engine behind them.
        fates: how the next writes of documents end: "lost" fails before anything is done,
            "unanswered" after it; all beyond the last succeed.
    """

    def __init__(self, name: str = "memory://") -> None:
        self.memory = MemoryAdaptor(name)
        self.fates: Iterator[str] = iter(())
        super().__init__(self.memory)

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        """Write, or fail."""
        ours = all(write.record.id.collection == SYSTEM_COLLECTION for write in writes)
        fate = "" if ours else next(self.fates, "")
        if fate == "lost":
            raise UnavailableError("lost")
        outcomes = await super().write(writes)
        if fate == "unanswered":
            raise UnavailableError("the answer was lost")
        return outcomes

    def held(self, collection: str = "c") -> dict[str, Record]:
        """Every record that the engine holds, tombstones too."""
        return dict(self.memory._collections.get(collection, {}))


def jitter(seed: str) -> Faults:
    """Calls of different lengths: mostly short, now and then one that all others overtake."""
    return Faults(choices=random.Random(seed), pauses=(0, 0, 0, 1, 1, 2, 4, 9, 50))


class Pair:
    """A migration between two faulty memories.

    Attributes:
        current: the current store.
        target: the target.
    """

    def __init__(self) -> None:
        self.current = FaultyMemory("memory:current")
        self.target = FaultyMemory("memory:target")

    def migration(
        self,
        *,
        lease: timedelta = timedelta(seconds=15),
        grace: timedelta = timedelta(0),
        target_deadline: timedelta = timedelta(seconds=5),
        current_deadline: timedelta = timedelta(seconds=5),
        rest: timedelta = timedelta(0),
    ) -> MigrationAdaptor:
        """A wrapper over both, whose repairs do not wait unless they are told to."""
        return MigrationAdaptor(
            self.current,
            self.target,
            name="test",
            lease=lease,
            grace=grace,
            rest=rest,
            target_deadline=target_deadline,
            current_deadline=current_deadline,
        )

    @asynccontextmanager
    async def store(self, migration: MigrationAdaptor | None = None) -> AsyncIterator[Store]:
        """A store on the migration."""
        async with Store(self.migration() if migration is None else migration) as store:
            yield store

    def equal(self, collection: str = "c") -> bool:
        """Whether the target holds a copy of each record of the current store, and nothing else."""
        held = self.current.held(collection)
        copies = {key: rows.mirror(record) for key, record in held.items()}
        return copies == self.target.held(collection)


async def at_rest(migration: MigrationAdaptor) -> None:
    """Wait until nothing is under way and nothing in doubt."""
    await migration.drain()
    while migration.repair.suspects:  # noqa: ASYNC110  # the library needs no event for it
        await asyncio.sleep(0)


async def take_for_verified(migration: MigrationAdaptor) -> None:
    """As if a verification had just been clean."""
    await migration.control.change(lambda now: replace(now, verified=now.generation))


async def take_step(phase: Phase, first: MigrationAdaptor, *others: MigrationAdaptor) -> None:
    """Take a step that all processes adopt at once."""
    step = asyncio.ensure_future(advance(first, phase, force=True))
    while not step.done():
        for each in others:
            each.presence.nudge()
        await asyncio.sleep(0)
    await step
