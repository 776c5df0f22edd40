"""Several clients on few documents, and what they were told fits one order.

The checks run a few histories each. `histories` runs any number, for a soak, and any one again:
where the engine is deterministic, as memory is, a seed gives the same history every time.
"""

import asyncio
import random
from collections.abc import Iterable
from contextlib import AsyncExitStack
from datetime import timedelta

from msgspec import Struct

from aiostore.sending import Retries
from aiostore.store import Store
from aiostore.testing.check import check
from aiostore.testing.expectations import expect
from aiostore.testing.faults import Faults, FaultyAdaptor
from aiostore.testing.harness import Harness
from aiostore.testing.histories import Client, Habits, History
from aiostore.testing.registers import Call, DocumentOperation, find_anomalies
from aiostore.versions import VersionClock, now_in_microseconds

_FEW, _MORE = range(4), range(12)
_SKEWS = (0, 0, -3_000_000, 5_000_000)
_AT_ONCE = Retries(first_pause=timedelta(0), longest_pause=timedelta(0))


class Scenario(Struct, frozen=True, kw_only=True):
    """What a history is made of.

    Attributes:
        name: its own.
        habits: what the clients do.
        clients: how many there are.
        stores: how many stores they share, each over an adaptor and with a clock of its own.
        failing: see `Faults`.
        losing: likewise.
        late: likewise.
        pauses: likewise.
    """

    name: str
    habits: Habits = Habits()
    clients: int = 4
    stores: int = 1
    failing: float = 0.0
    losing: float = 0.0
    late: float = 0.0
    pauses: tuple[int, ...] = ()


ONE_STORE = Scenario(name="one store", pauses=(0, 0, 0, 1, 1, 2, 5))
TWO_STORES = Scenario(name="two stores", stores=2, pauses=(0, 0, 0, 1, 1, 2, 5))
FAULTS = Scenario(
    name="faults",
    habits=Habits(cancelling=0.15),
    failing=0.1,
    losing=0.1,
    pauses=(0, 0, 0, 1, 1, 2, 4, 9, 30),
)
CHURN = Scenario(
    name="churn",
    habits=Habits(
        verbs=("get", "get", "create", "create", "put", "replace", "delete", "delete"),
        keys=("a",),
        cancelling=0.1,
    ),
    failing=0.05,
    losing=0.05,
    pauses=(0, 0, 1, 2, 5),
)


async def history_of(harness: Harness, seed: int, scenario: Scenario) -> list[DocumentOperation]:
    """What the clients of a scenario ask and are told, and what is there in the end."""
    choices = random.Random(f"{seed}/{scenario.name}")  # noqa: S311  # no secret
    name, history = harness.collection(), History()
    faults = Faults(
        choices=choices,
        failing=scenario.failing,
        losing=scenario.losing,
        late=scenario.late,
        pauses=scenario.pauses,
    )
    async with AsyncExitStack() as open_stores:
        collections = []
        for _ in range(scenario.stores):
            adaptor = FaultyAdaptor(harness.make(), faults)
            store = Store(adaptor, clock=_clock(choices.choice(_SKEWS)), retries=_AT_ONCE)
            await open_stores.enter_async_context(store)
            collections.append(store.collection(name))
        async with asyncio.TaskGroup() as running:
            for number in range(scenario.clients):
                collection = collections[number % len(collections)]
                seed_of_client = f"{seed}/{scenario.name}/{number}"
                client = Client(f"c{number}", collection, history, scenario.habits, seed_of_client)
                running.create_task(client.run())
    async with harness.store() as store:
        for key in scenario.habits.keys:
            await history.ask("end", store.collection(name), key, Call("get"))
    return history.operations


async def histories(harness: Harness, seeds: Iterable[int], scenario: Scenario) -> None:
    """Run and judge a history for each seed.

    Raises:
        CheckFailedError: one is not linearizable; it names the seed and shows the operations.
    """
    for seed in seeds:
        operations = await history_of(harness, seed, scenario)
        anomalies = "\n".join(map(str, find_anomalies(operations)))
        expect(not anomalies, f"{scenario.name}, seed {seed} is linearizable: {anomalies}")


@check()
async def check_one_store(harness: Harness) -> None:
    """What several clients of one store are told fits one order of their operations."""
    await histories(harness, _some(harness), ONE_STORE)


@check(needs=("shared",))
async def check_two_stores(harness: Harness) -> None:
    """What clients of two stores on one place are told fits one order, whatever their clocks."""
    await histories(harness, _some(harness), TWO_STORES)


@check()
async def check_faults(harness: Harness) -> None:
    """It does so when calls are slow, fail or lose their answers, and callers are cancelled."""
    await histories(harness, _some(harness), FAULTS)


@check()
async def check_churn(harness: Harness) -> None:
    """It does so for one document that is created and deleted again and again."""
    await histories(harness, _some(harness), CHURN)


def _some(harness: Harness) -> range:
    """Fewer where each write is made durable."""
    return _FEW if "persistent" in harness.features else _MORE


def _clock(skew: int) -> VersionClock:
    return VersionClock(now=lambda: now_in_microseconds() + skew)
