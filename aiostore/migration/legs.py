"""One store of a migration, as a leg of the fan-out: every call has a deadline."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import TypeVar

from aiostore.errors import StoreError, UnavailableError
from aiostore.protocols import Adaptor, DocumentId, Outcome, Record, Write

R = TypeVar("R")

_logger = logging.getLogger("aiostore.migration")

_FAILURES_TO_TRIP = 5
_SHORTEST_REST = 1.0
_LONGEST_REST = 30.0


class Leg:
    """An adaptor whose calls end within a deadline, with `UnavailableError` if need be."""

    def __init__(self, adaptor: Adaptor, deadline: timedelta) -> None:
        self.adaptor = adaptor
        self.deadline = deadline

    async def read(self, ids: Sequence[DocumentId]) -> Sequence[Record | None]:
        """As the adaptor's."""
        return await self._within(self.adaptor.read(ids))

    async def write(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        """As the adaptor's."""
        return await self._within(self.adaptor.write(writes))

    async def _within(self, call: Awaitable[R]) -> R:
        try:
            async with asyncio.timeout(self.deadline.total_seconds()):
                return await call
        except TimeoutError as error:
            raise UnavailableError(
                f"no answer within {self.deadline.total_seconds():g} s", store=self.adaptor.name
            ) from error


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
        return time.monotonic() < self._closed_from

    def succeeded(self) -> None:
        """A call was answered."""
        self._failures = 0
        self._rest = 0.0

    def failed(self) -> None:
        """A call was not answered."""
        self._failures += 1
        if self._failures >= _FAILURES_TO_TRIP:
            self._rest = min(max(_SHORTEST_REST, self._rest * 2), _LONGEST_REST)
            self._closed_from = time.monotonic() + self._rest


class Mirror(Leg):
    """The target while it is a copy: what fails there is remembered, and never raised.

    Attributes:
        failures: calls that failed or were left out, since the start.
    """

    def __init__(self, adaptor: Adaptor, deadline: timedelta) -> None:
        super().__init__(adaptor, deadline)
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
