"""Several processes that roll through the phases of a migration while clients use them.

Each process is a wrapper and a store of its own over one pair of memories, whose calls take a
random number of turns of the event loop, and may fail or lose their answers. An operator leads the
processes from phase to phase, one after the other, forward and perhaps back. A seed fixes it all.
"""

import asyncio
import random
from contextlib import AsyncExitStack
from datetime import timedelta

from faults import Pair
from msgspec import Struct

from aiostore.errors import UnavailableError
from aiostore.migration import MigrationAdaptor, Phase, backfill, hand_back, hand_off
from aiostore.protocols import DocumentId
from aiostore.sending import Retries
from aiostore.store import Store
from aiostore.testing.faults import Faults, turns
from aiostore.testing.histories import Client, Habits, History
from aiostore.testing.linearizability import Anomaly
from aiostore.testing.registers import Call, find_anomalies
from aiostore.versions import VersionClock, now_in_microseconds

AT_ONCE = Retries(first_pause=timedelta(0), longest_pause=timedelta(0))
SKEWS = (0, 0, -3_000_000, 5_000_000)
PAUSES = (0, 0, 0, 1, 1, 2, 4, 9, 30)


class Roll(Struct, frozen=True, kw_only=True):
    """What is done.

    Attributes:
        processes: how many there are.
        clients: likewise.
        habits: what the clients ask.
        failing: with what probability a call fails.
        losing: with what probability its answer is lost.
        back: how far the way back leads; None for no way back.
    """

    processes: int = 3
    clients: int = 5
    habits: Habits = Habits(steps=3)
    failing: float = 0.0
    losing: float = 0.0
    back: Phase | None = None


async def roll(seed: int, how: Roll) -> tuple[Pair, list[Anomaly]]:
    """One history; the stores at rest, and what in it fits no order."""
    choices = random.Random(f"{seed}/{how}")
    pair, history = Pair(), History()
    await _prepare(pair, choices, history, how)
    faults = Faults(choices=choices, failing=how.failing, losing=how.losing, pauses=PAUSES)
    pair.current.faults = pair.target.faults = faults
    async with AsyncExitStack() as running:
        processes = [pair.migration(grace=timedelta(hours=1)) for _ in range(how.processes)]
        stores = [
            await running.enter_async_context(
                Store(each, clock=_clock(choices.choice(SKEWS)), retries=AT_ONCE)
            )
            for each in processes
        ]
        led = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for number in range(how.clients):
                collection = stores[number % len(stores)].collection("c")
                client = Client(f"c{number}", collection, history, how.habits, f"{seed}/{number}")
                group.create_task(_ask(client, led))
            group.create_task(_lead(processes, choices, how, led))
        pair.current.faults = pair.target.faults = Faults()
        for each in processes:
            await each.drain()
        for number, store in enumerate(stores):
            for key in how.habits.keys:
                await history.ask(f"end {number}", store.collection("c"), key, Call("get"))
    return pair, find_anomalies(history.operations)


async def _prepare(pair: Pair, choices: random.Random, history: History, how: Roll) -> None:
    """Some documents are there already."""
    async with Store(pair.current) as plain:
        collection = plain.collection("c")
        for key in how.habits.keys:
            if choices.random() < 0.6:
                await history.ask("start", collection, key, Call("put", f"start {key}"))


async def _ask(client: Client, led: asyncio.Event) -> None:
    """Ask until the processes have come to their last phase."""
    await client.run()
    while not led.is_set():
        await client.run()


async def _lead(
    processes: list[MigrationAdaptor], choices: random.Random, how: Roll, led: asyncio.Event
) -> None:
    try:
        await _through_the_phases(processes, choices, how)
    finally:
        led.set()


async def _through_the_phases(
    processes: list[MigrationAdaptor], choices: random.Random, how: Roll
) -> None:
    await turns(choices.randint(0, 40))
    first = choices.choice(processes)
    if choices.random() < 0.7:
        await _until_done(lambda: backfill(first, chunk=2))
    await _enter(processes, Phase.HANDOFF, choices)
    await _until_done(lambda: hand_off(first))
    await _enter(processes, Phase.TARGET, choices)
    if how.back is None:
        return
    await turns(choices.randint(0, 40))
    await _enter(processes, Phase.HANDOFF, choices)
    await _until_done(lambda: hand_off(first))
    if how.back is Phase.HANDOFF:
        return
    await _enter(processes, Phase.DUAL_WRITE, choices)
    await _until_done(lambda: hand_back(first))


async def _enter(processes: list[MigrationAdaptor], phase: Phase, choices: random.Random) -> None:
    """One process after the other; none before all others have come to the last phase."""
    for each in choices.sample(processes, len(processes)):
        await turns(choices.choice((0, 10, 40, 150)))
        each.begin(phase)
        await each.settle()


async def _until_done(step: object) -> None:
    while True:
        try:
            await step()  # type: ignore[operator]  # a coroutine function
        except UnavailableError:
            continue
        return


def _clock(skew: int) -> VersionClock:
    return VersionClock(now=lambda: now_in_microseconds() + skew)


def place(key: str) -> DocumentId:
    """Where a document of the clients stands."""
    return DocumentId("c", key)
