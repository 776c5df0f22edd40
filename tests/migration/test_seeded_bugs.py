"""The simulation finds what it is there to find: every rule of the protocol is needed."""

import pytest

from aiostore.testing.simulation.__main__ import main
from aiostore.testing.simulation.bugs import BUGS
from aiostore.testing.simulation.search import search


@pytest.mark.bulk
@pytest.mark.timeout(15 * 60)
@pytest.mark.parametrize("name", BUGS)
def test_every_seeded_bug_is_found(name: str) -> None:
    """Each rule that is broken breaks a promise, within so many histories."""
    found = search(BUGS[name])
    assert found.seed is not None, f"{BUGS[name].breaks}: not in {found.histories} histories"


def test_a_bug_is_taken_out_again(capsys: pytest.CaptureFixture[str]) -> None:
    """After a search the code is as it was: the seed that showed the bug shows nothing."""
    found = search(BUGS["no fence"])
    assert main(["--replay", str(found.seed), "--bug", "no fence"]) == 1
    assert found.fault in capsys.readouterr().out
    assert main(["--replay", str(found.seed), "--scenario", BUGS["no fence"].scenario]) == 0
    assert "all promises were kept" in capsys.readouterr().out


def test_the_command_runs_histories(capsys: pytest.CaptureFixture[str]) -> None:
    """So many, of several kinds, in one process or several; and says how many failed."""
    assert main(["--seeds", "60", "--first-seed", "7"]) == 0
    assert "60 histories in" in capsys.readouterr().out
    assert main(["--seeds", "60", "--scenario", "forward", "--workers", "2"]) == 0
    assert "forward      60\n60 histories in" in capsys.readouterr().out


def test_the_command_looks_for_seeded_bugs(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a bug, with the seed that shows it."""
    assert main(["--seeded-bugs", "no fence"]) == 0
    assert "no fence                 found at seed" in capsys.readouterr().out


def test_the_command_runs_all_schedules_within_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    """Of tiny services, systematically; and says how many they were."""
    assert main(["--systematic", "--places", "3"]) == 0
    assert "none failed" in capsys.readouterr().out
