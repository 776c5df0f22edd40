"""Walks through both stores that move every document: to the target, and back.

They are shared and resumed like the backfill. A sweep counts for the step that it was begun in: it
begins when every process has taken that, and a new one begins from the start.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial

from msgspec.structs import replace

from aiostore.errors import MigrationError
from aiostore.migration import rows
from aiostore.migration.adaptor import MigrationAdaptor
from aiostore.migration.background import Background, leg, shown, throttle_of
from aiostore.migration.control import Control
from aiostore.migration.coordinator import await_members
from aiostore.migration.handoff import Handoff
from aiostore.migration.phases import Phase
from aiostore.migration.progress import Report, Step, silent
from aiostore.migration.scans import ids_of_both
from aiostore.migration.segments import LEASE, Job, job_of
from aiostore.migration.throttle import PATIENCE, Throttle
from aiostore.protocols import DocumentId, Scan

_CHUNK = 100


async def hand_off(
    migration: MigrationAdaptor,
    *,
    report: Report = silent,
    concurrency: int = 2,
    throttled: bool = False,
    segments: int | None = None,
    lease: timedelta = LEASE,
    patience: timedelta = PATIENCE,
) -> int:
    """Make the target the authority of every document, also of those that are gone.

    Begins when every process is in the phase `handoff`; what is written meanwhile is handed off
    before it is written. Shared with all others who call this, in whatever process; may be
    interrupted and repeated; waits while the migration is paused.

    Args:
        migration: the open wrapper, in a process of the service or beside it.
        report: is called after each chunk, and when what throttles changes.
        concurrency: at how many parts of the work to be at once.
        throttled: whether the operator's limits of documents a second hold.
        segments: into how many parts to divide each collection, where nobody has begun with it;
            None for a number that suits its size.
        lease: after how long without a sign of life the part of another worker is gone on with.
        patience: how long to repeat a failing call.

    Returns:
        How many documents were gone through, by all.

    Raises:
        MigrationError: the migration is in another phase, or has taken another step meanwhile.
        UnavailableError: a store did not answer for longer than `patience`.
        CorruptRecordError: a store did not keep what it was given.
    """
    work = _Moving(migration, Phase.HANDOFF, "handoff", _handoff(migration).forth)
    return await _sweep(
        migration,
        work,
        throttle_of(migration, patience, by_amount=throttled),
        report=report,
        concurrency=concurrency,
        segments=segments,
        lease=lease,
    )


async def hand_back(
    migration: MigrationAdaptor,
    *,
    report: Report = silent,
    concurrency: int = 2,
    throttled: bool = False,
    segments: int | None = None,
    lease: timedelta = LEASE,
    patience: timedelta = PATIENCE,
) -> int:
    """Make the current store the authority of every document again: the way back.

    Begins when every process is back in the phase `dual-write`; otherwise as `hand_off`.

    Returns:
        How many documents were gone through, by all.

    Raises:
        MigrationError: the migration is in another phase, or has taken another step meanwhile.
        UnavailableError: a store did not answer for longer than `patience`.
    """

    async def back(ids: Sequence[DocumentId]) -> None:
        async with migration.presence.returning() as they_are:
            if not they_are:
                raise _other_step(migration)
            await _handoff(migration).back(ids)
        # What was written meanwhile, the target has refused as no copy.
        await migration.repair.mend(ids)

    work = _Moving(migration, Phase.DUAL_WRITE, "handback", back)
    return await _sweep(
        migration,
        work,
        throttle_of(migration, patience, by_amount=throttled),
        report=report,
        concurrency=concurrency,
        segments=segments,
        lease=lease,
    )


async def _sweep(
    migration: MigrationAdaptor,
    work: "_Moving",
    throttle: Throttle,
    *,
    report: Report,
    concurrency: int,
    segments: int | None,
    lease: timedelta,
) -> int:
    begun = await _begin(migration, work.phase)
    if work.phase is Phase.DUAL_WRITE:
        # Until they know it, processes hand off what they write together with what is not here.
        begun = await migration.control.change(partial(_returning, migration, begun))
        await await_members(migration, begun)
    job = Job(
        leg(migration, migration.target),
        migration.migration,
        job_of(work.step, begun.generation),
        throttle=throttle,
        clock=migration.clock,
        lease=lease,
    )
    names = {
        *await throttle.ask("the current store", migration.current.collections),
        *await throttle.ask("the target", migration.target.collections),
    }
    await job.divide(sorted(filter(rows.is_users, names)), migration.current.count, segments)
    chunk = min(_CHUNK, migration.capabilities.max_batch)
    with shown(migration, report) as tell:
        tally = await Background(job, work, tell, chunk=chunk).run(concurrency)
    await _end(migration, begun)
    return tally.done


class _Moving:
    source = sink = "a store"

    def __init__(
        self,
        migration: MigrationAdaptor,
        phase: Phase,
        step: Step,
        move: Callable[[Sequence[DocumentId]], Awaitable[object]],
    ) -> None:
        self.step = step
        self._migration = migration
        self.phase = phase
        self._move = move

    def scan(self, request: Scan) -> AsyncGenerator[Sequence[DocumentId], None]:
        return ids_of_both(self._migration.current, self._migration.target, request)

    def key(self, item: DocumentId) -> str:
        return item.key

    def size(self, _: DocumentId) -> int:
        return 0

    async def handle(self, items: Sequence[DocumentId]) -> int:
        async with self._migration.step(self.phase):
            await self._move(items)
        return len(items)


def _handoff(migration: MigrationAdaptor) -> Handoff:
    return Handoff(leg(migration, migration.current), leg(migration, migration.target))


async def _begin(migration: MigrationAdaptor, phase: Phase) -> Control:
    """The step that every process has to have taken before a sweep begins."""
    control = await migration.control.read()
    if control.phase is not phase:
        raise MigrationError(
            f"this takes the phase {phase.value!r}, and the migration is in "
            f"{control.phase.value!r}: advance it first",
            store=migration.name,
        )
    await await_members(migration, control)
    return control


async def _end(migration: MigrationAdaptor, begun: Control) -> None:
    """Write down that everything has been gone through, if no step was taken meanwhile."""
    await migration.control.change(partial(_swept, migration, begun))


def _returning(migration: MigrationAdaptor, begun: Control, now: Control) -> Control:
    _check_same_step(migration, begun, now)
    return replace(now, returning=now.generation)


def _swept(migration: MigrationAdaptor, begun: Control, now: Control) -> Control:
    _check_same_step(migration, begun, now)
    return replace(now, swept=now.generation)


def _check_same_step(migration: MigrationAdaptor, begun: Control, now: Control) -> None:
    if now.generation != begun.generation:
        raise _other_step(migration)


def _other_step(migration: MigrationAdaptor) -> MigrationError:
    return MigrationError(
        "another step has been taken during the sweep: look at the status", store=migration.name
    )
