"""Shadow reads: what they tell, and that nobody else notices them."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from faults import Pair
from filling import filled, rewrite
from msgspec.structs import replace
from virtual_time import in_virtual_time

from aiostore.migration import MigrationAdaptor, backfill
from aiostore.migration.legs import Mirror
from aiostore.migration.shadow import MOST_AT_ONCE, Shadow
from aiostore.protocols import DocumentId, Record
from aiostore.store import Store

IDS = [DocumentId("c", f"k{n:04}") for n in range(4)]


class Shadowed:
    """A migration with shadow reads of every read.

    Attributes:
        pair: its stores.
        migration: the wrapper.
        shadow: the shadow reads.
        verified: what they are told about that.
    """

    def __init__(self, pair: Pair, migration: MigrationAdaptor, share: float) -> None:
        self.pair = pair
        self.migration = migration
        self.verified = False
        self.mirror = Mirror(pair.target, migration.deadline)
        self.mirror.connected = True
        self.shadow = Shadow(
            self.mirror,
            migration.repair,
            share=share,
            verified=lambda: self.verified,
            choices=random.Random(1),
        )

    async def read(self, ids: Sequence[DocumentId] = IDS) -> Sequence[Record | None]:
        """As the wrapper is to do it."""
        records = await self.migration.read(ids)
        self.shadow.sample(ids, records)
        return records

    async def mended(self) -> None:
        """Wait until nothing is in doubt."""
        while self.migration.repair.suspects:  # noqa: ASYNC110  # the library needs no event for it
            await asyncio.sleep(1)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Matched, behind and different."""
        return self.shadow.matched, self.shadow.behind, self.shadow.different


@asynccontextmanager
async def shadowed(share: float = 1.0, *, copied: bool = True) -> AsyncIterator[Shadowed]:
    """Four documents in the current store and, if they are copied, in the target."""
    pair = Pair()
    await filled(pair, 4)
    migration = MigrationAdaptor(pair.current, pair.target, name="test")
    async with Store(migration):
        if copied:
            await backfill(migration)
        yield Shadowed(pair, migration, share)


@in_virtual_time
async def test_the_same_is_a_match() -> None:
    """Documents, deleted ones and absent ones that are the same in both stores."""
    async with shadowed() as one:
        deleted = replace(one.pair.current.held()["k0001"], body=None)
        await rewrite(one.pair.current, deleted)
        await rewrite(one.pair.target, replace(deleted, mark=one.pair.target.held()["k0001"].mark))
        await one.read([*IDS, DocumentId("c", "absent")])
        await one.shadow.drain()
        assert one.counts == (5, 0, 0)


@in_virtual_time
async def test_what_is_not_copied_yet_is_behind() -> None:
    """Before the stores have been proven equal that is no fault; afterwards it is, and mended."""
    async with shadowed(copied=False) as one:
        await one.read()
        await one.shadow.drain()
        assert one.counts == (0, 4, 0)
        assert one.pair.target.held() == {}
        one.verified = True
        await one.read()
        await one.shadow.drain()
        assert one.counts == (0, 4, 4)
        await one.mended()
        assert one.pair.equal()


@in_virtual_time
async def test_a_write_passing_by_is_no_difference() -> None:
    """What is late, or early, is looked at again: late it is counted as behind, early as equal."""
    async with shadowed() as one:
        one.verified = True
        held, early = one.pair.target.held(), one.pair.current.held()["k0002"]
        del one.pair.target.memory._collections["c"]["k0001"]
        ahead = "f" + early.version[1:]
        await rewrite(one.pair.target, replace(held["k0002"], version=ahead))
        await one.read()
        await asyncio.sleep(3)
        await rewrite(one.pair.target, held["k0001"])
        await rewrite(one.pair.current, replace(early, version=ahead))
        await one.shadow.drain()
        assert one.counts == (3, 1, 0)
        assert one.migration.repair.suspects == 0


@in_virtual_time
async def test_what_cannot_be_is_different() -> None:
    """Other content of one version, and a version that is nowhere else; both are mended."""
    async with shadowed() as one:
        held = one.pair.target.held()
        await rewrite(one.pair.target, replace(held["k0001"], body='{"n":"other"}'))
        ahead = "f" + held["k0002"].version[1:]
        await rewrite(one.pair.target, replace(held["k0002"], version=ahead))
        await one.read()
        await one.shadow.drain()
        assert one.counts == (2, 0, 2)
        await one.mended()
        assert one.pair.equal()


@in_virtual_time
async def test_what_is_written_all_the_time_is_not_different() -> None:
    """A document that is late at each look, each time with another write, is only behind."""
    async with shadowed() as one:
        one.verified = True
        record, done = one.pair.current.held()["k0001"], asyncio.Event()

        async def move() -> None:
            for number in range(1000):
                if done.is_set():
                    return
                version = f"f{number:011x}" + record.version[12:]
                await rewrite(one.pair.current, replace(record, version=version))
                await asyncio.sleep(0.04)

        moving = asyncio.ensure_future(move())
        await asyncio.sleep(0.1)
        await one.read()
        await one.shadow.drain()
        assert one.counts == (3, 1, 0)
        done.set()
        await moving


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.25, 20, 80), (1.0, 200, 200)])
def test_a_share_of_the_reads_is_sampled(share: float, least: int, most: int) -> None:
    """None by default; the more, the larger the share."""

    @in_virtual_time
    async def sampled() -> None:
        async with shadowed(share) as one:
            for _ in range(200):
                await one.read(IDS[:1])
                await one.shadow.drain()
            assert least <= one.shadow.matched <= most

    sampled()


@in_virtual_time
async def test_nobody_waits_for_it() -> None:
    """A target that hangs delays no read; only so many are under way, the rest is left out."""
    async with shadowed() as one:
        one.pair.target.hangs = asyncio.Event()
        for _ in range(MOST_AT_ONCE + 5):
            assert None not in await one.read()
        assert one.shadow.left_out == 5
        assert one.counts == (0, 0, 0)
        one.pair.target.hangs.set()
        await one.shadow.drain()
        assert one.counts == (4 * MOST_AT_ONCE, 0, 0)


@in_virtual_time
async def test_what_fails_there_fails_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It is counted; what an adaptor must not raise is logged, too."""
    async with shadowed() as one:
        one.pair.target.down = True
        await one.read()
        await one.shadow.drain()
        assert (one.counts, one.shadow.failed) == ((0, 0, 0), 1)
        assert "must not" not in caplog.text

        async def broken(_: object) -> Sequence[Record | None]:
            raise ZeroDivisionError

        one.pair.target.read = broken  # type: ignore[assignment,method-assign]  # a fault
        await one.read()
        await one.shadow.drain()
        del one.pair.target.read
        one.pair.target.down = False
        assert one.shadow.failed == 2
        assert "must not" in caplog.text


@in_virtual_time
async def test_a_resting_target_is_left_alone() -> None:
    """While it is not called because it keeps failing, or is not connected, nothing is sampled."""
    async with shadowed() as one:
        one.mirror.connected = False
        reads = one.pair.target.calls["read"]
        await one.read()
        await one.shadow.drain()
        assert one.pair.target.calls["read"] == reads
        assert one.shadow.left_out == 1


@in_virtual_time
async def test_closing_gives_up_what_is_under_way() -> None:
    """No task is left behind, and it may be closed though nothing is under way."""
    async with shadowed() as one:
        await one.shadow.aclose()
        one.pair.target.hangs = asyncio.Event()
        await one.read()
        await asyncio.sleep(0)
        await one.shadow.aclose()
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert "aiostore: shadow read" not in names
        assert one.counts == (0, 0, 0)
        one.pair.target.hangs.set()
    async with Store(one.pair.current):
        pass


async def test_the_wrapper_samples_and_tells() -> None:
    """A process with shadow reads tells in its record how they came out; others make none."""
    pair = Pair()
    shadowing = MigrationAdaptor(pair.current, pair.target, name="test", shadow=1.0)
    async with Store(shadowing) as store:
        c = store.collection("c")
        await c.put("a", {"n": 1})
        await c.get("a")
        await shadowing._shadow.drain()
        assert shadowing.health().shadows_matched == 1
        await c.get("a", consistent=False)
        await shadowing._shadow.drain()
        assert shadowing.health().shadows_matched == 1
    async with pair.store() as store:
        await store.collection("c").get("a")
        assert MigrationAdaptor.of(store).health().shadows_matched == 0
