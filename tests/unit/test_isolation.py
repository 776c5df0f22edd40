"""Transactions are serializable in what they read by key, on every engine with atomic writes."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest
import stamina
from harnesses import ATOMIC, ENGINES
from recording import HOUR, NOW, refused

from aiostore.collection import Collection
from aiostore.errors import ConflictError
from aiostore.store import Store
from aiostore.testing import ManualClock
from aiostore.transaction import Transaction
from aiostore.versions import VersionClock

Accounts = Collection[dict[str, int]]


@pytest.fixture
def hands() -> ManualClock:
    """The time."""
    return ManualClock(NOW)


@pytest.fixture(params=ATOMIC)
async def clients(
    request: pytest.FixtureRequest, tmp_path: Path, hands: ManualClock
) -> AsyncIterator[list[Store]]:
    """Open stores over the same documents: two, or one where only one may have them open."""
    make = ENGINES[request.param](tmp_path)
    adaptors = [make()]
    if make() is adaptors[0] or adaptors[0].capabilities.shared:
        adaptors.append(make())
    async with AsyncExitStack() as stack:
        clock = VersionClock(hands)
        yield [await stack.enter_async_context(Store(one, clock=clock)) for one in adaptors]


@pytest.fixture
def store(clients: list[Store]) -> Store:
    """The store that the transactions run on."""
    return clients[0]


@pytest.fixture
async def accounts(store: Store) -> Accounts:
    """Two accounts, of fifty each."""
    collection: Accounts = store.collection("accounts")
    await collection.put_many({"a": {"sum": 50}, "b": {"sum": 50}})
    return collection


@pytest.fixture
def others(clients: list[Store]) -> Accounts:
    """The same accounts as another client has them."""
    return clients[-1].collection("accounts")


async def sums(accounts: Accounts) -> dict[str, int]:
    """What stands there."""
    return {document.key: document.value["sum"] async for document in accounts.scan()}


async def test_no_update_is_lost(store: Store, accounts: Accounts, others: Accounts) -> None:
    """Of two transactions that read a document and replace it, one is refused."""
    async with refused(store, ConflictError) as (late, caught):
        document = await late.get(accounts, "a")
        async with store.transaction() as early:
            await early.get(accounts, "a")
            early.replace(accounts, "a", {"sum": 60})
        late.replace(accounts, "a", {"sum": document.value["sum"] + 1})
    assert caught.value.current == await others.get("a")
    assert await sums(accounts) == {"a": 60, "b": 50}


async def test_no_write_skew(store: Store, accounts: Accounts) -> None:
    """Of two transactions that read both documents and write one each, one is refused."""
    async with refused(store, ConflictError) as (late, caught):
        await late.get_many(accounts, ["a", "b"])
        async with store.transaction() as early:
            await early.get_many(accounts, ["a", "b"])
            early.replace(accounts, "a", {"sum": -50})
        late.replace(accounts, "b", {"sum": -50})
    assert caught.value.key == "a"
    assert await sums(accounts) == {"a": -50, "b": 50}


async def test_no_torn_pair(store: Store, accounts: Accounts, others: Accounts) -> None:
    """A transaction that only reads is refused if another one came between its reads."""
    async with refused(store, ConflictError) as (tx, caught):
        await tx.get(accounts, "a")
        async with store.transaction() as transfer:
            await transfer.get_many(accounts, ["a", "b"])
            transfer.replace(accounts, "a", {"sum": 0})
            transfer.replace(accounts, "b", {"sum": 100})
        await tx.get(accounts, "b")
    assert caught.value.current == await others.get("a")


async def test_no_phantom_at_a_key(store: Store, accounts: Accounts, others: Accounts) -> None:
    """A document that was missing and has been created meanwhile is a conflict."""
    async with refused(store, ConflictError) as (tx, caught):
        assert await tx.get(accounts, "c", default=None) is None
        tx.put(accounts, "b", {"sum": 0})
        await others.create("c", {"sum": 1})
    assert caught.value.current == await others.get("c")
    assert await sums(accounts) == {"a": 50, "b": 50, "c": 1}


async def test_no_confusion_by_a_new_document(
    store: Store, accounts: Accounts, others: Accounts
) -> None:
    """A document that was deleted and created again is another one, were it equal."""
    async with refused(store, ConflictError) as (tx, caught):
        document = await tx.get(accounts, "a")
        tx.put(accounts, "b", {"sum": 0})
        await others.delete("a")
        again = await others.create("a", document.value)
    assert caught.value.current == again
    assert await sums(accounts) == {"a": 50, "b": 50}


async def test_no_document_past_its_time(
    store: Store, accounts: Accounts, hands: ManualClock
) -> None:
    """A document that has expired since it was read is gone."""
    await accounts.put("a", {"sum": 50}, ttl=timedelta(minutes=1))
    async with refused(store, ConflictError) as (tx, caught):
        await tx.get(accounts, "a")
        tx.put(accounts, "b", {"sum": 0})
        hands.now += HOUR
    assert caught.value.current is None
    assert await sums(accounts) == {"b": 50}


async def test_nothing_is_seen_before_the_commit(
    store: Store, accounts: Accounts, others: Accounts
) -> None:
    """Neither by others nor ever, if the block is left by an error."""
    async with refused(store, ZeroDivisionError) as (tx, _):
        tx.put(accounts, "a", {"sum": 1})
        tx.create(accounts, "c", {"sum": 1})
        tx.delete(accounts, "b", missing_ok=True)
        assert await sums(others) == {"a": 50, "b": 50}
        _ = 1 // 0
    assert await sums(others) == {"a": 50, "b": 50}


async def test_all_or_nothing(store: Store, accounts: Accounts, others: Accounts) -> None:
    """One refused write among many, in several collections, refuses them all."""
    notes = store.collection("notes")
    async with refused(store, ConflictError) as (tx, _):
        document = await tx.get(accounts, "a")
        tx.create(notes, "n", {})
        tx.delete(accounts, "b", missing_ok=True)
        tx.replace(accounts, "a", {"sum": 0})
        await others.replace("a", {"sum": 51}, version=document.version)
    assert await sums(accounts) == {"a": 51, "b": 50}
    assert await store.collections() == ["accounts"]


async def test_money_is_neither_made_nor_lost(clients: list[Store]) -> None:
    """Many clients transfer at once and others add up: every sum that is committed is the same."""
    names, dice = ["a", "b", "c", "d"], random.Random(1)
    collections: list[Accounts] = [client.collection("accounts") for client in clients]
    await collections[0].put_many({name: {"sum": 100} for name in names})

    async def transfer(client: Store, accounts: Accounts) -> None:
        source, destination = dice.sample(names, 2)

        async def work(tx: Transaction) -> None:
            taken = await tx.get(accounts, source)
            await asyncio.sleep(0)
            given = await tx.get(accounts, destination)
            tx.replace(accounts, source, {"sum": taken.value["sum"] - 1})
            tx.replace(accounts, destination, {"sum": given.value["sum"] + 1})

        await client.run(work)

    async def add_up(client: Store, accounts: Accounts) -> int:
        async def work(tx: Transaction) -> int:
            total = 0
            for name in names:
                total += (await tx.get(accounts, name)).value["sum"]
                await asyncio.sleep(0)
            return total

        return await client.run(work)

    async def serve(number: int) -> list[int]:
        client, accounts = clients[number % len(clients)], collections[number % len(clients)]
        for _ in range(8):
            await transfer(client, accounts)
        return [await add_up(client, accounts)]

    with stamina.set_testing(True, attempts=10_000):
        found = await asyncio.gather(*map(serve, range(8)))
    assert found == [[400]] * 8
    assert sum((await sums(collections[0])).values()) == 400


class Committed(NamedTuple):
    """What a transaction has read and written: versions by key; None for no document."""

    read: dict[str, str | None]
    written: dict[str, str | None]


async def test_there_is_an_order(clients: list[Store]) -> None:
    """Random transactions at once: who has read and overwritten whom fits one order of all."""
    keys, dice = ["a", "b", "c", "d", "e"], random.Random(2)
    collections: list[Accounts] = [client.collection("accounts") for client in clients]

    async def one(number: int) -> Committed:
        client, accounts = clients[number % len(clients)], collections[number % len(clients)]

        async def work(tx: Transaction) -> Committed:
            done = Committed({}, {})
            for key in dice.sample(keys, 3):
                found = await tx.get(accounts, key, default=None)
                done.read[key] = None if found is None else found.version
                await asyncio.sleep(0)
            for key in dice.sample(sorted(done.read), dice.choice((1, 2))):
                if done.read[key] is not None and dice.random() < 0.2:
                    tx.delete(accounts, key)
                    done.written[key] = None
                else:
                    done.written[key] = tx.put(accounts, key, {"sum": number}).version
            return done

        return await client.run(work)

    async def serve(worker: int) -> list[Committed]:
        return [await one(worker * 6 + number) for number in range(6)]

    with stamina.set_testing(True, attempts=10_000):
        served = await asyncio.gather(*map(serve, range(8)))
    graph = graph_of([done for history in served for done in history])
    assert sum(map(len, graph.values())) > 48
    assert len(list(TopologicalSorter(graph).static_order())) == 48


def graph_of(history: list[Committed]) -> dict[int, set[int]]:
    """The transactions, and before each those that must come before it.

    An absence has no version, so only what is known of documents counts.
    """
    writers = {
        (key, version): number
        for number, done in enumerate(history)
        for key, version in done.written.items()
        if version is not None
    }
    overwriters: dict[tuple[str, str | None], int] = {}
    for number, done in enumerate(history):
        for key in done.written:
            if done.read[key] is not None:
                assert (key, done.read[key]) not in overwriters, "an update was lost"
                overwriters[key, done.read[key]] = number
    before: dict[int, set[int]] = {number: set() for number in range(len(history))}
    for number, done in enumerate(history):
        for place in done.read.items():
            if place in writers:
                before[number].add(writers[place])
            if place in overwriters and overwriters[place] != number:
                before[overwriters[place]].add(number)
    return before
