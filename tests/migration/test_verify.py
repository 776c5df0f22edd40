"""Proving and repairing, while the service goes on or not."""

import asyncio
import importlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from faults import Pair, at_rest, take_for_verified
from filling import filled, rewrite
from msgspec.structs import replace
from virtual_time import in_virtual_time

from aiostore.errors import MigrationError
from aiostore.limits import SYSTEM_COLLECTION
from aiostore.migration import (
    Difference,
    MigrationAdaptor,
    Phase,
    Progress,
    backfill,
    mismatches,
    repair,
    verify,
)
from aiostore.protocols import DocumentId, Exactly, Mark, Newer, Outcome, Write
from aiostore.store import Store
from aiostore.versions import VersionClock

repair_module = importlib.import_module("aiostore.migration.repair")


@asynccontextmanager
async def copied(number: int) -> AsyncIterator[tuple[Pair, MigrationAdaptor, Store]]:
    """A pair whose documents have been copied, its migration, and a store on that."""
    pair = Pair()
    await filled(pair, number)
    async with pair.store() as store:
        migration = MigrationAdaptor.of(store)
        await backfill(migration)
        yield pair, migration, store


async def test_verify_names_each_kind_of_difference() -> None:
    """What is missing, behind, ahead or corrupt in the target is found and named."""
    async with copied(8) as (pair, migration, _):
        assert (await verify(migration)).clean
        held = pair.target.held()
        del pair.target.memory._collections["c"]["k0001"]
        old = replace(held["k0002"], version="0" * 12 + "7" + held["k0002"].version[13:])
        await rewrite(pair.target, old)
        new = replace(held["k0003"], version="f" + held["k0003"].version[1:])
        await rewrite(pair.target, new)
        await rewrite(pair.target, replace(held["k0004"], body='{"n":"other"}'))
        await rewrite(pair.target, replace(held["k0005"], updated_at=1))
        del pair.current.memory._collections["c"]["k0006"]
        seen: list[Progress] = []
        found = await verify(migration, chunk=3, report=seen.append)
        assert found.differences == [
            Difference("c", "k0001", "missing"),
            Difference("c", "k0002", "behind"),
            Difference("c", "k0003", "ahead"),
            Difference("c", "k0004", "corrupt"),
            Difference("c", "k0005", "corrupt"),
            Difference("c", "k0006", "ahead"),
        ]
        assert (found.mismatches, found.compared, found.clean) == (6, 9, False)
        assert not migration.complete
        assert seen[-1].percent == 100.0
        assert max(progress.mismatches for progress in seen) == 6


async def test_verify_repairs_when_told() -> None:
    """With repair the target is made equal, what is ahead after the grace; then it is clean."""
    async with copied(8) as (pair, migration, _):
        held = pair.target.held()
        del pair.target.memory._collections["c"]["k0001"]
        await rewrite(pair.target, replace(held["k0004"], body='{"n":"other"}'))
        del pair.current.memory._collections["c"]["k0006"]
        found = await verify(migration, repair=True)
        assert (found.mismatches, found.repaired) == (3, 2)
        assert not migration.control.latest.is_verified
        await at_rest(migration)
        assert pair.equal()
        assert (await verify(migration)).clean


async def test_what_an_engine_has_removed_after_its_expiry_is_no_difference() -> None:
    """An expired document may be gone from either store, and counts as absent in both."""
    async with copied(10) as (pair, migration, _):
        for number, (gone_from, expires_at) in enumerate(
            [(pair.target, 1), (pair.current, 1), (pair.target, 2**60), (pair.current, 2**60)]
        ):
            key = f"k{number:04}"
            for adaptor in (pair.current, pair.target):
                await rewrite(adaptor, replace(adaptor.held()[key], expires_at=expires_at))
            del gone_from.memory._collections["c"][key]
        found = await verify(migration)
        assert found.differences == [
            Difference("c", "k0002", "missing"),
            Difference("c", "k0003", "ahead"),
        ]


async def test_a_live_write_is_no_difference() -> None:
    """Under steady writing a verification of equal stores finds nothing."""
    async with copied(50) as (_, migration, store):
        c = store.collection("c")
        done = asyncio.Event()

        async def write(number: int) -> None:
            step = 0
            while not done.is_set():
                step += 1
                await c.put(f"k{(number * 7 + step) % 50:04}", {"by": number, "step": step})
                await c.delete(f"k{(number * 3 + step) % 50:04}", missing_ok=True)

        writers = [asyncio.ensure_future(write(number)) for number in range(4)]
        for _ in range(5):
            found = await verify(migration, chunk=5)
            assert found.differences == []
        done.set()
        await asyncio.gather(*writers)
        assert (await verify(migration)).clean


async def test_a_document_that_never_rests_is_unsettled() -> None:
    """A document that differs and changes at every look is reported, not taken for equal."""
    async with copied(3) as (pair, migration, _):
        look = migration.repair.look
        number = 0

        async def look_at_a_moving_one(ids: list[DocumentId]) -> object:
            nonlocal number
            number += 1
            record = pair.target.held()["k0001"]
            version = f"f{number:011x}" + record.version[12:]
            await rewrite(pair.target, replace(record, version=version))
            return await look(ids)

        migration.repair.look = look_at_a_moving_one  # type: ignore[assignment,method-assign]
        await rewrite(pair.target, replace(pair.target.held()["k0001"], updated_at=1))
        found = await verify(migration)
        assert (found.unsettled, found.mismatches, found.clean) == (1, 0, False)


async def test_suspects_are_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When too many documents are in doubt the migration says so, and a repair brings it back."""
    monkeypatch.setattr(repair_module, "_MOST_SUSPECTS", 3)
    pair = Pair()
    migration = pair.migration()
    async with pair.store(migration) as store:
        pair.target.down = True
        for number in range(6):
            await store.collection("c").put(f"k{number}", {})
        await migration.drain()
        assert migration.repair.suspects == 3
        assert "in doubt" in caplog.text
        pair.target.down = False
        await at_rest(migration)
        assert not pair.equal()
        await take_for_verified(migration)
        assert not migration.complete
        assert (await verify(migration, repair=True)).mismatches == 3
        assert pair.equal()
        assert (await verify(migration)).clean
        assert migration.complete


async def test_settling_leaves_alone_what_is_not_dead() -> None:
    """Only the very version that is dead is taken out of the target."""
    async with copied(1) as (pair, migration, _):
        before = pair.target.held()
        id_ = DocumentId("c", "k0000")
        await migration.repair.settle({id_: "f" * 32})
        assert pair.target.held() == before
        record = replace(before["k0000"], version="f" + before["k0000"].version[1:])
        await pair.target.write([Write(record, Newer())])
        await migration.repair.settle({id_: record.version})
        assert pair.target.held() == before
        await pair.current.write(
            [Write(replace(record, body=None), Exactly(before["k0000"].version), erase=True)]
        )
        await migration.repair.settle({id_: before["k0000"].version})
        assert pair.target.held() == {}


@in_virtual_time
async def test_a_mismatch_has_an_age() -> None:
    """Since the verification that found it first, also if others come and go, in any process."""
    pair = Pair()
    await filled(pair, 8)
    async with pair.store() as store:
        await backfill(MigrationAdaptor.of(store))
    now = 1_000_000_000_000_000
    clock = VersionClock(now=lambda: now)
    for number in range(3):
        migration = MigrationAdaptor(pair.current, pair.target, name="test", clock=clock)
        async with Store(migration):
            del pair.target.memory._collections["c"][f"k000{number}"]
            found = await verify(migration)
        assert found.mismatches == number + 1
        assert found.oldest == timedelta(hours=number)
        assert [one.first_seen for one in found.differences] == [
            datetime(2001, 9, 9, 1 + each, 46, 40, tzinfo=UTC) for each in range(number + 1)
        ]
        now += 3_600_000_000
    async with pair.store() as store:
        migration = MigrationAdaptor.of(store)
        assert (await verify(migration, repair=True)).repaired == 3
        again = await verify(migration)
        assert (again.clean, again.oldest) == (True, None)
        del pair.target.memory._collections["c"]["k0001"]
        assert (await verify(migration)).oldest == timedelta(0)


async def test_of_many_mismatches_the_first_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are counted; those that are named, and remembered, fit into one record."""
    verify_module = importlib.import_module("aiostore.migration.verify")
    monkeypatch.setattr(mismatches, "_MOST_BYTES", 400)
    monkeypatch.setattr(verify_module, "MOST", 30)
    async with copied(50) as (pair, migration, _):
        pair.target.memory._collections["c"].clear()
        found = await verify(migration)
        assert (found.mismatches, len(found.differences)) == (50, 30)
        [record] = [
            record
            for key, record in pair.target.held(SYSTEM_COLLECTION).items()
            if key.startswith("mismatches/")
        ]
        assert len(record.body or "") < 400


async def test_other_content_of_one_version_is_an_alarm() -> None:
    """It is counted apart, for no write of the library can do that."""
    async with copied(3) as (pair, migration, _):
        await rewrite(pair.target, replace(pair.target.held()["k0001"], body='{"n":"other"}'))
        del pair.target.memory._collections["c"]["k0002"]
        found = await verify(migration)
        assert (found.mismatches, found.corrupt) == (2, 1)


async def test_what_has_been_handed_off_is_settled() -> None:
    """Its authority is the target; a difference is only where the target is not."""
    async with copied(8) as (pair, migration, _):
        ours, theirs = pair.current.held(), pair.target.held()
        for number in range(7):
            await rewrite(pair.current, replace(ours[f"k000{number}"], mark=Mark.MOVED))
        newer = "f" + ours["k0001"].version[1:]
        await rewrite(pair.target, replace(theirs["k0000"], mark=Mark.LIVE))
        await rewrite(pair.target, replace(theirs["k0001"], mark=Mark.LIVE, version=newer))
        await rewrite(pair.target, replace(theirs["k0002"], mark=Mark.RETURNING))
        older = "00" + theirs["k0004"].version[2:]
        await rewrite(pair.target, replace(theirs["k0004"], mark=Mark.LIVE, version=older))
        del pair.target.memory._collections["c"]["k0005"]
        gone = replace(ours["k0006"], mark=Mark.MOVED, expires_at=1)
        await rewrite(pair.current, gone)
        del pair.target.memory._collections["c"]["k0006"]
        await rewrite(pair.target, replace(theirs["k0007"], mark=Mark.LIVE))
        found = await verify(migration, repair=True)
        assert found.differences == [
            Difference("c", "k0003", "behind"),
            Difference("c", "k0004", "behind"),
            Difference("c", "k0005", "missing"),
        ]
        assert found.repaired == 0


async def test_a_clean_verification_counts_for_its_step_alone() -> None:
    """It is written down for all processes; if a step was taken meanwhile, it is not."""
    async with copied(3) as (pair, migration, _):
        found = await verify(migration)
        assert found.generation == migration.control.latest.generation
        assert (await migration.control.read()).is_verified

        count = pair.current.count

        async def step(collection: str) -> int:
            await migration.control.change(lambda now: replace(now, generation=now.generation + 1))
            return await count(collection)

        pair.current.count = step  # type: ignore[method-assign,assignment]  # it comes between
        assert (await verify(migration)).clean
        assert not (await migration.control.read()).is_verified


async def test_there_is_nothing_to_compare_at_the_end_of_the_way_back() -> None:
    """Where the target is not written any more it says so."""
    async with copied(1) as (_, migration, _):
        await migration.control.change(
            lambda now: replace(now, phase=Phase.CURRENT, generation=now.generation + 1)
        )
        with pytest.raises(MigrationError, match="nothing to compare"):
            await verify(migration)


@in_virtual_time
async def test_other_processes_writes_are_waited_for() -> None:
    """What another process has under way is no difference, though it looks the same twice."""
    pair = Pair()
    await filled(pair, 3)
    writing, comparing = pair.migration(), pair.migration()
    async with pair.store(writing) as store, pair.store(comparing):
        await backfill(writing)
        write = pair.target.write

        async def late(writes: Sequence[Write]) -> Sequence[Outcome]:
            if writes[0].record.id.collection == "c":
                await asyncio.sleep(4)
            return await write(writes)

        pair.target.write = late  # type: ignore[method-assign]  # a slow network
        putting = asyncio.ensure_future(store.collection("c").put("k0001", {"n": "new"}))
        await asyncio.sleep(0.1)
        assert not pair.equal()
        assert (await verify(comparing)).clean
        await putting
        pair.target.write = write  # type: ignore[method-assign]  # mended
        del pair.target.memory._collections["c"]["k0002"]
        began = asyncio.get_running_loop().time()
        assert (await verify(comparing)).differences == [Difference("c", "k0002", "missing")]
        assert asyncio.get_running_loop().time() - began >= 10


@in_virtual_time
async def test_what_never_rests_in_another_process_is_unsettled() -> None:
    """Nor is it a mismatch if it differs in another way each time."""
    pair = Pair()
    await filled(pair, 3)
    async with pair.store() as store, pair.store(pair.migration()):
        migration = MigrationAdaptor.of(store)
        await backfill(migration)
        record = pair.target.held()["k0001"]
        done = asyncio.Event()

        async def move() -> None:
            number = 0
            while not done.is_set():
                number += 1
                await rewrite(pair.target, replace(record, updated_at=number))
                await asyncio.sleep(7)

        moving = asyncio.ensure_future(move())
        await asyncio.sleep(1)
        found = await verify(migration)
        assert (found.mismatches, found.unsettled) == (0, 1)
        done.set()
        await moving


@in_virtual_time
async def test_a_verification_waits_for_a_store_and_for_the_operator() -> None:
    """A failing call is repeated, a pause waited for, a limit kept; the reason is told."""
    pair, seen = Pair(), list[Progress]()
    await filled(pair, 1000)
    async with pair.store() as store:
        migration = MigrationAdaptor.of(store)
        await backfill(migration)
        await migration.control.change(
            lambda now: replace(now, documents_per_second=50.0, paused="by ann")
        )
        began = asyncio.get_running_loop().time()
        comparing = asyncio.ensure_future(verify(migration, report=seen.append, chunk=100))
        await asyncio.sleep(100)
        assert not comparing.done()
        await migration.control.change(lambda now: replace(now, paused=None))
        await asyncio.sleep(3)
        pair.target.down = True
        await asyncio.sleep(3)
        pair.target.down = False
        assert (await comparing).clean
        assert 118 <= asyncio.get_running_loop().time() - began <= 135
        reasons = [one.throttle for one in seen]
        assert "limited to 50 documents/s" in reasons
        assert "the target did not answer" in reasons
        shares = [one.percent for one in seen if one.collection == "c"]
        assert shares == sorted(shares)
        assert (seen[-1].percent, seen[-1].eta is not None) == (100.0, True)


async def test_repair_mends_and_waits_until_it_is_done() -> None:
    """Also what is ahead, and is settled only after the grace."""
    async with copied(8) as (pair, migration, _):
        held = pair.target.held()
        del pair.target.memory._collections["c"]["k0001"]
        await rewrite(pair.target, replace(held["k0004"], body='{"n":"other"}'))
        del pair.current.memory._collections["c"]["k0006"]
        found = await repair(migration)
        assert (found.mismatches, found.repaired, found.unsettled) == (3, 2, 0)
        assert pair.equal()


async def test_repair_can_be_told_what_to_look_at() -> None:
    """Only these documents are looked at and mended."""
    async with copied(8) as (pair, migration, _):
        for number in (1, 2, 3):
            del pair.target.memory._collections["c"][f"k000{number}"]
        ids = [DocumentId("c", f"k000{number}") for number in (0, 1, 2)]
        found = await repair(migration, ids)
        assert (found.compared, found.mismatches, found.repaired) == (3, 2, 2)
        assert (await verify(migration)).differences == [Difference("c", "k0003", "missing")]


@in_virtual_time
async def test_repair_does_not_wait_for_ever() -> None:
    """What is still in doubt when the patience is used up is told."""
    pair = Pair()
    await filled(pair, 3)
    migration = MigrationAdaptor(pair.current, pair.target, name="test")
    async with Store(migration):
        await backfill(migration)
        del pair.current.memory._collections["c"]["k0001"]
        found = await repair(migration, patience=timedelta(seconds=20))
        assert (found.mismatches, found.unsettled) == (1, 1)
        again = await repair(migration)
        assert again.unsettled == 0
        assert pair.equal()


async def test_a_process_that_dies_meanwhile_makes_it_void() -> None:
    """What that process had begun may have left a document unequal that was compared before."""
    pair = Pair()
    async with pair.store() as store:
        migration = MigrationAdaptor.of(store)
        await store.collection("c").put("k", {})

        async def buried() -> None:
            await migration.control.change(lambda now: replace(now, deaths=now.deaths + 1))

        burials: list[asyncio.Task[None]] = []

        def bury(_: Progress) -> None:
            if not burials:
                burials.append(asyncio.create_task(buried()))

        assert (await verify(migration, report=bury)).clean
        await burials[0]
        assert not migration.control.latest.is_verified
        assert (await verify(migration)).clean
        assert migration.control.latest.is_verified
