"""What the faults do, each by itself; that without them nothing changes is the kit's to show."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest
from engines import IndexingMemory
from msgspec.structs import replace

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.errors import StoreError, UnavailableError
from aiostore.limits import SYSTEM_COLLECTION
from aiostore.protocols import Absent, Adaptor, Check, DocumentId, Newer, Purge, Record, Scan, Write
from aiostore.store import Store
from aiostore.testing import Faults, FaultyAdaptor
from aiostore.testing.records import record

ID = DocumentId("c", "k")
Use = Callable[[Adaptor], Awaitable[Any]]


def write(number: int = 1, collection: str = "c") -> Write:
    """A write that any memory applies, of a growing version."""
    return Write(record(collection, "k", number), Newer())


async def scanned(adaptor: Adaptor) -> list[Record]:
    """What a scan yields, record by record."""
    return [one async for chunk in adaptor.scan(Scan("c", chunk=1)) for one in chunk]


USES: dict[str, Use] = {
    "read": lambda adaptor: adaptor.read([ID]),
    "write": lambda adaptor: adaptor.write([write()]),
    "write_atomic": lambda adaptor: adaptor.write_atomic([write(2)]),
    "scan": scanned,
    "count": lambda adaptor: adaptor.count("c"),
    "collections": lambda adaptor: adaptor.collections(),
    "purge": lambda adaptor: adaptor.purge(Purge("c", everything=True)),
}


@pytest.mark.parametrize("operation", USES)
@pytest.mark.parametrize("by_hand", [True, False])
async def test_a_call_that_fails_has_done_nothing(operation: str, *, by_hand: bool) -> None:
    """While it is down, or where chance has it fail, no call reaches the adaptor."""
    faulty = FaultyAdaptor(MemoryAdaptor())
    await faulty.write([write()])
    faulty.calls.clear()
    if by_hand:
        faulty.down = True
    else:
        faulty.faults = Faults(failing=1.0)
    with pytest.raises(UnavailableError, match="down"):
        await USES[operation](faulty)
    assert not faulty.calls
    assert await faulty.adaptor.read([ID]) == [write().record]


@pytest.mark.parametrize("operation", USES)
@pytest.mark.parametrize("by_hand", [True, False])
async def test_a_lost_answer_is_that_of_a_call_that_took_effect(
    operation: str, *, by_hand: bool
) -> None:
    """The call reaches the adaptor, and the caller is not told what came of it."""
    faulty = FaultyAdaptor(MemoryAdaptor())
    faulty.loses_answers = by_hand
    faulty.faults = Faults(losing=0.0 if by_hand else 1.0)
    await faulty.adaptor.write([replace(write(), record=record("c", "other", 1))])
    with pytest.raises(UnavailableError, match="lost"):
        await USES[operation](faulty)
    assert faulty.calls == {operation: 1}
    held = [one.id.key for one in await scanned(faulty.adaptor)]
    assert held == {"purge": [], "write": ["k", "other"], "write_atomic": ["k", "other"]}.get(
        operation, ["other"]
    )


@pytest.mark.parametrize("operation", USES)
async def test_a_slow_call_waits_before_and_after(operation: str) -> None:
    """A pause, as the plan measures it, goes before each call and another one after it."""
    waited = list[tuple[int, int]]()

    async def wait(length: int) -> None:
        waited.append((length, faulty.calls.total()))

    faulty = FaultyAdaptor(MemoryAdaptor(), Faults(pauses=(7,), wait=wait))
    await USES[operation](faulty)
    assert waited == [(7, 0), (7, 1)]


async def test_each_step_of_a_scan_is_a_call() -> None:
    """A scan may fail after it has yielded something."""
    faulty = FaultyAdaptor(MemoryAdaptor())
    await faulty.write([Write(record("c", key, 1), Newer()) for key in "ab"])
    assert [one.id.key for one in await scanned(faulty)] == ["a", "b"]
    assert faulty.calls["scan"] == 3
    async with aclosing(faulty.scan(Scan("c", chunk=1))) as chunks:
        await anext(chunks)
        faulty.down = True
        with pytest.raises(UnavailableError):
            await anext(chunks)


async def test_pauses_are_turns_of_the_event_loop() -> None:
    """Unless told otherwise, a pause lets all others run so many times."""
    faulty = FaultyAdaptor(MemoryAdaptor(), Faults(pauses=(3,)))
    task = asyncio.ensure_future(faulty.read([ID]))
    turns = 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns == 3 + 3 + 1


@pytest.mark.parametrize("operation", USES)
async def test_a_hanging_call_goes_on_when_it_is_released(operation: str) -> None:
    """Until then it has done nothing, and a caller who leaves leaves nothing behind."""
    faulty = FaultyAdaptor(MemoryAdaptor())
    gate = faulty.hangs = asyncio.Event()
    leaves, stays = (asyncio.ensure_future(USES[operation](faulty)) for _ in range(2))
    await asyncio.sleep(0)
    assert not faulty.calls
    leaves.cancel()
    await asyncio.wait([leaves])
    gate.set()
    await stays
    assert leaves.cancelled()
    assert faulty.calls == {operation: 1}


@pytest.mark.parametrize("operation", ["write", "write_atomic"])
async def test_a_late_write_lands_after_its_caller_was_told(operation: str) -> None:
    """It takes effect once, later, and at the latest before the adaptor is closed."""
    faulty = FaultyAdaptor(MemoryAdaptor(), Faults(late=1.0, pauses=(2,)))
    with pytest.raises(UnavailableError, match="in time"):
        await USES[operation](faulty)
    assert await faulty.read([ID]) == [None]
    await faulty.aclose()
    [landed] = await faulty.adaptor.read([ID])
    assert landed is not None
    assert faulty.calls == {operation: 1, "read": 1}


async def test_what_a_late_write_is_answered_concerns_nobody() -> None:
    """An engine's error after the caller has gone is not raised, and the closing goes on."""
    closed = []

    class Failing(MemoryAdaptor):
        async def write(self, writes: object, /) -> Any:
            raise StoreError("too late")

        async def aclose(self) -> None:
            closed.append(self)

    faulty = FaultyAdaptor(Failing(), Faults(late=1.0))
    with pytest.raises(UnavailableError):
        await faulty.write([write()])
    await faulty.aclose()
    assert closed == [faulty.adaptor]


async def test_reads_are_never_late() -> None:
    """What takes effect later can only be a write."""
    faulty = FaultyAdaptor(MemoryAdaptor(), Faults(late=1.0))
    for operation in USES.keys() - {"write", "write_atomic"}:
        await USES[operation](faulty)


async def test_the_librarys_own_records_are_spared() -> None:
    """A store opens while documents fail; opening fails only while the adaptor is down."""
    faulty = FaultyAdaptor(MemoryAdaptor(), Faults(failing=1.0, losing=1.0, late=1.0))
    faulty.loses_answers = True
    async with Store(faulty) as store:
        await faulty.write([write(collection=SYSTEM_COLLECTION)])
        with pytest.raises(UnavailableError):
            await faulty.write([write(collection=SYSTEM_COLLECTION), write()])
        with pytest.raises(UnavailableError):
            await store.collection("c").get("k")
    faulty.down = True
    with pytest.raises(UnavailableError, match="down"):
        await faulty.open()
    await faulty.aclose()


async def test_a_check_is_about_its_document() -> None:
    """An atomic write that only looks is a call like any other."""
    faulty = FaultyAdaptor(MemoryAdaptor(), Faults(failing=1.0))
    with pytest.raises(UnavailableError):
        await faulty.write_atomic([Check(ID, Absent())])


async def test_a_seed_fixes_what_happens() -> None:
    """The same choices give the same faults; others give others."""

    async def fate(seed: int) -> list[str]:
        choices = random.Random(seed)
        faulty = FaultyAdaptor(MemoryAdaptor(), Faults(choices=choices, failing=0.3, losing=0.3))
        answers = []
        for number in range(30):
            try:
                [outcome] = await faulty.write([write(number)])
                answers.append(str(outcome.applied))
            except UnavailableError as error:
                answers.append(str(error))
        return answers

    assert await fate(1) == await fate(1)
    assert await fate(1) != await fate(2)
    assert set(await fate(1)) == {"True", "down", "the answer was lost"}


def test_it_looks_like_what_it_stands_before() -> None:
    """Name and capabilities are the adaptor's."""
    memory = MemoryAdaptor("memory:mine")
    faulty = FaultyAdaptor(memory)
    assert (faulty.name, faulty.capabilities) == (memory.name, memory.capabilities)


async def test_an_index_is_forwarded_or_fails() -> None:
    """As every other call; the adaptor's own answer comes through."""
    engine = IndexingMemory()
    faulty = FaultyAdaptor(engine)
    await faulty.index("c", ("v",))
    faulty.down = True
    with pytest.raises(UnavailableError, match="down"):
        await faulty.index("c", ("w",))
    faulty.down = False
    faulty.loses_answers = True
    with pytest.raises(UnavailableError, match="lost"):
        await faulty.index("c", ("x",))
    assert engine.made == [("c", ("v",)), ("c", ("x",))]
