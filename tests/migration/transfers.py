"""Clients that move money between accounts, while processes roll through the phases.

Every transfer is a transaction over two accounts that checks a third one; beside it documents are
updated one by one, and auditors read everything in one transaction.
"""

import asyncio
import random
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial

from faults import Pair
from msgspec import Struct

from aiostore.errors import ConflictError
from aiostore.migration import MigrationAdaptor, Phase, advance, backfill, hand_back, hand_off
from aiostore.store import Store
from aiostore.testing.faults import Faults, turns
from aiostore.transaction import Transaction

NAMES = tuple("abcdef")
PAUSES = (0, 0, 0, 1, 1, 2, 4, 9, 30)
BEGINNING = 100


class Book(Struct):
    """What was acknowledged.

    Attributes:
        balance: of each account.
        updates: how often each was updated alone.
        audits: the sums that auditors have seen.
    """

    balance: dict[str, int]
    updates: dict[str, int]
    audits: list[int]


async def roll(seed: int, *, back: bool = False, processes: int = 3) -> tuple[Pair, Book, Book]:
    """One history: the stores at rest, what was acknowledged, and what is there at the end."""
    choices = random.Random(f"{seed}/{back}")
    pair = Pair()
    book = Book(dict.fromkeys(NAMES, 0), dict.fromkeys(NAMES, 0), [])
    async with Store(pair.current) as plain:
        for name in NAMES:
            if choices.random() < 0.7:
                await plain.collection("c").put(name, {"balance": BEGINNING, "updates": 0})
                book.balance[name] = BEGINNING
    async with AsyncExitStack() as running:
        wrappers = [pair.migration(grace=timedelta(hours=1)) for _ in range(processes)]
        stores = [await running.enter_async_context(Store(each)) for each in wrappers]
        pair.current.faults = pair.target.faults = Faults(choices=choices, pauses=PAUSES)
        led = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for number in range(2 * processes):
                client = _Client(stores[number % processes], book, random.Random(f"{seed}{number}"))
                group.create_task(client.run(led))
            group.create_task(_nudge(wrappers, choices, led))
            group.create_task(_lead(wrappers, choices, led, back=back))
        pair.current.faults = pair.target.faults = Faults()
        for each in wrappers:
            await each.drain()
        left = [await _read(store) for store in stores]
    assert all(one == left[0] for one in left)
    return pair, book, left[0]


class _Client:
    def __init__(self, store: Store, book: Book, choices: random.Random) -> None:
        self._store = store
        self._accounts = store.collection("c")
        self._book = book
        self._choices = choices

    async def run(self, led: asyncio.Event) -> None:
        while not led.is_set():
            await turns(self._choices.choice((0, 1, 5)))
            names = self._choices.sample(NAMES, 3)
            match self._choices.randrange(6):
                case 0:
                    await self._update(names[0])
                case 1:
                    await self._audit()
                case _:
                    amount = self._choices.randint(1, 9)
                    move = partial(self._transfer, names=names, amount=amount)
                    await self._store.run(move, attempts=10_000)
                    self._book.balance[names[0]] -= amount
                    self._book.balance[names[1]] += amount

    async def _transfer(self, tx: Transaction, names: list[str], amount: int) -> None:
        there = await tx.get_many(self._accounts, names)  # the third one is only checked
        for name, change in ((names[0], -amount), (names[1], amount)):
            if name in there:
                value = there[name].value
                balance = value["balance"] + change
                tx.replace(self._accounts, name, {**value, "balance": balance})
            else:
                tx.create(self._accounts, name, {"balance": change, "updates": 0})

    async def _update(self, name: str) -> None:
        document = await self._accounts.get(name, default=None)
        if document is None:
            return
        value = {**document.value, "updates": document.value["updates"] + 1}
        try:
            await self._accounts.replace(name, value, version=document.version)
        except ConflictError:
            return
        self._book.updates[name] += 1

    async def _audit(self) -> None:
        async def look(tx: Transaction) -> int:
            there = await tx.get_many(self._accounts, NAMES)
            return sum(document.value["balance"] for document in there.values())

        self._book.audits.append(await self._store.run(look, attempts=10_000))


async def _read(store: Store) -> Book:
    there = await store.collection("c").get_many(NAMES)
    values = {name: there[name].value if name in there else {} for name in NAMES}
    return Book(
        {name: value.get("balance", 0) for name, value in values.items()},
        {name: value.get("updates", 0) for name, value in values.items()},
        [],
    )


async def _nudge(
    wrappers: list[MigrationAdaptor], choices: random.Random, led: asyncio.Event
) -> None:
    """Each looks at the control document at moments of its own."""
    while not led.is_set():
        await turns(choices.choice((1, 10, 40)))
        choices.choice(wrappers).presence.nudge()


async def _lead(
    wrappers: list[MigrationAdaptor], choices: random.Random, led: asyncio.Event, *, back: bool
) -> None:
    first = wrappers[0]
    try:
        await turns(choices.randint(0, 40))
        if choices.random() < 0.7:
            await backfill(first, chunk=2)
        await advance(first, Phase.HANDOFF, force=True)
        if not back or choices.random() < 0.5:
            await hand_off(first)
            await advance(first, Phase.TARGET)
            await turns(choices.randint(0, 40))
            if back:
                await advance(first, Phase.HANDOFF)
                await hand_off(first)
        if back:
            await advance(first, Phase.DUAL_WRITE)
            await turns(choices.randint(0, 200))
            await hand_back(first)
    finally:
        led.set()
