"""What is simulated: kinds of runs, and the plan of one run, drawn from its seed."""

import random
from collections.abc import Callable, Sequence
from string import ascii_lowercase
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

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
_SLOW = Weather(slow=0.3)
_FROZEN = (0.5, 2.0, 4.0, 6.0, 9.0)

_STARTS = (
    ("nothing",),
    ("put",),
    ("both",),
    ("both", "put"),
    ("both", "put", "deleted"),
    ("both", "erased"),
    ("put", "deleted"),
    ("stray", "put"),
    ("stray",),
)
"""What is there of a document: put into the current store, as a stray into the
target alone, or into both; deleted in the current store, or in both; spoiled in the target."""


class Fate(Struct, frozen=True):
    """What happens to a process.

    Attributes:
        calls: after how many of its calls; 0 for never.
        what: it is killed; or it is frozen, or it cannot renew its lease and writes late.
        seconds: for how long; if it cannot renew its lease, from when that has run out.
    """

    calls: int
    what: Literal["killed", "frozen", "cut off"] = "killed"
    seconds: float = 0.0


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
        copying: how many processes copy, before the first step.
        verifying: how many verify and repair after that.
        mending: how many repair the documents while they are written for the first time.
        sweeping: how many processes sweep at once.
        current: what goes wrong on the way to the current store.
        target: likewise.
        fates: what happens to each process, in the order in which they start.
        rivals: how many lead at once.
        joining: how many processes are started while steps are taken.
        steady: after how many seconds the clients ask again, besides; 0 for never.
        laggards: which processes are far away from the stores, by that order from 0 on.
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
    verifying: int = 0
    mending: int = 0
    sweeping: int = 1
    current: Weather = Weather()
    target: Weather = Weather()
    fates: Sequence[Fate] = ()
    rivals: int = 1
    joining: int = 0
    steady: float = 0.0
    laggards: Sequence[int] = ()
    ending: bool = False
    skews: Sequence[int] = (0, 0, -3_000_000, 5_000_000)
    shuffling: float = 0.0

    @property
    def copied(self) -> bool:
        """Whether the target has everything from the beginning."""
        return all(start[-1] in ("both", "erased", "nothing") for start in self.starts)

    @property
    def troubled(self) -> bool:
        """Whether anything may go wrong between the stores, or has gone wrong before."""
        strays = any({"stray", "spoiled"} & set(start) for start in self.starts)
        far = bool(self.laggards)  # whose requests may take longer than they may
        return not (self.current.calm and self.target.calm) or bool(self.fates) or strays or far


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
    fates = [Fate(choices.choice((0, choices.randint(8, 160)))) for _ in range(3)]
    return _drawn(choices, "deadly", path, fates=fates)


def _frozen(choices: random.Random) -> Plan:
    path = choices.choice(_PATHS)
    fates = [Fate(choices.randint(8, 160), "frozen", choices.choice(_FROZEN)) for _ in range(2)]
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
    fates: Sequence[Fate] = (),
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
        verifying=choices.choice((0, 0, 1)),
        sweeping=choices.choice((1, 1, 2)),
        current=weathers[0],
        target=weathers[1],
        fates=fates,
        rivals=rivals,
        joining=choices.choice((0, 0, 0, 1)),
        laggards=(0,) if choices.random() < 0.1 else (),
        ending=choices.random() < 0.5,
        shuffling=choices.choice((0.0, 0.2)),
    )


def _contended(choices: random.Random) -> Plan:
    """One document, copied already, and a few writes of it at the same time; nothing fails."""
    start = choices.choice((("both",), ("both", "erased"), ("nothing",), ("put", "deleted")))
    waits = Weather(slow=0.0, sluggish=choices.choice((0.2, 0.5)))
    plan = _drawn(choices, "contended", (), bursts=(1, 1, 1, 2), weathers=(waits, waits))
    return replace(
        plan,
        keys=("a",),
        starts=(start,),
        verbs=("create", "put", "replace", "replace", "update", "delete"),
        clients=(1, 1, choices.choice((1, 2))),
        cancelling=0.0,
        skews=(0, -3_000_000, 5_000_000),
        copying=int(start == ("put", "deleted")),
        verifying=0,
    )


def _repaired(choices: random.Random) -> Plan:
    """Likewise, and repairs come in between."""
    plan = replace(_contended(choices), scenario="repaired", mending=2)
    return replace(plan, current=Weather(slow=0.0, sluggish=0.6), target=Weather(slow=0.0))


def _sparse(choices: random.Random) -> Plan:
    """Many documents that are not there yet."""
    path = choices.choice((_FORWARD, _BACK, _THERE_AND_BACK))
    return _unborn(choices, _drawn(choices, "sparse", path, bursts=(1, 2, 2, 3)))


def _dozing(choices: random.Random) -> Plan:
    """Processes are frozen for less than their lease, or for more, while others go on."""
    fates = [Fate(choices.randint(10, 60), "frozen", 1.4 + 1.6 * choices.random())]
    plan = _drawn(choices, "dozing", choices.choice((_FORWARD, _BACK)), fates=fates)
    plan = replace(plan, clients=(2, 1), copying=0, verifying=0, steady=0.1)
    return _unborn(choices, plan)


def _asleep(choices: random.Random) -> Plan:
    """Processes are frozen for so long that they are buried, and wake up some steps later."""
    fates = [Fate(choices.randint(8, 120), "frozen", 5 + 10 * choices.random()) for _ in range(2)]
    path = choices.choice((_HALF_WAY, _TO_THE_START))
    plan = _drawn(choices, "asleep", path, fates=fates)
    return replace(plan, clients=(1, 1, 1), bursts=(0, 1), steady=0.3, ending=True)


def _cut_off(choices: random.Random) -> Plan:
    """A process loses its lease while what it has sent is on its way, and comes back."""
    fates = [Fate(choices.randint(10, 60), "cut off", 0.2 * choices.random())]
    plan = _drawn(choices, "cut off", choices.choice((_HALF_WAY, _BACK)), fates=fates)
    keys = tuple(ascii_lowercase)
    starts = [choices.choice((("put",), ("both",), ("nothing",))) for _ in keys]
    plan = replace(plan, clients=(2, 1), keys=keys, starts=starts, copying=0, verifying=0)
    return replace(plan, steady=0.1)


def _joining(choices: random.Random) -> Plan:
    """Processes that are far away join while steps are taken."""
    plan = _drawn(choices, "joining", (*_BACK, *_BACK))
    plan = replace(plan, clients=(2,), joining=3, laggards=(1, 2, 3), copying=0, verifying=0)
    plan = replace(plan, steady=0.1)
    return _unborn(choices, plan)


def _unborn(choices: random.Random, plan: Plan) -> Plan:
    """With documents most of which are yet to be created."""
    verbs = ("get", "get", "get", "get", "create", "create", "put", "delete")
    starts = [choices.choice((("nothing",), ("nothing",), ("put",))) for _ in range(6)]
    return replace(plan, keys=tuple("abcdef"), starts=starts, verbs=verbs)


def _spoiled(choices: random.Random) -> Plan:
    """The target holds something else under the very version."""
    plan = _drawn(choices, "spoiled", choices.choice((_FORWARD, _BACK)))
    return replace(plan, starts=[("spoiled",) for _ in plan.keys])


def _retreat(choices: random.Random) -> Plan:
    """Half way there and all the way back, while calls fail."""
    path = choices.choice(((*_HALF_WAY, Phase.CURRENT), (Phase.CURRENT,), _HALF_WAY))
    weathers = choices.choice(((_BAD, _BAD), (Weather(), _BAD), (_BAD, Weather())))
    return replace(_drawn(choices, "retreat", path, weathers=weathers), ending=True)


def _swift(choices: random.Random) -> Plan:
    """Steps that follow one another fast, while processes join and writes take long."""
    path = choices.choice((_FORWARD, _BACK, _THERE_AND_BACK))
    here = Weather(slow=0.05, sluggish=0.3, longest=1.2)
    plan = _drawn(choices, "swift", path, bursts=(1, 2, 2), weathers=(here, Weather()))
    return replace(
        plan,
        clients=choices.choice(((2,), (2,), (1, 1))),
        keys=tuple("abcdef"),
        starts=[choices.choice((("nothing",), ("nothing",), ("put",))) for _ in range(6)],
        copying=0,
        joining=choices.choice((0, 1, 3)),
    )


def _returning(choices: random.Random) -> Plan:
    """Many reads, while documents are handed back and answers take long."""
    here = Weather(slow=0.0, sluggish=0.3, longest=1.2)
    plan = _drawn(choices, "returning", _HALF_WAY, weathers=(here, Weather()))
    verbs = ("get", "get", "get", "put", "update", "replace")
    return replace(
        plan,
        clients=(2, 2),
        laggards=(0,),
        keys=("a",),
        starts=(("both",),),
        verbs=verbs,
        copying=0,
        steady=0.1,
    )


def _slow(choices: random.Random) -> Plan:
    """Some calls take longer than a step."""
    path = choices.choice((_FORWARD, _BACK, _HALF_WAY, _THERE_AND_BACK))
    here = Weather(slow=choices.choice((0.05, 0.3)), sluggish=0.3, longest=1.2)
    there = Weather(slow=choices.choice((0.05, 0.3)))
    return _drawn(choices, "slow", path, weathers=(here, there))


SCENARIOS: dict[str, Draw] = {
    "mirroring": _mirroring,
    "forward": _forward,
    "back": _back,
    "lossy": _lossy,
    "deadly": _deadly,
    "frozen": _frozen,
    "rivals": _rivals,
    "contended": _contended,
    "repaired": _repaired,
    "sparse": _sparse,
    "dozing": _dozing,
    "asleep": _asleep,
    "cut off": _cut_off,
    "joining": _joining,
    "spoiled": _spoiled,
    "retreat": _retreat,
    "slow": _slow,
    "swift": _swift,
    "returning": _returning,
}
"""The kinds of runs, by name."""

_LONG = ("dozing", "asleep", "cut off", "joining", "returning")
_MIXTURE = (*SCENARIOS, *(2 * [name for name in SCENARIOS if name not in _LONG]))
