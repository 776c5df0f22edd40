"""The migration's course: forward, back from half way, and all the way forward."""

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiostore.cli.demo.bars import Bars
from aiostore.cli.demo.traffic import Traffic, spell
from aiostore.errors import MigrationError
from aiostore.migration import (
    MigrationAdaptor,
    Phase,
    Progress,
    Verification,
    Waiting,
    advance,
    backfill,
    complete,
    hand_off,
    rollback,
    verify,
)
from aiostore.migration.coordinator import Tell
from aiostore.migration.progress import Report

_VERIFICATIONS = 5
_HALF = 50.0  # percent
_PATIENCE = 65.0  # seconds; longer than the migration's grace, after which doubts are settled
_TICK = 0.05


@dataclass(frozen=True, slots=True)
class Step:
    """A step that every process has taken.

    Attributes:
        to: the phase.
        seconds: until all had taken it.
    """

    to: Phase
    seconds: float


@dataclass(slots=True)
class Outcome:
    """What came of it.

    Attributes:
        copied: records that the backfill copied.
        verification: the last one.
        steps: all that were taken, in their order.
        turned_back: how many documents had been handed off when it was rolled back.
        mended: how many copies had missed a write while they were handed back, and were renewed.
        handed_off: how many were handed off in the end.
        complete: whether a plain store may open the target; otherwise a verification forbade it.
    """

    copied: int = 0
    verification: Verification = field(default_factory=Verification)
    steps: list[Step] = field(default_factory=list)
    turned_back: int = 0
    mended: int = 0
    handed_off: int = 0
    complete: bool = False


class Course:
    """The way from the first copy to the last document, while the clients go on.

    Args:
        migration: the wrapper of one of the service's processes.
        processes: how many there are.
        traffic: the clients.
        bars: where to show how far it is.
        seconds: how long to let the traffic go on in the phase `target`.

    Attributes:
        outcome: what has come of it so far.
    """

    def __init__(
        self,
        migration: MigrationAdaptor,
        processes: int,
        traffic: Traffic,
        bars: Bars,
        seconds: float,
    ) -> None:
        self.outcome = Outcome()
        self._migration = migration
        self._processes = processes
        self._tally = traffic.tally
        self._frontier = traffic.frontier
        self._bars = bars
        self._seconds = seconds

    async def run(self) -> None:
        """Go it; no further than the phase `dual-write` if a verification finds a mismatch.

        Raises:
            MigrationError: doubts about documents could not be settled in time.
        """
        self.outcome.copied = await backfill(self._migration, report=self._shown("backfill"))
        self._frontier.move(None)
        if not await self._verify():
            return
        await self._hand_off_half()
        await self._go_back()
        if not await self._mend():
            return
        await self._hand_off()
        await self._serve()
        await complete(self._migration)
        self.outcome.complete = True

    async def _verify(self) -> bool:
        """Compare both stores until no document is on the move at every look."""
        for _ in range(_VERIFICATIONS):
            report = self._bars.reporter("verify", self._tally)
            found = await verify(self._migration, report=report)
            if found.clean or found.mismatches:
                break
        self.outcome.verification = found
        return found.clean

    async def _mend(self) -> bool:
        """Verify again: a copy misses what is written while its document is handed back."""
        for _ in range(_VERIFICATIONS):
            report = self._bars.reporter("verify", self._tally)
            found = await verify(self._migration, repair=True, report=report)
            self.outcome.mended += found.repaired
            if found.clean:
                break
        self.outcome.verification = found
        return found.clean

    async def _hand_off_half(self) -> None:
        """Begin the hand-off, and break it off in the midst."""
        await self._begin_handoff()
        show = self._shown("sweep")
        try:
            async with asyncio.timeout(None) as sweep:

                def report(progress: Progress) -> None:
                    show(progress)
                    self.outcome.turned_back = progress.done
                    if progress.percent >= _HALF:
                        sweep.reschedule(0)

                await hand_off(self._migration, report=report)
        except TimeoutError:
            if not sweep.expired():
                raise

    async def _go_back(self) -> None:
        """Back to where the current store answers, with every document."""
        self._tally.phase = "dual-write"
        with self._step(Phase.DUAL_WRITE) as tell:
            await advance(self._migration, Phase.DUAL_WRITE, tell=tell)
        await rollback(self._migration, Phase.DUAL_WRITE, report=self._shown("hand back"))
        self._frontier.move(None)

    async def _hand_off(self) -> None:
        await self._begin_handoff()
        self.outcome.handed_off = await hand_off(self._migration, report=self._shown("sweep"))
        self._frontier.move(None)

    async def _begin_handoff(self) -> None:
        """Take the step once nothing is in doubt any more in any process."""
        end = time.monotonic() + _PATIENCE
        with self._step(Phase.HANDOFF) as tell:
            while True:
                await self._undoubted(end)
                try:
                    await advance(self._migration, Phase.HANDOFF, tell=tell)
                except MigrationError:
                    if time.monotonic() >= end:
                        raise
                    await asyncio.sleep(_TICK)
                else:
                    break
        self._tally.phase = "handoff"

    async def _serve(self) -> None:
        """From the target alone, while a way back is still open."""
        with self._step(Phase.TARGET) as tell:
            await advance(self._migration, Phase.TARGET, tell=tell)
        self._tally.phase = "target"
        await spell("target", self._seconds, self._tally, self._bars)

    @contextmanager
    def _step(self, to: Phase) -> Iterator[Tell]:
        """A bar of the processes that have taken a step."""
        bar, started = self._bars.add(f"to {to}"), time.perf_counter()

        def tell(waiting: Waiting) -> None:
            bar.show(self._processes - len(waiting.late), self._processes)

        yield tell
        bar.show(self._processes, self._processes)
        self.outcome.steps.append(Step(to, time.perf_counter() - started))

    async def _undoubted(self, end: float) -> None:
        """Wait until no document is in doubt any more; at `end`, no longer."""
        left = end - time.monotonic()
        for _ in range(math.ceil(left / _TICK)):
            if self._migration.complete:
                return
            await asyncio.sleep(_TICK)

    def _shown(self, name: str) -> Report:
        """A bar for a walk through all documents, which the feeds follow."""
        show = self._bars.reporter(name, self._tally)
        self._frontier.move(0.0)

        def report(progress: Progress) -> None:
            show(progress)
            self._frontier.move(progress.percent / 100)

        return report
