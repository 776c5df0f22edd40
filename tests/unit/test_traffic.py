"""Many clients on one channel, over an engine that fails and dawdles; a seed fixes the choices."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from engines import GatedMemory, create, doc, put, turns

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.channel import Channel
from aiostore.errors import StoreError, UnavailableError
from aiostore.protocols import DocumentId, Outcome, Record, Write
from aiostore.sending import Retries

KEYS = ("a", "b", "c", "d", "e", "poison")
AT_ONCE = Retries(first_pause=timedelta(0), longest_pause=timedelta(0))


class Traffic(GatedMemory):
    """Memory behind a network with a mind of its own; it notes what is not as it must be."""

    def __init__(self, choices: random.Random) -> None:
        super().__init__(
            max_batch=choices.randint(1, 5),
            read_lanes=choices.randint(1, 3),
            write_lanes=choices.randint(1, 3),
        )
        self.choices = choices
        self.under_way: Counter[str] = Counter()
        self.keys_under_way: set[str] = set()
        self.first_sent: dict[str, list[str]] = defaultdict(list)
        self.states: dict[str, list[str | None]] = defaultdict(lambda: [None])
        self.wrong: list[str] = []

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        self.note(len({*ids}) == len(ids) <= self._can.max_batch, "a batch of reads")
        async with self.lane("read", self._can.read_lanes):
            await self.travel()
            found = [self.held(id_.key) for id_ in ids]
            await self.travel()
            return found

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        keys = [write.record.id.key for write in writes]
        self.note(len({*keys}) == len(keys) <= self._can.max_batch, "a batch of writes")
        self.note(self.keys_under_way.isdisjoint(keys), "a key in two batches at once")
        self.keys_under_way.update(keys)
        for write in writes:
            sent = self.first_sent[write.record.id.key]
            if write.record.version not in sent:
                sent.append(write.record.version)
        try:
            async with self.lane("write", self._can.write_lanes):
                await self.travel()
                if "poison" in keys:
                    raise StoreError("choked")
                outcomes: list[Outcome] = []
                for write in writes:
                    outcomes += await MemoryAdaptor.write(self, [write])
                    if outcomes[-1].applied:
                        self.states[write.record.id.key].append(write.record.version)
                    self.fail_sometimes()
                await self.travel()
                return outcomes
        finally:
            self.keys_under_way.difference_update(keys)

    @asynccontextmanager
    async def lane(self, kind: str, lanes: int) -> AsyncIterator[None]:
        self.under_way[kind] += 1
        self.note(self.under_way[kind] <= lanes, f"more calls of {kind} than lanes")
        try:
            yield
        finally:
            self.under_way[kind] -= 1

    async def travel(self) -> None:
        await turns(self.choices.choice((0, 0, 1, 2, 5, 9)))
        self.fail_sometimes()

    def fail_sometimes(self) -> None:
        if self.choices.random() < 0.06:
            raise UnavailableError("lost")

    def note(self, right: bool, what: str) -> None:  # noqa: FBT001  # an assertion
        if not right:
            self.wrong.append(what)


class Clients:
    """What they do, and what they find wrong with the answers."""

    def __init__(self, choices: random.Random, engine: Traffic) -> None:
        self.choices = choices
        self.engine = engine
        self.issued: dict[str, list[str]] = defaultdict(list)

    async def run(self, channel: Channel) -> None:
        for _ in range(self.choices.randint(1, 6)):
            await turns(self.choices.choice((0, 0, 1, 3)))
            keys = self.choices.sample(KEYS, self.choices.choice((1, 1, 2, 6)))
            if self.choices.random() < 0.4:
                await self.read(channel, keys)
            else:
                await self.write(channel, keys)

    async def read(self, channel: Channel, keys: Sequence[str]) -> None:
        before = {key: len(self.engine.states[key]) for key in keys}
        try:
            records = await channel.read([doc(key) for key in keys])
        except UnavailableError:
            return
        for key, record in zip(keys, records, strict=True):
            possible = self.engine.states[key][before[key] - 1 :]
            version = None if record is None else record.version
            self.engine.note(version in possible, f"a stale read of {key}")

    async def write(self, channel: Channel, keys: Sequence[str]) -> None:
        writes = [self.choices.choice((put, put, create))(key) for key in keys]
        for write in writes:
            self.issued[write.record.id.key].append(write.record.version)
        for write, answer in zip(writes, await channel.write_many(writes), strict=True):
            times = self.engine.states[write.record.id.key].count(write.record.version)
            if isinstance(answer, UnavailableError):
                self.engine.note(times <= 1, f"{write} took effect {times} times")
            else:
                applied = isinstance(answer, Outcome) and answer.applied
                self.engine.note(times == int(applied), f"{answer!r} of {write}: {times} times")

    def compare_orders(self) -> None:
        for key, versions in self.issued.items():
            sent = self.engine.first_sent[key]
            in_order = [version for version in versions if version in sent]
            self.engine.note(sent == in_order, f"writes of {key} out of order")


async def traffic(seed: int) -> list[str]:
    """Many clients, faults and cancellations; returns what is not as it must be."""
    choices = random.Random(seed)
    engine = Traffic(choices)
    clients = Clients(choices, engine)
    channel = Channel(engine, AT_ONCE)
    await channel.open()
    callers = [asyncio.ensure_future(clients.run(channel)) for _ in range(choices.randint(2, 12))]
    for caller in choices.sample(callers, len(callers) // 3):
        await turns(choices.randint(0, 20))
        caller.cancel()
    for result in await asyncio.gather(*callers, return_exceptions=True):
        if isinstance(result, Exception):
            engine.wrong.append(repr(result))
    await channel.aclose()
    clients.compare_orders()
    for batcher in (channel._reads, channel._writes):
        tables = {name: table for name, table in vars(batcher).items() if hasattr(table, "__len__")}
        engine.note(not any(tables.values()), f"left behind: {tables}")
    return engine.wrong


@pytest.mark.parametrize("first", range(0, 600, 200))
async def test_every_promise_is_kept(first: int) -> None:
    """Per-key order, one at a time, at most once, true answers, no stale read, nothing left."""
    found = {seed: wrong for seed in range(first, first + 200) if (wrong := await traffic(seed))}
    assert found == {}
