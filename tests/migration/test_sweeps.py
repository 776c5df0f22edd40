"""Sweeps: every document is moved, by whoever is there, once a step."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from faults import Pair
from filling import filled
from msgspec.structs import replace
from virtual_time import in_virtual_time

from aiostore.errors import MigrationError
from aiostore.migration import (
    MigrationAdaptor,
    Phase,
    Progress,
    advance,
    backfill,
    hand_back,
    hand_off,
    rows,
    verify,
)
from aiostore.protocols import DocumentId, Mark
from aiostore.store import Store


@asynccontextmanager
async def moving(number: int = 100, processes: int = 1) -> AsyncIterator[list[MigrationAdaptor]]:
    """Processes in the phase `handoff`, with so many documents that were copied."""
    pair = Pair()
    await filled(pair, number)
    async with AsyncExitStack() as running:
        migrations = [
            MigrationAdaptor(pair.current, pair.target, name="test") for _ in range(processes)
        ]
        for one in migrations:
            await running.enter_async_context(Store(one))
        await backfill(migrations[0])
        assert (await verify(migrations[0])).clean
        await advance(migrations[0], Phase.HANDOFF)
        yield migrations


async def marks(migration: MigrationAdaptor) -> set[tuple[Mark | None, Mark | None]]:
    """The pairs of marks that documents have in the two stores."""
    ids = [DocumentId("c", f"k{n:04}") for n in range(100)] + [DocumentId("d", "k")]
    pairs = zip(await migration.current.read(ids), await migration.target.read(ids), strict=True)
    return {
        (None if here is None else here.mark, None if there is None else there.mark)
        for here, there in pairs
    }


@in_virtual_time
async def test_moves_everything_and_back_and_writes_that_down() -> None:
    """Each way ends at 100 %, and with the step for which it counts."""
    async with moving() as [migration]:
        seen: list[Progress] = []
        assert not (await migration.control.read()).is_swept
        assert await hand_off(migration, report=seen.append) == 101
        assert await marks(migration) == {(Mark.MOVED, Mark.LIVE)}
        assert (await migration.control.read()).is_swept
        await advance(migration, Phase.DUAL_WRITE)
        assert not (await migration.control.read()).is_swept
        assert await hand_back(migration, report=seen.append) == 101
        assert await marks(migration) == {(Mark.LIVE, Mark.MIRROR)}
        assert (await migration.control.read()).is_swept
        ends = [(one.step, one.collection, one.done) for one in seen if one.finished]
        assert ends == [
            ("handoff", "c", 100),
            ("handoff", "d", 1),
            ("handback", "c", 100),
            ("handback", "d", 1),
        ]
        assert (await verify(migration)).clean


@in_virtual_time
async def test_each_step_has_a_sweep_of_its_own() -> None:
    """What was gone through in an earlier step is gone through again, for it may have changed."""
    async with moving() as [migration]:
        await hand_off(migration)
        assert await hand_off(migration) == 101  # it is known to be done
        await advance(migration, Phase.TARGET)
        await migration.target.write(
            [
                rows.in_place_of(None, replace(record, id=DocumentId("c", "born")))
                for record in await migration.target.read([DocumentId("c", "k0000")])
                if record is not None
            ]
        )
        await advance(migration, Phase.HANDOFF)
        assert await hand_off(migration) == 102
        [born] = await migration.current.read([DocumentId("c", "born")])
        assert rows.is_moved(born)


@in_virtual_time
async def test_is_shared_and_gone_on_with() -> None:
    """Of several workers one may give up at any time; the others see to it that all is moved."""
    async with moving(100, 3) as migrations:
        lead = migrations[0]
        await lead.control.change(lambda now: replace(now, documents_per_second=5.0))
        await asyncio.sleep(20)
        runs = [
            asyncio.ensure_future(hand_off(one, segments=5, throttled=True, concurrency=1))
            for one in migrations
        ]
        await asyncio.sleep(10)
        assert await marks(lead) == {(Mark.MOVED, Mark.LIVE), (Mark.LIVE, Mark.MIRROR)}
        runs[0].cancel()
        await asyncio.wait([runs[0]])
        assert await asyncio.gather(*runs[1:]) == [101, 101]
        assert await marks(lead) == {(Mark.MOVED, Mark.LIVE)}


@in_virtual_time
async def test_waits_while_it_is_paused_and_no_longer() -> None:
    """The pause holds for it; the limits do only if that is asked for."""
    async with moving() as [migration]:
        await migration.control.change(
            lambda now: replace(now, paused="by ann", documents_per_second=1.0)
        )
        seen: list[Progress] = []
        began = asyncio.get_running_loop().time()
        sweep = asyncio.ensure_future(hand_off(migration, report=seen.append))
        await asyncio.sleep(60)
        assert await marks(migration) == {(Mark.LIVE, Mark.MIRROR)}
        await migration.control.change(lambda now: replace(now, paused=None))
        await sweep
        assert asyncio.get_running_loop().time() - began < 62


@in_virtual_time
async def test_belongs_to_its_phase() -> None:
    """In another one it is refused, and so it is if a step is taken during it."""
    async with moving() as [migration]:
        with pytest.raises(MigrationError, match="takes the phase 'dual-write'"):
            await hand_back(migration)

        def step(_: Progress) -> None:
            migration.begin(Phase.TARGET)

        with pytest.raises(MigrationError, match="takes the phase 'handoff'"):
            await hand_off(migration, report=step)
        migration.begin(Phase.HANDOFF)
        scan = migration.current.count

        async def stepping(collection: str) -> int:
            await migration.control.change(lambda now: replace(now, generation=now.generation + 1))
            return await scan(collection)

        await advance(migration, Phase.DUAL_WRITE)
        migration.current.count = stepping  # type: ignore[method-assign,assignment]  # between
        with pytest.raises(MigrationError, match="another step"):
            await hand_back(migration)
