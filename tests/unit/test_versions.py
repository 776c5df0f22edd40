import re
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiostore.testing import ManualClock
from aiostore.versions import VersionClock, now_in_microseconds, right_after

DAY = 24 * 60 * 60 * 1_000_000
PRESENT = 1_700_000_000_000_000
END_OF_TIME = "f" * 12 + "7fff" + "8" + "0" * 15


def milliseconds_of(version: str) -> int:
    """The time that a version tells."""
    return int(version[:12], 16)


def test_a_version_is_a_uuid7() -> None:
    """32 lower-case hex digits, of version 7 and RFC 9562's variant, telling the millisecond."""
    version = VersionClock(ManualClock(PRESENT)).next()
    assert re.fullmatch(r"[0-9a-f]{32}", version)
    assert UUID(version).version == 7
    assert milliseconds_of(version) == PRESENT // 1000


def test_the_fraction_of_a_millisecond_is_kept() -> None:
    """The 12 bits after the version digit count 1/4096 ms (RFC 9562 section 6.2, method 3)."""
    version = VersionClock(ManualClock(PRESENT + 500)).next()
    assert int(version[13:16], 16) == 2048


@given(st.lists(st.integers(min_value=-DAY, max_value=DAY), max_size=20))
def test_versions_grow_whatever_the_clock_does(turns: list[int]) -> None:
    """One clock's versions are strictly increasing, also when the system's clock goes back."""
    hands = ManualClock(PRESENT)
    clock = VersionClock(hands)
    made = [clock.next()]
    for turn in turns:
        hands.now += turn
        made.append(clock.next())
    assert all(earlier < later for earlier, later in pairwise(made))


def test_two_clocks_never_make_the_same_version() -> None:
    """Versions of the same instant differ in 62 random bits."""
    assert len({VersionClock(ManualClock(PRESENT)).next() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("ahead", [-DAY, 0, 1, DAY // 2, DAY, 2 * DAY, 10_000 * DAY])
def test_next_is_past_the_version_it_is_given(ahead: int) -> None:
    """However far ahead another writer's version is, the next one is greater."""
    theirs = VersionClock(ManualClock(PRESENT + ahead)).next()
    assert VersionClock(ManualClock(PRESENT)).next(theirs) > theirs


@pytest.mark.parametrize("meet", [VersionClock.next, VersionClock.observe])
def test_a_version_slightly_ahead_moves_the_clock(meet: object) -> None:
    """After a version of the near future was met, the clock's own are greater."""
    clock = VersionClock(ManualClock(PRESENT))
    theirs = VersionClock(ManualClock(PRESENT + DAY // 2)).next()
    assert callable(meet)
    meet(clock, theirs)
    assert clock.next() > theirs


@pytest.mark.parametrize("meet", [VersionClock.next, VersionClock.observe])
def test_a_version_far_ahead_does_not_drag_the_clock_along(meet: object) -> None:
    """One writer with a wrong clock does not spoil the others' time."""
    clock = VersionClock(ManualClock(PRESENT))
    theirs = VersionClock(ManualClock(PRESENT + 2 * DAY)).next()
    assert callable(meet)
    meet(clock, theirs)
    assert milliseconds_of(clock.next()) == PRESENT // 1000


def test_an_older_version_does_not_move_the_clock_back() -> None:
    """What was observed before the last version changes nothing."""
    clock = VersionClock(ManualClock(PRESENT))
    last = clock.next()
    clock.observe(VersionClock(ManualClock(PRESENT - DAY)).next())
    assert clock.next() > last


@pytest.mark.parametrize(
    "text",
    ["", "1", "Z" * 32, "0" * 32, END_OF_TIME.upper(), END_OF_TIME, "\ud800", END_OF_TIME * 2],
)
def test_what_is_no_version_is_ignored(text: str) -> None:
    """A text that is none, and the last version that there is, leave the clock at the present."""
    clock = VersionClock(ManualClock(PRESENT))
    clock.observe(text)
    assert milliseconds_of(clock.next(text)) == PRESENT // 1000


def test_the_present_is_told_in_microseconds() -> None:
    """The system's clock is somewhere between 2024 and 2100."""
    assert 1_704_067_200_000_000 < now_in_microseconds() < 4_102_444_800_000_000


def test_a_version_right_after_another_is_of_its_moment() -> None:
    """It is past the other, fresh, and less than the next one that the clock makes."""
    clock = VersionClock(now=lambda: 0)
    for _ in range(200):
        version = clock.next()
        one, other = right_after(version), right_after(version)
        assert one != other
        assert version < min(one, other) <= max(one, other) < clock.next()


def test_there_is_always_a_version_right_after_another() -> None:
    """Where a moment has no more of them it is of the next, and past no version it is any."""
    version = VersionClock().next()
    last = version[:16] + "b" + "f" * 15
    assert version[:16] < last < right_after(last)
    assert len(right_after("no version")) == 32
