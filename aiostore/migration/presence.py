"""This process's part in the coordination: its lease, and how it follows the steps.

It looks at the control document several times a lease. When a step has been taken it begins
everything new as the new phase has it, lets end what it began in the last one, and only then
acknowledges the step by its record.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar, Token
from datetime import timedelta
from typing import Protocol

from aiostore.errors import StoreError, UnavailableError
from aiostore.migration.control import Control, ControlDocument
from aiostore.migration.legs import Landing, Leg
from aiostore.migration.members import Health, Member, Members, moment
from aiostore.migration.phases import Phase

_logger = logging.getLogger("aiostore.migration")

_BEATS = 3
"""So many renewals fit into a lease: two may fail."""


class Stint:
    """From one joining to the loss of the lease.

    Attributes:
        over: whether the lease was lost. What was begun before must not be gone on with.
    """

    def __init__(self) -> None:
        self.over = False


_STINT: ContextVar[Stint | None] = ContextVar("aiostore: stint", default=None)
"""The one in which the work of this task was begun."""


class Process(Protocol):
    """What follows the steps: the wrapper."""

    def begin(self, phase: Phase) -> None:
        """Begin everything from now on as `phase` has it."""
        ...

    async def settle(self) -> None:
        """Wait until all that has been begun before this call has ended."""
        ...

    async def abandon(self) -> None:
        """Stop all that is under way; what has been sent may land, nothing more is sent."""
        ...

    def health(self) -> Health:
        """How it fares."""
        ...

    @property
    def landing(self) -> Landing:
        """How long what it has sent may still take effect."""
        ...


class Presence:
    """The lease of one process.

    Args:
        process: whose.
        id_: its own, as nobody else's.
        name: its own, for a person.
        control: what it follows.
        members: where it registers.
        current: the current store, with a deadline shorter than the lease.
        target: the target, likewise.
        lease: how long it may go on without a renewal.
        grace: after how much more nothing that it has sent can land.
        rest: how long to wait before a failed renewal is tried again.
    """

    def __init__(
        self,
        process: Process,
        id_: str,
        name: str,
        *,
        control: ControlDocument,
        members: Members,
        current: Leg,
        target: Leg,
        lease: timedelta,
        grace: timedelta,
        rest: timedelta,
    ) -> None:
        self.id = id_
        self.name = name
        self._process = process
        self._control = control
        self._members = members
        self._current = current
        self._target = target
        self._lease = lease.total_seconds()
        self._grace = grace.total_seconds()
        self._rest = rest.total_seconds()
        self._phase = Phase.DUAL_WRITE
        self._generation = 0
        self._acknowledged = 0
        self._until = 0.0
        self._stint = Stint()
        self._nudged = asyncio.Event()
        self._renewed = asyncio.Event()
        self._settling: asyncio.Task[None] | None = None
        self._deferring = 0
        self._returning = 0
        self._registering = asyncio.Lock()

    @property
    def lasts(self) -> bool:
        """Whether the lease has not run out."""
        return moment() < self._until

    def bind(self) -> "Token[Stint | None]":
        """What this task does from now on ends with the lease that lasts now."""
        return _STINT.set(self._stint)

    @staticmethod
    def unbind(token: "Token[Stint | None]") -> None:
        """Undo `bind`."""
        _STINT.reset(token)

    def check(self) -> None:
        """Raise `UnavailableError` if the lease has run out: then nothing may be sent.

        Nor by what was begun before it ran out, if it has been renewed since.
        """
        stint = _STINT.get()
        if not self.lasts or (stint is not None and stint.over):
            raise self._lost()

    async def ensure(self, patience: timedelta) -> None:
        """Renew the lease if it has run out.

        Raises:
            UnavailableError: that was not possible in time.
        """
        if self.lasts:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(patience.total_seconds()):
                while not self.lasts:
                    self._renewed.clear()
                    self.nudge()
                    await self._renewed.wait()
        if not self.lasts:
            raise self._lost()

    def nudge(self) -> None:
        """Look at the control document now."""
        self._nudged.set()

    @asynccontextmanager
    async def deferring(self) -> AsyncGenerator[None, None]:
        """For something of the last phase: whoever waits for all to have left it waits for its end.

        Raises:
            UnavailableError: a store did not answer, so that nobody would know.
        """
        self._deferring += 1
        try:
            await self._register()
            yield
        finally:
            self._when_landed(self._end_deferring)

    @asynccontextmanager
    async def returning(self) -> AsyncGenerator[bool, None]:
        """For handing documents back; the next step waits for its end.

        Yields:
            Whether that may be done. If not, all documents are back, or have not begun to come.

        Raises:
            UnavailableError: a store did not answer.
        """
        self._returning += 1
        try:
            await self._register()
            # Who takes the step forbids it first, and then looks for those who are at it.
            yield (await self._control.read()).is_returning
        finally:
            self._when_landed(self._end_returning)

    async def join(self, *, afresh: bool = True) -> None:
        """Take part from now on, in the phase of now.

        It registers before it believes what it has read: whoever takes a step after that waits for
        it.

        Args:
            afresh: nothing was begun before. Otherwise what has been sent may still land, so the
                step is acknowledged later.

        Raises:
            UnavailableError: a store did not answer.
        """
        while True:
            control = await self._control.read()
            self._generation = control.generation
            self._acknowledged = control.generation - (0 if afresh else 1)
            self._phase = control.phase
            sent = moment()
            await self._register()
            if (await self._control.read()).generation == control.generation:
                self._process.begin(control.phase)
                self._until = sent + self._lease
                self._renewed.set()
                return

    async def run(self) -> None:
        """Follow the steps and renew the lease, for ever."""
        while True:
            pause = self._lease / _BEATS
            try:
                await self._beat()
            except Exception as error:
                if not isinstance(error, StoreError):
                    _logger.exception("a store's adaptor raised what it must not")
                _logger.warning("the lease could not be renewed: %s", error)
                pause = min(pause, self._rest)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._nudged.wait()
            self._nudged.clear()

    async def leave(self, *, landing: bool = False) -> None:
        """Take part no more; nothing is under way. Nobody has to wait for this process then.

        Args:
            landing: what was sent may still take effect. Then the others do wait, as for a process
                that has died.
        """
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.wait([self._settling])
        if self._generation == 0:
            return
        self._until = 0.0
        if landing:
            return
        for store in (self._current, self._target):
            try:
                await self._members.remove(store, self.id)
            except StoreError as error:
                # Whoever waits for it finds out that it is gone.
                name = store.adaptor.name
                _logger.warning("%s keeps a lease that nobody renews: %s", name, error)

    async def _beat(self) -> None:
        if not self.lasts:
            self._stint.over = True
            self._stint = Stint()
            await self._process.abandon()
            await self.join(afresh=False)
            self._begin_settling()
            return
        control = await self._control.read()
        if control.generation != self._generation:
            if control.generation != self._generation + 1 or not self._phase.is_beside(
                control.phase
            ):
                self._until = 0.0  # others took it for dead
                self.nudge()
                return
            self._follow(control)
        sent = moment()
        await self._register()
        self._renew(sent)

    def _renew(self, sent: float) -> None:
        """Let the lease last longer, as the record says that was sent then."""
        if self.lasts:
            self._until = sent + self._lease
            self._renewed.set()
        else:  # it ran out before the answer came: what was begun under it must not be gone on with
            self.nudge()

    def _when_landed(self, end: Callable[[], None]) -> None:
        """Call it when what has been sent can take effect no more."""
        left = self._process.landing.left
        if left:
            asyncio.get_running_loop().call_later(left, self._when_landed, end)
        else:
            end()
            self.nudge()

    def _end_deferring(self) -> None:
        self._deferring -= 1

    def _end_returning(self) -> None:
        self._returning -= 1

    def _lost(self) -> UnavailableError:
        return UnavailableError(
            "nothing was sent: this process could not renew its lease in the migration for "
            f"{self._lease:g} s, so others may have gone on without it"
        )

    def _follow(self, control: Control) -> None:
        _logger.info("phase %s, generation %d", control.phase.value, control.generation)
        self._generation = control.generation
        self._phase = control.phase
        self._process.begin(control.phase)
        self._begin_settling()

    def _begin_settling(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
        self._settling = asyncio.create_task(
            self._settle(self._generation), name="aiostore: settling a phase"
        )

    async def _settle(self, generation: int) -> None:
        await self._process.settle()
        if generation == self._generation:
            self._acknowledged = generation
            self.nudge()

    async def _register(self) -> None:
        async with self._registering:  # so that an older state never replaces a newer one
            acknowledged = self._acknowledged
            if self._deferring:
                acknowledged = min(acknowledged, self._generation - 1)
            member = Member(
                process=self.name,
                phase=self._phase,
                generation=acknowledged,
                lease=self._lease,
                grace=self._grace,
                health=self._process.health(),
                returning=self._returning > 0,
            )
            store = self._target if self._phase is Phase.TARGET else self._current
            await self._members.put(store, self.id, member)
