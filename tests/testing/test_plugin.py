"""The plugin, in a project of somebody else's."""

import pytest

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.testing import Harness, all_checks

CONFTEST = 'pytest_plugins = ["aiostore.testing.plugin"]'
SETTINGS = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
"""
RIGHT = """
import pytest
from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.testing import Harness
from aiostore.testing.plugin import Conformance

class Adaptor(MemoryAdaptor):
    pass

@pytest.fixture
def harness() -> Harness:
    adaptor = Adaptor()
    return Harness(lambda: adaptor)

async def test_conformance(conformance: Conformance) -> None:
    await conformance()
"""
WRONG = RIGHT.replace(
    "    pass",
    """
    async def purge(self, request):
        return 0
""",
)


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project that has asked for the plugin."""
    pytester.makeconftest(CONFTEST)
    pytester.makefile(".ini", pytest=SETTINGS)
    return pytester


def test_a_right_adaptor_passes(project: pytest.Pytester) -> None:
    """There is a test for each check, under its own name, and one that does not apply says why."""
    project.makepyfile(RIGHT)
    ran = project.runpytest_subprocess("-v", "-rs", "-W", "error")
    features = Harness(MemoryAdaptor).features
    reasons = [check.reason_to_skip(features) for check in all_checks()]
    skipped = [reason for reason in reasons if reason is not None]
    ran.assert_outcomes(passed=len(reasons) - len(skipped), skipped=len(skipped))
    ran.stdout.fnmatch_lines("*::test_conformance[[]conditions-absent] PASSED*")
    ran.stdout.fnmatch_lines("SKIPPED*needs persistent")


def test_a_wrong_adaptor_fails(project: pytest.Pytester) -> None:
    """A failure names the promise that is broken; a topic can be selected by its name."""
    project.makepyfile(WRONG)
    ran = project.runpytest_subprocess("-k", "purging or capabilities")
    chosen = [check for check in all_checks() if check.topic in ("purging", "capabilities")]
    failing = {"expired", "tombstones", "everything", "clear"}
    assert failing < {check.name for check in chosen}
    outcomes = ran.parseoutcomes()
    assert outcomes["failed"] == len(failing)
    assert sum(outcomes.values()) == len(all_checks())
    ran.stdout.fnmatch_lines("*broken: the number removed by *")
    ran.stdout.fnmatch_lines("*promised: A purge of everything empties the collection*")


def test_nothing_is_loaded_unasked(pytester: pytest.Pytester) -> None:
    """A project that does not ask for the plugin does not get it."""
    pytester.makepyfile(
        """
        import sys

        def test_kit():
            assert "aiostore.testing" not in sys.modules
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
