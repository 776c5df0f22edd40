import pytest

import aiostore
from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.protocols import DocumentId, Newer, Purge, Record, Scan, Write
from aiostore.store import Store
from aiostore.versions import VersionClock

CLOCK = VersionClock()


def write(key: str, collection: str = "users") -> Write:
    """An unconditional write."""
    return Write(Record(DocumentId(collection, key), "{}", CLOCK.next(), 1, 1), Newer())


async def test_documents_outlive_the_store_but_not_the_adaptor() -> None:
    """Another store on the same object finds them; another object is empty."""
    adaptor = MemoryAdaptor()
    async with Store(adaptor) as store:
        document = await store.collection("users").put("alice", {"age": 1})
    async with Store(adaptor) as store:
        assert await store.collection("users").get("alice") == document
    async with Store(MemoryAdaptor()) as store:
        assert await store.collections() == []


async def test_every_memory_url_is_a_memory_of_its_own() -> None:
    """Two stores of the same URL share nothing."""
    async with aiostore.open_store("memory:") as one, aiostore.open_store("memory:") as other:
        await one.collection("users").put("alice", {})
        assert await other.collection("users").get("alice", default=None) is None


async def test_operations_are_one_step() -> None:
    """A batch never leaves the event loop to others, so nothing comes between its writes."""
    adaptor = MemoryAdaptor()
    batch = adaptor.write([write(str(number)) for number in range(100)])
    with pytest.raises(StopIteration) as ended:
        batch.send(None)
    assert len(ended.value.value) == 100
    assert await adaptor.count("users") == 100


async def test_a_scan_keeps_its_place_while_documents_come_and_go() -> None:
    """What is unchanged from start to end comes once, though others are written and removed."""
    adaptor = MemoryAdaptor()
    await adaptor.write([write(f"{number:03}") for number in range(0, 100, 2)])
    seen = []
    async for chunk in adaptor.scan(Scan("users", chunk=5)):
        seen += [record.id.key for record in chunk]
        await adaptor.write([write(f"{len(seen):03}x"), write("000a")])
        await adaptor.write([write("099")])
    unchanged = [f"{number:03}" for number in range(0, 100, 2)]
    assert [key for key in seen if key in unchanged] == unchanged
    assert seen == sorted(set(seen))


async def test_segments_divide_a_collection() -> None:
    """Every record is in one of them, and a stretch of keys without any yields no empty chunk."""
    adaptor = MemoryAdaptor()
    keys = [f"{number:02}" for number in range(50)]
    await adaptor.write([write(key) for key in keys])
    requests = [Scan("users", segment=segment, segments=7, chunk=1) for segment in range(7)]
    chunks = [chunk for request in requests async for chunk in adaptor.scan(request)]
    assert sorted(record.id.key for [record] in chunks) == keys


async def test_an_emptied_collection_is_none() -> None:
    """When its last record is gone a collection is not listed, and can be used again."""
    adaptor = MemoryAdaptor()
    await adaptor.write([write("a"), write("a", "others")])
    assert await adaptor.purge(Purge("users", everything=True)) == 1
    assert await adaptor.purge(Purge("nothing", everything=True)) == 0
    assert await adaptor.collections() == ["others"]
    assert await adaptor.count("users") == 0
    await adaptor.write([write("a")])
    assert await adaptor.collections() == ["others", "users"]


async def test_memory_atomic_writes() -> None:
    """All or none, and the outcomes tell whose condition did not hold."""
    adaptor = MemoryAdaptor()
    old, new = write("a"), write("a")
    await adaptor.write([new])
    outcomes = await adaptor.write_atomic([write("b"), old])
    assert [outcome.applied for outcome in outcomes] == [True, False]
    assert outcomes[1].record == new.record
    assert await adaptor.count("users") == 1
    await adaptor.write_atomic([write("b"), write("a")])
    assert await adaptor.count("users") == 2


async def test_memory_declares_what_it_is_not() -> None:
    """Nothing persists, and nothing is shared with another process."""
    capabilities = MemoryAdaptor().capabilities
    assert (capabilities.persistent, capabilities.shared) == (False, False)
