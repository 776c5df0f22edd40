import pytest

from aiostore.conditions import decide, is_doomed
from aiostore.protocols import (
    Absent,
    Condition,
    DocumentId,
    Exactly,
    Mark,
    Newer,
    Outcome,
    Purge,
    Record,
    Write,
)

ID = DocumentId("users", "alice")


def record(
    version: int,
    body: str | None = "{}",
    *,
    at: int = 5,
    expires_at: int | None = None,
    mark: Mark = Mark.LIVE,
) -> Record:
    """A record whose version is a number of 32 digits."""
    return Record(ID, body, f"{version:032x}", at, at, expires_at, mark)


EXACTLY_2 = Exactly(f"{2:032x}")
UNEXPIRED = Exactly(f"{2:032x}", unexpired_at=100)


@pytest.mark.parametrize(
    ("condition", "standing", "holds"),
    [
        (Absent(), None, True),
        (Absent(), record(2), False),
        (Absent(), record(2, None), False),
        (Absent(), record(2, expires_at=1), False),
        (Newer(), None, True),
        (Newer(), record(2), True),
        (Newer(), record(2, None), True),
        (Newer(), record(3), False),
        (Newer(), record(4, None), False),
        (EXACTLY_2, None, False),
        (EXACTLY_2, record(2), True),
        (EXACTLY_2, record(2, None), True),
        (EXACTLY_2, record(2, expires_at=1), True),
        (EXACTLY_2, record(1), False),
        (UNEXPIRED, record(2), True),
        (UNEXPIRED, record(2, expires_at=101), True),
        (UNEXPIRED, record(2, expires_at=100), False),
        (UNEXPIRED, record(2, expires_at=99), False),
        (UNEXPIRED, record(1, expires_at=101), False),
    ],
)
def test_a_condition_holds_or_not(
    condition: Condition, standing: Record | None, *, holds: bool
) -> None:
    """If it holds the outcome is what is to be stored, otherwise what stands there."""
    new = record(3)
    expected = Outcome(holds, new if holds else standing)
    assert decide(Write(new, condition), standing) == expected


@pytest.mark.parametrize(
    ("mark", "standing", "holds"),
    [
        (None, record(2, mark=Mark.MOVED), True),
        (Mark.MOVED, record(2, mark=Mark.MOVED), True),
        (Mark.LIVE, record(2, mark=Mark.MOVED), False),
        (Mark.MOVED, record(2), False),
        (Mark.MOVED, None, True),
    ],
)
def test_a_mark_must_stand_there(
    mark: Mark | None, standing: Record | None, *, holds: bool
) -> None:
    """Where nothing stands, a mark demands nothing."""
    assert decide(Write(record(3), Newer(), mark), standing).applied is holds


def test_the_moment_of_creation_can_stay() -> None:
    """With `keep_created_at` it is the standing record's, and nothing else is."""
    outcome = decide(Write(record(3, at=9), EXACTLY_2, keep_created_at=True), record(2, at=1))
    assert outcome == Outcome(True, Record(ID, "{}", f"{3:032x}", 1, 9))  # noqa: FBT003


@pytest.mark.parametrize("standing", [None, record(2)])
def test_an_erasure_leaves_nothing(standing: Record | None) -> None:
    """It applies where nothing stands, too."""
    outcome = decide(Write(record(3, None), Newer(), erase=True), standing)
    assert outcome == Outcome(applied=True, record=None)


@pytest.mark.parametrize(
    ("standing", "purge", "doomed"),
    [
        (record(1), Purge("users"), False),
        (record(1), Purge("users", everything=True), True),
        (record(1, None), Purge("users", everything=True), True),
        (record(1), Purge("users", expired_before=9, deleted_before=9), False),
        (record(1, expires_at=8), Purge("users", expired_before=9), True),
        (record(1, expires_at=9), Purge("users", expired_before=9), False),
        (record(1, expires_at=8), Purge("users", deleted_before=9), False),
        (record(1, None, at=8), Purge("users", deleted_before=9), True),
        (record(1, None, at=9), Purge("users", deleted_before=9), False),
        (record(1, None, at=8), Purge("users", expired_before=9), False),
        (record(1, None, at=8, expires_at=1), Purge("users", expired_before=9), False),
    ],
)
def test_what_a_purge_removes(standing: Record, purge: Purge, *, doomed: bool) -> None:
    """Expired documents and tombstones, each before its own moment; or everything."""
    assert is_doomed(standing, purge) is doomed
