"""Versions: UUIDv7 (RFC 9562) as 32 lower-case hex digits, made by the writer.

The 48 bits of milliseconds and the 12 bits after the version digit hold the time in 1/4096 ms
(RFC 9562 section 6.2, method 3); the 62 bits after the variant are random. So versions are unique,
ordered by time, comparable as text, and one clock never makes a smaller one after a larger one.
"""

import os
import random
import re
import threading
import time
from collections.abc import Callable

MicrosecondClock = Callable[[], int]
"""Returns microseconds since 1970-01-01 UTC; injected, so that tests advance time."""

RandomBits = Callable[[int], int]
"""Returns so many random bits; injected, so that tests repeat."""

_PATTERN = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")
_TICKS_PER_MILLISECOND = 4096
_MAX_SKEW = 24 * 60 * 60 * 1000 * _TICKS_PER_MILLISECOND
_RANDOM_BITS = 62

_RANDOM = random.Random()  # noqa: S311  # versions are to be unique, they are no secret
"""Seeded by the operating system, in every process anew."""

os.register_at_fork(after_in_child=_RANDOM.seed)


def now_in_microseconds() -> int:
    """The system's clock."""
    return time.time_ns() // 1000


class VersionClock:
    """Makes versions that grow, whatever the system's clock does.

    A version met in a store (`observe`) moves the clock past it, unless it lies more than a day
    ahead: one writer with a wrong clock must not drag all others along.

    Args:
        now: tells the time.
        random_bits: makes versions unique among all writers.
    """

    def __init__(
        self,
        now: MicrosecondClock = now_in_microseconds,
        random_bits: RandomBits = _RANDOM.getrandbits,
    ) -> None:
        self.now = now
        self._random_bits = random_bits
        self._last = 0
        self._lock = threading.Lock()

    def next(self, after: str | None = None) -> str:
        """A fresh version, greater than all that this clock has made or observed.

        Greater than `after` too, unless that is no version. Where `after` lies more than a day
        ahead only this one version is past it: the clock stays, and what it makes next is smaller.
        """
        floor = _ticks(after)
        with self._lock:
            present = self._ticks_now()
            tick = max(present, self._last + 1)
            if floor < present + _MAX_SKEW:
                tick = max(tick, floor + 1)
                self._last = tick
            else:
                self._last = tick
                tick = floor + 1
        milliseconds, fraction = divmod(tick, _TICKS_PER_MILLISECOND)
        last = 0b10 << _RANDOM_BITS | self._random_bits(_RANDOM_BITS)
        return f"{milliseconds:012x}7{fraction:03x}{last:016x}"

    def observe(self, version: str) -> None:
        """Take note of a version that stands in a store."""
        tick = _ticks(version)
        with self._lock:
            if self._last < tick < self._ticks_now() + _MAX_SKEW:
                self._last = tick

    def _ticks_now(self) -> int:
        return self.now() * _TICKS_PER_MILLISECOND // 1000


def right_after(version: str) -> str:
    """A fresh version of the same 1/4096 ms, so less than what a clock makes that knows `version`.

    What is no version, or the last one of its moment, has one past it that may be of the next.
    """
    if _PATTERN.fullmatch(version) is None:
        return PROCESS_CLOCK.next()
    last = (0b10 << _RANDOM_BITS) + 2**_RANDOM_BITS - 1
    room = last - int(version[16:], 16)
    if not room:
        return VersionClock(now=lambda: 0).next(version)
    return f"{version[:16]}{last - _RANDOM.randrange(room):016x}"


PROCESS_CLOCK = VersionClock()
"""The clock of this process's writers."""


def _ticks(version: str | None) -> int:
    """A version's time in 1/4096 ms; 0 for None, for what is no version and for the end of time."""
    if version is None or _PATTERN.fullmatch(version) is None:
        return 0
    tick = int(version[:12], 16) * _TICKS_PER_MILLISECOND + int(version[13:16], 16)
    return 0 if tick == 2**60 - 1 else tick
