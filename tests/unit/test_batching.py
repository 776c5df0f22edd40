import asyncio
import contextvars
import gc
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from engines import GatedMemory, doc, put, turns

from aiostore.batching import Batcher
from aiostore.channel import Channel
from aiostore.errors import UnavailableError
from aiostore.sending import Retries

AT_ONCE = Retries(first_pause=timedelta(0), longest_pause=timedelta(0))


@asynccontextmanager
async def opened(engine: GatedMemory) -> AsyncIterator[Channel]:
    """A channel that is open; afterwards nothing may be left in its tables."""
    channel = Channel(engine, AT_ONCE)
    await channel.open()
    try:
        yield channel
    finally:
        engine.gate.set()
        await channel.aclose()
    for batcher, lanes in (
        (channel._reads, engine.capabilities.read_lanes),
        (channel._writes, engine.capabilities.write_lanes),
    ):
        assert left_in(batcher) == (lanes, 0, {})


def left_in(batcher: Batcher[Any, Any]) -> tuple[int, int, dict[str, object]]:
    """Its free lanes, the number of waiting items, and every table that is not empty."""
    tables = {name: table for name, table in vars(batcher).items() if hasattr(table, "__len__")}
    assert len(tables) == 6
    filled = {name: table for name, table in tables.items() if table}
    return batcher._free, batcher._inside, filled


def begin(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A caller in a task of its own."""
    return asyncio.ensure_future(work)


async def put_aside(channel: Channel, engine: GatedMemory) -> asyncio.Task[Any]:
    """Occupy a lane for writes until the gate is opened."""
    engine.gate.clear()
    first = begin(channel.write(put("first")))
    await turns()
    assert engine.writes[-1] == ["first"]
    return first


async def send_together(
    channel: Channel, engine: GatedMemory, *works: Coroutine[Any, Any, Any]
) -> list[asyncio.Task[Any]]:
    """Callers whose batch has been sent and is held up by the gate."""
    first = await put_aside(channel, engine)
    callers = [begin(work) for work in works]
    await turns()
    engine.between = engine.gate.clear  # behind the first
    engine.gate.set()
    await first
    await turns()
    engine.between = lambda: None
    return callers


async def test_what_meets_nobody_goes_straight_down() -> None:
    """It neither waits for a turn of the event loop nor needs another task."""
    engine = GatedMemory()
    tasks = []
    engine.between = lambda: tasks.append(asyncio.current_task())
    async with opened(engine) as channel:
        for work in (channel.read([doc("k")]), channel.write(put("k"))):
            with pytest.raises(StopIteration):  # it has ended without having waited
                work.send(None)
    assert tasks == [asyncio.current_task()] * 2


async def test_nothing_is_sent_for_nothing() -> None:
    """A call without items does not reach the engine."""
    engine = GatedMemory()
    async with opened(engine) as channel:
        assert await channel.read([]) == []
        assert await channel.write_many([]) == []
    assert (engine.reads, engine.writes) == ([], [])


async def test_what_waits_leaves_together() -> None:
    """While the lane is busy operations collect, and leave in batches as large as allowed."""
    engine = GatedMemory(max_batch=3)
    async with opened(engine) as channel:
        first = await put_aside(channel, engine)
        others = [begin(channel.write(put(key))) for key in "abcde"]
        await turns()
        assert engine.writes == [["first"]]
        engine.gate.set()
        outcomes = await asyncio.gather(first, *others)
    assert engine.writes == [["first"], ["a", "b", "c"], ["d", "e"]]
    assert [outcome.record.id.key for outcome in outcomes] == ["first", *"abcde"]


async def test_reads_and_writes_have_their_own_lanes() -> None:
    """Neither waits for the other; as many calls are under way as there are lanes."""
    engine = GatedMemory(read_lanes=2, write_lanes=3)
    async with opened(engine) as channel:
        engine.gate.clear()
        callers = [begin(channel.read([doc(key)])) for key in "abcd"]
        callers += [begin(channel.write(put(key))) for key in "abcde"]
        await turns()
        assert (engine.reads, engine.writes) == ([["a"], ["b"]], [["a"], ["b"], ["c"]])
        engine.gate.set()
        await asyncio.gather(*callers)
    assert (engine.reads[2:], engine.writes[3:]) == ([["c", "d"]], [["d", "e"]])


async def test_a_large_call_uses_every_lane() -> None:
    """What is longer than a batch is cut, and its parts are under way at once."""
    engine = GatedMemory(max_batch=2, read_lanes=3, write_lanes=9)
    async with opened(engine) as channel:
        await channel.write_many([put(str(n)) for n in range(7)])
        assert engine.writes == [["0", "1"], ["2", "3"], ["4", "5"], ["6"]]
        engine.gate.clear()
        large = begin(channel.read([doc(str(n)) for n in range(7)]))
        await turns()
        assert engine.reads == [["0", "1"], ["2", "3"], ["4", "5"]]
        engine.gate.set()
        assert [record.id.key for record in await large] == list("0123456")


async def test_a_small_call_shares_the_batches_of_a_large_one() -> None:
    """It waits for those ahead of it, and fills the last one up."""
    engine = GatedMemory(max_batch=2)
    async with opened(engine) as channel:
        first = await put_aside(channel, engine)
        large = begin(channel.write_many([put(key) for key in "abc"]))
        await turns()
        small = begin(channel.write(put("d")))
        await turns()
        engine.gate.set()
        await asyncio.gather(first, large, small)
    assert engine.writes == [["first"], ["a", "b"], ["c", "d"]]


async def test_writes_of_one_document_keep_their_order() -> None:
    """One at a time and as they came, while other documents pass them by."""
    engine = GatedMemory(write_lanes=2)
    async with opened(engine) as channel:
        engine.gate.clear()
        bodies = [f'{{"n":{n}}}' for n in range(4)]
        same = [begin(channel.write(put("k", body))) for body in bodies]
        await turns()
        other = begin(channel.write(put("other")))
        await turns()
        assert engine.writes == [["k"], ["other"]]
        engine.gate.set()
        outcomes = await asyncio.gather(*same, other)
    assert engine.writes == [["k"], ["other"], ["k"], ["k"], ["k"]]
    assert [outcome.record.body for outcome in outcomes[:4]] == bodies


async def test_a_call_follows_only_with_what_is_held_back() -> None:
    """Of a call with many items, those of other documents go at once, in a free lane."""
    engine = GatedMemory(write_lanes=2)
    async with opened(engine) as channel:
        engine.gate.clear()
        first = begin(channel.write(put("a")))
        await turns()
        many = begin(channel.write_many([put(key) for key in "abc"]))
        await turns()
        assert engine.writes == [["a"], ["b", "c"]]
        engine.gate.set()
        await asyncio.gather(first, many)
    assert engine.writes == [["a"], ["b", "c"], ["a"]]


async def test_a_document_is_read_once_for_all_who_wait() -> None:
    """Readers of the same document share one place in the batch."""
    engine = GatedMemory()
    async with opened(engine) as channel:
        await channel.write_many([put("a"), put("b")])
        engine.gate.clear()
        first = begin(channel.read([doc("x")]))
        await turns()
        callers = [begin(channel.read([doc(key) for key in keys])) for keys in ("ab", "b", "ba")]
        await turns()
        engine.gate.set()
        found = [[record.id.key for record in await caller] for caller in callers]
        assert await first == [None]
    assert engine.reads == [["x"], ["a", "b"]]
    assert found == [["a", "b"], ["b"], ["b", "a"]]


async def test_a_read_never_joins_one_that_was_sent() -> None:
    """It might miss a write that was acknowledged in the meantime."""
    engine = GatedMemory()
    async with opened(engine) as channel:
        engine.gate.clear()
        early = begin(channel.read([doc("k")]))
        await turns()
        late = begin(channel.read([doc("k")]))
        await turns()
        engine.between = lambda: asyncio.ensure_future(channel.write(put("k")))
        engine.gate.set()
        [before], [after] = await asyncio.gather(early, late)
        engine.between = lambda: None
    assert engine.reads == [["k"], ["k"]]
    assert before is None
    assert after is not None


async def test_who_is_cancelled_while_waiting_is_not_sent() -> None:
    """Its place is free again at once, for others too."""
    engine = GatedMemory(max_batch=2)
    async with opened(engine) as channel:
        first = await put_aside(channel, engine)
        waiting = [begin(channel.write(put(key))) for key in "abc"]
        many = begin(channel.write_many([put(key) for key in "defgh"]))
        await turns()
        for caller in (waiting[0], many):
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
        engine.gate.set()
        await asyncio.gather(first, *waiting[1:])
    assert engine.writes == [["first"], ["b", "c"]]


async def test_who_is_cancelled_in_the_last_moment_is_not_sent() -> None:
    """Even if the lane is free before the caller has noticed; the next of the document is sent."""
    engine = GatedMemory()
    async with opened(engine) as channel:
        [batch] = await send_together(channel, engine, channel.write(put("batch")))
        leaving, next_ = (begin(channel.write(put("k"))) for _ in range(2))
        await turns()
        engine.gate.set()
        leaving.cancel()
        await asyncio.gather(batch, next_)
        with pytest.raises(asyncio.CancelledError):
            await leaving
    assert engine.writes == [["first"], ["batch"], ["k"]]


async def test_a_reader_who_leaves_takes_only_itself_along() -> None:
    """Who waits for the same document gets it."""
    engine = GatedMemory()
    async with opened(engine) as channel:
        engine.gate.clear()
        first = begin(channel.read([doc("x")]))
        await turns()
        leaving, staying = (begin(channel.read([doc("k")])) for _ in range(2))
        await turns()
        leaving.cancel()
        await turns()
        engine.gate.set()
        assert [await first, await staying] == [[None], [None]]
    assert engine.reads == [["x"], ["k"]]


async def test_a_batch_that_was_sent_goes_on_without_a_caller() -> None:
    """Its neighbours get their answers, and what it wrote stands."""
    engine = GatedMemory()
    async with opened(engine) as channel:
        leaving, staying = await send_together(
            channel, engine, channel.write(put("a")), channel.write(put("b"))
        )
        assert engine.writes[-1] == ["a", "b"]
        leaving.cancel()
        await turns()
        engine.gate.set()
        assert (await staying).applied
    assert engine.held("a") is not None


async def test_cancelling_who_went_straight_down_reaches_the_engine() -> None:
    """And who waits behind it is sent next."""
    engine = GatedMemory()
    async with opened(engine) as channel:
        first = await put_aside(channel, engine)
        next_ = begin(channel.write(put("first", '"next"')))
        await turns()
        first.cancel()
        await turns()
        assert engine.writes == [["first"], ["first"]]
        engine.gate.set()
        assert (await next_).applied
    assert first.cancelled()


async def test_no_more_than_so_many_wait_inside() -> None:
    """Who comes later waits outside, and is let in as there is room, in the order of coming."""
    engine = GatedMemory(max_batch=200)
    async with opened(engine) as channel:
        first = await put_aside(channel, engine)
        callers = [begin(channel.write(put(f"{n:04}"))) for n in range(2500)]
        await turns()
        inside = channel._writes._inside
        assert (inside, len(channel._writes._outside)) == (2000, 500)
        engine.gate.set()
        await asyncio.gather(first, *callers)
    sent = [key for keys in engine.writes[1:] for key in keys]
    assert sent == [f"{n:04}" for n in range(2500)]


async def test_nobody_overtakes_who_waits_outside() -> None:
    """Not even where a lane is free: it might be about the same document."""
    engine = GatedMemory(write_lanes=2)
    async with opened(engine) as channel:
        engine.gate.clear()
        held_back = [begin(channel.write(put("k"))) for _ in range(1002)]
        await turns()
        early, late = (begin(channel.write(put("outside", body))) for body in ("1", "2"))
        await turns()
        assert engine.writes == [["k"]]
        engine.gate.set()
        outcomes = await asyncio.gather(early, late, *held_back)
    assert all(outcome.applied for outcome in outcomes)


async def test_only_as_many_lanes_start_as_are_needed() -> None:
    """A lane without a batch would be a task for nothing."""
    engine = GatedMemory(max_batch=2, read_lanes=9)
    async with opened(engine) as channel:
        engine.gate.clear()
        large = begin(channel.read([doc(str(n)) for n in range(7)]))
        await asyncio.sleep(0)
        assert len(channel._reads._tasks) == 4
        engine.gate.set()
        await large


async def test_who_waits_outside_can_leave() -> None:
    """It is forgotten, and those behind it move up, also into room that a leaver makes."""
    engine = GatedMemory(max_batch=2)
    async with opened(engine) as channel:
        first = await put_aside(channel, engine)
        inside = [begin(channel.write(put(f"{n}"))) for n in range(999)]
        await turns()
        pair = begin(channel.write_many([put("p"), put("q")]))  # there is room for one
        small = begin(channel.write(put("r")))
        last = begin(channel.write(put("s")))
        await turns()
        assert len(channel._writes._outside) == 3
        pair.cancel()
        await turns()
        assert (channel._writes._inside, len(channel._writes._outside)) == (1000, 1)
        inside[0].cancel()
        await turns()
        assert (channel._writes._inside, len(channel._writes._outside)) == (1000, 0)
        engine.gate.set()
        await asyncio.gather(first, *inside[1:], small, last)
    sent = [key for keys in engine.writes[1:] for key in keys]
    assert sent == [*(f"{n}" for n in range(1, 999)), "r", "s"]


async def test_a_huge_read_lets_others_in_between() -> None:
    """Its parts queue up one after another, so that nobody waits for all of it."""
    engine = GatedMemory(max_batch=100)
    async with opened(engine) as channel:
        engine.gate.clear()
        first = begin(channel.read([doc("first")]))
        await turns()
        huge = begin(channel.read([doc(f"{n}") for n in range(5000)]))
        await turns()
        small = begin(channel.read([doc("small")]))
        await turns()
        engine.gate.set()
        await asyncio.gather(first, huge, small)
    [position] = [n for n, keys in enumerate(engine.reads) if "small" in keys]
    assert position <= 12


async def test_a_huge_write_keeps_its_place() -> None:
    """Who comes after it may write the same document, and must not come before."""
    engine = GatedMemory(max_batch=100)
    async with opened(engine) as channel:
        first = await put_aside(channel, engine)
        huge = begin(channel.write_many([put(f"{n}", '"huge"') for n in range(1500)]))
        await turns()
        late = begin(channel.write(put("1499", '"late"')))
        await turns()
        engine.gate.set()
        answers, (_, outcome) = await huge, await asyncio.gather(first, late)
    assert (answers[-1].applied, outcome.applied) == (True, True)
    assert [keys[-1] for keys in engine.writes[-2:]] == ["1499", "1499"]


async def test_a_huge_call_can_be_left() -> None:
    """What waits of it, inside and outside, is not sent."""
    engine = GatedMemory(max_batch=100)
    async with opened(engine) as channel:
        first = await put_aside(channel, engine)
        huge = begin(channel.write_many([put(f"{n}") for n in range(1500)]))
        small = begin(channel.write(put("small")))
        await turns()
        huge.cancel()
        await turns()
        engine.gate.set()
        await asyncio.gather(first, small)
    assert engine.writes == [["first"], ["small"]]


async def test_closing_waits_for_a_batch_that_everyone_has_left() -> None:
    """The adaptor is not closed under it."""
    engine = GatedMemory()
    channel = Channel(engine)
    await channel.open()
    callers = await send_together(channel, engine, channel.write(put("a")), channel.write(put("b")))
    for caller in callers:
        caller.cancel()
    await turns()
    closing = begin(channel.aclose())
    await turns()
    states = [engine.closed]
    engine.gate.set()
    await closing
    assert [*states, engine.closed] == [False, True]
    assert engine.held("b") is not None


async def test_a_batch_belongs_to_no_caller() -> None:
    """Its task has none of their contexts, since it serves them all."""
    whose = contextvars.ContextVar("whose", default="nobody's")
    whose.set("a caller's")
    seen = []
    engine = GatedMemory()
    async with opened(engine) as channel:
        first = await put_aside(channel, engine)
        others = [begin(channel.write(put(key))) for key in "ab"]
        await turns()
        engine.between = lambda: seen.append(whose.get())
        engine.gate.set()
        await asyncio.gather(first, *others)
    assert seen == ["a caller's", "nobody's"]


async def test_a_batch_that_is_torn_down_leaves_nobody_waiting() -> None:
    """Those who are under way and those who wait, inside and outside, are told."""
    engine = GatedMemory(max_batch=500)
    async with opened(engine) as channel:
        [batch] = await send_together(channel, engine, channel.write(put("a")))
        many = [begin(channel.write_many([put(f"{n}") for n in range(4000)])) for _ in range(2)]
        await turns()
        [task] = channel._writes._tasks
        task.cancel()
        with pytest.raises(UnavailableError, match="not known"):
            await batch
        for answers in await asyncio.gather(*many):
            assert all(isinstance(answer, UnavailableError) for answer in answers)
            assert len({id(answer) for answer in answers}) == 4000
        engine.gate.set()
        assert (await channel.write(put("a"))).applied


async def test_a_batch_that_is_torn_down_before_it_begins_leaves_nobody_waiting() -> None:
    """Its lane is free again, too."""
    engine = GatedMemory()
    async with opened(engine) as channel:
        first = await put_aside(channel, engine)
        waiting = begin(channel.write(put("a")))
        await turns()
        first.cancel()
        await asyncio.sleep(0)
        [task] = channel._writes._tasks
        task.cancel()
        with pytest.raises(UnavailableError, match="not known"):
            await waiting
        engine.gate.set()
        assert (await channel.write(put("a"))).applied
    assert engine.writes == [["first"], ["a"]]


def test_an_event_loop_that_ends_in_the_midst_leaves_nothing(
    recwarn: pytest.WarningsRecorder,
) -> None:
    """No task is destroyed while it is pending, and no coroutine is left unawaited."""
    said: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: said.append(what))
        engine = GatedMemory(max_batch=2, write_lanes=2)
        channel = Channel(engine)
        await channel.open()
        callers = []
        for n in range(6):
            callers.append(begin(channel.write(put(f"{n % 4}"))))
            await turns(1)
        engine.gate.clear()
        for n in range(20):
            callers.append(begin(channel.write(put(f"{n % 4}"))))
            callers.append(begin(channel.read([doc(f"{n % 4}")])))
        await turns()
        callers[6].cancel()
        await turns(1)

    thread = threading.Thread(target=asyncio.run, args=[main()])
    thread.start()
    thread.join()
    gc.collect()
    assert said == []
    assert [str(warning.message) for warning in recwarn.list] == []
