"""Scans, counts, pages and collections, while steps are taken in the midst of them."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from functools import partial

import pytest
from faults import take_step
from msgspec.structs import replace

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.codecs import decode_plain
from aiostore.errors import UnavailableError
from aiostore.filters import F, Filter, Order, matches
from aiostore.migration import (
    MigrationAdaptor,
    Phase,
    backfill,
    complete,
    hand_back,
    hand_off,
)
from aiostore.protocols import Capabilities, DocumentId, Record, Scan, Sort
from aiostore.store import Store
from aiostore.testing.faults import FaultyAdaptor, turns

STEADY = [f"s{number:02}" for number in range(40)]
MOVING = [f"m{number}" for number in range(6)] + [f"t{number}" for number in range(6)]
SEEDS = range(20)
WHERE: Filter = F.group == 1

Step = Callable[[], Awaitable[object]]


class Narrowing(MemoryAdaptor):
    """A memory that leaves out what does not match, and yields what it holds by then."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, filters=frozenset({"equal"}))

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        async with aclosing(super().scan(request)) as chunks:
            async for chunk in chunks:
                now = await self.read([one.id for one in chunk])
                found = [one for one in now if one is not None and _matches(request.where, one)]
                if found:
                    yield found


def _matches(where: Filter | None, one: Record) -> bool:
    if where is None:
        return True
    return one.body is not None and matches(where, decode_plain(one.body))


class Processes:
    """Two processes over one migration; the first one leads."""

    def __init__(self) -> None:
        self.current = FaultyAdaptor(Narrowing("memory:current"))
        self.target = FaultyAdaptor(Narrowing("memory:target"))
        self.first, self.second = self._migration(), self._migration()

    def _migration(self) -> MigrationAdaptor:
        return MigrationAdaptor(self.current, self.target, name="test", rest=timedelta(0))

    @asynccontextmanager
    async def stores(self) -> AsyncIterator[tuple[Store, Store]]:
        """A store on each, and the documents in them."""
        async with Store(self.first) as one, Store(self.second) as other:
            c = one.collection("c")
            for number, key in enumerate(STEADY):
                await c.put(key, {"group": number % 2, "n": number * 7 % 11, "steady": True})
            await one.collection("d").put("k", {})
            yield one, other

    async def advance(self, phase: Phase) -> None:
        """Take a step."""
        await take_step(phase, self.first, self.second)

    def steps(self) -> list[Step]:
        """All the way there, and all the way back."""
        return [
            partial(backfill, self.first),
            partial(self.advance, Phase.HANDOFF),
            partial(hand_off, self.first),
            partial(self.advance, Phase.TARGET),
            partial(self.advance, Phase.HANDOFF),
            partial(hand_off, self.first),
            partial(self.advance, Phase.DUAL_WRITE),
            partial(hand_back, self.first),
            partial(self.advance, Phase.CURRENT),
        ]


async def _meddle(store: Store, choices: random.Random) -> None:
    """Write what is not steady."""
    c = store.collection("c")
    for key in choices.sample(MOVING, 3):
        if choices.random() < 0.3:
            await c.delete(key, missing_ok=True)
        else:
            value = {"group": choices.randrange(2), "n": choices.randrange(11), "steady": False}
            await c.put(key, value)


REQUESTS = {
    "plain": Scan("c", chunk=3),
    "prefix": Scan("c", "s", chunk=3),
    "where": Scan("c", chunk=3, where=WHERE),
    "order": Scan("c", chunk=3, order=Sort(("n",))),
    "descending": Scan("c", chunk=3, where=WHERE, order=Sort(("n",), descending=True)),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_a_scan_outlives_any_steps(request_: Scan) -> None:
    """Whatever steps are taken in its midst, what is unchanged comes once, and in order."""
    for seed in SEEDS:
        choices = random.Random(seed)
        processes = Processes()
        async with processes.stores() as stores:
            steps = processes.steps()
            for step in steps[: choices.choice((0, 0, 1, 2, 4, 6, 8))]:  # some before it begins
                await step()
                steps.remove(step)
            asked = choices.choice([processes.first, processes.second])
            found: list[Record] = []
            async with aclosing(asked.scan(request_)) as chunks:
                async for chunk in chunks:
                    found += chunk
                    await _meddle(choices.choice(stores), choices)
                    while steps and choices.random() < 0.3:
                        await steps.pop(0)()
        steady = [(one.id.key, decode_plain(one.body or "")) for one in found if _is_steady(one)]
        expected = {
            key: value
            for number, key in enumerate(STEADY)
            if request_.where is None or number % 2
            for value in [{"group": number % 2, "n": number * 7 % 11, "steady": True}]
        }
        wanted = [
            pair for pair in steady if request_.where is None or matches(request_.where, pair[1])
        ]
        assert sorted(key for key, _ in wanted) == list(expected), f"seed {seed}"
        assert dict(wanted) == expected, f"seed {seed}"
        assert len({one.id for one in found}) == len(found), f"seed {seed}"
        bodies = [decode_plain(one.body) for one in found if one.body is not None]
        if request_.order is None:
            keys = [one.id.key for one in found]
            assert keys == sorted(keys), f"seed {seed}"
        else:
            places = [body["n"] for body in bodies]
            assert places == sorted(places, reverse=request_.order.descending), f"seed {seed}"


def _is_steady(one: Record) -> bool:
    return one.id.key in STEADY


@pytest.mark.parametrize("order_by", [(), "-n"], ids=["by key", "by a field"])
@pytest.mark.parametrize("where", [None, WHERE], ids=["all", "where"])
async def test_pages_go_on_over_every_step(
    where: Filter | None, order_by: str | tuple[Order, ...]
) -> None:
    """A cursor is good in each phase, and on the plain target after all of them."""
    processes = Processes()
    async with processes.stores() as (store, _):
        expected = [one.key async for one in store.collection("c").find(where, order_by=order_by)]
        found: list[str] = []
        cursor: str | None = None
        steps = processes.steps()[:4]
        steps.append(partial(complete, processes.first))
        while steps:
            c = store.collection("c")
            page = await c.page(where, size=2, cursor=cursor, order_by=order_by)
            found += [one.key for one in page.documents]
            cursor = page.next_cursor
            await steps.pop(0)()
    async with Store(processes.target) as plain:
        while cursor is not None:
            c = plain.collection("c")
            page = await c.page(where, size=5, cursor=cursor, order_by=order_by)
            found += [one.key for one in page.documents]
            cursor = page.next_cursor
    assert found == expected


async def test_counts_and_collections_are_right_after_every_step() -> None:
    """In each phase, for each process, whether it has taken the step or not."""
    for seed in SEEDS:
        choices = random.Random(seed)
        processes = Processes()
        async with processes.stores() as stores:
            for step in [_nothing, *processes.steps()]:
                taken = asyncio.ensure_future(step())
                while not taken.done():
                    store = choices.choice(stores)
                    c = store.collection("c")
                    assert await c.count(F.steady == True) == len(STEADY), f"seed {seed}"  # noqa: E712  # a filter
                    assert await c.count() == len(STEADY), f"seed {seed}"
                    assert await store.collections() == ["c", "d"], f"seed {seed}"
                    await c.delete("never there", missing_ok=True)
                    await turns(choices.choice((0, 3, 10)))
                await taken


async def _nothing() -> None:
    await turns(3)


async def test_a_process_that_is_late_does_not_go_by_old_states() -> None:
    """What others have changed after handing it off is found by what it is now."""
    processes = Processes()
    async with processes.stores() as (store, late):
        await processes.first.control.change(
            lambda now: replace(now, phase=Phase.HANDOFF, pristine=False, generation=2)
        )
        processes.first.begin(Phase.HANDOFF)
        c = store.collection("c")
        await c.put("s00", {"group": 7, "n": 99, "steady": False})
        await c.delete("s01")
        await c.create("new", {"group": 7, "n": -1, "steady": False})
        await store.collection("e").create("k", {})
        await c.delete("never there", missing_ok=True)
        there = late.collection("c")
        assert processes.second.phase is Phase.DUAL_WRITE
        assert [one.key async for one in there.find(F.group == 7)] == ["new", "s00"]
        in_order = [one.key async for one in there.find(order_by="n")]
        assert (in_order[0], in_order[-1]) == ("new", "s00")
        assert len(in_order) == await there.count() == len(STEADY)
        assert await late.collections() == ["c", "d", "e"]


@pytest.mark.parametrize("begun", [Phase.DUAL_WRITE, Phase.HANDOFF])
async def test_what_moves_during_a_scan_with_an_order_comes_where_it_belongs(begun: Phase) -> None:
    """Or not at all, if its place has passed, or the scan goes by an engine's own order."""
    processes = Processes()
    async with processes.stores() as (store, _):
        c = store.collection("c")
        last = [key for key in STEADY if int(key[1:]) * 7 % 11 == 10]
        if begun is Phase.HANDOFF:
            await processes.advance(Phase.HANDOFF)
        found: list[Record] = []
        request = Scan("c", chunk=4, order=Sort(("n",)))
        async with aclosing(processes.first.scan(request)) as chunks:
            async for chunk in chunks:
                if not found:
                    if begun is Phase.DUAL_WRITE:
                        await processes.advance(Phase.HANDOFF)
                    await c.put(last[0], {"n": -1})  # passed
                    await c.put(last[1], {"n": 50})  # still to come
                    await c.delete(last[2])
                found += chunk
        bodies = {one.id.key: decode_plain(one.body) for one in found if one.body is not None}
        places = [body["n"] for body in bodies.values()]
        assert places == sorted(places)
        late = set() if begun is Phase.DUAL_WRITE else {last[1]}
        assert set(bodies) == set(STEADY) - set(last[:3]) | late


async def test_a_step_waits_for_reads_that_are_under_way() -> None:
    """A read that was sent in one phase has been answered before the next but one begins."""
    processes = Processes()
    async with processes.stores() as (store, _):
        for step in processes.steps()[:4]:
            await step()
        gate = processes.target.hangs = asyncio.Event()
        reading = asyncio.ensure_future(store.collection("c").get("s00"))
        await turns(5)
        processes.target.hangs = None
        taking = asyncio.ensure_future(processes.advance(Phase.HANDOFF))
        await turns(300)
        assert not taking.done()
        gate.set()
        assert (await reading).value["steady"]
        await taking


async def test_a_read_whose_process_was_taken_for_dead_answers_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may have looked where nothing is any more."""
    processes = Processes()
    async with processes.stores():
        gate = processes.current.hangs = asyncio.Event()
        reading = asyncio.ensure_future(processes.first.read([DocumentId("c", "s00")]))
        await turns(5)
        processes.current.hangs = None
        monkeypatch.setattr(processes.first.presence, "_until", 0.0)
        gate.set()
        with pytest.raises(UnavailableError, match="lease"):
            await reading
        monkeypatch.undo()


async def test_what_stood_for_nothing_leaves_nothing_on_the_way_back() -> None:
    """A document that was handed off though it was not there can be created after the way back."""
    processes = Processes()
    async with processes.stores() as (store, _):
        c = store.collection("c")
        for number, step in enumerate(processes.steps()):
            await step()
            if number == 1:
                await c.delete("never there", missing_ok=True)
                assert await c.get("nor here", default=None) is None
                await processes.first.handoff.forth([DocumentId("c", "nor here")], unknown_too=True)
        assert processes.first.phase is Phase.CURRENT
        [record] = await processes.current.read([DocumentId("c", "nor here")])
        assert record is None
        await c.create("nor here", {})
        await c.create("never there", {})
