"""Engines that remove expired documents by themselves, whatever a migration has marked them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from faults import Pair, take_step
from msgspec.structs import replace

from aiostore.migration import MigrationAdaptor, Phase, hand_back
from aiostore.protocols import DocumentId, Mark
from aiostore.store import Store
from aiostore.testing.clock import ManualClock
from aiostore.transaction import Transaction
from aiostore.versions import VersionClock

HOUR = timedelta(hours=1)


@asynccontextmanager
async def _expired_in_target(pair: Pair) -> AsyncIterator[tuple[Store, Store]]:
    """A document was handed off, has expired, and the target has removed it; another is late."""
    clock = ManualClock()
    async with (
        Store(pair.migration(grace=HOUR), clock=VersionClock(clock)) as store,
        Store(pair.migration(grace=HOUR), clock=VersionClock(clock)) as late,
    ):
        c = store.collection("c")
        await c.put("k", {"n": 1}, ttl=HOUR)
        await MigrationAdaptor.of(store).control.change(
            lambda now: replace(now, phase=Phase.HANDOFF, pristine=False, generation=2)
        )
        MigrationAdaptor.of(store).begin(Phase.HANDOFF)
        await c.put("k", {"n": 2}, ttl=HOUR)
        clock.advance(2 * HOUR)
        _remove(pair)
        yield store, late


def _remove(pair: Pair) -> None:
    del pair.target.memory._collections["c"]["k"]


@pytest.mark.parametrize("which", [0, 1], ids=["handoff", "dual-write"])
async def test_what_the_target_has_removed_is_absent(which: int) -> None:
    """And can be written again, by those who hand off and by those who do not yet."""
    pair = Pair()
    async with asyncio.timeout(30), _expired_in_target(pair) as stores:
        store, other = stores[which], stores[1 - which]
        c = store.collection("c")
        assert await c.get("k", default=None) is None
        assert [one async for one in c.scan()] == []
        await c.delete("k", missing_ok=True)
        await c.create("k", {"n": 3})
        assert (await other.collection("c").get("k")).value == {"n": 3}


@pytest.mark.parametrize("which", [0, 1], ids=["handoff", "dual-write"])
async def test_a_transaction_finds_it_absent_too(which: int) -> None:
    """It checks that nothing is there, and creates it."""
    pair = Pair()
    async with asyncio.timeout(30), _expired_in_target(pair) as stores:
        c = stores[which].collection("c")

        async def create(tx: Transaction) -> None:
            assert await tx.get(c, "k", default=None) is None
            tx.create(c, "k", {"n": 3})
            tx.put(c, "other", {})

        await stores[which].run(create)
        assert (await stores[1 - which].collection("c").get("k")).value == {"n": 3}


async def test_it_is_handed_back_as_nothing() -> None:
    """The state that the current store has kept of it does not come to life again."""
    pair = Pair()
    async with asyncio.timeout(30), _expired_in_target(pair) as (store, late):
        first, second = MigrationAdaptor.of(store), MigrationAdaptor.of(late)
        await take_step(Phase.DUAL_WRITE, first, second)
        await hand_back(first)
        assert await store.collection("c").get("k", default=None) is None
        assert pair.current.held() == {}
        await store.collection("c").create("k", {})


async def test_the_current_stores_engine_does_not_forget_what_has_moved() -> None:
    """What says that a document has moved does not expire with it."""
    pair = Pair()
    async with _expired_in_target(pair):
        moved = pair.current.held()["k"]
        assert (moved.id, moved.mark, moved.expires_at) == (
            DocumentId("c", "k"),
            Mark.MOVED,
            None,
        )
