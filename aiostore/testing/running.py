"""Running checks, one after the other, each on data of its own."""

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from typing import Literal

from msgspec import Struct

from aiostore.testing.check import Check, all_checks
from aiostore.testing.expectations import CheckFailedError
from aiostore.testing.harness import Harness

PATIENCE = timedelta(minutes=2)
"""How long a check may take, unless said otherwise."""


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


async def run_check(check: Check, harness: Harness, patience: timedelta = PATIENCE) -> None:
    """Run one check and clean up after it; raises what it raises.

    Args:
        check: the check.
        harness: what it is run over.
        patience: how long it may take; one that hangs is ended and fails.
    """
    try:
        async with asyncio.timeout(patience.total_seconds()) as deadline:
            try:
                await check.function(harness)
            finally:
                await harness.clean()
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise CheckFailedError(f"broken: the check ends, within {patience}") from error


async def run_checks(
    harness: Harness,
    checks: Iterable[Check] | None = None,
    patience: timedelta = PATIENCE,
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
            await run_check(check, harness, patience)
        except CheckFailedError as failure:
            outcome, detail = "failed", str(failure)
        except Exception:  # noqa: BLE001  # whatever it is, it is this check's result
            outcome, detail = "broken", traceback.format_exc()
        seconds = time.perf_counter() - began
        yield CheckResult(check.topic, check.name, outcome, detail, seconds)
