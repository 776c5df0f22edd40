"""How far a migration is, as numbers that a person can watch."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

Step = Literal["backfill", "verify", "handoff", "handback"]

_ALMOST = 99.9
_FIRST_ETA = 0.01
_WINDOW = 30.0  # seconds
_SAMPLES_APART = 0.5


@dataclass(frozen=True, slots=True)
class Progress:
    """One step's state at one moment.

    Attributes:
        step: what is done.
        collection: the collection at work.
        done: its records handled so far, by all workers and in all earlier runs.
        total: about how many it has, never fewer than `done`; live writes change the truth
            meanwhile.
        mismatches: differences found so far; verify only.
        finished: whether the whole collection has been handled. Only then, and from then on, it is
            at 100 %.
        rate: how many records a second the whole step has handled of late; None if not known yet.
        eta: how long the whole step will take at this rate; None before 1 % of it is done.
        throttle: why it goes no faster; None if nothing holds it back.
    """

    step: Step
    collection: str
    done: int
    total: int
    mismatches: int = 0
    finished: bool = False
    rate: float | None = None
    eta: timedelta | None = None
    throttle: str | None = None

    @property
    def percent(self) -> float:
        """Done of total, 0 to 100; 100 when it is finished, and not before."""
        if self.finished:
            return 100.0
        return min(_ALMOST, 100.0 * self.done / self.total) if self.total else 0.0


Report = Callable[[Progress], None]
"""Is called after each chunk, and when what throttles changes; must not block."""


def silent(progress: Progress) -> None:
    """Report nothing."""


class Speed:
    """How fast a number grows, over the last half a minute."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def observe(self, number: int, now: float) -> None:
        """The number stands there at this moment (seconds, of any clock that only grows)."""
        samples = self._samples
        if len(samples) > 1 and now - samples[-2][0] < _SAMPLES_APART:
            samples.pop()
        samples.append((now, number))
        while len(samples) > 2 and samples[1][0] <= now - _WINDOW:
            samples.popleft()

    @property
    def rate(self) -> float | None:
        """By how much a second; None until it has been observed for a while."""
        if not self._samples:
            return None
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        return None if ended - began < _SAMPLES_APART else (last - first) / (ended - began)

    def eta(self, done: int, total: int) -> timedelta | None:
        """How long the rest takes; None if too little is known to tell."""
        rate = self.rate
        if not rate or done < _FIRST_ETA * total:
            return None
        return timedelta(seconds=max(0, total - done) / rate)
