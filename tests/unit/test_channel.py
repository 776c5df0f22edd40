import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest
from engines import GatedMemory, create, doc, put, turns
from msgspec.structs import replace

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.channel import Channel
from aiostore.errors import (
    ClosedError,
    CorruptRecordError,
    MigrationError,
    StoreError,
    UnavailableError,
)
from aiostore.opening import open_store
from aiostore.protocols import DocumentId, Mark, Outcome, Record, Scan, Write
from aiostore.sending import Retries
from aiostore.store import Store

AT_ONCE = Retries(first_pause=timedelta(0), longest_pause=timedelta(0))


@pytest.fixture
def engine() -> GatedMemory:
    """What lies below the channel."""
    return GatedMemory()


@pytest.fixture
async def channel(engine: GatedMemory) -> AsyncIterator[Channel]:
    """A channel that is open."""
    opened = Channel(engine, AT_ONCE)
    await opened.open()
    yield opened
    engine.gate.set()
    await opened.aclose()


def moved(key: str) -> Write:
    """A record whose authority is another store."""
    write = put(key)
    return replace(write, record=replace(write.record, mark=Mark.MOVED))


async def test_one_write_has_one_outcome_or_raises(engine: GatedMemory, channel: Channel) -> None:
    """Its error says where it happened."""
    write = put("k")
    assert await channel.write(write) == Outcome(applied=True, record=write.record)
    engine.poison = {"k": StoreError}
    with pytest.raises(
        StoreError, match=r"choked on k \(store 'gated://', collection 'c', key 'k'\)"
    ):
        await channel.write(put("k"))


async def test_many_writes_have_an_answer_each(engine: GatedMemory, channel: Channel) -> None:
    """In their order, over any number of batches; errors are among them and name the store."""
    engine.poison = {"3": CorruptRecordError}
    answers = await channel.write_many([put(str(n)) for n in range(6)])
    assert [isinstance(answer, Outcome) for answer in answers] == [n != 3 for n in range(6)]
    assert str(answers[3]) == "choked on 3 (store 'gated://')"


async def test_a_read_of_many_fails_as_a_whole(engine: GatedMemory, channel: Channel) -> None:
    """With the error of the one that failed; a read of the others succeeds."""
    engine.poison = {"b": CorruptRecordError}
    with pytest.raises(CorruptRecordError, match="choked on b"):
        await channel.read([doc("a"), doc("b")])
    assert await channel.read([doc("a")]) == [None]


async def test_everyone_has_an_error_of_their_own(engine: GatedMemory, channel: Channel) -> None:
    """Each writes into its own where it happened; all tell the same, with the same cause."""
    engine.gate.clear()
    first = asyncio.ensure_future(channel.read([doc("first")]))
    await turns()
    readers = [asyncio.ensure_future(channel.read([doc("k")])) for _ in range(3)]
    await turns()
    engine.poison = {"k": CorruptRecordError}
    engine.gate.set()
    await first
    errors = [error for reader in readers if (error := await failure(reader)) is not None]
    assert engine.reads == [["first"], ["k"]]
    assert len({id(error) for error in errors}) == 3
    assert {str(error) for error in errors} == {"choked on k (store 'gated://')"}
    assert {type(error) for error in errors} == {CorruptRecordError}


async def test_a_fault_of_the_adaptors_own_is_everyones(
    engine: GatedMemory, channel: Channel
) -> None:
    """What is no error of the library passes as it is, to all who asked, be it among many."""
    engine.poison = {"k": ZeroDivisionError}
    with pytest.raises(ZeroDivisionError):
        await channel.write_many([put("a"), put("k")])
    engine.gate.clear()
    callers = [asyncio.ensure_future(channel.read([doc(key)])) for key in ("x", "k", "k")]
    await turns()
    engine.gate.set()
    found = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(answer) for answer in found] == [list, ZeroDivisionError, ZeroDivisionError]


async def failure(reader: "asyncio.Task[list[Record | None]]") -> Exception | None:
    """What it raised."""
    await asyncio.wait([reader])
    error = reader.exception()
    assert isinstance(error, Exception)
    return error


async def test_a_marked_record_is_refused(engine: GatedMemory, channel: Channel) -> None:
    """Read, met by a write or in a scan: its authority is another store."""
    await MemoryAdaptor.write(engine, [moved("k")])
    for work in (
        channel.read([doc("k")]),
        channel.write(create("k")),
        channel.write_atomic([create("k")]),
        anext(channel.scan(Scan("c"))),
    ):
        with pytest.raises(MigrationError, match="'moved'") as caught:
            await work
        assert (caught.value.store, caught.value.key) == ("gated://", "k")


async def test_what_the_adaptor_can_do_is_passed_on(channel: Channel) -> None:
    """Atomic writes, scans, counts, collections."""
    outcomes = await channel.write_atomic([create("a"), create("b")])
    assert [outcome.applied for outcome in outcomes] == [True, True]
    chunks = [chunk async for chunk in channel.scan(Scan("c"))]
    assert [record.id.key for chunk in chunks for record in chunk] == ["a", "b"]
    assert await channel.count("c", 0) == 2
    assert await channel.collections() == ["c"]


async def test_who_waits_keeps_the_store_open(engine: GatedMemory) -> None:
    """Closing lets those end who had to wait for a lane, and refuses those who come."""
    channel = Channel(engine)
    await channel.open()
    engine.gate.clear()
    callers = [asyncio.ensure_future(channel.write(put(key))) for key in "abc"]
    await turns()
    closing = asyncio.ensure_future(channel.aclose())
    await turns()
    with pytest.raises(ClosedError):
        await channel.read([doc("a")])
    states = [engine.closed]
    engine.gate.set()
    await closing
    assert [*states, engine.closed] == [False, True]
    assert [(await caller).applied for caller in callers] == [True] * 3


async def test_a_store_repeats_as_it_is_told(engine: GatedMemory) -> None:
    """`retries` is the store's to choose."""
    async with Store(engine, retries=Retries(attempts=1)) as store:
        engine.reads.clear()
        engine.fates = ["lost"]
        with pytest.raises(UnavailableError, match="no way through"):
            await store.collection("c").get("k")
        assert engine.reads == [["k"]]


async def test_a_store_that_is_opened_by_its_url_does_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """`open_store` passes `retries` on."""
    attempts = []

    async def read(ids: Sequence[DocumentId]) -> Sequence[Record | None]:
        attempts.append(ids)
        raise UnavailableError("no way through")

    async with open_store("memory://", retries=Retries(attempts=1)) as store:
        monkeypatch.setattr(store.adaptor, "read", read)
        with pytest.raises(UnavailableError):
            await store.collection("c").get("k")
    assert len(attempts) == 1
