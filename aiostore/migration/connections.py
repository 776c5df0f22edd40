"""Which of its two stores a process has reached, and what a migration keeps in them.

A process starts as long as the store that has the documents can be reached: the current one, or in
the phase `target` the target. It goes on trying to reach the other.
"""

import asyncio
import logging
from contextlib import AsyncExitStack
from datetime import timedelta

from aiostore.errors import StoreError, UnavailableError
from aiostore.migration.claims import Claims
from aiostore.migration.control import ControlDocument
from aiostore.migration.legs import Leg, Mirror
from aiostore.migration.phases import Phase
from aiostore.protocols import Adaptor
from aiostore.versions import VersionClock

_logger = logging.getLogger("aiostore.migration")


class Connections:
    """The two stores of a migration, opened and closed.

    Args:
        current: the current store.
        target: the target.
        mirror: the target as a copy, which is used once it is this migration's.
        migration: the migration's name.
        clock: makes versions.
        deadline: how long a call of the migration's own records may take.
        rest: how long to wait before a failed attempt is repeated.

    Attributes:
        here: the current store, for the migration's own records.
        there: the target, likewise.
        claims: what the migration has made of them.
        control: in which phase it is.
        target_reached: set while the target is open.
    """

    def __init__(
        self,
        current: Adaptor,
        target: Adaptor,
        mirror: Mirror,
        migration: str,
        *,
        clock: VersionClock,
        deadline: timedelta,
        rest: timedelta,
    ) -> None:
        self.here = Leg(current, deadline, self._check_current)
        self.there = Leg(target, deadline, self._check_target)
        self.claims = Claims(current, target, migration, clock)
        self.control = ControlDocument(self.here, self.there, migration, clock)
        self.target_reached = asyncio.Event()
        self._current_reached = False
        self._current = current
        self._target = target
        self._mirror = mirror
        self._rest = rest

    async def open(self) -> None:
        """Open both stores, or the one that is needed.

        Raises:
            UnavailableError: that one cannot be reached.
            MigrationError: a store is in the hands of another migration, or not empty.
            ConfigurationError: a store cannot be used as configured.
        """
        try:
            await self._open_current()
        except UnavailableError as error:
            await self._go_on_without_current(error)
        try:
            await self._open_target()
        except UnavailableError as error:
            _logger.warning("the target cannot be reached yet: %s", error)
            await self._give_up()

    async def complete(self) -> None:
        """Go on trying until both are reached."""
        while not (self._current_reached and self._mirror.connected):
            await asyncio.sleep(self._rest.total_seconds())
            try:
                if not self._current_reached:
                    await self._open_current()
                await self._open_target()
            except StoreError as error:
                _logger.warning("a store of the migration cannot be used yet: %s", error)
                await self._give_up()

    async def aclose(self) -> None:
        """Close both."""
        self.target_reached.clear()
        self._current_reached = self._mirror.connected = False
        async with AsyncExitStack() as both:
            both.push_async_callback(self._current.aclose)
            both.push_async_callback(self._target.aclose)

    async def _open_current(self) -> None:
        await self._current.open()
        await self.claims.check_current()
        self._current_reached = True
        await self.control.read()

    async def _go_on_without_current(self, error: UnavailableError) -> None:
        """Where all documents are in the target, the current store need not be there."""
        await self._current.aclose()
        await self._target.open()
        await self.claims.check_target()
        self.target_reached.set()
        control = await self.control.read_in_target()
        if control is None or control.phase is not Phase.TARGET:
            raise error
        _logger.warning("the current store cannot be reached: %s", error)

    async def _open_target(self) -> None:
        if not self.target_reached.is_set():
            await self._target.open()
            self.target_reached.set()
        if self._current_reached and self.control.latest.phase is not Phase.CURRENT:
            await self.claims.take()
            await self.control.create()
        self._mirror.connected = True

    async def _give_up(self) -> None:
        """Close what could not be opened; in the phase `target` the target is in use."""
        if not self._current_reached:
            await self._current.aclose()
        if not self._mirror.connected:
            self.target_reached.clear()
            await self._target.aclose()

    def _check_current(self) -> None:
        if not self._current_reached:
            raise UnavailableError(
                "the current store has not been reached yet", store=self._current.name
            )

    def _check_target(self) -> None:
        if not self.target_reached.is_set():
            raise UnavailableError("the target has not been reached yet", store=self._target.name)
