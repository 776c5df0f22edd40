"""One store of a migration, as a leg of the fan-out: every call has a deadline."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import timedelta
from math import inf
from typing import TypeVar

from aiostore.errors import StoreError, UnavailableError
from aiostore.protocols import Adaptor, Check, DocumentId, Outcome, Record, Scan, Write

R = TypeVar("R")

_logger = logging.getLogger("aiostore.migration")

_FAILURES_TO_TRIP = 5
_SHORTEST_REST = 1.0
_LONGEST_REST = 30.0
_MOST_TIMES = 256


def always() -> None:
    """Permit every call."""


class Landing:
    """How long something may still take effect that was sent and not answered, on whatever leg.

    Args:
        grace: after this long no request can still land in a store.
    """

    def __init__(self, grace: timedelta) -> None:
        self._grace = grace.total_seconds()
        self._until = -inf

    def unanswered(self) -> None:
        """A write has ended without an answer."""
        self._until = asyncio.get_running_loop().time() + self._grace

    @property
    def left(self) -> float:
        """For how many seconds."""
        return max(0.0, self._until - asyncio.get_running_loop().time())


class Leg:
    """An adaptor whose calls end within a deadline, with `UnavailableError` if need be.

    Args:
        adaptor: the store.
        deadline: how long a call may take.
        permit: is called before anything is sent; raises if it must not be.
        landing: is told of writes without an answer.

    Attributes:
        adaptor: as given.
        deadline: as given.
        reads: how many seconds the last few hundred reads took.
        writes: likewise the writes.
    """

    def __init__(
        self,
        adaptor: Adaptor,
        deadline: timedelta,
        permit: Callable[[], None] = always,
        landing: Landing | None = None,
    ) -> None:
        self.adaptor = adaptor
        self.deadline = deadline
        self.reads: deque[float] = deque(maxlen=_MOST_TIMES)
        self.writes: deque[float] = deque(maxlen=_MOST_TIMES)
        self._permit = permit
        self._landing = landing

    async def read(self, ids: Sequence[DocumentId]) -> Sequence[Record | None]:
        """As the adaptor's."""
        return await self._within(lambda: self.adaptor.read(ids), self.reads)

    async def write(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        """As the adaptor's."""
        return await self._answered(lambda: self.adaptor.write(writes))

    async def write_atomic(self, items: Sequence[Write | Check]) -> Sequence[Outcome]:
        """As the adaptor's."""
        return await self._answered(lambda: self.adaptor.write_atomic(items))

    async def collect(self, request: Scan) -> list[Record]:
        """All records of a scan of which there are few."""
        return await self._within(lambda: self._all(request))

    async def _answered(
        self, call: Callable[[], Awaitable[Sequence[Outcome]]]
    ) -> Sequence[Outcome]:
        self._permit()
        try:
            return await self._within(call, self.writes)
        except BaseException as error:
            # By the contract, any other of the library's errors says that nothing took effect.
            unknown = isinstance(error, UnavailableError) or not isinstance(error, StoreError)
            if unknown and self._landing is not None:
                self._landing.unanswered()
            raise

    async def _all(self, request: Scan) -> list[Record]:
        async with aclosing(self.adaptor.scan(request)) as chunks:
            return [record async for chunk in chunks for record in chunk]

    async def _within(
        self, call: Callable[[], Awaitable[R]], times: deque[float] | None = None
    ) -> R:
        self._permit()
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            async with asyncio.timeout(self.deadline.total_seconds()):
                answer = await call()
        except TimeoutError as error:
            raise UnavailableError(
                f"no answer within {self.deadline.total_seconds():g} s", store=self.adaptor.name
            ) from error
        if times is not None:
            times.append(clock() - started)
        return answer


class Breaker:
    """Stops calling what keeps failing: after five failures in a row it rests, longer each time.

    A rest is 1 s, then twice the last, at most 30 s; the call after it decides.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._rest = 0.0
        self._closed_from = 0.0

    @property
    def rests(self) -> bool:
        """Whether calls are to be left out now."""
        return asyncio.get_running_loop().time() < self._closed_from

    def succeeded(self) -> None:
        """A call was answered."""
        self._failures = 0
        self._rest = 0.0

    def failed(self) -> None:
        """A call was not answered."""
        self._failures += 1
        if self._failures >= _FAILURES_TO_TRIP:
            self._rest = min(max(_SHORTEST_REST, self._rest * 2), _LONGEST_REST)
            self._closed_from = asyncio.get_running_loop().time() + self._rest


class Mirror(Leg):
    """The target while it is a copy: what fails there is remembered, and never raised.

    Attributes:
        failures: calls that failed or were left out, since the start.
    """

    def __init__(
        self,
        adaptor: Adaptor,
        deadline: timedelta,
        permit: Callable[[], None] = always,
        landing: Landing | None = None,
    ) -> None:
        super().__init__(adaptor, deadline, permit, landing)
        self.connected = False
        self.failures = 0
        self._breaker = Breaker()

    @property
    def rests(self) -> bool:
        """Whether the target is not being called at the moment."""
        return not self.connected or self._breaker.rests

    async def try_write(self, writes: Sequence[Write]) -> Sequence[Outcome | None]:
        """The outcomes; None where it is not known, or nothing was sent."""
        if self.rests:
            self.failures += 1
            return [None] * len(writes)
        try:
            outcomes = await self.write(writes)
        except Exception as error:  # nothing of the target's may fail the service
            if not isinstance(error, StoreError):
                _logger.exception("the target's adaptor raised what it must not")
            self.failures += 1
            self._breaker.failed()
            return [None] * len(writes)
        self._breaker.succeeded()
        return outcomes
