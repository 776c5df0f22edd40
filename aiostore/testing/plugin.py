"""The kit as tests of pytest: one for each check.

Say in `conftest.py`

    pytest_plugins = ["aiostore.testing.plugin"]

and in a module of tests

    @pytest.fixture
    def harness(tmp_path: Path) -> Harness:
        return Harness(lambda: MyAdaptor(tmp_path / "data"))

    async def test_conformance(conformance: Conformance) -> None:
        await conformance()

The test is multiplied by the kit's checks, under the names `test_conformance[TOPIC-NAME]`: pytest's
`-k queries` selects a topic. A check that does not apply is skipped and says why. A `harness` with
parameters tests several adaptors. Whatever runs asynchronous tests runs these.

The plugin is loaded where it is asked for and nowhere else (it has no entry point): pytest would
import the whole kit in every project that has aiostore installed, for nothing.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from aiostore.testing.check import Check, all_checks
from aiostore.testing.expectations import CheckFailedError
from aiostore.testing.harness import Harness
from aiostore.testing.running import run_check

Conformance: TypeAlias = Callable[[], Awaitable[None]]
"""One check over the harness, to be awaited; fails as a test does."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Multiply the tests that ask for `conformance` by the checks that are there by then."""
    if "conformance" in metafunc.fixturenames:
        checks = all_checks()
        names = [f"{check.topic}-{check.name}" for check in checks]
        metafunc.parametrize("conformance", checks, ids=names, indirect=True)


@pytest.fixture
def conformance(request: pytest.FixtureRequest, harness: Harness) -> Conformance:
    """One check over `harness`; skips the test if it does not apply."""
    check: Check = request.param
    reason = check.reason_to_skip(harness.features)
    if reason is not None:
        pytest.skip(reason)

    async def run() -> None:
        try:
            await run_check(check, harness)
        except CheckFailedError as failure:
            failure.add_note(f"promised: {check.promise}")
            raise

    return run
