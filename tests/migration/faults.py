"""A memory store with faults: slow, failing before or after, silent; and two of them migrating."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.errors import UnavailableError
from aiostore.limits import SYSTEM_COLLECTION
from aiostore.migration import MigrationAdaptor
from aiostore.protocols import DocumentId, Outcome, Record, Write
from aiostore.store import Store


class FaultyAdaptor(MemoryAdaptor):
    """The real memory adaptor behind a network that can be told to misbehave.

    Attributes:
        down: every call fails before it does anything, but for those on the library's own records.
        loses_answers: writes take effect and their answers are lost.
        hangs: writes wait for this event first, if there is one.
        jitter: turns of the event loop are taken at random before and after each call.
        calls: how many writes reached the engine.
    """

    def __init__(self, name: str = "memory://") -> None:
        super().__init__(name)
        self.down = False
        self.loses_answers = False
        self.hangs: asyncio.Event | None = None
        self.jitter: random.Random | None = None
        self.calls = 0

    async def open(self) -> None:
        if self.down:
            raise UnavailableError("down")
        await super().open()

    async def read(self, ids: Sequence[DocumentId], /) -> Sequence[Record | None]:
        await self._pause()
        self._fail_if_down(ids)
        found = await super().read(ids)
        await self._pause()
        return found

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        await self._pause()
        if self.hangs is not None:
            await self.hangs.wait()
        self._fail_if_down([write.record.id for write in writes])
        self.calls += 1
        outcomes = await super().write(writes)
        if self.loses_answers:
            raise UnavailableError("the answer was lost")
        await self._pause()
        return outcomes

    async def _pause(self) -> None:
        if self.jitter is not None:
            for _ in range(self.jitter.choice((0, 0, 0, 1, 1, 2, 4, 9, 50))):
                await asyncio.sleep(0)

    def _fail_if_down(self, ids: Sequence[DocumentId]) -> None:
        if self.down and any(id_.collection != SYSTEM_COLLECTION for id_ in ids):
            raise UnavailableError("down")

    def held(self, collection: str = "c") -> dict[str, Record]:
        """Every record that the engine holds, tombstones too."""
        return dict(self._collections.get(collection, {}))


class Pair:
    """A migration between two faulty memories.

    Attributes:
        current: the current store.
        target: the target.
    """

    def __init__(self) -> None:
        self.current = FaultyAdaptor("memory:current")
        self.target = FaultyAdaptor("memory:target")

    def migration(
        self,
        *,
        grace: timedelta = timedelta(0),
        target_deadline: timedelta = timedelta(seconds=5),
        current_deadline: timedelta = timedelta(seconds=5),
    ) -> MigrationAdaptor:
        """A wrapper over both, whose repairs do not wait unless they are told to."""
        return MigrationAdaptor(
            self.current,
            self.target,
            name="test",
            grace=grace,
            rest=timedelta(0),
            target_deadline=target_deadline,
            current_deadline=current_deadline,
        )

    @asynccontextmanager
    async def store(self, migration: MigrationAdaptor | None = None) -> AsyncIterator[Store]:
        """A store on the migration."""
        async with Store(self.migration() if migration is None else migration) as store:
            yield store

    def equal(self) -> bool:
        """Whether both engines hold the same."""
        return self.current.held() == self.target.held()


async def at_rest(migration: MigrationAdaptor) -> None:
    """Wait until nothing is under way and nothing in doubt."""
    await migration.drain()
    while migration.repair.suspects:  # noqa: ASYNC110  # the library needs no event for it
        await asyncio.sleep(0)
