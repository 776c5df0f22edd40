"""Running checks, one after the other, each on data of its own."""

import time
import traceback
from collections.abc import AsyncIterator, Iterable
from typing import Literal

from msgspec import Struct

from aiostore.testing.check import Check, all_checks
from aiostore.testing.expectations import CheckFailedError
from aiostore.testing.harness import Harness


class CheckResult(Struct, frozen=True):
    """How one check ended.

    Attributes:
        topic: the check's.
        name: the check's.
        outcome: `passed`, `failed` (a promise is broken), `broken` (another error), or `skipped`.
        detail: the failure, the error with its traceback, or why it was skipped.
        seconds: how long it took.
    """

    topic: str
    name: str
    outcome: Literal["passed", "failed", "broken", "skipped"]
    detail: str
    seconds: float


async def run_check(check: Check, harness: Harness) -> None:
    """Run one check and clean up after it; raises what it raises."""
    try:
        await check.function(harness)
    finally:
        await harness.clean()


async def run_checks(
    harness: Harness, checks: Iterable[Check] | None = None
) -> AsyncIterator[CheckResult]:
    """Run checks (all, if none are given) and yield how each ended."""
    for check in all_checks() if checks is None else checks:
        reason = check.reason_to_skip(harness.features)
        if reason is not None:
            yield CheckResult(check.topic, check.name, "skipped", reason, 0.0)
            continue
        began = time.perf_counter()
        outcome: Literal["passed", "failed", "broken"] = "passed"
        detail = ""
        try:
            await run_check(check, harness)
        except CheckFailedError as failure:
            outcome, detail = "failed", str(failure)
        except Exception:  # noqa: BLE001  # whatever it is, it is this check's result
            outcome, detail = "broken", traceback.format_exc()
        seconds = time.perf_counter() - began
        yield CheckResult(check.topic, check.name, outcome, detail, seconds)
