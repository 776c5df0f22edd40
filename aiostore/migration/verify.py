"""Proving both stores equal: one ordered walk through both, while the service goes on.

Where the walk finds a difference the document is looked at again, after the writes that were under
way have ended: what has become equal, or is still changing, was only a live write passing by. What
stands there unchanged and different is a mismatch.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from aiostore.errors import MigrationError
from aiostore.migration import rows
from aiostore.migration.adaptor import MigrationAdaptor
from aiostore.migration.background import Source, leg, shown, throttle_of
from aiostore.migration.control import Control
from aiostore.migration.coordinator import await_members
from aiostore.migration.mismatches import MOST, Mismatches
from aiostore.migration.phases import Phase
from aiostore.migration.progress import Progress, Report, Speed, silent
from aiostore.migration.repair import Sight
from aiostore.migration.throttle import PATIENCE, Throttle
from aiostore.protocols import Adaptor, DocumentId, Record, Scan

Kind = Literal["missing", "behind", "ahead", "corrupt"]

_MOST_LOOKS = 40
_PAUSE = 0.002  # seconds, times the number of looks so far
_POLL = 0.05
_MOST_DOUBTS = 5_000
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Difference:
    """One mismatch.

    Attributes:
        collection: its collection.
        key: its key.
        kind: seen from the target: the document is missing there; it is behind the current store's;
            it is ahead of it, or gone in the current store; or the same version has other content,
            which no write of this library can do.
        first_seen: when a verification first found it, and each since.
    """

    collection: str
    key: str
    kind: Kind
    first_seen: datetime = field(default=datetime.min.replace(tzinfo=UTC), compare=False)


@dataclass(slots=True)
class Verification:
    """What a walk through both stores found.

    Attributes:
        generation: after which step of the migration it was begun.
        compared: documents and tombstones looked at.
        mismatches: how many differed though nothing was under way.
        differences: the first 1,000 of them.
        corrupt: how many of all were of that kind: an alarm, for an engine, or somebody behind the
            library's back, has changed what was stored.
        unsettled: documents that were written at every look, so that no two looks agreed.
        repaired: mismatches mended at once; those that are `ahead` are settled after the grace.
        oldest: for how long the oldest mismatch is known; None if there is none.
    """

    generation: int = 0
    compared: int = 0
    mismatches: int = 0
    differences: list[Difference] = field(default_factory=list)
    corrupt: int = 0
    unsettled: int = 0
    repaired: int = 0
    oldest: timedelta | None = None

    @property
    def clean(self) -> bool:
        """Whether both stores were found equal."""
        return not self.mismatches and not self.unsettled


async def verify(
    migration: MigrationAdaptor,
    *,
    repair: bool = False,
    report: Report = silent,
    chunk: int = 500,
    patience: timedelta = PATIENCE,
) -> Verification:
    """Compare every record of both stores: version, content and dates. Constant memory.

    Begins when every process writes to both stores. A clean verification, after a complete
    backfill, is what makes a migration `complete`; it is written down for all processes, with the
    step after which it was begun. What has been handed off already is settled: its authority is the
    target's record. Keeps to the limits, and waits while the migration is paused.

    Args:
        migration: the open wrapper; the service may be using it.
        repair: mend what is found. It counts as a mismatch all the same: verify again afterwards.
        report: is called after each chunk, and when what throttles changes.
        chunk: records a step; the stores' own limits lower it.
        patience: how long to repeat a failing call.

    Raises:
        MigrationError: the target is not written any more, or a step was taken meanwhile.
        UnavailableError: a store did not answer for longer than `patience`.
        CorruptRecordError: what is kept of earlier verifications cannot be read.
    """
    await migration.connected.wait()
    begun = await _begin(migration)
    throttle = throttle_of(migration, patience)
    overflowed = migration.repair.overflowed
    with shown(migration, report) as tell:
        walk = _Verifying(migration, throttle, tell, begun, mend=repair)
        found = await walk.run(min(chunk, migration.capabilities.max_batch))
    if overflowed and repair:
        migration.repair.overflowed = False

    def verified(now: Control) -> Control:
        same = (now.generation, now.deaths) == (begun.generation, begun.deaths)
        return replace(now, verified=begun.generation if same and found.clean else None)

    await migration.control.change(verified)
    return found


async def repair(
    migration: MigrationAdaptor,
    ids: Iterable[DocumentId] | None = None,
    *,
    report: Report = silent,
    patience: timedelta = PATIENCE,
) -> Verification:
    """Make the target's copies equal, and wait until they are.

    Args:
        migration: the open wrapper; the service may be using it.
        ids: of the documents to look at; None for all, as `verify` with `repair` does it.
        report: is called after each chunk, and when what throttles changes.
        patience: how long to repeat a failing call, and to wait for what is mended after the grace.

    Returns:
        What was found. `unsettled` are those that are still in doubt in the end, too.

    Raises:
        MigrationError: the target is not written any more.
        UnavailableError: a store did not answer for longer than `patience`.
    """
    if ids is None:
        found = await verify(migration, repair=True, report=report, patience=patience)
    else:
        await migration.connected.wait()
        begun = await _begin(migration)
        throttle = throttle_of(migration, patience)
        found = await _Verifying(migration, throttle, report, begun, mend=True).look_at(ids)
    clock = asyncio.get_running_loop().time
    end = clock() + patience.total_seconds()
    while migration.repair.suspects and clock() < end:  # noqa: ASYNC110  # nobody else waits for it
        await asyncio.sleep(_POLL)
    found.unsettled += migration.repair.suspects
    return found


class _Doubt(Struct, frozen=True):
    """A difference that stood at two looks: what it was like, and at which moment."""

    seen: int
    at: float


class _Verifying:
    """One verification."""

    def __init__(
        self,
        migration: MigrationAdaptor,
        throttle: Throttle,
        report: Report,
        begun: Control,
        *,
        mend: bool,
    ) -> None:
        self._migration = migration
        self._throttle = throttle
        self._report = report
        self._mend = mend
        self._found = Verification(begun.generation)
        self._known: dict[DocumentId, int] = {}
        self._first_seen: dict[DocumentId, int] = {}
        self._doubts: dict[DocumentId, _Doubt] = {}
        self._settling = 0.0
        self._speed = Speed()
        self._latest: Progress | None = None
        self._mismatches = Mismatches(
            leg(migration, migration.target), migration.migration, throttle, migration.clock
        )

    async def run(self, chunk: int) -> Verification:
        """Go through both stores."""
        migration, ask = self._migration, self._throttle.ask
        self._throttle.changed = self._show
        await self._begin()
        names = {
            *await ask("the current store", migration.current.collections),
            *await ask("the target", migration.target.collections),
        }
        for collection in filter(rows.is_users, sorted(names)):
            await self._walk(collection, chunk)
        await self._confirm()
        await self._mismatches.save(self._first_seen)
        return self._found

    async def look_at(self, ids: Iterable[DocumentId]) -> Verification:
        """Look at these alone."""
        await self._begin()
        rest = iter(ids)
        while some := list(islice(rest, self._migration.capabilities.max_batch)):
            self._found.compared += len(some)
            await self._look_again(some)
        await self._confirm()
        return self._found

    async def _begin(self) -> None:
        self._known = await self._mismatches.load()
        members = await self._throttle.ask("a store", self._migration.members.all)
        if len(members) > 1:  # our own writes can be waited for
            self._settling = self._migration.repair.settling.total_seconds()

    async def _walk(self, collection: str, chunk: int) -> None:
        migration, ask = self._migration, self._throttle.ask
        total = max(
            await ask("the current store", partial(migration.current.count, collection)),
            await ask("the target", partial(migration.target.count, collection)),
        )
        before, done = self._found.compared, 0
        since = await self._throttle.turn(0, 0, _nothing)
        async with aclosing(self._differing(collection, chunk)) as steps:
            async for seen, size, suspicious in steps:
                done += seen
                if suspicious:
                    await self._look_again(suspicious)
                self._throttle.rest(since)
                self._speed.observe(before + done, asyncio.get_running_loop().time())
                total = max(total, done)
                self._latest = Progress("verify", collection, done, total, self._found.mismatches)
                self._show()
                await asyncio.sleep(0)  # a store in memory never lets the service in by itself
                since = await self._throttle.turn(seen, size, _nothing)
        self._found.compared += done
        self._latest = Progress(
            "verify", collection, done, done, self._found.mismatches, finished=True
        )
        self._show()

    def _show(self) -> None:
        if self._latest is None:
            return
        one = self._latest
        self._report(
            Progress(
                one.step,
                one.collection,
                one.done,
                one.total,
                one.mismatches,
                finished=one.finished,
                rate=self._speed.rate,
                eta=self._speed.eta(one.done, one.total),
                throttle=self._throttle.reason,
            )
        )

    async def _differing(
        self, collection: str, chunk: int
    ) -> AsyncGenerator[tuple[int, int, list[DocumentId]], None]:
        """Walk through both stores in step: how many keys, of how many bytes, and which differ."""
        seen = size = 0
        suspicious: list[DocumentId] = []
        async with (
            aclosing(self._records(self._migration.current, collection, chunk)) as currents,
            aclosing(self._records(self._migration.target, collection, chunk)) as targets,
        ):
            current, target = await anext(currents, None), await anext(targets, None)
            while (first := _first(current, target)) is not None:
                here = current if current is not None and current.id == first else None
                there = target if target is not None and target.id == first else None
                if not _agree(Sight(there, here)):
                    suspicious.append(first)
                size += sum(_size(one) for one in (here, there))
                if here is not None:
                    current = await anext(currents, None)
                if there is not None:
                    target = await anext(targets, None)
                seen += 1
                if seen == chunk:
                    yield seen, size, suspicious
                    seen, size, suspicious = 0, 0, []
        if seen:
            yield seen, size, suspicious

    async def _records(
        self, adaptor: Adaptor, collection: str, chunk: int
    ) -> AsyncGenerator[Record, None]:
        def begin(after: str | None) -> AsyncGenerator[Sequence[Record], None]:
            return adaptor.scan(Scan(collection, start_after=after, chunk=chunk))

        whom = "the target" if adaptor is self._migration.target else "the current store"
        after: str | None = None
        async with aclosing(Source(begin, chunk)) as source:
            while records := await self._throttle.ask(whom, partial(source.after, after)):
                for record in records:
                    yield record
                after = records[-1].id.key

    async def _look_again(self, ids: Sequence[DocumentId]) -> None:
        """Until each has been found equal, or different in the same way twice."""
        before: dict[DocumentId, int] = {}
        ids = list(ids)
        for look in range(_MOST_LOOKS):
            await self._migration.drain()
            differing = {id_: hash(sight) for id_, sight in (await self._differences(ids)).items()}
            now = asyncio.get_running_loop().time()
            ids = [id_ for id_, seen in differing.items() if before.get(id_) != seen]
            self._doubts |= {
                id_: _Doubt(seen, now) for id_, seen in differing.items() if before.get(id_) == seen
            }
            before = differing
            if not ids:
                break
            await asyncio.sleep(_PAUSE * look)
        self._found.unsettled += len(ids)
        if not self._settling or len(self._doubts) >= _MOST_DOUBTS:
            await self._confirm()

    async def _confirm(self) -> None:
        """See which of the doubtful still differ after other processes' writes have ended, too."""
        for _ in range(_ROUNDS):
            if not self._doubts:
                return
            doubts, self._doubts = self._doubts, {}
            latest = max(doubt.at for doubt in doubts.values())
            await asyncio.sleep(
                max(0.0, latest + self._settling - asyncio.get_running_loop().time())
            )
            rest = iter(doubts)
            while some := list(islice(rest, self._migration.capabilities.max_batch)):
                differing = await self._differences(some)
                now = asyncio.get_running_loop().time()
                same = {id_: s for id_, s in differing.items() if hash(s) == doubts[id_].seen}
                self._doubts |= {
                    id_: _Doubt(hash(sight), now)
                    for id_, sight in differing.items()
                    if id_ not in same
                }
                await self._count(same)
        self._found.unsettled += len(self._doubts)
        self._doubts = {}

    async def _differences(self, ids: Sequence[DocumentId]) -> dict[DocumentId, Sight]:
        sights = await self._throttle.ask("a store", partial(self._migration.repair.look, ids))
        return {id_: sight for id_, sight in zip(ids, sights, strict=True) if not _agree(sight)}

    async def _count(self, mismatches: dict[DocumentId, Sight]) -> None:
        """Note these, and mend them if that is wanted."""
        found, now = self._found, self._migration.clock.now()
        found.mismatches += len(mismatches)
        for id_, sight in mismatches.items():
            kind = _kind(sight)
            found.corrupt += kind == "corrupt"
            first_seen = min(self._known.get(id_, now), now)
            age = timedelta(microseconds=now - first_seen)
            found.oldest = max(age, found.oldest or age)
            if len(found.differences) < MOST:
                self._first_seen[id_] = first_seen
                found.differences.append(Difference(*id_, kind, _moment(first_seen)))
        if self._mend and mismatches:
            found.repaired += await self._throttle.ask(
                "the target", partial(self._repair, list(mismatches))
            )

    async def _repair(self, ids: Sequence[DocumentId]) -> int:
        async with self._migration.step(Phase.DUAL_WRITE, Phase.HANDOFF, Phase.TARGET):
            different = await self._migration.repair.mend(ids)
        return sum(not rows.is_ahead(*sight) for sight in different.values())


async def _begin(migration: MigrationAdaptor) -> Control:
    """The step after which the stores can be compared."""
    control = await migration.control.read()
    if control.phase is Phase.CURRENT:
        raise MigrationError(
            "the target is not written any more: there is nothing to compare",
            store=migration.name,
        )
    await await_members(migration, control)
    return control


def _agree(sight: Sight) -> bool:
    """Whether the target holds the copy, or is the authority, as what is moved demands."""
    if not rows.is_moved(sight.current):
        return sight.equal
    if sight.target is None:  # some engines remove what has expired by themselves
        return rows.is_mirror_of(None, sight.current)
    return (
        rows.is_authority(sight.target) or rows.is_returning(sight.target)
    ) and not rows.is_ahead(sight.current, sight.target)


def _first(current: Record | None, target: Record | None) -> DocumentId | None:
    return min((record.id for record in (current, target) if record is not None), default=None)


def _size(record: Record | None) -> int:
    return 0 if record is None or record.body is None else len(record.body.encode())


def _kind(sight: Sight) -> Kind:
    if sight.target is None:
        return "missing"
    if sight.corrupt:
        return "corrupt"
    return "ahead" if rows.is_ahead(*sight) else "behind"


def _moment(microseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


async def _nothing() -> None:
    """There is no claim to keep."""
