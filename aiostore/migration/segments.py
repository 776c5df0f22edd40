"""A job that any number of workers share, on any number of machines.

A job walks through collections. Each is divided into segments, and how far one of these is stands
in a checkpoint in the target:

| record | |
|---|---|
| `job/<migration>/<job>/<collection>` | into how many segments it is divided: all have to agree |
| `job/<migration>/<job>/<collection>/<n>` | how far a segment is, and in whose hands |

A worker claims a segment by compare-and-set of its checkpoint, and saves how far it has come the
same way, which is also what keeps the claim. A checkpoint that has not changed for a lease is
free: whoever waits for that counts from when it saw the last change, by its own event loop's time,
so no clocks are compared. Who has lost a claim finds out when it next saves. Until then two may
work at one segment, so all that a job does must do no harm if it is done twice, or late.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aiostore.codecs import Codec, codec_for
from aiostore.errors import StoreError
from aiostore.limits import SYSTEM_COLLECTION
from aiostore.migration.legs import Leg
from aiostore.migration.progress import Step
from aiostore.migration.throttle import Throttle
from aiostore.protocols import Absent, DocumentId, Exactly, Record, Scan, Write
from aiostore.versions import VersionClock

T = TypeVar("T")

_logger = logging.getLogger("aiostore.migration")

LEASE = timedelta(seconds=30)
"""For how long a segment stays in the hands of a worker that gives no sign of life, by default."""

_LONGEST_POLL = 1.0  # seconds
_REFRESH = 2.0
_RELEASE = timedelta(seconds=2)
_MANY = 1_000_000
_SEGMENTS_OF_MANY = 4


class Division(Struct, frozen=True, omit_defaults=True):
    """How a collection is divided.

    Attributes:
        segments: into how many.
        total: about how many records it had then.
    """

    segments: int
    total: int


class Checkpoint(Struct, frozen=True, omit_defaults=True):
    """How far one segment is.

    Attributes:
        owner: who works at it; None for nobody.
        after: every key up to this one has been handled.
        done: how many records.
        copied: in how many of these something was written.
        finished: whether all have been.
    """

    owner: str | None = None
    after: str | None = None
    done: int = 0
    copied: int = 0
    finished: bool = False


class Segment(NamedTuple):
    """One segment of a collection."""

    collection: str
    number: int


class Tally(NamedTuple):
    """How far a collection, or a whole job, is."""

    done: int
    total: int
    copied: int
    finished: bool


class LostError(Exception):
    """The segment is in other hands now; it never leaves this module's callers."""


class _Seen(Struct, frozen=True):
    """A checkpoint as it was last seen: its version (None for no record), and since when."""

    checkpoint: Checkpoint
    version: str | None
    since: float


_DIVISIONS = codec_for(Division)
_CHECKPOINTS = codec_for(Checkpoint)


def segments_for(total: int) -> int:
    """Into how many segments to divide a collection of so many records.

    Most engines read a whole collection for each of its segments, and reading takes about a quarter
    of the time that writing it elsewhere does: for one worker four segments are twice the work. So
    what one does in a few minutes is not divided.
    """
    return 1 if total < _MANY else _SEGMENTS_OF_MANY


def job_of(step: Step, generation: int = 1) -> str:
    """The name of the job of a step: what moves documents begins anew with each generation."""
    return step if step == "backfill" else f"{step}-{generation}"


async def tallies(store: Leg, migration: str, name: str) -> dict[str, Tally]:
    """How far a job is, by collection, for somebody who only looks; empty if nobody began it.

    Args:
        store: the target.
        migration: the migration's name.
        name: the job's.

    Raises:
        UnavailableError: the target did not answer.
        CorruptRecordError: a record of the job cannot be read.
    """
    prefix = f"job/{migration}/{name}/"
    divisions: dict[str, Division] = {}
    checkpoints: dict[str, list[Checkpoint]] = {}
    for record in await store.collect(Scan(SYSTEM_COLLECTION, prefix=prefix)):
        collection, slash, _ = record.id.key.removeprefix(prefix).partition("/")
        if slash:
            found = _decoded(_CHECKPOINTS, record, Checkpoint())
            checkpoints.setdefault(collection, []).append(found)
        else:
            divisions[collection] = _decoded(_DIVISIONS, record, Division(1, 0))
    return {
        collection: _tally(division, checkpoints.get(collection, []))
        for collection, division in divisions.items()
    }


def _tally(division: Division, checkpoints: Sequence[Checkpoint]) -> Tally:
    done = sum(checkpoint.done for checkpoint in checkpoints)
    ended = sum(checkpoint.finished for checkpoint in checkpoints)
    finished = ended == division.segments
    return Tally(
        done=done,
        total=done if finished else max(done, division.total),
        copied=sum(checkpoint.copied for checkpoint in checkpoints),
        finished=finished,
    )


class Job:
    """A job, as one worker sees it.

    Args:
        store: the target.
        migration: the migration's name.
        name: the job's, without a slash.
        throttle: waits and repeats.
        clock: makes the checkpoints' versions.
        lease: for how long a silent worker keeps its segments.
    """

    def __init__(
        self,
        store: Leg,
        migration: str,
        name: str,
        *,
        throttle: Throttle,
        clock: VersionClock,
        lease: timedelta = LEASE,
    ) -> None:
        self.throttle = throttle
        self.owner = clock.next()
        self._store = store
        self._prefix = f"job/{migration}/{name}/"
        self._clock = clock
        self._lease = lease.total_seconds()
        self._divisions: dict[str, Division] = {}
        self._seen: dict[Segment, _Seen] = {}
        self._held: set[Segment] = set()
        self._refreshed = 0.0

    async def divide(
        self,
        collections: Iterable[str],
        count: Callable[[str], Awaitable[int]],
        segments: int | None = None,
    ) -> None:
        """Agree with all other workers on how each collection is divided, and see how far it is.

        Args:
            collections: those that the job goes through.
            count: says about how many records one has.
            segments: into how many each is to be divided, if nobody has done so yet; None for a
                number that suits its size.

        Raises:
            UnavailableError: a store did not answer.
            CorruptRecordError: a record of the job cannot be read.
        """
        for names in self._batches(collections):
            ids = [self._place(name) for name in names]
            known = dict(zip(names, await self._read(ids), strict=True))
            for name, record in known.items():
                if record is None:
                    total = await self.throttle.ask("a store", partial(count, name))
                    wanted = Division(segments or segments_for(total), total)
                    record, _ = await self._put(self._place(name), wanted, None)  # noqa: PLW2901  # whoever came first
                self._divisions[name] = _decoded(_DIVISIONS, record, Division(1, 0))
        for name, division in self._divisions.items():
            for number in range(division.segments):
                self._seen[Segment(name, number)] = _Seen(Checkpoint(), None, 0.0)
        await self.refresh()

    @property
    def collections(self) -> Iterable[str]:
        """Those that it goes through."""
        return self._divisions.keys()

    @property
    def finished(self) -> bool:
        """Whether all of it has been done, by whomever."""
        return all(seen.checkpoint.finished for seen in self._seen.values())

    @property
    def idle(self) -> bool:
        """Whether nothing is in this worker's hands."""
        return not self._held

    @property
    def all_held(self) -> bool:
        """Whether all that is left is in this worker's own hands."""
        return all(
            seen.checkpoint.finished or segment in self._held
            for segment, seen in self._seen.items()
        )

    def tally(self, collection: str | None = None) -> Tally:
        """How far it is, or one collection of it, for all that is known here."""
        divisions = [
            division
            for name, division in self._divisions.items()
            if collection is None or name == collection
        ]
        checkpoints = [
            seen.checkpoint
            for segment, seen in self._seen.items()
            if collection is None or segment.collection == collection
        ]
        done = sum(checkpoint.done for checkpoint in checkpoints)
        finished = all(checkpoint.finished for checkpoint in checkpoints)
        total = sum(division.total for division in divisions)
        return Tally(
            done=done,
            total=done if finished else max(done, total),
            copied=sum(checkpoint.copied for checkpoint in checkpoints),
            finished=finished,
        )

    async def refresh(self) -> None:
        """See how far the others have come."""
        now = _now()
        self._refreshed = now
        unfinished = [
            segment
            for segment, seen in self._seen.items()
            if not seen.checkpoint.finished and segment not in self._held
        ]
        for segments in self._batches(unfinished):
            records = await self._read([self._place(*segment) for segment in segments])
            for segment, record in zip(segments, records, strict=True):
                if segment not in self._held:
                    self._see(segment, record)
        owners = {
            seen.checkpoint.owner
            for seen in self._seen.values()
            if not seen.checkpoint.finished and now < seen.since + self._lease
        }
        self.throttle.workers = max(1, len(owners - {None}))

    async def claim(self) -> "Piece | None":
        """Take a segment that is free; None if there is none, for the moment or for good."""
        for segment in self._seen:
            if segment in self._held or not self._is_free(self._seen[segment]):
                continue
            self._held.add(segment)
            claimed = False
            try:
                wanted = replace(self.checkpoint(segment), owner=self.owner)
                claimed = await self._save(segment, wanted)
            finally:
                if not claimed:
                    self._held.discard(segment)
            if claimed:
                return Piece(self, segment, self._divisions[segment.collection].segments)
        return None

    def checkpoint(self, segment: Segment) -> Checkpoint:
        """How far a segment is, for all that is known here."""
        return self._seen[segment].checkpoint

    async def save(self, segment: Segment, checkpoint: Checkpoint) -> None:
        """Save how far a segment in this worker's hands is.

        Raises:
            LostError: it is in other hands by now.
        """
        mine = self.checkpoint(segment).owner == self.owner
        if not mine or not await self._save(segment, checkpoint):
            raise LostError
        if _now() >= self._refreshed + _REFRESH:
            await self.refresh()

    async def keep(self, segment: Segment) -> None:
        """Keep the claim of a segment, if that is due; raises as `save`."""
        seen = self._seen[segment]
        if _now() >= seen.since + self._lease / 3:
            await self.save(segment, seen.checkpoint)

    async def release(self, segment: Segment) -> None:
        """Give a segment up, so that others need not wait for the lease to run out.

        What fails is no matter: then they do.
        """
        place = self._place(*segment)
        store = Leg(self._store.adaptor, min(_RELEASE, self._store.deadline))
        try:
            [standing] = await store.read([place])
            checkpoint = _decoded(_CHECKPOINTS, standing, Checkpoint())
            if standing is not None and checkpoint.owner == self.owner:
                free = replace(checkpoint, owner=None)
                await store.write([self._write(place, free, standing.version)])
        except StoreError as error:
            _logger.info("a segment stays claimed until its lease runs out: %s", error)

    def drop(self, segment: Segment) -> None:
        """A segment is not in this worker's hands any more."""
        self._held.discard(segment)

    @property
    def poll(self) -> float:
        """After how many seconds to look again whether something has become free."""
        return min(_LONGEST_POLL, self._lease / 5)

    def _is_free(self, seen: _Seen) -> bool:
        if seen.checkpoint.finished:
            return False
        return seen.checkpoint.owner is None or _now() >= seen.since + self._lease

    async def _save(self, segment: Segment, checkpoint: Checkpoint) -> bool:
        """Whether it still was as it was last seen; otherwise, see how it is."""
        place, version = self._place(*segment), self._seen[segment].version
        record, applied = await self._put(place, checkpoint, version)
        self._see(segment, record)
        return applied

    def _see(self, segment: Segment, record: Record | None) -> None:
        seen = self._seen[segment]
        version = None if record is None else record.version
        if version != seen.version or version is None:
            self._seen[segment] = _Seen(
                _decoded(_CHECKPOINTS, record, Checkpoint()), version, _now()
            )

    async def _put(
        self, place: DocumentId, value: Division | Checkpoint, version: str | None
    ) -> tuple[Record | None, bool]:
        """Write it in place of what has this version; what stands there then, and whether it did.

        A write whose answer was lost is refused by itself when it is sent again.
        """
        write = self._write(place, value, version)
        [outcome] = await self.throttle.ask("the target", partial(self._store.write, [write]))
        standing = outcome.record
        itself = standing is not None and standing.version == write.record.version
        return standing, outcome.applied or itself

    def _write(self, place: DocumentId, value: Division | Checkpoint, version: str | None) -> Write:
        body, now = msgspec.json.encode(value).decode(), self._clock.now()
        record = Record(place, body, self._clock.next(version), now, now)
        return Write(record, Absent() if version is None else Exactly(version))

    async def _read(self, ids: Sequence[DocumentId]) -> Sequence[Record | None]:
        return await self.throttle.ask("the target", partial(self._store.read, ids))

    def _place(self, collection: str, number: int | None = None) -> DocumentId:
        end = "" if number is None else f"/{number}"
        return DocumentId(SYSTEM_COLLECTION, f"{self._prefix}{collection}{end}")

    def _batches(self, items: Iterable[T]) -> Iterator[list[T]]:
        rest = iter(items)
        while batch := list(islice(rest, self._store.adaptor.capabilities.max_batch)):
            yield batch


class Piece:
    """A segment in this worker's hands.

    Attributes:
        segment: which.
    """

    def __init__(self, job: Job, segment: Segment, segments: int) -> None:
        self.segment = segment
        self._job = job
        self._segments = segments

    @property
    def checkpoint(self) -> Checkpoint:
        """How far it is."""
        return self._job.checkpoint(self.segment)

    def scan(self, after: str | None, chunk: int) -> Scan:
        """What to walk through, from behind a key on."""
        collection, number = self.segment
        return Scan(
            collection, start_after=after, segment=number, segments=self._segments, chunk=chunk
        )

    async def advance(self, after: str, *, done: int, copied: int) -> None:
        """Save that so many more have been handled, up to the key `after`.

        Raises:
            LostError: the segment is in other hands by now.
        """
        now = self.checkpoint
        await self._job.save(
            self.segment,
            replace(now, after=after, done=now.done + done, copied=now.copied + copied),
        )

    async def finish(self) -> None:
        """Save that all of it has been handled; raises as `advance`."""
        await self._job.save(self.segment, replace(self.checkpoint, owner=None, finished=True))

    async def keep(self) -> None:
        """Keep the claim, if that is due; raises as `advance`."""
        await self._job.keep(self.segment)


def _decoded(codec: Codec[T], record: Record | None, nothing: T) -> T:
    return nothing if record is None or record.body is None else codec.decode(record.body)


def _now() -> float:
    return asyncio.get_running_loop().time()
