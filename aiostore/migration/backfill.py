"""Copying what was there before: conditional, shared, resumable, in constant memory.

Each record of the current store is written to the target as `Newer`, so that it never covers what
a live write has put there meanwhile, in any order, any number of times. Tombstones are copied
like documents: without them a copy on its way could resurrect what was deleted.
"""

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta

from aiostore.migration import rows
from aiostore.migration.adaptor import MigrationAdaptor
from aiostore.migration.background import Background, leg, shown, throttle_of
from aiostore.migration.legs import Leg
from aiostore.migration.phases import Phase
from aiostore.migration.progress import Report, Step, silent
from aiostore.migration.segments import LEASE, Job, job_of
from aiostore.migration.throttle import PATIENCE
from aiostore.protocols import Record, Scan


async def backfill(
    migration: MigrationAdaptor,
    *,
    report: Report = silent,
    chunk: int = 500,
    concurrency: int = 2,
    segments: int | None = None,
    lease: timedelta = LEASE,
    patience: timedelta = PATIENCE,
) -> int:
    """Copy every collection, together with all others who call this, in whatever process.

    Goes on where earlier runs of the same migration were interrupted, and returns when everything
    has been copied, by whomever. Waits for the target to be connected, and while the migration is
    paused. A call that fails is repeated with growing pauses.

    Args:
        migration: the open wrapper; the service may be using it.
        report: is called after each chunk, and when what throttles changes.
        chunk: records a step; the stores' own limits lower it.
        concurrency: at how many parts of the work to be at once.
        segments: into how many parts to divide each collection, where nobody has begun with it;
            None for a number that suits its size.
        lease: after how long without a sign of life the part of another worker is gone on with.
        patience: how long to repeat a failing call.

    Returns:
        How many records were copied, those of others and of earlier runs included; the rest were
        in the target already: written live, or copied by a worker that was killed before it could
        say so.

    Raises:
        MigrationError: the migration is in another phase than `dual-write`.
        UnavailableError: a store did not answer for longer than `patience`.
        CorruptRecordError: what is kept of the progress cannot be read.
    """
    await migration.connected.wait()
    throttle = throttle_of(migration, patience)
    target = leg(migration, migration.target)
    job = Job(
        target,
        migration.migration,
        job_of("backfill"),
        throttle=throttle,
        clock=migration.clock,
        lease=lease,
    )
    current = migration.current
    names = await throttle.ask("the current store", current.collections)
    await job.divide(filter(rows.is_users, names), current.count, segments)
    chunk = min(chunk, migration.capabilities.max_batch)
    with shown(migration, report) as tell:
        background = Background(job, _Copying(migration, target), tell, chunk=chunk)
        return (await background.run(concurrency)).copied


class _Copying:
    step: Step = "backfill"
    source = "the current store"
    sink = "the target"

    def __init__(self, migration: MigrationAdaptor, target: Leg) -> None:
        self._migration = migration
        self._target = target

    def scan(self, request: Scan) -> AsyncGenerator[Sequence[Record], None]:
        return self._migration.current.scan(request)

    def key(self, item: Record) -> str:
        return item.id.key

    def size(self, item: Record) -> int:
        return 0 if item.body is None else len(item.body.encode())

    async def handle(self, items: Sequence[Record]) -> int:
        async with self._migration.step(Phase.DUAL_WRITE):
            return await _copy(self._target, [one for one in items if not rows.is_moved(one)])


async def _copy(target: Leg, records: Sequence[Record]) -> int:
    """Give the target these, unless it has something newer; how many it had not."""
    if not records:
        return 0
    outcomes = await target.write([rows.copy(record) for record in records])
    return sum(outcome.applied for outcome in outcomes)
