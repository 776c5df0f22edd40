"""One call that works at a job: the walk through its pieces, throttled and reported."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import timedelta
from functools import partial
from typing import Generic, Protocol, TypeVar

from aiostore.errors import UnavailableError
from aiostore.migration.adaptor import MigrationAdaptor
from aiostore.migration.legs import Leg
from aiostore.migration.progress import Progress, Report, Speed, Step
from aiostore.migration.segments import Job, LostError, Piece, Tally
from aiostore.migration.throttle import Limits, Throttle
from aiostore.protocols import Adaptor, Scan

T = TypeVar("T")

_logger = logging.getLogger("aiostore.migration")

DEADLINE = timedelta(seconds=30)
"""How long one step of a scan may take."""

_LATENCIES_APART = 5.0  # seconds


def leg(migration: MigrationAdaptor, store: Adaptor) -> Leg:
    """A store of a migration for background work, whose calls are not taken for the service's."""
    return Leg(store, migration.deadline, migration.presence.check, migration.landing)


def throttle_of(
    migration: MigrationAdaptor, patience: timedelta, *, by_amount: bool = True
) -> Throttle:
    """What background work of a migration waits for.

    Args:
        migration: the open wrapper.
        patience: how long a call that fails is repeated.
        by_amount: whether the operator's limits of documents and bytes a second hold for it.
    """

    def limits() -> Limits:
        control = migration.control.latest
        if not by_amount:
            return Limits(control.paused)
        return Limits(control.paused, control.documents_per_second, control.bytes_per_second)

    return Throttle(limits, _Latency(migration), patience=patience)


@contextmanager
def shown(migration: MigrationAdaptor, report: Report) -> Iterator[Report]:
    """Let everybody see what is reported, by this process's record, while `with` lasts."""

    def tell(progress: Progress) -> None:
        migration.progress = progress
        report(progress)

    try:
        yield tell
    finally:
        migration.progress = None


class _Latency:
    """How long the calls of the slowest process of the service take, as they tell themselves."""

    def __init__(self, migration: MigrationAdaptor) -> None:
        self._migration = migration
        self._asked_at = float("-inf")
        self._last: float | None = None

    async def __call__(self) -> float | None:
        now = asyncio.get_running_loop().time()
        if now < self._asked_at + _LATENCIES_APART:
            return self._last
        self._asked_at = now
        try:
            everyone = await self._migration.members.all()
        except UnavailableError as error:
            _logger.info("how the service fares is not known: %s", error)
            return None
        healths = [seen.member.health for seen in everyone.values()]
        told = [ms for one in healths for ms in (one.read_ms, one.write_ms) if ms is not None]
        self._last = max(told, default=None)
        return self._last


class Work(Protocol[T]):
    """What a job does with what it walks through.

    Attributes:
        step: what it is, for a person.
        source: which store is read, for a person.
        sink: which is written.
    """

    step: Step
    source: str
    sink: str

    def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[T], None]:
        """What is to be handled, in the order of keys."""
        ...

    def key(self, item: T, /) -> str:
        """An item's key."""
        ...

    def size(self, item: T, /) -> int:
        """How many bytes it counts for."""
        ...

    async def handle(self, items: Sequence[T], /) -> int:
        """Handle these, perhaps once more; returns in how many something was written."""
        ...


class Background(Generic[T]):
    """One call's share of a job.

    Every collection is reported as finished once at least, whoever has done it.

    Args:
        job: the job, divided.
        work: what it does.
        report: is called after each chunk, and when what throttles changes.
        chunk: how many items to handle at once, at most.
    """

    def __init__(self, job: Job, work: Work[T], report: Report, *, chunk: int) -> None:
        self._job = job
        self._work = work
        self._report = report
        self._chunk = chunk
        self._ended: set[str] = set()
        self._speed = Speed()
        self._collection: str | None = None

    async def run(self, concurrency: int) -> Tally:
        """Work until all of the job has been done, by whomever; how much that is.

        Args:
            concurrency: at how many pieces to work at once.

        Raises:
            Exception: what went wrong first. The others are ended, and all pieces given up.
        """
        self._job.throttle.changed = self._show
        self._speed.observe(self._job.tally().done, asyncio.get_running_loop().time())
        failure: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(concurrency):
                    workers.create_task(self._take_pieces())
        except BaseExceptionGroup as failures:
            failure = failures.exceptions[0]
        if failure is not None:
            raise failure
        for collection in self._job.collections:
            if collection not in self._ended:
                self._show(collection)  # others have ended it
        return self._job.tally()

    async def _take_pieces(self) -> None:
        job = self._job
        while not job.finished:
            piece = await job.claim()
            if piece is None:
                if job.all_held:
                    return  # those who hold it go on with what is left
                job.throttle.wait_for_others(waiting=job.idle)
                await asyncio.sleep(job.poll)
                await job.refresh()
                self._show()
                continue
            job.throttle.wait_for_others(waiting=False)
            try:
                await self._walk(piece)
            except LostError:
                _logger.info("another worker goes on with %s", piece.segment)
            except BaseException:
                await job.release(piece.segment)
                raise
            finally:
                job.drop(piece.segment)

    async def _walk(self, piece: Piece) -> None:
        ask = self._job.throttle.ask

        def begin(after: str | None) -> AsyncGenerator[Sequence[T], None]:
            return self._work.scan(piece.scan(after, self._chunk))

        async with aclosing(Source(begin, self._chunk)) as source:
            while items := await ask(
                self._work.source, partial(source.after, piece.checkpoint.after)
            ):
                await self._handle(piece, items)
            await piece.finish()
        self._show(piece.segment.collection)

    async def _handle(self, piece: Piece, items: Sequence[T]) -> None:
        throttle, work = self._job.throttle, self._work
        done = 0
        while done < len(items):
            some = items[done : done + throttle.most(self._chunk)]
            since = await throttle.turn(len(some), sum(map(work.size, some)), piece.keep)
            copied = await throttle.ask(work.sink, partial(work.handle, some))
            throttle.rest(since)
            await piece.advance(work.key(some[-1]), done=len(some), copied=copied)
            done += len(some)
            self._show(piece.segment.collection)
            await asyncio.sleep(0)  # a store in memory never lets the service in by itself

    def _show(self, collection: str | None = None) -> None:
        """Report how far this collection is, or the one of the last time."""
        first = next(iter(self._job.collections), None)
        self._collection = collection or self._collection or first
        if self._collection is None:
            return
        tally, whole = self._job.tally(self._collection), self._job.tally()
        self._speed.observe(whole.done, asyncio.get_running_loop().time())
        if tally.finished:
            self._ended.add(self._collection)
        self._report(
            Progress(
                self._work.step,
                self._collection,
                tally.done,
                tally.total,
                finished=tally.finished,
                rate=self._speed.rate,
                eta=self._speed.eta(whole.done, whole.total),
                throttle=self._job.throttle.reason,
            )
        )


class Source(Generic[T]):
    """What a scan yields, chunk by chunk; one that failed is begun again in place.

    Args:
        scan: begins one behind a key.
        least: how many items to collect before they are handed over. Most engines read a whole
            collection for each of its segments, so that little of each chunk is left.
    """

    def __init__(
        self, scan: Callable[[str | None], AsyncGenerator[Sequence[T], None]], least: int
    ) -> None:
        self._scan = scan
        self._least = least
        self._chunks: AsyncGenerator[Sequence[T], None] | None = None

    async def after(self, key: str | None) -> Sequence[T]:
        """What follows `key`, the last one of the call before; empty at the end.

        Raises:
            UnavailableError: the store did not answer; it may be called again.
        """
        if self._chunks is None:
            self._chunks = self._scan(key)
        found: list[T] = []
        try:
            while len(found) < self._least:
                async with asyncio.timeout(DEADLINE.total_seconds()):
                    chunk = await anext(self._chunks, None)
                if chunk is None:
                    break
                found += chunk
        except TimeoutError as error:
            await self.aclose()
            raise UnavailableError(f"no answer within {DEADLINE.total_seconds():g} s") from error
        except UnavailableError:
            await self.aclose()
            raise
        return found

    async def aclose(self) -> None:
        """Release what it holds."""
        chunks, self._chunks = self._chunks, None
        if chunks is not None:
            await chunks.aclose()
