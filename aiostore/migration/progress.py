"""How far a migration is, as numbers that a person can watch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Progress:
    """One step's state at one moment.

    Attributes:
        step: what is done.
        collection: the collection at work.
        done: its records handled so far, those of an earlier, interrupted run included.
        total: its records when the step began; live writes change the truth meanwhile.
        mismatches: differences found so far; verify only.
    """

    step: Literal["backfill", "verify", "handoff", "handback"]
    collection: str
    done: int
    total: int
    mismatches: int = 0

    @property
    def percent(self) -> float:
        """Done of total, 0 to 100."""
        return 100.0 if self.done >= self.total else 100.0 * self.done / self.total


Report = Callable[[Progress], None]
"""Is called after each chunk; must not block."""


def silent(progress: Progress) -> None:
    """Report nothing."""
