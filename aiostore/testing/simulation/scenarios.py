"""What is simulated: kinds of runs, and the plan of one run, drawn from its seed."""

import random
from collections.abc import Callable, Sequence

from msgspec import Struct

from aiostore.migration import Phase
from aiostore.testing.simulation.network import Weather

_VERBS = (
    *("get", "get", "get", "create", "put"),
    *("replace", "replace", "update", "update", "delete"),
)
_CHURN = ("get", "get", "create", "create", "put", "replace", "delete", "delete")

_FORWARD = (Phase.HANDOFF, Phase.TARGET)
_BACK = (*_FORWARD, Phase.HANDOFF, Phase.DUAL_WRITE)
_TO_THE_START = (*_BACK, Phase.CURRENT)
_HALF_WAY = (Phase.HANDOFF, Phase.DUAL_WRITE)
_THERE_AND_BACK = (*_HALF_WAY, *_FORWARD)

_PATHS = ((), _FORWARD, _FORWARD, _BACK, _TO_THE_START, _HALF_WAY)

_BAD = Weather(failing=0.02, losing=0.02, late=0.02)
_FROZEN = (0.5, 2.0, 4.0, 6.0, 9.0)

_STARTS = (
    ("nothing",),
    ("put",),
    ("both",),
    ("both", "put"),
    ("both", "put", "deleted"),
    ("put", "deleted"),
    ("stray", "put"),
    ("stray",),
)
"""What is there of a document: put into the current store, as a stray into the
target alone, or into both."""


class Plan(Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        scenario: the kind of run.
        clients: how many there are, for each process that it begins with.
        keys: of which documents they ask.
        starts: what is there of each when it begins.
        verbs: what they ask.
        bursts: how often each asks after each step; one of these.
        cancelling: with what probability a caller is cancelled.
        path: the phases that the operator leads to.
        copying: how many processes copy and verify, before the first step.
        sweeping: how many processes sweep at once.
        current: what goes wrong on the way to the current store.
        target: likewise.
        fates: for each process after how many calls it is struck (0 for never), and for how many
            seconds it is frozen then; 0 for being killed.
        rivals: how many lead at once.
        ending: whether the migration is ended: completed, or aborted.
        skews: microseconds that clocks may be wrong by.
        shuffling: with what probability something else runs than what was ready first.
    """

    scenario: str
    clients: Sequence[int] = (2, 2)
    keys: Sequence[str] = ("a", "b")
    starts: Sequence[Sequence[str]] = (("put",), ("nothing",))
    verbs: Sequence[str] = _VERBS
    bursts: Sequence[int] = (1, 1, 2)
    cancelling: float = 0.0
    path: Sequence[Phase] = ()
    copying: int = 1
    sweeping: int = 1
    current: Weather = Weather()
    target: Weather = Weather()
    fates: Sequence[tuple[int, float]] = ()
    rivals: int = 1
    ending: bool = False
    skews: Sequence[int] = (0, 0, -3_000_000, 5_000_000)
    shuffling: float = 0.0

    @property
    def troubled(self) -> bool:
        """Whether anything may go wrong between the stores, or has gone wrong before."""
        strays = any("stray" in start for start in self.starts)
        return not (self.current.calm and self.target.calm) or bool(self.fates) or strays


Draw = Callable[[random.Random], Plan]
"""The plan of one run of a scenario."""


def plan_of(seed: int, scenario: str | None = None) -> Plan:
    """The plan that a seed stands for.

    Args:
        seed: any number.
        scenario: the kind of run; by default the seed says that, too.

    Raises:
        KeyError: there is no such scenario.
    """
    choices = random.Random(f"{seed}/plan")  # noqa: S311  # no secret
    name = choices.choice(_MIXTURE) if scenario is None else scenario
    return SCENARIOS[name](choices)


def _mirroring(choices: random.Random) -> Plan:
    """Dual writes alone, and nothing that fails: both stores are equal in the end."""
    return _drawn(choices, "mirroring", (), bursts=(1, 2, 3))


def _forward(choices: random.Random) -> Plan:
    return _drawn(choices, "forward", _FORWARD)


def _back(choices: random.Random) -> Plan:
    return _drawn(
        choices, "back", choices.choice((_BACK, _TO_THE_START, _HALF_WAY, _THERE_AND_BACK))
    )


def _lossy(choices: random.Random) -> Plan:
    path = choices.choice(_PATHS)
    both = choices.choice(((_BAD, _BAD), (_BAD, Weather()), (Weather(), _BAD)))
    return _drawn(choices, "lossy", path, weathers=both)


def _deadly(choices: random.Random) -> Plan:
    path = choices.choice(_PATHS)
    fates = [(choices.choice((0, choices.randint(8, 160))), 0.0) for _ in range(3)]
    return _drawn(choices, "deadly", path, fates=fates)


def _frozen(choices: random.Random) -> Plan:
    path = choices.choice(_PATHS)
    fates = [(choices.randint(8, 160), choices.choice(_FROZEN)) for _ in range(2)]
    weathers = choices.choice(((Weather(), Weather()), (_BAD, _BAD)))
    return _drawn(choices, "frozen", path, fates=fates, weathers=weathers)


def _rivals(choices: random.Random) -> Plan:
    path = choices.choice((_FORWARD, _BACK, _HALF_WAY, _THERE_AND_BACK))
    weathers = choices.choice(((Weather(), Weather()), (_BAD, _BAD)))
    return _drawn(choices, "rivals", path, rivals=2, weathers=weathers)


def _drawn(
    choices: random.Random,
    name: str,
    path: Sequence[Phase],
    *,
    bursts: Sequence[int] = (0, 1, 1, 2),
    weathers: tuple[Weather, Weather] = (Weather(), Weather()),
    fates: Sequence[tuple[int, float]] = (),
    rivals: int = 1,
) -> Plan:
    processes = choices.choice((2, 2, 3, 3, 4))
    keys = "abc"[: choices.choice((1, 1, 2, 2, 3))]
    return Plan(
        scenario=name,
        clients=[choices.choice((1, 1, 2)) for _ in range(processes)],
        keys=tuple(keys),
        starts=[choices.choice(_STARTS) for _ in keys],
        verbs=choices.choice((_VERBS, _VERBS, _CHURN)),
        bursts=bursts,
        cancelling=choices.choice((0.0, 0.0, 0.1)),
        path=path,
        copying=choices.choice((0, 1, 1, 1, 2)),
        sweeping=choices.choice((1, 1, 2)),
        current=weathers[0],
        target=weathers[1],
        fates=fates,
        rivals=rivals,
        ending=choices.random() < 0.5,
        shuffling=choices.choice((0.0, 0.2)),
    )


SCENARIOS: dict[str, Draw] = {
    "mirroring": _mirroring,
    "forward": _forward,
    "back": _back,
    "lossy": _lossy,
    "deadly": _deadly,
    "frozen": _frozen,
    "rivals": _rivals,
}
"""The kinds of runs, by name."""

_MIXTURE = tuple(SCENARIOS)
