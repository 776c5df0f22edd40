"""The state machine over every adaptor and over migrations: a little here, more in a soak.

`nox -s soak` sets how many examples there are and how many shards they are cut into, for several
processes. There they are random. A failure is told as the shortest program that fails, and with the
seed that finds it again in the same shard: AIOSTORE_SOAK_SEED=… nox -s soak -- -k sqlite-3
"""

import os
import random
import time
from functools import partial
from pathlib import Path

import hypothesis
import pytest
from harnesses import SERVED, harness_of
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from aiostore.testing.machine import machine_for

STACKS = [
    *("memory", "file", "sqlite", "postgresql", "mariadb", "dynamodb", "dynalite"),
    *("memory-to-memory", "file-to-sqlite", "sqlite-to-postgresql"),
    *("memory-to-memory-in-handoff", "memory-to-memory-in-target", "memory-to-memory-in-back"),
    *("postgresql-to-mariadb", "mariadb-to-dynamodb", "dynalite-to-sqlite"),
]
FEW, FEWER = 20, 5
SHARE = 4  # of a soak's examples, every fourth is done where there is a server, which is slower
MANY = int(os.environ.get("AIOSTORE_SOAK_EXAMPLES", "0"))
SHARDS = int(os.environ.get("AIOSTORE_SOAK_SHARDS", "1"))
SEED = os.environ.get("AIOSTORE_SOAK_SEED")


@pytest.mark.timeout(3 * 60 * 60 if MANY else 120)
@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("stack", STACKS)
def test_does_what_a_dict_does(stack: str, shard: int, tmp_path: Path) -> None:
    """Whatever is asked of a store, alone or at once, it does what a plain dict would."""
    machine = machine_for(partial(harness_of, stack), tmp_path)
    served = not set(SERVED).isdisjoint(stack.split("-to-"))
    examples, seed = FEWER if served else FEW, "always the same"
    if MANY:
        examples = len(range(shard, MANY // SHARE if served else MANY, SHARDS))
        chosen = (random.SystemRandom().getrandbits(32) if SEED is None else int(SEED)) + shard
        hypothesis.seed(chosen)(machine)
        seed = str(chosen - shard)
    # Shown where the test fails, and by `pytest -rP`.
    print(f"{stack}, shard {shard} of {SHARDS}, seed {seed}: {examples} examples")  # noqa: T201
    began = time.monotonic()
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=50 if MANY else 30,
            derandomize=not MANY,
            database=None,
            deadline=None,  # an engine may be slow; one that hangs has a limit of the machine's own
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow],  # likewise
        ),
    )
    steps = ", ".join(f"{count} {what}" for what, count in sorted(machine.done.items()))
    print(f"passed after {time.monotonic() - began:.0f} s: {steps}")  # noqa: T201
