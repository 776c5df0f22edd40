"""Bugs in how processes keep step, and in what they do when they do not know."""

import importlib
from collections.abc import Callable

from aiostore.collection import Collection
from aiostore.errors import UnavailableError
from aiostore.migration import Control, MigrationAdaptor, Phase, coordinator
from aiostore.migration.control import ControlDocument
from aiostore.migration.legs import Landing
from aiostore.migration.members import Seen, moment
from aiostore.migration.presence import Presence
from aiostore.protocols import Condition, Outcome, Record
from aiostore.testing.simulation.bugs.patches import Bug, Patches, nothing

_sweeps = importlib.import_module("aiostore.migration.sweeps")


def _no_draining(patches: Patches) -> None:
    patches.set(MigrationAdaptor, "settle", nothing)


def _no_landing(patches: Patches) -> None:
    patches.set(Landing, "unanswered", lambda _: None)


def _nobody_awaited(patches: Patches) -> None:
    patches.set(coordinator, "await_members", nothing)
    patches.set(_sweeps, "await_members", nothing)


def _still_returning(patches: Patches) -> None:
    patches.set(coordinator, "_end_returning", nothing)


def _dead_at_once(patches: Patches) -> None:
    def is_dead(self: Seen) -> bool:
        return moment() - self.silent_since > self.member.lease / 3

    patches.set(Seen, "is_dead", property(is_dead))


def _no_second_sweep(patches: Patches) -> None:
    right = coordinator.problem_with

    def problem_with(control: Control, to: Phase) -> str | None:
        back = control.phase is Phase.HANDOFF and to is Phase.DUAL_WRITE
        return None if back else right(control, to)

    patches.set(coordinator, "problem_with", problem_with)


def _unswept(patches: Patches) -> None:
    right = coordinator.problem_with

    def problem_with(control: Control, to: Phase) -> str | None:
        forward = control.phase is Phase.HANDOFF and to is Phase.TARGET
        return None if forward else right(control, to)

    patches.set(coordinator, "problem_with", problem_with)


def _no_lease(patches: Patches) -> None:
    patches.set(Presence, "check", lambda _: None)
    patches.set(Presence, "ensure", nothing)


def _believed_unregistered(patches: Patches) -> None:
    async def join(self: Presence, *, afresh: bool = True) -> None:
        control = await self._control.read()
        self._generation = control.generation
        self._acknowledged = control.generation - (0 if afresh else 1)
        self._phase = control.phase
        sent = moment()
        await self._register()
        self._process.begin(control.phase)
        self._until = sent + self._lease
        self._renewed.set()

    patches.set(Presence, "join", join)


def _revived(patches: Patches) -> None:
    def renew(self: Presence, sent: float) -> None:
        self._until = sent + self._lease
        self._renewed.set()

    patches.set(Presence, "_renew", renew)


def _none_believed(patches: Patches) -> None:
    async def read(self: ControlDocument) -> Control:
        if self.latest.phase is Phase.TARGET:
            return await self.read_in_target() or self.latest
        return await right(self)

    right = ControlDocument.read
    patches.set(ControlDocument, "read", read)


def _acknowledged_at_once(patches: Patches) -> None:
    right = Presence.join

    async def join(self: Presence, *, afresh: bool = True) -> None:  # noqa: ARG001  # which is the bug
        await right(self, afresh=True)

    patches.set(Presence, "join", join)


def _fresh_versions(patches: Patches) -> None:
    right = Collection._apply

    async def apply(
        self: "Collection[object]",
        record: Record,
        condition: Condition,
        *,
        keep_created_at: bool = False,
        erase: bool = False,
    ) -> Outcome:
        again: Callable[[Record], object] = lambda one: right(  # noqa: E731
            self, one, condition, keep_created_at=keep_created_at, erase=erase
        )
        try:
            return await again(record)  # type: ignore[misc, no-any-return]
        except UnavailableError:
            return await again(self._mapper.renewed(record, None))  # type: ignore[misc, no-any-return]

    patches.set(Collection, "_apply", apply)


COORDINATING: dict[str, Bug] = {
    "no draining": Bug(
        "a step is acknowledged while what was begun before is under way",
        _no_draining,
        "swift",
        2000,
    ),
    "no landing": Bug(
        "a step is acknowledged while what got no answer may still land",
        _no_landing,
        "cut off",
        2000,
    ),
    "nobody awaited": Bug(
        "steps are taken though processes have not taken the last", _nobody_awaited, "back"
    ),
    "still returning": Bug(
        "documents are handed off again while others are still handing them back",
        _still_returning,
        "joining",
        2000,
    ),
    "dead at once": Bug(
        "a silent process is taken for dead before its lease has run out",
        _dead_at_once,
        "dozing",
        1000,
    ),
    "no second sweep": Bug(
        "on the way back, documents born in the target are not marked", _no_second_sweep, "sparse"
    ),
    "unswept": Bug(
        "the target takes over though not all documents were handed off", _unswept, "forward"
    ),
    "no lease": Bug(
        "a process goes on writing after its lease has run out", _no_lease, "dozing", 1000
    ),
    "revived": Bug(
        "a lease is renewed by an answer that comes after it has run out",
        _revived,
        "asleep",
        1000,
    ),
    "none believed": Bug(
        "a process in the target that finds no control document there goes on as before",
        _none_believed,
        "asleep",
        1000,
    ),
    "believed unregistered": Bug(
        "a new process believes what it read before others could know of it",
        _believed_unregistered,
        "joining",
        2000,
    ),
    "acknowledged at once": Bug(
        "a process that lost its lease acknowledges though what it sent may land",
        _acknowledged_at_once,
        "cut off",
        2000,
    ),
    "fresh versions": Bug(
        "a write of which nothing is known is sent again as another", _fresh_versions, "lossy"
    ),
}
