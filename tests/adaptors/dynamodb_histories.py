"""Histories of clients whose stores share a table, each behind a network of its own that fails."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from dynamodb_proxy import FaultProxy
from dynamodb_servers import REGION
from dynamodb_stores import AT_ONCE, Table
from msgspec import Struct

from aiostore.adaptors.dynamodb import DynamoDBAdaptor, Endpoint
from aiostore.adaptors.dynamodb import Table as DynamoDBTable
from aiostore.store import Store
from aiostore.testing.histories import Client, Habits, History
from aiostore.testing.registers import Call, find_anomalies
from aiostore.versions import VersionClock, now_in_microseconds

TROUBLES = {
    "lost-request": 0.08,
    "lost-answer": 0.12,
    "truncated": 0.03,
    "garbled": 0.03,
    "error": 0.05,
    "throttled": 0.1,
    "partial": 0.1,
    "slow": 0.1,
    "late": 0.1,
}
"""What happens to requests, with its probability."""


class Kind(Struct, frozen=True):
    """What histories are made of.

    Attributes:
        stores: how many share the table, each with a clock of its own.
        clients: how many there are of each.
        habits: what they do.
    """

    stores: int
    clients: int
    habits: Habits


KINDS = {
    # Without deletions: a creation whose answer was lost, and whose document another store has
    # removed before it was repeated, takes effect twice, for nothing is left to recognise it by.
    "three stores": Kind(
        stores=3,
        clients=2,
        habits=Habits(
            verbs=("get", "get", "create", "put", "replace", "replace", "update", "update"),
            cancelling=0.1,
        ),
    ),
    # With them: one store has its own writes of a document done one after the other.
    "one store": Kind(stores=1, clients=5, habits=Habits(steps=8, cancelling=0.1)),
}

_SKEWS = (0, -3_000_000, 5_000_000)  # microseconds

Make = Callable[[DynamoDBTable, Endpoint], DynamoDBAdaptor]


class Troubled:
    """Stores over one table, open in peace; made by `troubled`."""

    def __init__(self, kind: Kind, stores: list[Store], proxies: list[FaultProxy]) -> None:
        self._kind = kind
        self._stores = stores
        self._proxies = proxies

    async def anomalies(self, seed: int) -> str:
        """What is wrong with a history of a seed; nothing is the empty text."""
        history, name, habits = History(), f"history-{seed}", self._kind.habits
        for number, proxy in enumerate(self._proxies):
            proxy.requests.clear()
            proxy.at_random(random.Random(f"{seed}/{number}"), TROUBLES)
        async with asyncio.TaskGroup() as running:
            for number in range(self._kind.clients * len(self._stores)):
                collection = self._stores[number % len(self._stores)].collection(name)
                client = Client(f"c{number}", collection, history, habits, f"{seed}/{number}")
                running.create_task(client.run())
        for proxy in self._proxies:
            proxy.heal()
        for key in habits.keys:
            await history.ask("end", self._stores[0].collection(name), key, Call("get"))
        found = "\n".join(map(str, find_anomalies(history.operations)))
        return f"seed {seed} fits no order:\n{found}" if found else ""

    async def first_anomalies(self, seeds: Iterable[int]) -> str:
        """Of the first history that has any."""
        for seed in seeds:
            found = await self.anomalies(seed)
            if found:
                return found
        return ""


@asynccontextmanager
async def troubled(
    table: Table, kind: Kind, make: Make = DynamoDBAdaptor
) -> AsyncIterator[Troubled]:
    """Stores for histories.

    Args:
        table: which they share; it is made if it is missing.
        kind: how many.
        make: of their adaptors.
    """
    async with table.opened():
        pass
    async with AsyncExitStack() as opened:
        stores: list[Store] = []
        proxies: list[FaultProxy] = []
        for skew in _SKEWS[: kind.stores]:
            proxy = await opened.enter_async_context(FaultProxy(table.server.endpoint))
            adaptor = make(DynamoDBTable(name=table.name), Endpoint(region=REGION, url=proxy.url))
            store = Store(adaptor, clock=_clock(skew), retries=AT_ONCE)
            stores.append(await opened.enter_async_context(store))
            proxies.append(proxy)
        yield Troubled(kind, stores, proxies)


def _clock(skew: int) -> VersionClock:
    return VersionClock(now=lambda: now_in_microseconds() + skew)
