"""Reads by the phase of now, and what of them is under way when a step is taken."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from aiostore.migration import rows
from aiostore.migration.authority import Authority
from aiostore.migration.legs import Leg
from aiostore.migration.phases import Phase
from aiostore.migration.presence import Presence
from aiostore.protocols import DocumentId, Record


class Reads:
    """The reads of one process.

    Where a store is looked at two steps after it was asked for, others have gone on to where it
    says nothing any more. So a step waits for the reads that were begun before it, as for writes,
    and a read whose process has lost its lease meanwhile answers nothing.

    Args:
        current: the current store.
        authority: finds where a document's authority is.
        presence: the process's lease.
        patience: how long a read waits for a lease that has to be renewed.

    Attributes:
        phase: what is begun now is read as this phase has it.
        stage: another number after each step.
    """

    def __init__(
        self, current: Leg, authority: Authority, presence: Presence, patience: timedelta
    ) -> None:
        self.phase = Phase.DUAL_WRITE
        self.stage = 0
        self._current = current
        self._authority = authority
        self._presence = presence
        self._patience = patience
        self._stretch = _Stretch()
        self._unsettled = {self._stretch}

    def begin(self, phase: Phase) -> None:
        """Begin everything from now on as `phase` has it."""
        self.phase = phase
        self.stage += 1

    async def settle(self) -> None:
        """Wait until every read has ended that was begun before this call."""
        before = set(self._unsettled)
        self._stretch = _Stretch()
        self._unsettled.add(self._stretch)
        for stretch in before:
            await stretch.ended()
        self._unsettled -= before

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[None, None]:
        """One read, by whichever phase it is in there; the next step waits for its end.

        Raises:
            UnavailableError: the lease has run out, and could not be renewed, or not in time.
        """
        await self._presence.ensure(self._patience)
        token, stretch = self._presence.bind(), self._stretch
        stretch.begin()
        try:
            yield
            self._presence.check()
        finally:
            stretch.end()
            self._presence.unbind(token)

    async def read(self, ids: Sequence[DocumentId], *, consistent: bool) -> Sequence[Record | None]:
        """As `Adaptor.read`."""
        async with self.reading():
            if consistent or self.phase in (Phase.HANDOFF, Phase.TARGET):
                return await self.resolve(ids)
            found = await self._current.adaptor.read(ids, consistent=False)
            return [rows.shown(record) for record in found]

    async def resolve(self, ids: Sequence[DocumentId]) -> list[Record | None]:
        """The records, each from its authority; within `reading`."""
        match self.phase:
            case Phase.HANDOFF:
                return await self._authority.read_moving(ids)
            case Phase.TARGET:
                return await self._authority.read_alone(ids)
            case _:
                return await self._authority.read_moved(ids)


class _Stretch:
    """The reads that were begun between two steps."""

    def __init__(self) -> None:
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self) -> None:
        self._under_way += 1
        self._idle.clear()

    def end(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._idle.set()

    async def ended(self) -> None:
        while self._under_way:
            await self._idle.wait()
