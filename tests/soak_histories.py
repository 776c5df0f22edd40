"""Histories of several clients by the thousand; `nox -s soak` runs them, the tests run a few.

A history that fits no order is told with its seed; `AIOSTORE_SOAK_SEED` begins there again.
"""

import os
import random
import time
from pathlib import Path

import pytest
from dynamodb_histories import KINDS, Kind, troubled
from dynamodb_stores import proxied_table
from harnesses import SERVED, harness_of
from servers import DYNAMODB_ENGINES

from aiostore.testing.checks.linearizability import (
    CHURN,
    FAULTS,
    ONE_STORE,
    TWO_STORES,
    Scenario,
    histories,
)

MANY = int(os.environ.get("AIOSTORE_SOAK_HISTORIES", "200"))
SHARE = 4  # of these, every fourth is done where there is a server, which is slower
SEED = os.environ.get("AIOSTORE_SOAK_SEED")
STACKS = [
    *("memory", "file", "sqlite", "postgresql", "mariadb", "dynamodb", "dynalite"),
    *("memory-to-memory", "file-to-sqlite", "sqlite-to-postgresql"),
    *("postgresql-to-mariadb", "mariadb-to-dynamodb", "dynalite-to-sqlite"),
]
# Several stores may have the same data open.
SHARED = ["sqlite", "postgresql", "mariadb", "dynamodb", "dynalite"]


RUNS = [
    *((stack, scenario) for stack in STACKS for scenario in (ONE_STORE, FAULTS, CHURN)),
    *((stack, TWO_STORES) for stack in SHARED),
]


@pytest.mark.timeout(60 * 60)
@pytest.mark.parametrize(
    ("stack", "scenario"), RUNS, ids=[f"{stack}-{one.name}" for stack, one in RUNS]
)
async def test_histories_are_linearizable(stack: str, scenario: Scenario, tmp_path: Path) -> None:
    """What the clients are told fits one order of their operations."""
    first = random.SystemRandom().getrandbits(32) if SEED is None else int(SEED)
    many = MANY if set(SERVED).isdisjoint(stack.split("-to-")) else MANY // SHARE
    print(f"{stack}, {scenario.name}, {many} histories from seed {first}")  # noqa: T201  # for -rP
    began = time.monotonic()
    harness = harness_of(stack, tmp_path)
    await histories(harness, range(first, first + many), scenario)
    await harness.clean()
    print(f"passed after {time.monotonic() - began:.0f} s")  # noqa: T201  # likewise


@pytest.mark.timeout(60 * 60)
@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
@pytest.mark.parametrize("engine", DYNAMODB_ENGINES)
async def test_histories_behind_a_network_that_fails(engine: str, kind: Kind) -> None:
    """It does so whatever goes wrong with the requests themselves."""
    first = random.SystemRandom().getrandbits(32) if SEED is None else int(SEED)
    many = MANY // SHARE
    print(f"{engine}, {many} histories from seed {first}")  # noqa: T201  # likewise
    async with troubled(proxied_table(engine), kind) as stores:
        assert await stores.first_anomalies(range(first, first + many)) == ""
