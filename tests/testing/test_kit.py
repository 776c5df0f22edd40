"""The kit is worth something only if it finds what is wrong."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from broken import BROKEN, harness_of
from engines import IndexingMemory, SparseIndexes, TerseMemory

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.errors import ConflictError, NotFoundError
from aiostore.protocols import DocumentId, Record
from aiostore.testing import Harness, ManualClock, all_checks, expectations, run_checks
from aiostore.testing.expectations import (
    CheckFailedError,
    exact,
    expect,
    expect_equal,
    expect_error,
    expect_in_time,
)

TOPICS = {
    *("reads", "writes", "conditions", "batches", "scans", "queries", "pages", "expiry"),
    *("purging", "transactions", "keys", "values", "lifecycle", "concurrency", "cancellation"),
    *("errors", "capabilities", "orders", "indexes"),
}
ACROSS = "linearizability"
"""A topic that holds several promises at once; its wrong adaptors are in its own tests."""


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
async def test_finds_what_is_wrong(kind: type[MemoryAdaptor]) -> None:
    """A wrong adaptor fails the check of the promise that it breaks, and no other."""
    checks = [check for check in all_checks() if check.topic != ACROSS]
    failed = {
        f"{result.topic}-{result.name}": result.detail
        async for result in run_checks(harness_of(kind), checks)
        if result.outcome in ("failed", "broken")
    }
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    assert set(failed) == {BROKEN[kind]}, failed


def test_every_topic_has_a_wrong_adaptor() -> None:
    """The kit has the topics that it is to have, and each finds something that is wrong."""
    topics = {check.topic for check in all_checks()}
    assert topics == TOPICS | {ACROSS}
    assert {name.partition("-")[0] for name in BROKEN.values()} == TOPICS


@pytest.mark.parametrize("kind", [MemoryAdaptor, IndexingMemory, SparseIndexes, TerseMemory])
async def test_passes_what_is_right(kind: type[MemoryAdaptor]) -> None:
    """The reference fails nothing, nor do others as good; what does not apply says why."""
    adaptor = kind()
    results = [result async for result in run_checks(Harness(lambda: adaptor))]
    assert {result.outcome for result in results} == {"passed", "skipped"}
    skipped = [result.detail for result in results if result.outcome == "skipped"]
    assert skipped
    assert "" not in skipped


async def test_an_unexpected_error_is_told_with_its_place() -> None:
    """A check that ends with another error is broken, and its traceback is kept."""

    class Bursts(MemoryAdaptor):
        async def count(self, collection: str, /, *, alive_at: int | None = None) -> int:
            raise ZeroDivisionError(collection)

    adaptor = Bursts()
    broken = [r async for r in run_checks(Harness(lambda: adaptor)) if r.outcome == "broken"]
    assert "count" in [result.name for result in broken]
    assert "ZeroDivisionError" in broken[0].detail


def test_expectations_explain_themselves() -> None:
    """A failure names the promise and shows what was expected and what came."""
    expect(bool("x"), "fine")
    expect_equal([1], [1], "fine")
    with pytest.raises(CheckFailedError, match="broken: it holds"):
        expect(bool(""), "it holds")
    with pytest.raises(CheckFailedError, match=r"at position 1\nexpected: 3\nactual:   2"):
        expect_equal([1, 2], [1, 3], "equal")
    with pytest.raises(CheckFailedError, match="nothing"):
        expect_equal([1], [1, 3], "equal")
    with pytest.raises(CheckFailedError, match="no error"), expect_error(NotFoundError, "raises"):
        pass
    with (
        pytest.raises(CheckFailedError, match="ConflictError: other"),
        expect_error(NotFoundError, "raises"),
    ):
        raise ConflictError("other", current=None)


async def test_what_lags_behind_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is asked for again until it comes; one that never comes is a failure."""
    monkeypatch.setattr(expectations, "_PAUSES", (0.0,) * 3)
    answers = [1, 2, 3, 4]

    async def ask() -> int:
        return answers.pop(0)

    await expect_in_time(ask, 2, "it comes")
    assert answers == [3, 4]
    answers = [1, 1, 1, 2, 3]
    await expect_in_time(ask, 2, "it comes at last")
    answers = [1, 1, 1, 1, 2]
    with pytest.raises(CheckFailedError, match="broken: it comes, in time\nexpected: 2"):
        await expect_in_time(ask, 2, "it comes")
    assert answers == [2]


def test_exact_tells_types_apart() -> None:
    """Values that are equal to Python but not as JSON have different exact texts."""
    texts = {exact({"a": [value]}) for value in (1, 1.0, True, "1", -0.0, 0.0, 0, None)}
    assert len(texts) == 8


async def test_a_check_that_hangs_is_ended() -> None:
    """It fails after the time allowed, and what comes after it is run."""

    class Hangs(MemoryAdaptor):
        async def collections(self) -> Sequence[str]:
            await asyncio.Event().wait()
            return []

    adaptor = Hangs()
    chosen = [check for check in all_checks() if check.topic in ("keys", "reads")]
    patience = timedelta(seconds=0.5)
    results = [result async for result in run_checks(Harness(lambda: adaptor), chosen, patience)]
    failed = [result for result in results if result.outcome == "failed"]
    assert [result.name for result in failed] == ["collections_are_apart"]
    assert "the check ends, within 0:00:00.5" in failed[0].detail


async def test_an_adaptors_own_timeout_is_not_the_kits() -> None:
    """An error that the adaptor lets through is told as such, though it be a `TimeoutError`."""

    class TimesOut(MemoryAdaptor):
        async def read(
            self, ids: Sequence[DocumentId], /, *, consistent: bool = True
        ) -> Sequence[Record | None]:
            raise TimeoutError("the engine's")

    adaptor = TimesOut()
    [chosen] = [check for check in all_checks() if (check.topic, check.name) == ("reads", "get")]
    [result] = [result async for result in run_checks(Harness(lambda: adaptor), [chosen])]
    assert result.outcome == "broken"
    assert "TimeoutError: the engine's" in result.detail


async def test_a_check_has_to_need_what_it_uses() -> None:
    """A hook that the harness has not been given is no hook that does nothing."""
    harness = Harness(MemoryAdaptor)
    assert harness.features.isdisjoint({"peek", "poke", "damage", "unusable", "outage"})
    place = DocumentId("c", "k")
    with pytest.raises(NotImplementedError, match="no peek: the check has to need it"):
        await harness.peek(place)
    with pytest.raises(NotImplementedError, match="poke"):
        await harness.poke(Record(place, None, "", 0, 0))
    with pytest.raises(NotImplementedError, match="damage"):
        harness.damage(place)
    with pytest.raises(NotImplementedError, match="unusable"):
        harness.unusable()
    with pytest.raises(NotImplementedError, match="outage"):
        harness.outage()


def test_a_manual_clock_stands_until_it_is_told_to_go_on() -> None:
    """It begins at about the present, or where it is told to."""
    clock = ManualClock(1_000)
    assert (clock(), clock()) == (1_000, 1_000)
    clock.advance(timedelta(milliseconds=1))
    assert clock() == 2_000
    assert ManualClock()() > 1_700_000_000 * 1_000_000
