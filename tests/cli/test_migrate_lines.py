"""What `aiostore migrate` says of a status and of what it does."""

import re
from datetime import timedelta

import pytest
from msgspec.structs import replace

from aiostore.cli.migrate.lines import duration, limits_of, line_of, next_of, page_of
from aiostore.cli.migrate.showing import Showing
from aiostore.migration import Control, Phase, Progress, Status, Waiting
from aiostore.migration.members import Health, Working
from aiostore.migration.status import Moving, Process

STATUS = Status(
    migration="move",
    current="sqlite:///a",
    target="sqlite:///b",
    state="running",
    control=Control(),
)


def process(name: str, *, silent: bool = False, generation: int = 1, **health: object) -> Process:
    """A process that takes part."""
    return Process(
        id=name,
        process=name,
        phase=Phase.DUAL_WRITE,
        generation=generation,
        acknowledged=generation == 1,
        seconds=70.0 if silent else 1.0,
        silent=silent,
        health=Health(connected=True, **health),  # type: ignore[arg-type]  # of these tests
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations_are_told_in_two_units(seconds: float, text: str) -> None:
    """Nobody needs more at night."""
    assert duration(seconds) == text


def test_a_line_tells_all_that_matters() -> None:
    """Phase, progress, rate, ETA, mirror, mismatches, processes, and why it goes no faster."""
    moving = Moving(
        step="backfill",
        done=12_400,
        total=28_000,
        finished=False,
        rate=3100.0,
        eta=5.0,
        collections=(),
    )
    working = Working("backfill", "airports", 12_000, 28_000, throttle="the target is slow")
    status = replace(
        STATUS,
        moving=moving,
        mismatches=2,
        oldest_mismatch=65.0,
        processes=(
            process("a:1", target_failures=3, suspects=2, lag=12.0, shadows_matched=9),
            process("b:2", working=working),
            process("c:3", silent=True, generation=0),
        ),
    )
    assert line_of(status).split(" · ") == [
        "dual-write (generation 1)",
        "backfill: 12,400 of 28,000 (44.3 %), 3,100/s, ETA 5 s, by b:2",
        "not proven equal",
        "mirror: 3 failed, 2 in doubt for 12 s",
        "mismatches: 2, the oldest for 1 min 5 s",
        "shadow reads: 9 equal, 0 behind, 0 different",
        "processes: 2 of 3 acknowledged, late: c:3, silent: c:3",
        "the target is slow",
    ]


def test_the_rate_is_the_workers_until_it_is_seen() -> None:
    """One look alone shows none; and that nobody works is told."""
    moving = Moving(
        step="backfill", done=1, total=4, finished=False, rate=None, eta=None, collections=()
    )
    working = Working("backfill", "c", 1, 4, rate=7.0, eta=1.0)
    told = replace(STATUS, moving=moving, processes=(process("a:1", working=working),))
    assert "backfill: 1 of 4 (25.0 %), 7/s, ETA 1 s, by a:1" in line_of(told)
    assert "(25.0 %), by nobody at the moment" in line_of(replace(STATUS, moving=moving))


def test_a_verification_is_shown_with_who_does_it() -> None:
    """It leaves no checkpoints; the process tells."""
    working = Working("verify", "c", 1, 4, mismatches=2)
    status = replace(STATUS, processes=(process("a:1", working=working),))
    assert "verify c: 1 of 4, 2 differ, by a:1" in line_of(status)


@pytest.mark.parametrize(
    ("control", "gate", "then"),
    [
        (Control(), "not proven equal", "run"),
        (Control(verified=1), "proven equal", "run --to handoff"),
        (Control(pristine=False), "not all handed back", "rollback --to dual-write"),
        (Control(pristine=False, swept=1, generation=1), "all handed back", "run"),
        (Control(phase=Phase.HANDOFF), "not all handed off", "run --to handoff"),
        (Control(phase=Phase.HANDOFF, swept=1), "all handed off", "run --to target"),
        (Control(phase=Phase.TARGET), "the target serves alone", "complete"),
        (Control(phase=Phase.CURRENT), "the current store serves alone", "abort"),
    ],
)
def test_each_phase_has_its_gate_and_what_comes_next(
    control: Control, gate: str, then: str
) -> None:
    """An operator need not know the protocol."""
    status = replace(STATUS, control=control)
    assert gate in line_of(status).split(" · ")
    assert next_of(status).startswith(f"aiostore migrate {then}")


@pytest.mark.parametrize(
    ("state", "then"),
    [
        ("not begun", "aiostore migrate start"),
        ("completed", "configure sqlite:///b alone, and restart the service"),
        ("aborted", "configure sqlite:///a alone, and restart the service"),
    ],
)
def test_what_does_not_run_is_told_in_a_word(state: str, then: str) -> None:
    """With what is to be done with the service."""
    status = replace(STATUS, state=state)
    assert line_of(status) == state
    assert next_of(status) == then


def test_limits_are_told_together() -> None:
    """Both, one, none; a pause is told before them."""
    both = Control(documents_per_second=1500, bytes_per_second=1e6)
    assert limits_of(both) == "limited to 1,500 documents/s and 1,000,000 bytes/s"
    assert limits_of(replace(both, paused="now")) == "paused: now"
    assert limits_of(Control()) == "not limited"


def test_a_page_has_a_line_for_each_process_and_problem() -> None:
    """With how it fares, where that is known."""
    status = replace(
        STATUS,
        processes=(
            process("a:1", read_ms=1.25, write_ms=3.0),
            replace(process("b:2", silent=True, generation=0), health=Health()),
        ),
        problems=("the target is away",),
    )
    assert page_of(status).splitlines()[-4:] == [
        (
            "process a:1: dual-write (generation 1), last sign 1 s ago, 0 in doubt, reads 1.2 ms, "
            "writes 3.0 ms"
        ),
        (
            "process b:2: dual-write (generation 0), late, last sign 1 min 10 s ago, silent, "
            "0 in doubt, has not reached the target"
        ),
        "problem: the target is away",
        "next: aiostore migrate run",
    ]


def plain(text: str) -> str:
    """What a terminal shows, without its colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_a_terminal_has_bars(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for each step and collection; who is waited for is shown while that lasts."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with Showing(json=False) as showing:
        showing.say("copying")
        showing.tell(Waiting(("a:1", "b:[2]"), 0.2))
        showing.tell(Waiting(("a:1", "b:[2]"), 2.0))
        showing.tell(Waiting(("b:[2]",), 3.0))
        showing._progress.refresh()
        eta = timedelta(seconds=4)
        slow = "the target is slow"
        showing.report(Progress("backfill", "c", 5, 10, rate=2.0, eta=eta, throttle=slow))
        showing.report(Progress("verify", "c", 10, 10, mismatches=1, finished=True))
    shown = plain(capsys.readouterr().err)
    assert "copying" in shown
    assert "for b:[2]" in shown
    assert "backfill c" in shown
    assert "5 of 10, 2/s, ETA 4 s; the target is slow" in shown
    assert "10 of 10, 1 differ" in shown
    assert "waiting" not in shown.splitlines()[-1]


def test_a_log_has_lines_and_not_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    """One for the beginning and one for the end of each step, and one now and then."""
    with Showing(json=False) as showing:
        for done in (1, 2, 3):
            showing.report(Progress("backfill", "c", done, 3))
            showing.tell(Waiting(("a:1",), 2.0))
        showing.report(Progress("backfill", "c", 3, 3, finished=True))
    assert capsys.readouterr().err.splitlines() == [
        "backfill c: 1 of 3 (33.3 %)",
        "waiting for a:1",
        "backfill c: 3 of 3 (100.0 %)",
    ]


def test_a_program_has_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    """On stdout, one object each."""
    with Showing(json=True) as showing:
        showing.say("copying")
        showing.tell(Waiting(("a:1",), 2.0))
        showing.tell(Waiting(("a:1",), 2.5))
        showing.report(Progress("backfill", "c", 1, 4, eta=timedelta(seconds=4)))
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines() == [
        '{"message":"copying"}',
        '{"waiting":{"late":["a:1"],"seconds":2.0}}',
        (
            '{"progress":{"step":"backfill","collection":"c","done":1,"total":4,"mismatches":0,'
            '"finished":false,"rate":null,"eta":4.0,"throttle":null,"percent":25.0}}'
        ),
    ]
