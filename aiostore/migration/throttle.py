"""How fast the background work of a migration may go, and why it goes no faster.

The operator's limits are kept as debts that are paid off over time. Besides, the work takes itself
back: it has a share of the time, which is halved whenever the live service becomes slow, or a store
refuses for want of capacity or does not answer, and which grows back slowly when all is well. The
time is the event loop's.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from enum import IntEnum
from typing import TypeVar

from msgspec import Struct

from aiostore.errors import UnavailableError
from aiostore.metering import metered

R = TypeVar("R")

PATIENCE = timedelta(minutes=5)
"""How long a call that fails is repeated, by default."""

_SLICE = 1.0  # seconds: so often a waiting worker looks whether it still has to wait
_INSTANT = 1e-6  # what is shorter may be nothing but the rounding of the clock
_SMALLEST_SHARE = 1 / 64
_GROWTH = 0.1  # of the share, a second
_LONGEST_REST = 10.0
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 10.0
_SLOW = 2.0  # times the quietest moment's latency
_QUICK = 1.5
_FORGETTING = 600.0  # seconds until the quietest moment's latency counts double
_LEAST_LATENCY = 5.0  # milliseconds: nobody minds what is faster, whatever the ratio


class Limits(Struct, frozen=True):
    """What the operator allows.

    Attributes:
        paused: why the work waits; None if it may go on.
        documents_per_second: greater than 0; None for no limit.
        bytes_per_second: of encoded bodies; likewise.
    """

    paused: str | None = None
    documents_per_second: float | None = None
    bytes_per_second: float | None = None


Latency = Callable[[], Awaitable[float | None]]
"""Returns how many milliseconds the live service's calls take of late; None if that is unknown."""


class _Cause(IntEnum):
    """What holds the work back, the most telling first."""

    PAUSED = 0
    UNANSWERED = 1
    CAPACITY = 2
    SLOWED = 3
    LIMITED = 4
    OTHERS = 5


class _Debt:
    """An amount that has been spent in advance, and is paid off at a rate."""

    def __init__(self) -> None:
        self._amount = 0.0
        self._at = 0.0

    def spend(self, amount: float) -> None:
        self._amount += amount

    def wait(self, rate: float | None, now: float) -> float:
        """For how many seconds nothing may be spent."""
        if rate is None:
            self._amount = 0.0
        else:
            self._amount = max(0.0, self._amount - rate * (now - self._at))
        self._at = now
        return self._amount / rate if rate and self._amount else 0.0


class Throttle:
    """What all pieces of one call wait for before each chunk.

    Args:
        limits: what the operator allows at this moment.
        latency: how the live service fares; None if there is nobody to ask.
        patience: how long a call that fails is repeated.
        changed: is called when the reason has changed.

    Attributes:
        workers: among how many calls like this one, anywhere, the limits are divided.
    """

    def __init__(
        self,
        limits: Callable[[], Limits] = Limits,
        latency: Latency | None = None,
        *,
        patience: timedelta = PATIENCE,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.workers = 1
        self.changed = changed
        self._limits = limits
        self._latency = latency
        self._patience = patience.total_seconds()
        self._reasons: dict[_Cause, str] = {}
        self._documents = _Debt()
        self._bytes = _Debt()
        self._share = 1.0
        self._grown_at = 0.0
        self._halved_at = float("-inf")
        self._rests_until = 0.0
        self._sensed_at = float("-inf")
        self._quietest: float | None = None
        self._slow = False

    @property
    def reason(self) -> str | None:
        """Why the work goes no faster; None if nothing holds it back."""
        return self._reasons[min(self._reasons)] if self._reasons else None

    @property
    def share(self) -> float:
        """The part of the time in which the work is done, above 0, at most 1."""
        return self._share

    def most(self, chunk: int) -> int:
        """How many documents to handle at once: a second's worth at most."""
        rate = self._rates(self._limits())[0]
        return chunk if rate is None else max(1, min(chunk, int(rate)))

    async def turn(self, documents: int, size: int, keep: Callable[[], Awaitable[None]]) -> float:
        """Wait until the next chunk may be handled.

        Args:
            documents: how many it holds.
            size: the bytes of their bodies.
            keep: is awaited about once a second meanwhile.

        Returns:
            The moment, for `rest`.
        """
        clock = asyncio.get_running_loop().time
        while True:
            limits, now = self._limits(), clock()
            if limits.paused is not None:
                self._say(_Cause.PAUSED, f"paused: {limits.paused}")
                await asyncio.sleep(_SLICE)
                await keep()
                continue
            self._say(_Cause.PAUSED, None)
            await self._sense(now)
            self._grow(now)
            documents_per_second, bytes_per_second = self._rates(limits)
            for_documents = self._documents.wait(documents_per_second, now)
            for_bytes = self._bytes.wait(bytes_per_second, now)
            self._say_limited(limits, for_documents, for_bytes)
            left = max(for_documents, for_bytes, self._rests_until - now)
            if left <= _INSTANT:
                self._documents.spend(documents)
                self._bytes.spend(size)
                return now
            await asyncio.sleep(min(left, _SLICE))
            await keep()

    def rest(self, since: float) -> None:
        """A chunk has been handled whose turn came at the moment `since`: the share is kept."""
        now = asyncio.get_running_loop().time()
        rest = min((now - since) * (1 / self._share - 1), _LONGEST_REST)
        self._rests_until = max(self._rests_until, now + rest)

    async def ask(self, whom: str, call: Callable[[], Awaitable[R]]) -> R:
        """Call a store, again and again until it answers.

        Args:
            whom: which store, for a person.
            call: makes one attempt.

        Raises:
            UnavailableError: it has not answered for as long as the patience lasts.
        """
        clock = asyncio.get_running_loop().time
        began, pause = clock(), _FIRST_PAUSE
        while True:
            with metered() as usage:
                try:
                    answer = await call()
                except UnavailableError:
                    self._halve(_Cause.UNANSWERED, f"{whom} did not answer")
                    if clock() - began + pause > self._patience:
                        raise
                else:
                    if usage.throttled:
                        self._halve(_Cause.CAPACITY, f"{whom} has no capacity left")
                    return answer
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def wait_for_others(self, *, waiting: bool) -> None:
        """All that is left is in the hands of other workers; or no longer."""
        self._say(_Cause.OTHERS, "waiting for another worker's part" if waiting else None)

    def _rates(self, limits: Limits) -> tuple[float | None, float | None]:
        documents, size = limits.documents_per_second, limits.bytes_per_second
        return (
            None if documents is None else documents / self.workers,
            None if size is None else size / self.workers,
        )

    def _say_limited(self, limits: Limits, documents: float, size: float) -> None:
        reason = None
        if documents > _INSTANT and documents >= size:
            reason = f"limited to {limits.documents_per_second:g} documents/s"
        elif size > _INSTANT:
            reason = f"limited to {limits.bytes_per_second:g} bytes/s"
        elif limits.documents_per_second is not None or limits.bytes_per_second is not None:
            return  # what was said about the last chunk still holds
        self._say(_Cause.LIMITED, reason)

    async def _sense(self, now: float) -> None:
        """Look how the live service fares; about once a second."""
        if self._latency is None or now < self._sensed_at + _SLICE:
            return
        since = 0.0 if self._quietest is None else now - self._sensed_at
        self._sensed_at = now
        latency = await self._latency()
        if latency is None:
            self._slow = False
            return
        latency = max(latency, _LEAST_LATENCY)
        # What lasts for long is the load of the day, and not our doing.
        drift = 2 ** (since / _FORGETTING)
        self._quietest = min(latency, (self._quietest or latency) * drift)
        ratio = latency / self._quietest
        if ratio > _SLOW:
            self._halve(
                _Cause.SLOWED, f"the service's calls take {ratio:.1f} times as long as at rest"
            )
        self._slow = ratio > _QUICK

    def _halve(self, cause: _Cause, reason: str) -> None:
        """Go slower; once a second at most, for several pieces may meet the same trouble."""
        now = asyncio.get_running_loop().time()
        if now >= self._halved_at + _SLICE:
            self._share = max(_SMALLEST_SHARE, self._share / 2)
            self._halved_at = now
        self._say(cause, reason)

    def _grow(self, now: float) -> None:
        quiet_from = self._halved_at + _SLICE
        if now >= quiet_from and not self._slow and self._share < 1:
            self._share += _GROWTH * (now - max(quiet_from, self._grown_at))
        self._grown_at = now
        if self._share >= 1:
            self._share = 1.0
            for cause in (_Cause.UNANSWERED, _Cause.CAPACITY, _Cause.SLOWED):
                self._say(cause, None)

    def _say(self, cause: _Cause, reason: str | None) -> None:
        before = self.reason
        if reason is None:
            self._reasons.pop(cause, None)
        else:
            self._reasons[cause] = reason
        if self.reason != before:
            self.changed()
