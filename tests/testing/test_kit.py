"""The kit is worth something only if it finds what is wrong."""

import asyncio

import pytest
from broken import BROKEN, harness_of

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.errors import ConflictError, NotFoundError
from aiostore.testing import Harness, all_checks, run_checks
from aiostore.testing.expectations import (
    CheckFailedError,
    exact,
    expect,
    expect_equal,
    expect_error,
)

TOPICS = {
    *("reads", "writes", "conditions", "batches", "scans", "queries", "pages", "expiry"),
    *("purging", "transactions", "keys", "values", "lifecycle", "concurrency", "cancellation"),
    *("errors", "capabilities"),
}


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
async def test_finds_what_is_wrong(kind: type[MemoryAdaptor]) -> None:
    """A wrong adaptor fails the check of the promise that it breaks, and no other."""
    failed = {
        f"{result.topic}-{result.name}": result.detail
        async for result in run_checks(harness_of(kind))
        if result.outcome in ("failed", "broken")
    }
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    assert set(failed) == {BROKEN[kind]}, failed


def test_every_topic_has_a_wrong_adaptor() -> None:
    """The kit has the topics that it is to have, and each finds something that is wrong."""
    topics = {check.topic for check in all_checks()}
    assert topics == TOPICS
    assert {name.partition("-")[0] for name in BROKEN.values()} == topics


async def test_passes_what_is_right() -> None:
    """The reference adaptor fails nothing, and what does not apply says why."""
    adaptor = MemoryAdaptor()
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


def test_exact_tells_types_apart() -> None:
    """Values that are equal to Python but not as JSON have different exact texts."""
    texts = {exact({"a": [value]}) for value in (1, 1.0, True, "1", -0.0, 0.0, 0, None)}
    assert len(texts) == 8
