"""Reads that need not be consistent, and all others."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest
from engines import GatedMemory, doc, put, turns

from aiostore import F
from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.channel import Channel
from aiostore.collection import Collection
from aiostore.errors import NotFoundError, UnavailableError
from aiostore.migration import MigrationAdaptor, backfill, finish, verify
from aiostore.protocols import DocumentId, Newer, Purge, Record, Scan, Write
from aiostore.sending import Retries
from aiostore.store import Store
from aiostore.testing import FaultyAdaptor
from aiostore.testing.records import scanned

Accounts = Collection[dict[str, Any]]
AT_ONCE = Retries(first_pause=timedelta(0), longest_pause=timedelta(0))


class Lagging(MemoryAdaptor):
    """Memory with a copy for reads that need not be consistent.

    Attributes:
        copy: what they are answered from; it has what it had at the last `catch_up`.
        asked: whether each read and scan was to be consistent.
        away: how many of the next calls, or chunks behind the first of a scan, do not come.
    """

    def __init__(self) -> None:
        super().__init__("lagging://")
        self.copy = MemoryAdaptor()
        self.asked: list[bool] = []
        self.away = 0

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        self.asked.append(consistent)
        self._fail()
        return await super().read(ids) if consistent else await self.copy.read(ids)

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        self.asked.append(request.consistent)
        chunks = super().scan(request) if request.consistent else self.copy.scan(request)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk
                self._fail()

    def _fail(self) -> None:
        if self.away:
            self.away -= 1
            raise UnavailableError("away")

    async def catch_up(self) -> None:
        """Bring the copy up to date."""
        async with aclosing(super().scan(Scan("accounts"))) as chunks:
            async for chunk in chunks:
                await self.copy.write([Write(one, Newer()) for one in chunk])


@pytest.fixture
def engine() -> Lagging:
    """What lies below."""
    return Lagging()


@pytest.fixture
async def accounts(engine: Lagging) -> AsyncIterator[Accounts]:
    """Accounts that were written twice, and one that is new, since the copy was up to date."""
    async with Store(engine, retries=AT_ONCE) as store:
        collection = store.collection("accounts")
        await collection.put_many({"a": {"n": 1}, "b": {"n": 1}})
        await engine.catch_up()
        await collection.put_many({"a": {"n": 2}, "b": {"n": 2}, "c": {"n": 2}})
        engine.asked.clear()
        yield collection


async def test_reads_are_consistent_unless_they_need_not_be(
    accounts: Accounts, engine: Lagging
) -> None:
    """Every verb that only reads takes the option; without it the latest is seen."""

    async def seen(**option: Any) -> list[Any]:
        page = await accounts.page(size=2, order_by="-n", **option)
        found = accounts.find(F.n >= 1, limit=2, **option)
        return [
            (await accounts.get("a", **option)).value["n"],
            (await accounts.get("c", default=None, **option)) is not None,
            [one.value["n"] for one in (await accounts.get_many(["a", "c"], **option)).values()],
            [one.value["n"] async for one in accounts.scan(**option)],
            [one.value["n"] async for one in accounts.scan(start_after="a", **option)],
            [one.value["n"] async for one in found],
            [one.value["n"] for one in page.documents],
            await accounts.count(F.n == 2, **option),
            await accounts.count(prefix="c", **option),
            await accounts.count(**option),
        ]

    latest = [2, True, [2, 2], [2, 2, 2], [2, 2], [2, 2], [2, 2], 3, 1, 3]
    assert await seen() == latest
    assert engine.asked == [True] * 9
    engine.asked.clear()
    assert await seen(consistent=False) == [1, False, [1], [1, 1], [1], [1, 1], [1, 1], 0, 0, 3]
    assert engine.asked == [False] * 9
    with pytest.raises(NotFoundError):
        await accounts.get("c", consistent=False)
    await engine.catch_up()
    assert await seen(consistent=False) == latest


async def test_what_is_written_rests_on_consistent_reads(
    accounts: Accounts, engine: Lagging
) -> None:
    """No verb that writes asks for less."""
    await accounts.update("a", lambda value: {"n": value["n"] + 1})
    await accounts.delete("b")
    assert (await accounts.get("a")).value == {"n": 3}
    async with Store(engine) as store:
        same = store.collection("accounts")
        async with store.transaction() as tx:
            tx.replace(same, "a", {"n": (await tx.get(same, "a")).value["n"] + 1})
        pairs = store.two_way_index("pairs")
        await pairs.set("left", "right")
        assert await pairs.get_right("left") == "right"
    assert len(engine.asked) >= 4
    assert all(engine.asked)


async def test_what_is_repeated_need_not_be_more_consistent(
    accounts: Accounts, engine: Lagging
) -> None:
    """A read without an answer, and a scan that broke off, are asked again for the same."""
    for consistent, n in ((False, 1), (True, 2)):
        engine.asked.clear()
        engine.away = 1
        assert (await accounts.get("a", consistent=consistent)).value == {"n": n}
        engine.away = 1
        found = [one.key async for one in accounts.scan(consistent=consistent)]
        assert found == ["a", "b", "c"][: n + 1]
        assert engine.asked == [consistent] * 4


async def test_they_never_leave_together() -> None:
    """A consistent read is not answered by one that is not, though both ask for one document."""
    engine = GatedMemory()
    channel = Channel(engine)
    await channel.open()
    await channel.write(put("k"))
    engine.gate.clear()
    begun = [asyncio.ensure_future(channel.read([doc(key)])) for key in "xkk"]
    begun += [asyncio.ensure_future(channel.read([doc(key)], consistent=False)) for key in "xkk"]
    await turns()
    assert engine.reads == [["x"], ["x"]]
    closing = asyncio.ensure_future(channel.aclose())
    engine.gate.set()
    found = await asyncio.gather(*begun)
    assert engine.reads == [["x"], ["x"], ["k"], ["k"]]
    assert found == [[None], [engine.held("k")], [engine.held("k")]] * 2
    await closing


async def test_closing_waits_for_both() -> None:
    """A batch that everyone has left goes on, and the adaptor is not closed before it ends."""
    engine = GatedMemory()
    channel = Channel(engine)
    await channel.open()
    engine.gate.clear()
    engine.between = engine.gate.clear  # one call at a time
    first, second = (
        asyncio.ensure_future(channel.read([doc(key)], consistent=False)) for key in "ab"
    )
    await turns()
    engine.gate.set()
    await first
    await turns()
    second.cancel()
    closing = asyncio.ensure_future(channel.aclose())
    await turns()
    assert (engine.reads, engine.closed) == ([["a"], ["b"]], False)
    engine.gate.set()
    await closing
    assert engine.closed


async def test_wrappers_forward_it(engine: Lagging) -> None:
    """What stands before an engine asks it for no more, and for no less, than it was asked."""
    migration = MigrationAdaptor(engine, MemoryAdaptor("memory://target"), name="move")
    for wrapper in (FaultyAdaptor(engine), migration):
        await wrapper.open()
        engine.asked.clear()
        for consistent in (True, False):
            await wrapper.read([doc("k")], consistent=consistent)
            await scanned(wrapper, Scan("c", consistent=consistent))
        await wrapper.read([doc("k")])
        assert engine.asked == [True, True, False, False, True]
        await wrapper.aclose()


async def test_a_migration_rests_on_consistent_reads(engine: Lagging) -> None:
    """Nothing that it decides, copies, compares or repairs is read otherwise, in either store."""
    target = Lagging()
    async with Store(engine) as store:
        await store.collection("accounts").put_many({"a": {"n": 1}, "b": {"n": 1}})
    migration = MigrationAdaptor(engine, target, name="move", rest=timedelta(0))
    async with Store(migration) as store:
        accounts = store.collection("accounts")
        await backfill(migration)
        await accounts.put("a", {"n": 2})
        await accounts.update("b", lambda value: {"n": value["n"] + 1})
        await migration.drain()
        await target.purge(Purge("accounts", everything=True))
        found = await verify(migration, repair=True)
        assert (found.mismatches, found.repaired) == (2, 2)
        await verify(migration)
        assert migration.complete
        assert await accounts.clear() == 2
        await finish(migration)
    assert len(engine.asked) > 5 < len(target.asked)
    assert all(engine.asked + target.asked)
