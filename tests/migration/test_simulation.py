"""Many histories of a simulated service that migrates: the real code, under every kind of trouble.

A failing seed is told with the command that shows what happened.
"""

import os
import random

import pytest

from aiostore.testing.simulation import plan_of, simulate

HISTORIES = int(os.environ.get("AIOSTORE_SOAK_SIMULATIONS", "20000"))
FIRST = int(os.environ.get("AIOSTORE_SOAK_SEED", "0"))
SHARDS = 40


@pytest.mark.bulk
@pytest.mark.timeout(60 * 60 * 12)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_history_keeps_the_promises(shard: int) -> None:
    """What clients are told fits one order, nothing is lost, and both stores are as they must."""
    each = HISTORIES // SHARDS
    for seed in range(FIRST + shard * each, FIRST + (shard + 1) * each):
        verdict = simulate(plan_of(seed), seed)
        assert not verdict.faults, (
            f"python -m aiostore.testing.simulation --replay {seed}\n" + "\n".join(verdict.faults)
        )


def test_a_seed_gives_the_same_history_every_time() -> None:
    """Line by line, whatever else has used the random numbers of this process."""
    for seed in range(20):
        plan = plan_of(seed)
        first = simulate(plan, seed, traced=True)
        random.seed()
        assert simulate(plan, seed, traced=True) == first
        assert len(first.lines) > 100
