"""Looking for a run that breaks a promise."""

import time

from msgspec import Struct

from aiostore.testing.simulation.bugs import Bug, Patches
from aiostore.testing.simulation.run import simulate
from aiostore.testing.simulation.scenarios import plan_of


class Found(Struct, frozen=True):
    """What came of looking for a bug.

    Attributes:
        seed: the first that shows it; None if none did.
        fault: the first promise that it broke.
        histories: how many were run.
        seconds: how long that took.
    """

    seed: int | None
    fault: str
    histories: int
    seconds: float


def search(bug: Bug, first: int = 0) -> Found:
    """Run seed after seed with a bug in the code, until one shows it or its bound is reached."""
    began = time.perf_counter()
    with Patches() as patches:
        bug.apply(patches)
        for seed in range(first, first + bug.seeds):
            faults = simulate(plan_of(seed, bug.scenario), seed).faults
            if faults:
                taken = time.perf_counter() - began
                return Found(seed, faults[0], seed - first + 1, taken)
    return Found(None, "", bug.seeds, time.perf_counter() - began)
