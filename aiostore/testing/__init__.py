"""The conformance kit: what every adaptor promises, as checks that anyone can run.

`run_checks` runs them over a `Harness`, which says how to make the adaptor; `aiostore check URL`
does the same from the command line. The checks are plain async functions, by topic, and need no
test framework.
"""

from aiostore.testing import checks
from aiostore.testing.check import Check, all_checks, check
from aiostore.testing.clock import ManualClock
from aiostore.testing.expectations import CheckFailedError
from aiostore.testing.faults import Faults, FaultyAdaptor
from aiostore.testing.harness import Harness
from aiostore.testing.running import CheckResult, run_check, run_checks

__all__ = [
    "Check",
    "CheckFailedError",
    "CheckResult",
    "Faults",
    "FaultyAdaptor",
    "Harness",
    "ManualClock",
    "all_checks",
    "check",
    "checks",
    "run_check",
    "run_checks",
]
