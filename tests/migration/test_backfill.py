"""Copying: shared, resumed, throttled, while the service goes on or not."""

import asyncio
import tracemalloc
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from faults import Pair
from filling import filled, rewrite
from msgspec.structs import replace
from virtual_time import in_virtual_time

from aiostore.adaptors.sql import SQLAdaptor, SQLiteDatabase
from aiostore.errors import MigrationError, UnavailableError
from aiostore.migration import MigrationAdaptor, Phase, Progress, backfill, verify
from aiostore.protocols import Absent, DocumentId, Mark, Outcome, Record, Scan, Write
from aiostore.store import Store
from aiostore.versions import VersionClock


async def test_copies_everything_and_says_how_far_it_is() -> None:
    """Every collection is copied, tombstones too, and the progress ends at 100 %, not before."""
    pair, seen = Pair(), list[Progress]()
    await filled(pair)
    async with pair.store() as store:
        await rewrite(pair.current, replace(pair.current.held()["k0007"], body=None))
        assert await backfill(MigrationAdaptor.of(store), report=seen.append, chunk=7) == 101
        assert pair.equal()
        assert pair.equal("d")
    shares = [progress.percent for progress in seen if progress.collection == "c"]
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(7.0)
    assert shares[-2:] == [99.9, 100.0]
    assert {(progress.step, progress.total) for progress in seen} == {
        ("backfill", 100),
        ("backfill", 1),
    }


async def test_goes_on_where_it_was_interrupted() -> None:
    """A backfill that was cancelled is continued at once, behind the last chunk that it copied."""
    pair = Pair()
    await filled(pair)
    async with pair.store() as store:
        stopped = asyncio.Event()

        def stop(progress: Progress) -> None:
            if progress.done == 40:
                stopped.set()

        run = asyncio.ensure_future(backfill(MigrationAdaptor.of(store), report=stop, chunk=10))
        await stopped.wait()
        run.cancel()
        await asyncio.wait([run])
    async with pair.store() as store:
        seen: list[Progress] = []
        assert await backfill(MigrationAdaptor.of(store), report=seen.append, chunk=10) == 101
        assert 40 < seen[0].done < 100
        assert pair.equal()
        again: list[Progress] = []
        assert await backfill(MigrationAdaptor.of(store), report=again.append) == 101
        assert [(one.collection, one.percent) for one in again] == [("c", 100.0), ("d", 100.0)]


async def test_never_covers_a_newer_record() -> None:
    """What a live write has put into the target stays, whatever the backfill brings."""
    pair = Pair()
    await filled(pair, 3)
    async with pair.store() as store:
        c = store.collection("c")
        await c.put("k0001", {"n": "live"})
        await c.delete("k0002")
        await MigrationAdaptor.of(store).drain()
        live = pair.target.held()
        assert await backfill(MigrationAdaptor.of(store)) == 2
        assert {key: pair.target.held()[key] for key in live} == live
        assert pair.equal()


async def test_leaves_alone_what_has_been_handed_off() -> None:
    """A document whose authority is the target is no copy any more."""
    pair = Pair()
    await filled(pair, 3)
    await rewrite(pair.current, replace(pair.current.held()["k0001"], mark=Mark.MOVED))
    async with pair.store() as store:
        assert await backfill(MigrationAdaptor.of(store), chunk=1) == 3
        assert list(pair.target.held()) == ["k0000", "k0002"]


async def test_belongs_to_dual_write() -> None:
    """In another phase there is nothing to copy, and it says so."""
    pair = Pair()
    await filled(pair, 3)
    async with pair.store() as store:
        migration = MigrationAdaptor.of(store)
        migration.begin(Phase.HANDOFF)
        with pytest.raises(MigrationError, match=r"takes the phase 'dual-write'"):
            await backfill(migration)
        migration.begin(Phase.DUAL_WRITE)
        assert await backfill(migration) == 4


@in_virtual_time
async def test_waits_for_a_store_that_fails_for_a_while() -> None:
    """A failing call is repeated until it succeeds, or the patience is used up."""
    pair = Pair()
    await filled(pair)
    async with pair.store() as store:
        scan = pair.current.scan
        failures = iter([True, False, True])

        async def failing(request: Scan) -> AsyncGenerator[Sequence[Record], None]:
            async for chunk in scan(request):
                if next(failures, False):
                    raise UnavailableError("for a while")
                yield chunk

        pair.current.scan = failing  # type: ignore[method-assign]  # a fault
        seen: list[Progress] = []
        migration = MigrationAdaptor.of(store)
        assert await backfill(migration, chunk=20, report=seen.append) == 101
        assert "the current store did not answer" in {one.throttle for one in seen}
        assert pair.equal()
        pair.target.down = True
        late = Record(DocumentId("e", "k"), "{}", VersionClock().next(), 1, 1)
        await pair.current.write([Write(late, Absent())])
        pair.current.scan = scan  # type: ignore[method-assign]  # mended
        with pytest.raises(UnavailableError):
            await backfill(migration, patience=timedelta(seconds=20), report=seen.append)
        pair.target.down = False


@in_virtual_time
async def test_a_scan_that_hangs_is_begun_again() -> None:
    """A store that never answers is one that does not answer."""
    pair = Pair()
    await filled(pair)
    async with pair.store() as store:
        scan = pair.current.scan
        hangs = iter([False, True])

        async def hanging(request: Scan) -> AsyncGenerator[Sequence[Record], None]:
            async for chunk in scan(request):
                if next(hangs, False):
                    await asyncio.Event().wait()
                yield chunk

        pair.current.scan = hanging  # type: ignore[method-assign]  # a fault
        assert await backfill(MigrationAdaptor.of(store), chunk=20) == 101
        assert pair.equal()


@in_virtual_time
async def test_keeps_to_what_the_operator_allows() -> None:
    """The limits and the pause stand in the control document, and hold at once."""
    pair, seen = Pair(), list[Progress]()
    await filled(pair, 1000)
    async with pair.store() as store:
        migration = MigrationAdaptor.of(store)
        clock = asyncio.get_running_loop().time
        await migration.control.change(lambda now: replace(now, documents_per_second=10.0))
        began = clock()
        copying = asyncio.ensure_future(backfill(migration, report=seen.append))
        await asyncio.sleep(50)
        done = seen[-1].done
        assert 490 <= done <= 520
        assert seen[-1].throttle == "limited to 10 documents/s"
        assert seen[-1].rate == pytest.approx(10, rel=0.1)
        assert seen[-1].eta is not None
        assert 45 < seen[-1].eta.total_seconds() < 56
        await migration.control.change(lambda now: replace(now, paused="by ann"))
        await asyncio.sleep(500)
        assert seen[-1].throttle == "paused: by ann"
        assert seen[-1].done <= done + 20
        await migration.control.change(
            lambda now: replace(now, paused=None, documents_per_second=None)
        )
        assert await copying == 1001
        assert clock() - began < 560
        assert seen[-1].percent == 100.0
        assert pair.equal()


@in_virtual_time
async def test_workers_share_it() -> None:
    """Several processes, some of which give up, copy everything once, and each sees the whole."""
    pair = Pair()
    await filled(pair, 300)
    sent = Counter[str]()
    write = pair.target.write

    async def counted(writes: Sequence[Write]) -> Sequence[Outcome]:
        sent.update(one.record.id.key for one in writes if one.record.id.collection == "c")
        return await write(writes)

    pair.target.write = counted  # type: ignore[method-assign]  # watched
    workers = [pair.migration() for _ in range(4)]
    reports: list[list[Progress]] = [[] for _ in workers]
    async with AsyncExitStack() as running:
        for one in workers:
            await running.enter_async_context(Store(one))
        await workers[0].control.change(lambda now: replace(now, documents_per_second=100.0))
        await asyncio.sleep(20)
        runs = [
            asyncio.ensure_future(
                backfill(one, chunk=5, segments=8, concurrency=n + 1, report=report.append)
            )
            for n, (one, report) in enumerate(zip(workers, reports, strict=True))
        ]
        await asyncio.sleep(1)
        runs[0].cancel()
        await asyncio.wait([runs[0]])
        assert await asyncio.gather(*runs[1:]) == [301, 301, 301]
    assert pair.equal()
    assert sum(sent.values()) <= 305  # but for what was interrupted, everything once
    for report in reports[1:]:
        shares = [one.percent for one in report if one.collection == "c"]
        assert shares == sorted(shares)
        assert {one.collection for one in report if one.finished} == {"c", "d"}


@in_virtual_time
async def test_a_worker_that_stops_is_replaced() -> None:
    """What a worker that hangs has taken is gone on with after the lease, and does no harm."""
    pair = Pair()
    await filled(pair, 100)
    hanging, healthy = pair.migration(), pair.migration()
    async with pair.store(hanging), pair.store(healthy):
        stuck = asyncio.Event()

        def stop(progress: Progress) -> None:
            if progress.done == 40:
                stuck.set()

        run = asyncio.ensure_future(
            backfill(hanging, chunk=10, concurrency=1, segments=1, report=stop)
        )
        await stuck.wait()
        pair.current.hangs = asyncio.Event()
        await asyncio.sleep(0)
        gate, pair.current.hangs = pair.current.hangs, None
        seen: list[Progress] = []
        began = asyncio.get_running_loop().time()
        other = asyncio.ensure_future(backfill(healthy, chunk=10, report=seen.append))
        await asyncio.sleep(20)
        assert seen[-1].throttle == "waiting for another worker's part"
        assert await other == 101
        assert asyncio.get_running_loop().time() - began < 40
        gate.set()
        assert await run == 101
        assert pair.equal()


async def test_memory_does_not_grow_with_the_number_of_documents(tmp_path: Path) -> None:
    """Backfill and verify hold a chunk at a time: ten times the documents, the same memory."""
    peaks = []
    for number in (500, 5_000):
        folder = tmp_path / str(number)
        await asyncio.to_thread(folder.mkdir)
        current = SQLAdaptor(SQLiteDatabase(str(folder / "current.db"), synchronous="off"))
        target = SQLAdaptor(SQLiteDatabase(str(folder / "target.db"), synchronous="off"))
        async with Store(current) as plain:
            values = {f"k{n:06}": {"text": f"{n:05000}"} for n in range(number)}
            await plain.collection("c").put_many(values)
            del values
        migration = MigrationAdaptor(current, target, name="test")
        async with Store(migration):
            tracemalloc.start()
            await backfill(migration, chunk=100)
            assert (await verify(migration, chunk=100)).compared == number
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 5_000_000  # all of the documents are 25 MB


@in_virtual_time
async def test_a_current_store_that_stays_away_is_told() -> None:
    """When the patience is used up its error is raised, and what was taken is free again."""
    pair = Pair()
    await filled(pair)
    async with pair.store() as store:
        migration = MigrationAdaptor.of(store)
        scan = pair.current.scan

        async def failing(request: Scan) -> AsyncGenerator[Sequence[Record], None]:
            async for chunk in scan(request):
                yield chunk
                raise UnavailableError("for good")

        pair.current.scan = failing  # type: ignore[method-assign]  # a fault
        with pytest.raises(UnavailableError, match="for good"):
            await backfill(migration, chunk=200, patience=timedelta(seconds=20))
        pair.current.scan = scan  # type: ignore[method-assign]  # mended
        began = asyncio.get_running_loop().time()
        assert await backfill(migration) == 101
        assert asyncio.get_running_loop().time() == began
