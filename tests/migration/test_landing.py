"""Requests that land late, and processes that die at the wrong moment, on a clock that is a number.

Each of these was found by the simulation.
"""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest
from faults import Pair

from aiostore.errors import UnavailableError
from aiostore.migration import MigrationAdaptor, Phase, advance, hand_back, verify
from aiostore.migration.control import Control
from aiostore.protocols import DocumentId, Newer, Record, Write
from aiostore.store import Store
from aiostore.testing.simulation.loop import Process, SimulatedLoop
from aiostore.versions import VersionClock

GRACE = timedelta(seconds=40)
REST = timedelta(seconds=1)
CLOCK = VersionClock()


def simulated(main: Coroutine[Any, Any, None]) -> None:
    """Run it where time is no matter."""
    SimulatedLoop().run(main)


def put(body: str, key: str = "a") -> Write:
    """A document is to be stored."""
    return Write(Record(DocumentId("c", key), body, CLOCK.next(), 1, 1), Newer())


def test_a_step_waits_for_what_may_still_land() -> None:
    """A write without an answer may be on its way; the step is acknowledged when it is not."""

    async def main() -> None:
        pair = Pair()
        migration = pair.migration(grace=GRACE, rest=REST)
        async with pair.store(migration):
            pair.current.fates = iter(["unanswered"])
            with pytest.raises(UnavailableError):
                await migration.write([put("1")])
            asked = asyncio.get_running_loop().time()
            await migration.settle()
            assert asyncio.get_running_loop().time() - asked == GRACE.total_seconds()
            await migration.settle()
            assert asyncio.get_running_loop().time() - asked == GRACE.total_seconds()

    simulated(main())


def test_a_process_that_leaves_does_not_wait_and_is_waited_for() -> None:
    """It closes at once; the others take no step while what it has sent may land."""

    async def main() -> None:
        pair = Pair()
        migration, other = (pair.migration(grace=GRACE, rest=REST) for _ in range(2))
        loop = asyncio.get_running_loop()
        async with pair.store(other):
            async with pair.store(migration):
                pair.current.fates = iter(["unanswered"])
                with pytest.raises(UnavailableError):
                    await migration.write([put("1")])
            assert loop.time() == 0
            await advance(other, Phase.HANDOFF, force=True)
            assert loop.time() > GRACE.total_seconds()

    simulated(main())


def test_a_process_whose_lease_ran_out_acknowledges_when_nothing_can_land() -> None:
    """What it had sent may land after it has joined again, so nobody goes on before that."""

    async def main() -> None:
        pair = Pair()
        migration, other = (pair.migration(grace=GRACE, rest=REST) for _ in range(2))
        process = Process("frozen")
        loop = asyncio.get_running_loop()
        async with pair.store(other):
            await loop.create_task(migration.open(), context=process.context())
            never = asyncio.Event()
            pair.current.hangs = never
            writing = loop.create_task(migration.write([put("1")]), context=process.context())
            await asyncio.sleep(1)
            pair.current.hangs = None
            process.freeze()
            await asyncio.sleep(20)  # longer than its lease
            process.thaw()
            with pytest.raises(UnavailableError):
                await writing
            rejoined = loop.time()
            await advance(other, Phase.HANDOFF, force=True)
            assert loop.time() - rejoined > GRACE.total_seconds() - 1
            await loop.create_task(migration.aclose(), context=process.context())

    simulated(main())


def test_what_was_frozen_and_never_handed_off_is_a_copy_again() -> None:
    """On the way back, a document whose hand-off broke off halfway is mirrored as before."""

    async def main() -> None:
        pair = Pair()
        migration = pair.migration(rest=REST)
        async with pair.store(migration) as store:
            collection = store.collection("c")
            await collection.put("a", {"n": 1})
            await advance(migration, Phase.HANDOFF, force=True)
            pair.current.fates = iter(["lost"])
            with pytest.raises(UnavailableError):
                await migration.handoff.forth([DocumentId("c", "a")])
            await advance(migration, Phase.DUAL_WRITE)
            await collection.put("a", {"n": 2})
            assert not pair.equal()
            await hand_back(migration)
            assert pair.equal()
            assert (await verify(migration)).clean

    simulated(main())


def test_nothing_is_mended_where_the_target_is_left_alone() -> None:
    """Back in the phase `current`, the target gets nothing, not even what was owed to it."""

    async def main() -> None:
        pair = Pair()
        migration = pair.migration(rest=REST)
        async with pair.store(migration) as store:
            pair.target.down = True
            await store.collection("c").put("a", {"n": 1})
            assert migration.repair.suspects == 1
            await advance(migration, Phase.CURRENT)
            pair.target.down = False
            await asyncio.sleep(60)
            assert pair.target.held() == {}

    simulated(main())


def test_a_process_that_died_before_it_reached_the_target_blocks_no_step() -> None:
    """It is waited out: what it lacked concerns nobody once it is dead."""

    async def main() -> None:
        pair = Pair()
        dead = pair.migration(grace=GRACE, rest=REST)
        loop = asyncio.get_running_loop()
        async with pair.store(pair.migration(grace=GRACE, rest=REST)) as store:
            process = Process("dead")
            pair.target.down = True
            await loop.create_task(Store(dead).open(), context=process.context())
            process.kill()
            pair.target.down = False
            control: Control = await advance(MigrationAdaptor.of(store), Phase.HANDOFF, force=True)
            assert control.phase is Phase.HANDOFF
            assert loop.time() > 15 + GRACE.total_seconds()

    simulated(main())
