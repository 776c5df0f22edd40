"""The pre-flight check: what a migration would move, what stands in its way, how long it takes.

Made before a migration begins; and again while it runs, for then it can tell whether somebody still
writes to the current store alone. Reads only, unless it is asked to measure.

What it can know of such foreign writers: a document that was written after the migration had begun,
longer ago than a request may take, and is missing or older in the target. One may be the backfill's
still, from before the last process was started anew; if the newest of them is recent, or a later
plan finds newer ones, somebody writes past the migration. What it cannot know: documents that a
plain store has removed, of which nothing is left (`verify` finds them `ahead` in the target); what
was written within the last minute; and, of a sample, what lies beyond it.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from aiostore.channel import CONTROL_ID
from aiostore.errors import MigrationError
from aiostore.migration import rows
from aiostore.migration.claims import Claims
from aiostore.migration.control import Control
from aiostore.migration.findings import LEVELS, Finding
from aiostore.migration.gaps import gaps
from aiostore.migration.phases import Phase
from aiostore.migration.rates import Rates, measured, rate
from aiostore.migration.status import Status, status
from aiostore.migration.survey import Samples, Survey, Window, survey
from aiostore.protocols import Adaptor
from aiostore.versions import PROCESS_CLOCK, VersionClock

_GRACE = timedelta(minutes=1)
_CALLS_OF_HANDOFF = 2  # so often a record is read in each store, and so often written in all


class Times(Struct, frozen=True):
    """How long it takes, by what was measured, with one worker and a service that asks nothing.

    Attributes:
        read_rate: documents a second that the current store yields in a walk; None if it is
            empty.
        rates: of the target; None if that was not measured.
        copy: seconds of the backfill; None without `rates`.
        verify: of one verification; likewise.
        handoff: of the sweep that hands everything off; likewise.
        throttled: whether the backfill is held up by the limits that an operator has set.
    """

    read_rate: float | None = None
    rates: Rates | None = None
    copy: float | None = None
    verify: float | None = None
    handoff: float | None = None
    throttled: bool = False


class Plan(Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        status: how the migration stands.
        collections: each of the current store's.
        findings: the graver ones first.
        times: how long it takes.
    """

    status: Status
    collections: tuple[Survey, ...]
    findings: tuple[Finding, ...]
    times: Times

    @property
    def records(self) -> int:
        """How many are to be moved: documents, tombstones and what has expired."""
        return sum(one.records for one in self.collections)

    @property
    def bytes(self) -> int:
        """Of their keys and bodies; extrapolated where only a sample was read."""
        return sum(one.all_bytes for one in self.collections)

    @property
    def largest(self) -> int:
        """Bytes of the largest document that was looked at, its key included."""
        return max((one.largest for one in self.collections), default=0)

    @property
    def can_go_on(self) -> bool:
        """Whether nothing was found that must be mended first."""
        return all(finding.level != "stop" for finding in self.findings)


async def plan(
    current: Adaptor,
    target: Adaptor,
    name: str,
    *,
    sample: int | None = None,
    measure: bool = False,
    grace: timedelta = _GRACE,
    clock: VersionClock = PROCESS_CLOCK,
) -> Plan:
    """Look at both stores, in constant memory; the service may be using them.

    Args:
        current: the store that is to be moved from, open.
        target: the store that is to be moved to, open.
        name: the migration's.
        sample: how many records of each collection to read, the first ones by key; what is told of
            all is extrapolated then, and what is counted is a least number. None reads everything.
        measure: write some 200 documents of the current store into the target's system collection,
            read them and remove them again, to tell how long the migration takes.
        grace: what was written so long ago has reached the target, if it was sent there.
        clock: tells the time, and makes the versions of what `measure` writes.

    Raises:
        ValueError: the sample is not positive.
        UnavailableError: a store did not answer.
        CorruptRecordError: what a migration keeps in a store cannot be read.
    """
    if sample is not None and sample < 1:
        raise ValueError("a sample has at least one record")
    claims = Claims(current, target, name, clock)
    findings, standing = await _of_claims(claims, current, target, name)
    began = None
    if standing.state == "running" and standing.control.phase is Phase.DUAL_WRITE:
        began = await _began(target)
    now = clock.now()
    until = now - int(grace.total_seconds() * 1e6)
    samples = Samples()
    found = [
        await survey(
            current,
            target,
            collection,
            sample=sample,
            window=None if began is None else Window(began, until),
            now=now,
            samples=samples,
        )
        for collection in await current.collections()
        if rows.is_users(collection)
    ]
    rates = None
    if measure:
        rates = await measured(target, name, samples.bodies, samples.largest, clock)
    findings += gaps(current.capabilities, target.capabilities, processes=len(standing.processes))
    for one in found:
        findings += _of_collection(one, rates)
        findings += _of_foreign_writers(one, standing)
    times = _times(found, rates, standing.control)
    findings.sort(key=lambda finding: LEVELS.index(finding.level))
    return Plan(status=standing, collections=tuple(found), findings=tuple(findings), times=times)


async def _of_claims(
    claims: Claims, current: Adaptor, target: Adaptor, name: str
) -> tuple[list[Finding], Status]:
    """Whether this migration may use both stores, and how it stands."""
    findings: list[Finding] = []
    for check in (claims.check_current, claims.check_target):
        try:
            await check()
        except MigrationError as error:
            findings.append(Finding("stop", str(error)))
    try:
        standing = await status(current, target, name)
    except MigrationError as error:
        standing = Status(
            migration=name,
            current=current.name,
            target=target.name,
            state="not begun",
            control=Control(),
        )
        if not findings:
            findings.append(Finding("stop", str(error)))
    if standing.state in ("completed", "aborted") and standing.closed is not None:
        findings.append(Finding("stop", standing.closed))
    if standing.state == "running":
        number = len(standing.processes)
        findings.append(
            Finding(
                "note",
                f"the migration is under way, in the phase {standing.control.phase.value}, with "
                f"{number} process{'' if number == 1 else 'es'}",
            )
        )
    if standing.silent:
        names = ", ".join(one.process for one in standing.silent)
        findings.append(
            Finding(
                "warning",
                f"silent, and perhaps dead: {names}",
                "a step waits for them until their lease and their grace are over",
            )
        )
    return findings, standing


async def _began(target: Adaptor) -> int | None:
    """When the migration began, as the target's claim tells, which is written only once."""
    [claim] = await target.read([CONTROL_ID])
    return None if claim is None else claim.updated_at


def _of_collection(found: Survey, rates: Rates | None) -> Iterator[Finding]:
    name, least = found.collection, "" if found.whole else "at least "
    if found.unportable:
        text = (
            f"{name}: {least}{found.unportable:,} documents beyond the portability contract; the "
            f"first is {found.complaint}"
        )
        if rates is not None and rates.refusal is None:
            yield Finding("warning", f"{text}. The target takes the largest of them")
        else:
            refused = "" if rates is None else f". The target refuses: {rates.refusal}"
            yield Finding(
                "stop",
                text + refused,
                "shorten or split them; measuring tells whether this target takes them",
            )
    if found.expired:
        yield Finding(
            "note",
            f"{name}: {least}{found.expired:,} documents have expired, and would be moved",
            "free their room first, by purge_expired",
        )
    if found.tombstones:
        yield Finding(
            "note", f"{name}: {least}{found.tombstones:,} tombstones of deleted documents are moved"
        )
    if not found.whole:
        yield Finding(
            "note",
            f"{name}: the first {found.looked_at:,} of about {found.records:,} records were read, "
            "and the rest is extrapolated",
        )


def _of_foreign_writers(found: Survey, standing: Status) -> Iterator[Finding]:
    """Who still writes past the migration, as far as that can be seen."""
    name, least = found.collection, "" if found.whole else "at least "
    control = standing.control
    all_moved = control.phase is Phase.TARGET or (
        control.phase is Phase.HANDOFF and control.is_swept
    )
    if found.unmirrored and found.unmirrored_last is not None:
        last = datetime.fromtimestamp(found.unmirrored_last / 1e6, UTC)
        doubts = (
            f" ({standing.suspects:,} are known to the processes, which mend them)"
            if standing.suspects
            else ""
        )
        yield Finding(
            "warning",
            f"{name}: {least}{found.unmirrored:,} documents were written since the migration began "
            f"and are not in the target{doubts}; the last one is {found.unmirrored_key!r:.80}, "
            f"of {last:%Y-%m-%d %H:%M:%S} UTC",
            "if that was after the last process had been started on the migration, somebody writes "
            "to the current store alone: find it, then run the backfill and verify",
        )
    if all_moved and found.unmoved:
        yield Finding(
            "stop",
            f"{name}: {least}{found.unmoved:,} records were written to the current store after "
            "everything had been handed off, and are not in the target",
            "find who still uses the current store alone, and write these documents to the service "
            "again",
        )


def _times(collections: list[Survey], rates: Rates | None, control: Control) -> Times:
    looked_at = sum(one.looked_at for one in collections)
    if not looked_at:
        return Times(rates=rates)
    reading = rate(looked_at, sum(one.read_seconds for one in collections))
    if rates is None or rates.written is None or rates.read is None:
        return Times(read_rate=reading, rates=rates)
    records = sum(one.records for one in collections)
    copy, limited = records / reading + records / rates.written, 0.0
    if control.documents_per_second is not None:
        limited = records / control.documents_per_second
    if control.bytes_per_second is not None:
        limited = max(limited, sum(one.all_bytes for one in collections) / control.bytes_per_second)
    calls = 1 / reading + 1 / rates.read + 1 / rates.written
    return Times(
        read_rate=reading,
        rates=rates,
        copy=max(copy, limited),
        verify=max(records / reading + records / rates.read, limited),
        handoff=max(records * _CALLS_OF_HANDOFF * calls, limited),
        throttled=limited > copy,
    )
