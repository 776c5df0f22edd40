"""Proving and repairing, while the service goes on or not."""

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from faults import Pair, at_rest, take_for_verified
from filling import filled, rewrite
from msgspec.structs import replace

from aiostore.migration import Difference, MigrationAdaptor, Progress, backfill, verify
from aiostore.protocols import DocumentId, Exactly, Newer, Write
from aiostore.store import Store

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
