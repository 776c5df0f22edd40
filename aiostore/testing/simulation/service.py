"""The processes of a service, and its clients."""

import asyncio
import random
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from aiostore.migration import MigrationAdaptor
from aiostore.sending import Retries
from aiostore.store import Store
from aiostore.testing.histories import Client, Habits, History
from aiostore.testing.registers import Call
from aiostore.testing.simulation.loop import Process, SimulatedLoop
from aiostore.testing.simulation.network import Network
from aiostore.testing.simulation.scenarios import Fate, Plan
from aiostore.versions import VersionClock

R = TypeVar("R")

COLLECTION = "c"
MIGRATION = "moving"
EPOCH = 1_700_000_000_000_000
"""When a run begins, in microseconds."""

GRACE = timedelta(seconds=2)
"""After this long no request can land any more."""

LEASE = timedelta(seconds=3)
"""Who could not renew its lease for so long sends nothing any more."""

_TARGET_DEADLINE = timedelta(milliseconds=500)
_REST = timedelta(milliseconds=250)
_RETRIES = Retries(3, timedelta(milliseconds=2), timedelta(milliseconds=20), timedelta(minutes=1))
_MOMENTS = (0.0, 0.0, 0.001, 0.004, 0.01, 0.03, 0.1)
_FAR = 30.0
_LOOK = 0.02
_LAST_MOMENTS = (0.0, 0.0, 0.0005, 0.002, 0.005, 0.02)


class Member:
    """One process of the service: a real store on a real migration.

    Attributes:
        process: what of it can die.
        migration: its wrapper.
        store: its store.
        died: set when it has been killed.
        clients: its clients' tasks.
    """

    def __init__(self, name: str, network: Network, choices: random.Random, skew: int) -> None:
        loop = network.loop
        self.process = Process(name)
        self.wires = [network.wire(self.process, store) for store in network.stores]
        clock = VersionClock(
            now=lambda: EPOCH + skew + int(loop.time() * 1e6), random_bits=choices.getrandbits
        )
        self.migration = MigrationAdaptor(
            *self.wires,
            name=MIGRATION,
            grace=GRACE,
            rest=_REST,
            target_deadline=_TARGET_DEADLINE,
            lease=LEASE,
            clock=clock,
            process=name,
        )
        self.store = Store(self.migration, clock=clock, retries=_RETRIES)
        self.died = asyncio.Event()
        self.clients: list[asyncio.Task[None]] = []

    @property
    def name(self) -> str:
        """Its own."""
        return self.process.name

    @property
    def dead(self) -> bool:
        """Whether it has been killed."""
        return self.process.dead

    async def within(self, work: Coroutine[Any, Any, R]) -> R | None:
        """Do something as this process; None if it dies over it."""
        if self.dead:
            work.close()
            return None
        loop = asyncio.get_running_loop()
        task = loop.create_task(work, context=self.process.context())
        died = loop.create_task(self.died.wait())
        try:
            await asyncio.wait({task, died}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            died.cancel()
        return task.result() if task.done() else None


class Service:
    """All processes.

    Args:
        plan: what is simulated.
        choices: where chances are drawn from.
        network: the ways to the stores.
        history: is told what the clients ask and are told.

    Attributes:
        members: every process that has been started.
        deaths: how many have been killed.
        ended: the clients ask no more.
    """

    def __init__(
        self, plan: Plan, choices: random.Random, network: Network, history: History
    ) -> None:
        self.members: list[Member] = []
        self.deaths = 0
        self.ended = False
        self._plan = plan
        self._choices = choices
        self._network = network
        self._history = history
        self._pulse = asyncio.Event()

    @property
    def living(self) -> list[Member]:
        """Those that have not been killed."""
        return [member for member in self.members if not member.dead]

    @property
    def able(self) -> list[Member]:
        """Those of them that are neither frozen nor far away: from where a service is led."""
        return [one for one in self.living if not one.process.frozen and one.wires[0].pace == 1.0]

    def start(self) -> Member:
        """Another process, which is not open yet."""
        number = len(self.members)
        skew = self._choices.choice(self._plan.skews)
        member = Member(f"p{number + 1}", self._network, self._choices, skew)
        self._network.trace.say(member.name, "starts")
        if number in self._plan.laggards:
            for wire in member.wires:
                wire.pace = _FAR
        if number < len(self._plan.fates):
            self._doom(member, self._plan.fates[number])
        self.members.append(member)
        return member

    def admit(self, member: Member, clients: int) -> None:
        """Let clients ask of it."""
        loop: SimulatedLoop = self._network.loop
        for number in range(clients):
            seed = self._choices.random()
            habits = Habits(
                verbs=self._plan.verbs,
                keys=self._plan.keys,
                steps=1,
                cancelling=self._plan.cancelling,
                wait=_pause,
            )
            collection = member.store.collection(COLLECTION)
            name = f"{member.name}.{number}"
            client = Client(name, collection, self._history, habits, f"{seed}")
            asking = self._ask(client, random.Random(seed))  # noqa: S311  # no secret
            member.clients.append(loop.create_task(asking, context=member.process.context()))

    def end_of(self, member: Member) -> None:
        """Let nothing of it ever run again."""
        self._network.trace.say(member.name, "is dead")
        member.process.kill()
        member.died.set()

    def pulse(self) -> None:
        """Have every client ask something."""
        self._pulse.set()
        self._pulse.clear()

    def keep_pulsing(self, pause: float) -> None:
        """Have every client ask something from time to time, until the end."""
        if not self.ended:
            self.pulse()
            network = self._network
            network.loop.call_later(pause, self.keep_pulsing, pause, context=network.nobody)

    async def end(self) -> None:
        """Let the clients ask no more, and wait for their last answers."""
        self.ended = True
        self.pulse()
        for member in self.living:
            for client in member.clients:
                await client

    async def look(self) -> None:
        """Ask every process for every document."""
        for member in self.living:
            collection = member.store.collection(COLLECTION)
            for key in self._plan.keys:
                asking = self._history.ask(f"end {member.name}", collection, key, Call("get"))
                await member.within(asking)

    async def _ask(self, client: Client, choices: random.Random) -> None:
        while not self.ended:
            await self._pulse.wait()
            for _ in range(choices.choice(self._plan.bursts)):
                await asyncio.sleep(choices.choice(_MOMENTS))
                await client.run()

    def _doom(self, member: Member, fate: Fate) -> None:
        """Have it meet its fate soon after it has made so many calls."""
        network, left = self._network, fate.calls

        def count() -> None:
            nonlocal left
            left -= 1
            if not left:
                moment = self._choices.choice(_LAST_MOMENTS)
                network.loop.call_later(moment, self._befall, member, fate, context=network.nobody)

        for wire in member.wires:
            wire.watch = count

    def _befall(self, member: Member, fate: Fate) -> None:
        if member.dead or self.ended:
            return
        network = self._network
        if fate.what == "killed":
            self.end_of(member)
            self.deaths += 1
            return
        network.trace.say(member.name, f"is {fate.what} for {fate.seconds:.3f} s")
        if fate.what == "frozen":
            member.process.freeze()
            network.loop.call_later(fate.seconds, self._relieve, member, context=network.nobody)
        else:
            member.wires[0].cut = True
            self._await_loss(member, fate)

    def _await_loss(self, member: Member, fate: Fate) -> None:
        """Relieve it some time after its lease has run out."""
        lost = not member.migration.presence.lasts
        next_, pause = (self._relieve, fate.seconds) if lost else (self._await_loss, _LOOK)
        loop = self._network.loop
        loop.call_later(
            pause, next_, member, *(() if lost else (fate,)), context=self._network.nobody
        )

    def _relieve(self, member: Member) -> None:
        self._network.trace.say(member.name, "is itself again")
        member.wires[0].cut = False
        member.process.thaw()


async def _pause(number: int) -> None:
    await asyncio.sleep(number * 0.002)
