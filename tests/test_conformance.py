"""The conformance kit, over every adaptor, and over stacks of wrappers on them."""

from pathlib import Path

import pytest
from harnesses import ENGINES, harness_of

from aiostore.testing import Harness, all_checks
from aiostore.testing.plugin import Conformance

FAULTY = ["faulty(none)-over-memory", "faulty(none)-over-sqlite", "faulty(slow)-over-memory"]
STACKS = [
    *ENGINES,
    *(f"{current}-to-{target}" for current in ENGINES for target in ENGINES),
    *FAULTY,
]


@pytest.fixture(params=STACKS)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Harness:
    """One engine or stack, with nothing in it."""
    return harness_of(request.param, tmp_path)


async def test_conformance(conformance: Conformance) -> None:
    """Every adaptor and every wrapper keeps every promise of the kit."""
    await conformance()


def test_every_check_states_its_promise() -> None:
    """A check has a name of its own in its topic, and its docstring is one sentence."""
    checks = all_checks()
    names = [(check.topic, check.name) for check in checks]
    assert len(set(names)) == len(names) > 80
    assert [check.name for check in checks if not check.promise.endswith(".")] == []
