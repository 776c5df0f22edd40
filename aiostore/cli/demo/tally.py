"""The count of what the clients met: requests, conflicts, errors, and how long each took."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

Phase = Literal["before", "dual-write", "handoff", "target", "after"]
Kind = Literal["read", "write"]

PHASES: tuple[Phase, ...] = ("before", "dual-write", "handoff", "target", "after")
DURING: tuple[Phase, ...] = ("dual-write", "handoff", "target")
KINDS: tuple[Kind, ...] = ("read", "write")

_MOST_EXAMPLES = 10


class Tally:
    """Counts, by the phase in which a request began.

    Attributes:
        phase: the present one.
        operations: requests answered.
        acknowledged: writes that took effect.
        conflicts: writes refused because of what stood there, as the clients were promised.
        errors: requests that failed in any other way.
        examples: the first of these errors, in words.
    """

    def __init__(self) -> None:
        self.phase: Phase = "before"
        self.operations = 0
        self.acknowledged = 0
        self.conflicts = 0
        self.errors = 0
        self.examples: list[str] = []
        self._took: dict[tuple[Phase, Kind], list[float]] = defaultdict(list)

    @contextmanager
    def request(self, kind: Kind) -> Iterator[None]:
        """Count and time what is done within."""
        phase, started = self.phase, time.perf_counter()
        try:
            yield
        finally:
            self._took[phase, kind].append(time.perf_counter() - started)
            self.operations += 1

    def failed(self, key: str, error: Exception) -> None:
        """Count a request that failed."""
        self.errors += 1
        if len(self.examples) < _MOST_EXAMPLES:
            self.examples.append(f"error: {key}: {type(error).__name__}: {error}")

    def latency(self, phases: Sequence[Phase], kind: Kind) -> dict[str, float]:
        """Median and 99th percentile in milliseconds, and the number of requests."""
        took = sorted(seconds for phase in phases for seconds in self._took[phase, kind])
        return {
            "p50_ms": _percentile(took, 0.50),
            "p99_ms": _percentile(took, 0.99),
            "count": len(took),
        }


def _percentile(ascending: Sequence[float], share: float) -> float:
    if not ascending:
        return 0.0
    return round(ascending[min(len(ascending) - 1, int(len(ascending) * share))] * 1000, 3)
