"""Every schedule that differs from the plain one in a few places: no chances at all.

In the plain schedule every way takes equally long and nothing fails. A deviation is one way that
takes long, or one call that fails, loses its answer, or lands late. All sets of at most so many
deviations among the first so many places are tried, for a few tiny services (delay-bounded search,
after Emmi, Qadeer and Rakamarić).
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product

from msgspec import Struct
from msgspec.structs import replace

from aiostore.limits import SYSTEM_COLLECTION
from aiostore.migration import Phase
from aiostore.protocols import Check, DocumentId, Scan, Write
from aiostore.testing.simulation.network import LONGEST, Delays, Weather
from aiostore.testing.simulation.run import Verdict, simulate
from aiostore.testing.simulation.scenarios import Plan

Schedule = Mapping[int, str]
"""What is other than plain, by its place."""

_PLAIN = 0.002
_LONG = 0.12
_FATES = ("failing", "losing", "late")
_TROUBLED = Weather(failing=1e-9)


class Scripted(Delays):
    """Follows a schedule; the places are the calls about users' documents, and their answers.

    Args:
        choices: nothing of importance is drawn from them.
        schedule: where it is not plain.

    Attributes:
        places: how many there have been so far.
    """

    def __init__(self, choices: random.Random, schedule: Schedule) -> None:
        super().__init__(choices)
        self.places = 0
        self._schedule = schedule
        self._next: str | None = None

    def fate(self, _: Weather, what: object) -> str:
        """As it is written."""
        self._next = self._deviation(what)
        return self._next if self._next in _FATES else ""

    def way(self, _: Weather, what: object) -> float:
        """Likewise."""
        deviation, self._next = self._next, None
        if deviation is None:
            deviation = self._deviation(what)
        return _LONG if deviation == "long" else _PLAIN

    def failure(self, _: Weather) -> float:
        """A little longer than an answer."""
        return 3 * _PLAIN

    def lateness(self) -> float:
        """As late as may be."""
        return LONGEST

    def wait(self, _: Weather) -> float:
        """Not at all."""
        return 0.0

    def _deviation(self, what: object) -> str:
        if not _is_users(what):
            return ""
        self.places += 1
        return self._schedule.get(self.places, "")


class Bounds(Struct, frozen=True, kw_only=True):
    """How far the search goes.

    Attributes:
        deviations: at most so many in a schedule.
        places: among the first so many.
        fates: whether calls fail, too, and are not only slow.
    """

    deviations: int = 1
    places: int = 60
    fates: bool = True


def tiny_services() -> Iterator[Plan]:
    """Two processes with a client each, one document, every pair of verbs that matters."""
    starts = {"create": ("nothing",), "put": ("both", "put"), "update": ("stray", "put")}
    verbs = (("put",), ("update",), ("create",), ("put", "update"), ("update", "delete"))
    paths = ((), (Phase.HANDOFF, Phase.TARGET), (Phase.HANDOFF, Phase.DUAL_WRITE))
    for some, path in product(verbs, paths):
        yield Plan(
            scenario="tiny",
            clients=(1, 1),
            keys=("a",),
            starts=(starts[some[0]],),
            verbs=some,
            bursts=(1,),
            path=path,
        )


def schedules(bounds: Bounds) -> Iterator[Schedule]:
    """Every schedule within the bounds, the plain one first."""
    kinds = ("long", *_FATES) if bounds.fates else ("long",)
    for number in range(bounds.deviations + 1):
        for places in combinations(range(1, bounds.places + 1), number):
            for some in product(kinds, repeat=number):
                yield dict(zip(places, some, strict=True))


def run_schedule(plan: Plan, schedule: Schedule, *, traced: bool = False) -> Verdict:
    """One run, as a schedule has it."""
    if not set(_FATES).isdisjoint(schedule.values()):
        plan = replace(plan, current=_TROUBLED, target=_TROUBLED)
    return simulate(plan, 0, traced=traced, delays=lambda choices: Scripted(choices, schedule))


def _is_users(what: object) -> bool:
    match what:
        case DocumentId() | Scan():
            return what.collection != SYSTEM_COLLECTION
        case Write():
            return what.record.id.collection != SYSTEM_COLLECTION
        case Check():
            return what.id.collection != SYSTEM_COLLECTION
        case Sequence() if what and not isinstance(what, str):
            return _is_users(what[0])
        case _:
            return False
