"""The conformance kit, over every adaptor, and over stacks of wrappers on them."""

from pathlib import Path

import pytest
from harnesses import ENGINES, SERVED, harness_of

from aiostore.testing import Harness, all_checks
from aiostore.testing.plugin import Conformance

FAULTY = ["faulty(none)-over-memory", "faulty(none)-over-sqlite", "faulty(slow)-over-memory"]

# All nine pairs of the embedded engines: they are quick, and have found mistakes before. Of those
# with servers not all: a pair shows what its two sides do to each other in time, not what each does
# alone. So each server is current twice and target twice, with one of its kind, an embedded engine
# or one of another kind on the other side.
EMBEDDED = [name for name in ENGINES if name not in SERVED]
PAIRS = [
    *((current, target) for current in EMBEDDED for target in EMBEDDED),
    *(("sqlite", "postgresql"), ("postgresql", "mariadb"), ("mariadb", "file")),
    *(("file", "mariadb"), ("mariadb", "postgresql"), ("postgresql", "sqlite")),
    *(("sqlite", "dynamodb"), ("dynamodb", "dynalite"), ("dynalite", "file")),
    *(("dynamodb", "postgresql"), ("dynalite", "dynamodb"), ("mariadb", "dynalite")),
]
PHASES = [
    "memory-to-memory-in-handoff",
    "memory-to-memory-in-target",
    "memory-to-memory-in-back",
    "sqlite-to-sqlite-in-handoff",
]
STACKS = [
    *(*ENGINES, *PHASES, *FAULTY),
    *(pytest.param(f"{current}-to-{target}", marks=pytest.mark.bulk) for current, target in PAIRS),
]


@pytest.fixture(params=STACKS)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Harness:
    """One engine or stack, with nothing in it."""
    return harness_of(request.param, tmp_path)


async def test_conformance(conformance: Conformance) -> None:
    """Every adaptor and every wrapper keeps every promise of the kit."""
    await conformance()


def test_every_engine_migrates_both_ways() -> None:
    """Each is the current store of several pairs, and the target of several."""
    for side in zip(*PAIRS, strict=True):
        assert all(side.count(engine) >= 2 for engine in ENGINES)


def test_every_check_states_its_promise() -> None:
    """A check has a name of its own in its topic, and its docstring is one sentence."""
    checks = all_checks()
    names = [(check.topic, check.name) for check in checks]
    assert len(set(names)) == len(names) > 80
    assert [check.name for check in checks if not check.promise.endswith(".")] == []
