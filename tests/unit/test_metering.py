"""What calls of an engine consume, and who is told."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest
from engines import GatedMemory, SparseIndexes, turns

import aiostore
from aiostore import F, Usage, metered
from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.collection import Collection
from aiostore.errors import AlreadyExistsError, InvalidValueError
from aiostore.filters import Path
from aiostore.metering import charge
from aiostore.migration import MigrationAdaptor
from aiostore.protocols import DocumentId, Outcome, Record, Scan, Write
from aiostore.sending import Retries
from aiostore.store import Store

Things = Collection[dict[str, Any]]
AT_ONCE = Retries(first_pause=timedelta(0), longest_pause=timedelta(0))


class Charging(GatedMemory):
    """An engine that charges: a read unit a record, half of one for an older state; two to write.

    A call that fails was throttled.
    """

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        charge(requests=1, read_units=len(ids) * (1 if consistent else 0.5))
        return await super().read(ids, consistent=consistent)

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        charge(requests=1, throttled=1 if self.fates and self.fates[0] == "lost" else 0)
        outcomes = await super().write(writes)
        charge(write_units=2 * len(writes))
        return outcomes

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        async with aclosing(super().scan(request)) as chunks:
            async for chunk in chunks:
                charge(requests=1, read_units=len(chunk) * (1 if request.consistent else 0.5))
                yield chunk


class ChargingForIndexes(SparseIndexes):
    """An engine that charges for looking after an index."""

    async def index(self, collection: str, path: Path, /) -> None:
        charge(requests=100)
        await super().index(collection, path)


@pytest.fixture
def engine() -> Charging:
    """What lies below; it takes four items at once, in one lane."""
    return Charging()


@pytest.fixture
async def things(engine: Charging) -> AsyncIterator[Things]:
    """Five things."""
    async with Store(engine, retries=AT_ONCE) as store:
        collection = store.collection("things")
        await collection.put_many({f"k{n}": {"n": n} for n in range(5)})
        yield collection


async def test_a_block_collects_what_is_awaited_in_it(things: Things) -> None:
    """What comes before and after it is not in it; nobody has to meter."""
    await things.get("k1")
    with metered() as usage:
        assert usage == Usage()
        await things.get("k1")
        assert usage == Usage(requests=1, read_units=1)
        await things.get("k1", consistent=False)
        await things.put("k2", {})
        assert [one.key async for one in things.find(F.n == 3)] == ["k3"]
    assert usage == Usage(requests=4, read_units=6.5, write_units=2)
    await things.get("k1")
    assert usage.requests == 4


async def test_blocks_within_one_another_count_each(things: Things) -> None:
    """The inner one its part; one that ends by an error has counted as well."""
    with metered() as outer:
        await things.get("k1")
        with pytest.raises(AlreadyExistsError), metered() as inner:
            await things.create("k1", {})
        await things.get("k1")
    assert inner == Usage(requests=1, write_units=2)
    assert outer == Usage(requests=3, read_units=2, write_units=2)


async def test_tasks_that_are_started_inside_count(things: Things) -> None:
    """Also after the block; those that were started before do not."""
    go = asyncio.Event()

    async def read_later() -> None:
        await go.wait()
        await things.get("k1")

    early = asyncio.ensure_future(read_later())
    await turns()
    with metered() as usage:
        late = asyncio.ensure_future(read_later())
    go.set()
    await asyncio.gather(early, late)
    assert usage == Usage(requests=1, read_units=1)


async def test_batches_count(things: Things, engine: Charging) -> None:
    """All that leave for one block, whichever task sends them."""
    with metered() as usage:
        await things.put_many({f"k{n}": {} for n in range(10)})
    assert usage == Usage(requests=3, write_units=20)
    engine.gate.clear()
    with metered() as usage:
        reads = [asyncio.ensure_future(things.get(f"k{n}")) for n in range(9)]
    await turns()
    engine.gate.set()
    await asyncio.gather(*reads)
    assert usage == Usage(requests=3, read_units=9)


async def test_a_batch_of_several_callers_is_charged_once(things: Things, engine: Charging) -> None:
    """To the caller of its first operation; to nobody, if that one does not meter."""

    async def read(key: str) -> Usage:
        with metered() as usage:
            await things.get(key)
        return usage

    engine.gate.clear()
    begun = [asyncio.ensure_future(read(f"k{n}")) for n in range(4)]
    await turns()
    engine.gate.set()
    assert await asyncio.gather(*begun) == [
        Usage(requests=1, read_units=1),
        Usage(requests=1, read_units=3),
        Usage(),
        Usage(),
    ]
    engine.gate.clear()
    begun = [asyncio.ensure_future(read("k0"))]
    await turns()
    others = [asyncio.ensure_future(things.get("k1"))]
    await turns()
    begun.append(asyncio.ensure_future(read("k2")))
    await turns()
    engine.gate.set()
    assert await asyncio.gather(*begun) == [Usage(requests=1, read_units=1), Usage()]
    await asyncio.gather(*others)


async def test_what_was_throttled_and_sent_again_counts(things: Things, engine: Charging) -> None:
    """Every attempt is a request."""
    engine.fates = ["lost", "lost"]
    with metered() as usage:
        await things.put("k1", {})
    assert usage == Usage(requests=3, write_units=2, throttled=2)


async def test_both_stores_of_a_migration_charge() -> None:
    """The one that moves, and the one that it is moved to."""
    migration = MigrationAdaptor(Charging(), Charging(), name="move")
    migration.target._name = "gated://target"  # type: ignore[attr-defined]  # it is one of ours
    async with Store(migration) as store:
        things = store.collection("things")
        with metered() as usage:
            await things.put("k", {})
            await migration.drain()
            await things.get("k")
        assert usage == Usage(requests=3, read_units=1, write_units=4)


async def test_an_index_is_not_charged_to_the_query_that_begins_it() -> None:
    """It is for all."""
    async with Store(ChargingForIndexes()) as store:
        things = store.collection("things", indexes=["w"])
        with metered() as usage:
            assert await things.count(F.w == 1) == 0
            await turns()
            await things.ensure_indexes()
        assert usage == Usage()


async def test_an_analysis_tells_what_a_query_took(things: Things) -> None:
    """It answers it, and throws the documents away."""
    found = await things.analyze(F.n >= 2, prefix="k", order_by="-n", limit=2)
    assert found.plan == things.explain(F.n >= 2, prefix="k", order_by="-n", limit=2)
    assert (found.documents, found.usage) == (2, Usage(requests=1, read_units=5))
    assert found.seconds > 0
    assert str(found) == (
        f"{found.plan}\n  took {found.seconds:.3f} s for 2 documents, 1 request, 5 read units"
    )
    found = await things.analyze(prefix="k1", consistent=False)
    assert str(found).endswith(" s for 1 document, 1 request, 0.5 read units")
    with metered() as usage:
        await things.analyze()
    assert usage == Usage(requests=1, read_units=5)
    with pytest.raises(InvalidValueError, match="a limit is a whole number"):
        await things.analyze(limit=-1)
    with pytest.raises(InvalidValueError, match="a filter is made of F"):
        await things.analyze("n > 2")  # type: ignore[arg-type]  # that is the point


async def test_an_analysis_leaves_out_what_there_is_not() -> None:
    """An engine that charges for nothing is not told to have charged nothing."""
    async with Store(MemoryAdaptor()) as store:
        found = await store.collection("things").analyze()
        assert found.usage == Usage()
        assert str(found) == (
            f"read of all keys, on memory://\n  took {found.seconds:.3f} s for 0 documents"
        )


def test_usage_is_told_to_a_person() -> None:
    """Without what there was none of."""
    assert str(aiostore.Usage()) == "0 requests"
    assert str(Usage(1, 0.5)) == "1 request, 0.5 read units"
    assert str(Usage(2, 1, 1, 1)) == "2 requests, 1 read unit, 1 write unit, 1 throttled"
    assert str(Usage(2000000, write_units=1234567.5)) == "2000000 requests, 1234567.5 write units"
