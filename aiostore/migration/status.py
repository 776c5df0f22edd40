"""How a migration stands, as anybody can see it who does not take part in it.

Only reads: no process is registered, nothing is claimed, and a target that the migration has not
claimed yet is not even opened.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Literal

from msgspec import Struct

from aiostore.errors import MigrationError, UnavailableError
from aiostore.migration.adaptor import MigrationAdaptor
from aiostore.migration.claims import Claim, Role, claim_in
from aiostore.migration.control import Control, ControlDocument
from aiostore.migration.coordinator import doubts_about, problem_with
from aiostore.migration.legs import Leg
from aiostore.migration.members import Health, Members, Seen, Working, latest
from aiostore.migration.mismatches import Mismatches
from aiostore.migration.phases import Phase
from aiostore.migration.progress import Speed, Step
from aiostore.migration.segments import job_of, tallies
from aiostore.migration.throttle import Throttle
from aiostore.protocols import Adaptor
from aiostore.versions import PROCESS_CLOCK, VersionClock

DEADLINE = timedelta(seconds=10)
"""How long a store may take to answer somebody who only looks."""

State = Literal["not begun", "running", "completed", "aborted"]

_SILENT = 2 / 3
"""Of its lease: a process that has not renewed it for so long has failed to at least once."""


class Process(Struct, frozen=True, kw_only=True):
    """One process that takes part.

    Attributes:
        id: its own, as long as it lives.
        process: host and process id.
        phase: in which it works.
        generation: of the last step that it has taken, and ended all that was before.
        acknowledged: whether that is the last step of all.
        seconds: how long ago it renewed its lease, by its clock and this machine's together.
        silent: whether it has missed a renewal: it may be dead, or cut off.
        health: how it fares.
    """

    id: str
    process: str
    phase: Phase
    generation: int
    acknowledged: bool
    seconds: float
    silent: bool
    health: Health


class Collected(Struct, frozen=True, kw_only=True):
    """How far one collection is.

    Attributes:
        collection: which.
        done: its records handled so far, by whomever.
        total: about how many it has; live writes change the truth meanwhile.
        finished: whether all of it has been handled.
    """

    collection: str
    done: int
    total: int
    finished: bool


class Moving(Struct, frozen=True, kw_only=True):
    """How far the work of the phase is that goes through all documents and moves them.

    Attributes:
        step: which work that is.
        done: records handled so far, by whomever.
        total: about how many there are.
        finished: whether all have been handled.
        rate: records a second since the last look; None if this is the first.
        eta: for how many seconds it will go on at this rate; None before 1 % of it is done.
        collections: the same of each.
    """

    step: Step
    done: int
    total: int
    finished: bool
    rate: float | None
    eta: float | None
    collections: tuple[Collected, ...]

    @property
    def percent(self) -> float:
        """Done of total, 0 to 100; 100 when it is finished, and not before."""
        if self.finished:
            return 100.0
        return min(99.9, 100.0 * self.done / self.total) if self.total else 0.0


class Status(Struct, frozen=True, kw_only=True):
    """A migration at one moment.

    Attributes:
        migration: its name.
        current: the current store.
        target: the target.
        state: whether it has been begun, and how it has ended.
        control: the phase, the generation, the gates and the limits; as a migration that has not
            been begun would begin.
        processes: those that take part, in order.
        moving: how far the work of the phase is; None where nobody has begun it, or there is none.
        mismatches: how many documents differed at the end of the last verification; up to 1,000.
        oldest_mismatch: for how many seconds the oldest of them is known; None if there are none.
        problems: what could not be seen, and why.
    """

    migration: str
    current: str
    target: str
    state: State
    control: Control
    processes: tuple[Process, ...] = ()
    moving: Moving | None = None
    mismatches: int = 0
    oldest_mismatch: float | None = None
    problems: tuple[str, ...] = ()

    @property
    def late(self) -> tuple[Process, ...]:
        """The processes that have not taken the last step yet."""
        return tuple(one for one in self.processes if not one.acknowledged)

    @property
    def silent(self) -> tuple[Process, ...]:
        """Those that have missed a renewal of their lease."""
        return tuple(one for one in self.processes if one.silent)

    @property
    def target_failures(self) -> int:
        """How many mirrored writes failed or were left out, in all processes since their start."""
        return sum(one.health.target_failures for one in self.processes)

    @property
    def suspects(self) -> int:
        """Of how many documents some process does not know that both stores are equal."""
        return sum(one.health.suspects for one in self.processes)

    @property
    def closed(self) -> str | None:
        """Why nothing can be done with the migration, and what can instead; None if it runs."""
        match self.state:
            case "not begun":
                return "the migration has not been begun: start it (`aiostore migrate start`)"
            case "aborted":
                return "the migration was aborted: begin a new one, with another name"
            case "completed":
                return (
                    "the migration is completed, plain stores may be using the target: to go back, "
                    "migrate in the other direction"
                )
            case "running":
                return None

    @property
    def lag(self) -> float | None:
        """For how many seconds the oldest document is in doubt; None if none is."""
        lags = (one.health.lag for one in self.processes)
        return max((lag for lag in lags if lag is not None), default=None)

    @property
    def throttle(self) -> str | None:
        """Why the work that goes through all documents goes no faster; None if it goes freely."""
        if self.control.paused is not None:
            return f"paused: {self.control.paused}"
        reasons = (working.throttle for working in self.working.values())
        return next((reason for reason in reasons if reason is not None), None)

    @property
    def working(self) -> dict[str, Working]:
        """What goes through all documents now, by process; what the silent have told is left out.

        Processes that share a work tell the same of it.
        """
        return {
            one.process: one.health.working
            for one in self.processes
            if one.health.working is not None and not one.silent
        }

    def obstacles(self, to: Phase, *, force: bool = False) -> tuple[str, ...]:
        """What stands in the way of a step now, and what to do; empty if it can be taken.

        Processes that are late or silent are no obstacle: a step waits for them.

        Args:
            to: the phase to go to.
            force: as of `advance`.
        """
        found = list(self.problems)
        problem = self.closed
        if problem is None and self.control.phase is not to:
            problem = problem_with(self.control, to)
        if problem is not None:
            return (*found, problem)
        if self.control.phase is Phase.DUAL_WRITE and to is Phase.HANDOFF:
            suspects: Counter[str] = Counter()
            for one in self.processes:
                suspects[one.process] += one.health.suspects
            doubts = None if force else doubts_about(self.control, suspects)
            without = [one.process for one in self.processes if not one.health.connected]
            found += [] if doubts is None else [doubts]
            found += (
                [f"the target has not been reached yet by {', '.join(without)}"] if without else []
            )
        return tuple(found)


class Observer:
    """Looks at a migration, as often as is wanted.

    Args:
        current: the current store, open; None where it does not answer.
        target: the target, likewise, or None where the migration has not claimed it.
        names: what the two are called.
        migration: the migration's name.
        problems: why one of them is None.
        clock: tells the time.
    """

    def __init__(
        self,
        current: Adaptor | None,
        target: Adaptor | None,
        *,
        names: tuple[str, str],
        migration: str,
        problems: tuple[str, ...] = (),
        clock: VersionClock = PROCESS_CLOCK,
    ) -> None:
        self._current = None if current is None else Leg(current, DEADLINE)
        self._target = None if target is None else Leg(target, DEADLINE)
        self._names = names
        self._migration = migration
        self._problems = problems
        self._clock = clock
        self._job = ""
        self._speed = Speed()

    async def look(self) -> Status:
        """How the migration stands now.

        Raises:
            MigrationError: the current store belongs to another migration.
            UnavailableError: neither store answered.
            CorruptRecordError: what the migration keeps cannot be read.
        """
        problems = list(self._problems)
        claim: Claim | None = None
        control: Control | None = None
        found: list[Seen] = []
        for store in (self._current, self._target):
            if store is None:
                continue
            try:
                role: Role = "source" if store is self._current else "target"
                claim = claim or await _claim(store, self._migration, role)
                control = control or await self._control(store)
                found += await self._members(store).within(store)
            except UnavailableError as error:
                problems.append(str(error))
        if control is None:
            raise UnavailableError("; ".join(problems))
        moving: Moving | None = None
        first_seen: tuple[int, ...] = ()
        if self._target is not None and claim is not None:
            try:
                moving = await self._moving(self._target, control)
                first_seen = await self._mismatches(self._target)
            except UnavailableError as error:
                problems.append(str(error))
        members = latest(found).values()
        everyone = [self._process(one, control) for one in members]
        return Status(
            migration=self._migration,
            current=self._names[0],
            target=self._names[1],
            state=_state(claim, control),
            control=control,
            processes=tuple(sorted(everyone, key=lambda one: (one.process, one.id))),
            moving=moving,
            mismatches=len(first_seen),
            oldest_mismatch=self._seconds_since(min(first_seen)) if first_seen else None,
            problems=tuple(dict.fromkeys(problems)),
        )

    async def _control(self, store: Leg) -> Control | None:
        document = ControlDocument(store, store, self._migration, self._clock)
        return await (document.read() if store is self._current else document.read_in_target())

    def _members(self, store: Leg) -> Members:
        return Members(store, store, self._migration, self._clock)

    async def _moving(self, target: Leg, control: Control) -> Moving | None:
        step = _step_of(control)
        if step is None:
            return None
        name = job_of(step, control.generation)
        found = await tallies(target, self._migration, name)
        if not found:
            return None
        done = sum(tally.done for tally in found.values())
        total = sum(tally.total for tally in found.values())
        finished = all(tally.finished for tally in found.values())
        if name != self._job:
            self._job, self._speed = name, Speed()
        self._speed.observe(done, asyncio.get_running_loop().time())
        eta = None if finished else self._speed.eta(done, total)
        return Moving(
            step=step,
            done=done,
            total=total,
            finished=finished,
            rate=self._speed.rate,
            eta=None if eta is None else eta.total_seconds(),
            collections=tuple(
                Collected(
                    collection=name, done=tally.done, total=tally.total, finished=tally.finished
                )
                for name, tally in sorted(found.items())
            ),
        )

    async def _mismatches(self, target: Leg) -> tuple[int, ...]:
        known = Mismatches(target, self._migration, Throttle(patience=timedelta(0)), self._clock)
        return tuple((await known.load()).values())

    def _seconds_since(self, moment: int) -> float:
        return max(0.0, (self._clock.now() - moment) / 1e6)

    def _process(self, seen: Seen, control: Control) -> Process:
        member = seen.member
        seconds = self._seconds_since(seen.renewed_at)
        return Process(
            id=seen.id,
            process=member.process,
            phase=member.phase,
            generation=member.generation,
            acknowledged=member.generation >= control.generation,
            seconds=seconds,
            silent=seconds > member.lease * _SILENT,
            health=member.health,
        )


async def status(current: Adaptor, target: Adaptor, migration: str) -> Status:
    """How a migration stands now, by its two stores, both open; errors as of `Observer.look`."""
    observer = Observer(current, target, names=(current.name, target.name), migration=migration)
    return await observer.look()


@asynccontextmanager
async def observed(migration: MigrationAdaptor) -> AsyncGenerator[Observer, None]:
    """Look at a migration whose wrapper is not open, and does not become so.

    Opens the current store; the target only if the migration has claimed it, so that there is
    something to be seen. One of them may be away.

    Raises:
        UnavailableError: neither store answered.
        ConfigurationError: a store cannot be opened.
        MigrationError: the current store belongs to another migration.
    """
    problems: list[str] = []
    current, target = migration.current, migration.target
    async with AsyncExitStack() as opened:
        here = await _opened(current, opened, problems)
        claim, there = None, None
        if here is not None:
            claim = await _claim(Leg(here, DEADLINE), migration.migration, "source")
        if here is None or claim is not None:
            there = await _opened(target, opened, problems)
        if here is None and there is None:
            raise UnavailableError("; ".join(problems))
        yield Observer(
            here,
            there,
            names=(current.name, target.name),
            migration=migration.migration,
            problems=tuple(problems),
        )


async def _opened(store: Adaptor, undo: AsyncExitStack, problems: list[str]) -> Adaptor | None:
    undo.push_async_callback(store.aclose)
    try:
        await store.open()
    except UnavailableError as error:
        problems.append(str(error))
        return None
    return store


async def _claim(store: Leg, migration: str, role: Role) -> Claim | None:
    """This migration's claim to a store."""
    claim = await claim_in(store)
    if claim is None or (claim.finished and claim.migration != migration):
        return None
    if claim.migration != migration:
        raise MigrationError(
            f"the store is part of the migration {claim.migration!r}: look at that one",
            store=store.adaptor.name,
        )
    if claim.role != role:
        raise MigrationError(
            f"the store is the {claim.role} of the migration {migration!r}: exchange current and "
            "target",
            store=store.adaptor.name,
        )
    return claim


def _step_of(control: Control) -> Step | None:
    """What goes through all documents in this phase, and moves them."""
    match control.phase:
        case Phase.HANDOFF:
            return "handoff"
        case Phase.DUAL_WRITE:
            return "backfill" if control.pristine else "handback"
        case _:
            return None


def _state(claim: Claim | None, control: Control) -> State:
    if claim is None:
        return "aborted" if control.phase is Phase.CURRENT else "not begun"
    return "completed" if claim.finished else "running"
