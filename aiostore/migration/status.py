"""How a migration stands, as anybody can see it who does not take part in it.

Only reads: no process is registered, nothing is claimed, and a target that the migration has not
claimed yet is not even opened.
"""

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
from aiostore.migration.members import Health, Members, Seen, latest
from aiostore.migration.phases import Phase
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
        problems: what could not be seen, and why.
    """

    migration: str
    current: str
    target: str
    state: State
    control: Control
    processes: tuple[Process, ...] = ()
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
            suspects = {one.process: one.health.suspects for one in self.processes}
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
        members = latest(found).values()
        everyone = [self._process(one, control) for one in members]
        return Status(
            migration=self._migration,
            current=self._names[0],
            target=self._names[1],
            state=_state(claim, control),
            control=control,
            processes=tuple(sorted(everyone, key=lambda one: (one.process, one.id))),
            problems=tuple(problems),
        )

    async def _control(self, store: Leg) -> Control | None:
        document = ControlDocument(store, store, self._migration, self._clock)
        return await (document.read() if store is self._current else document.read_in_target())

    def _members(self, store: Leg) -> Members:
        return Members(store, store, self._migration, self._clock)

    def _process(self, seen: Seen, control: Control) -> Process:
        member = seen.member
        seconds = max(0.0, (self._clock.now() - seen.renewed_at) / 1e6)
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


def _state(claim: Claim | None, control: Control) -> State:
    if claim is None:
        return "aborted" if control.phase is Phase.CURRENT else "not begun"
    return "completed" if claim.finished else "running"
