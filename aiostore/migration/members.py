"""The processes of a service in a migration, as each tells of itself, and how one is known dead.

Each process keeps a record, `member/<migration>/<id>`, and renews it several times a lease. It
tells how far the process has come with the steps, and how it fares.

No clocks are compared. A process counts its lease from before it sent the last renewal, by its own
monotonic clock, and sends nothing once it has run out. Who waits for it counts from when it saw the
record's last change, by its own; and gives it the grace on top, in which what it had sent may land.
"""

import asyncio
import sys
import time
from collections.abc import Iterable
from typing import Self

import msgspec

from aiostore.codecs import codec_for
from aiostore.limits import SYSTEM_COLLECTION
from aiostore.migration.legs import Leg
from aiostore.migration.phases import Phase
from aiostore.migration.progress import Progress, Step
from aiostore.protocols import DocumentId, Exactly, Newer, Record, Scan, Write
from aiostore.versions import VersionClock


class Working(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a process goes through all documents for, when it last told.

    Attributes:
        step: as of `Progress`, like all of these.
        collection: the collection at work.
        done: of its records.
        total: about how many it has.
        mismatches: found so far.
        rate: records a second.
        eta: in seconds.
        throttle: why it goes no faster.
    """

    step: Step
    collection: str
    done: int
    total: int
    mismatches: int = 0
    rate: float | None = None
    eta: float | None = None
    throttle: str | None = None

    @classmethod
    def of(cls, progress: Progress) -> Self:
        """The same, as it is kept."""
        return cls(
            progress.step,
            progress.collection,
            progress.done,
            progress.total,
            progress.mismatches,
            progress.rate,
            None if progress.eta is None else progress.eta.total_seconds(),
            progress.throttle,
        )


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a process fares.

    Attributes:
        connected: whether it has reached the target.
        suspects: of how many documents it does not know that both stores are equal.
        lag: for how many seconds that has been so of the oldest of them; None if there are none.
        target_failures: how many mirrored writes failed or were left out since its start.
        read_ms: how long the current store's reads took of late: 95 % were shorter; None for none.
        write_ms: likewise its writes.
        shadows_matched: how many sampled reads found the target equal.
        shadows_behind: how many found it behind, but equal a moment later.
        shadows_different: how many found it different for good.
        working: what it goes through all documents for; None for nothing.
    """

    connected: bool = False
    suspects: int = 0
    target_failures: int = 0
    read_ms: float | None = None
    write_ms: float | None = None
    shadows_matched: int = 0
    shadows_behind: int = 0
    shadows_different: int = 0
    lag: float | None = None
    working: Working | None = None

    @property
    def is_sound(self) -> bool:
        """Whether documents may be handed off, as far as this process is concerned."""
        return self.connected and not self.suspects


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """What a process tells of itself.

    Attributes:
        process: which one it is, for a person: host and process id.
        phase: what it begins now, it does as this phase has it.
        generation: the last step that it has taken, and since when all that it had begun before
            has ended.
        lease: after how many seconds without a renewal it sends nothing any more.
        grace: after how many more nothing that it has sent can land.
        health: how it fares.
        returning: whether it hands documents back, in the phase `dual-write`.
    """

    process: str
    phase: Phase
    generation: int
    lease: float
    grace: float
    health: Health = Health()
    returning: bool = False


_CODEC = codec_for(Member)


class Seen(msgspec.Struct, frozen=True):
    """A member's record, as it stands in one of the stores.

    Attributes:
        id: the member's.
        version: of the record; another one with each renewal.
        member: what it tells.
        renewed_at: when, in microseconds since 1970-01-01 UTC by that process's clock; for a
            person, and for nothing else.
        silent_since: when this very record was first seen here, by this process's `moment`.
    """

    id: str
    version: str
    member: Member
    renewed_at: int = 0
    silent_since: float = 0.0

    @property
    def is_dead(self) -> bool:
        """Whether its lease has run out and nothing that it has sent can still land."""
        return moment() - self.silent_since > self.member.lease + self.member.grace


class Members:
    """The members' records of one migration.

    Args:
        current: the current store.
        target: the target.
        migration: the migration's name.
        clock: makes versions.
    """

    def __init__(self, current: Leg, target: Leg, migration: str, clock: VersionClock) -> None:
        self.prefix = f"member/{migration}/"
        self._current = current
        self._target = target
        self._clock = clock
        self._first_seen: dict[str, float] = {}

    async def all(self) -> dict[str, Seen]:
        """Every member, in whichever of the stores it keeps its record now.

        Raises:
            UnavailableError: a store did not answer, so some could be missing.
            CorruptRecordError: a record cannot be read.
        """
        found = latest([*await self.within(self._current), *await self.within(self._target)])
        # Whoever waits for them may be interrupted, and need not begin again.
        self._first_seen = {seen.version: seen.silent_since for seen in found.values()}
        return found

    async def bury(self, seen: Seen) -> None:
        """Forget a member that is dead, unless it has given a sign of life."""
        for store in (self._current, self._target):
            await store.write([self._removal(seen.id, seen.version)])

    async def put(self, store: Leg, id_: str, member: Member) -> None:
        """Renew a member's record."""
        now = self._clock.now()
        body = msgspec.json.encode(member).decode()
        place = DocumentId(SYSTEM_COLLECTION, self.prefix + id_)
        while True:
            record = Record(place, body, self._clock.next(), now, now)
            [outcome] = await store.write([Write(record, Newer())])
            if outcome.applied:
                return
            if outcome.record is not None:  # an older clock's; only after a restart of the clock
                self._clock.observe(outcome.record.version)

    async def remove(self, store: Leg, id_: str) -> None:
        """Remove a member's record: it is leaving."""
        place = DocumentId(SYSTEM_COLLECTION, self.prefix + id_)
        while True:
            [standing] = await store.read([place])
            if standing is None:
                return
            # A renewal that was given up may land in between.
            await store.write([self._removal(id_, standing.version)])

    async def within(self, store: Leg) -> list[Seen]:
        """The records that one of the stores holds, of members that keep it elsewhere by now too.

        Raises:
            UnavailableError: it did not answer.
            CorruptRecordError: a record cannot be read.
        """
        records = await store.collect(Scan(SYSTEM_COLLECTION, prefix=self.prefix))
        now = moment()
        return [
            Seen(
                record.id.key.removeprefix(self.prefix),
                record.version,
                _CODEC.decode(record.body),
                record.updated_at,
                self._first_seen.get(record.version, now),
            )
            for record in records
            if record.body is not None
        ]

    def _removal(self, id_: str, version: str) -> Write:
        place = DocumentId(SYSTEM_COLLECTION, self.prefix + id_)
        return Write(Record(place, None, version, 0, 0), Exactly(version), erase=True)


def latest(found: Iterable[Seen]) -> dict[str, Seen]:
    """The last record of each member, by its id."""
    members: dict[str, Seen] = {}
    for seen in found:
        known = members.get(seen.id)
        if known is None or known.version < seen.version:
            members[seen.id] = seen
    return members


def moment() -> float:
    """Seconds by the event loop's clock, which goes on while the machine is suspended."""
    return asyncio.get_running_loop().time() + _suspended()


def _suspended() -> float:
    """For how many seconds this machine has been suspended, where that can be known."""
    if sys.platform != "linux":
        return 0.0
    whole = time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    return float(round(whole))  # the two are not read at the same moment
