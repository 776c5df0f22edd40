"""Who leads the service through its migration."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial

from aiostore.errors import MigrationError, StoreError
from aiostore.migration import (
    MigrationAdaptor,
    Phase,
    abort,
    advance,
    backfill,
    complete,
    hand_back,
    hand_off,
    verify,
)
from aiostore.protocols import DocumentId
from aiostore.testing.simulation.scenarios import Plan
from aiostore.testing.simulation.service import COLLECTION, GRACE, Member, Service
from aiostore.testing.simulation.trace import Trace

_MOST_ATTEMPTS = 200
_PAUSES = (0.0, 0.01, 0.1)
_MOMENTS = (0.0, 0.003, 0.02, 0.05, 0.1, 0.2)

Work = Callable[[MigrationAdaptor], Awaitable[object]]


class NeverDoneError(Exception):
    """A part of the migration was begun again and again, and never succeeded."""


class Operator:
    """Starts the processes, leads them, and starts others for those that have died.

    Attributes:
        copied: the target has been filled.
        ended: the migration has been completed or aborted.
    """

    def __init__(self, plan: Plan, choices: random.Random, service: Service, trace: Trace) -> None:
        self.copied = plan.copied
        self.ended = False
        self._plan = plan
        self._choices = choices
        self._service = service
        self._trace = trace
        self._replaced = 0

    async def lead(self) -> None:
        """All the way that is planned."""
        plan, pulse = self._plan, self._service.pulse
        for clients in plan.clients:
            await self._join(clients)
        pulse()
        if plan.steady:
            self._service.keep_pulsing(plan.steady)
        if plan.mending:
            await self._do("mend", plan.mending, self._mend)
        if plan.copying:
            await self._do("backfill", plan.copying, lambda one: backfill(one, chunk=2))
            self.copied = True
            if plan.verifying:
                await self._do("verify", plan.verifying, lambda one: verify(one, repair=True))
        await asyncio.gather(self._walk(), *(self._join_later() for _ in range(plan.joining)))
        await asyncio.sleep(0.1)
        last = plan.path[-1] if plan.path else Phase.DUAL_WRITE
        if last in (Phase.TARGET, Phase.CURRENT) and plan.ending:
            await self._do("end", plan.rivals, complete if last is Phase.TARGET else abort)
            self.ended = True
            pulse()
            await asyncio.sleep(0.1)

    async def repair(self) -> None:
        """Have what has been in doubt looked at, and again after the grace."""
        for _ in range(2):
            await self._do("repair", 1, lambda one: verify(one, repair=True))
            await asyncio.sleep(2 * GRACE.total_seconds())

    async def _walk(self) -> None:
        """From phase to phase."""
        plan = self._plan
        for phase in plan.path:
            await self._do(f"go to {phase.value}", plan.rivals, partial(self._go, phase))
            if phase is plan.path[-1] or self._choices.random() < 0.7:
                await self._do("sweep", plan.sweeping, _sweep)

    async def _join_later(self) -> None:
        await asyncio.sleep(self._choices.random())
        await self._join(1)
        self._service.pulse()

    async def replace_the_dead(self) -> None:
        """Start a process for each that has died."""
        while self._replaced < self._service.deaths:
            self._replaced += 1
            await self._join(1)

    async def _join(self, clients: int) -> None:
        """Start a process; one that cannot open its store ends, and the next one is started."""
        while True:
            member = self._service.start()
            try:
                await member.within(self._open(member, clients))
            except StoreError as error:
                self._trace.say(member.name, f"cannot start: {error!r}")
                self._service.end_of(member)
            else:
                return

    async def _open(self, member: Member, clients: int) -> None:
        await member.store.open()
        self._service.admit(member, clients)

    async def _go(self, phase: Phase, migration: MigrationAdaptor) -> None:
        """Take the step, and before it what has to be done."""
        control = await migration.control.read()
        if control.phase is not phase and not control.phase.is_beside(phase):
            return  # somebody else has gone on
        try:
            await advance(migration, phase, force=True)
        except MigrationError as error:
            self._trace.say("operator", f"cannot advance yet: {error}")
            await _sweep(migration)
            await advance(migration, phase, force=True)

    async def _mend(self, migration: MigrationAdaptor) -> None:
        """Look for differences at some moments, as a repair may at any."""
        for _ in range(3):
            await asyncio.sleep(self._choices.choice(_MOMENTS))
            await migration.repair.mend([DocumentId(COLLECTION, key) for key in self._plan.keys])

    async def _do(self, name: str, many: int, work: Work) -> None:
        """Have so many processes do something at once, each until it has done it."""
        for moment in self._choices.sample(_MOMENTS, 2):
            asyncio.get_running_loop().call_later(moment, self._service.pulse)
        await asyncio.gather(*(self._until_done(name, work) for _ in range(many)))

    async def _until_done(self, name: str, work: Work) -> None:
        async def attempt(member: Member) -> bool:
            try:
                await work(member.migration)
            except StoreError as error:
                self._trace.say(member.name, f"failed to {name}: {error}")
                return False
            return True

        for _ in range(_MOST_ATTEMPTS):
            await self.replace_the_dead()
            member = self._choices.choice(self._service.able or self._service.living)
            self._trace.say(member.name, f"begins to {name}")
            if await member.within(attempt(member)):
                self._trace.say(member.name, f"has ended to {name}")
                return
            await asyncio.sleep(self._choices.choice(_PAUSES))
        raise NeverDoneError(name)


async def _sweep(migration: MigrationAdaptor) -> None:
    """Move the documents to where they belong in the phase of now."""
    control = await migration.control.read()
    if control.phase is Phase.HANDOFF:
        await hand_off(migration)
    elif control.phase is Phase.DUAL_WRITE and not control.pristine:
        await hand_back(migration)
