"""Removing records for good."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiostore.protocols import Adaptor, Newer, Purge, Record, Write
from aiostore.testing.check import check
from aiostore.testing.expectations import expect_equal
from aiostore.testing.harness import Harness
from aiostore.testing.records import NOW, record, write_all


@check(needs=("purges",))
async def check_expired(harness: Harness) -> None:
    """A purge of the expired removes documents that expired before the moment, and nothing else."""
    collection, other = harness.collection(), harness.collection()
    async with harness.adaptor() as adaptor:
        gone = [record(collection, "long expired", 1, expires_at=NOW - 2)]
        kept = [
            record(collection, "at the moment", 1, expires_at=NOW),
            record(collection, "later", 1, expires_at=NOW + 1),
            record(collection, "never", 1),
            record(collection, "tombstone", 1, body=None),
            record(other, "elsewhere", 1, expires_at=NOW - 2),
        ]
        await _check(adaptor, Purge(collection, expired_before=NOW), gone, kept)


@check(needs=("purges",))
async def check_tombstones(harness: Harness) -> None:
    """A purge of the deleted removes tombstones older than the moment, and nothing else."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        gone = [record(collection, "old tombstone", 5, body=None)]
        kept = [
            record(collection, "at the moment", 6, body=None),
            record(collection, "fresh tombstone", 7, body=None),
            record(collection, "old document", 5),
            record(collection, "expired", 5, expires_at=NOW - 9),
        ]
        await _check(adaptor, Purge(collection, deleted_before=NOW + 6), gone, kept)


@check(needs=("purges",))
async def check_everything(harness: Harness) -> None:
    """A purge of everything empties the collection, which is then no longer named."""
    collection, other = harness.collection(), harness.collection()
    async with harness.adaptor() as adaptor:
        gone = [
            record(collection, "document", 1),
            record(collection, "tombstone", 1, body=None),
            record(collection, "expired", 1, expires_at=NOW - 9),
        ]
        kept = [record(other, "elsewhere", 1)]
        await _check(adaptor, Purge(collection, everything=True), gone, kept)
        left = [name for name in await adaptor.collections() if name in (collection, other)]
        expect_equal(left, [other], "the collections that are left")
        again = await adaptor.purge(Purge(collection, everything=True))
        expect_equal(again, 0, "a second purge finds nothing")


@check(needs=("purges",))
async def check_nothing(harness: Harness) -> None:
    """A purge that names nothing removes nothing."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        await _check(adaptor, Purge(collection), [], [record(collection, "t", 1, body=None)])


@check(needs=("purges",))
async def check_spares_fresh_writes(harness: Harness) -> None:
    """A purge that races with writes never removes what was written in place of the expired."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        for round_ in range(1, 6):
            dead = [
                record(collection, f"k{number}", 10 * round_, expires_at=NOW - 1)
                for number in range(8)
            ]
            await write_all(adaptor, dead)
            fresh = [record(collection, one.id.key, 10 * round_ + 5) for one in dead]
            calls: list[Coroutine[Any, Any, object]] = [
                adaptor.write([Write(one, Newer())]) for one in fresh
            ]
            calls.insert(2 * round_ - 2, adaptor.purge(Purge(collection, expired_before=NOW)))
            await asyncio.gather(*calls)
            found = list(await adaptor.read([one.id for one in fresh]))
            expect_equal(found, fresh, "what was written while the purge went on")


@check(needs=("purges",))
async def check_clear(harness: Harness) -> None:
    """`clear` removes all documents of its collection for good, no other, and tells how many."""
    async with harness.store() as store:
        name, other = harness.collection(), harness.collection()
        for documents in (store.collection(name), store.collection(other)):
            await documents.put_many({"a": {}, "b": {}, "c": {}})
        documents = store.collection(name)
        expect_equal(await documents.clear(), 3, "the number removed")
        expect_equal([one async for one in documents.scan()], [], "what is left")
        expect_equal(await store.collection(other).count(), 3, "what is left of the other")
        named = [one for one in await store.collections() if one in (name, other)]
        expect_equal(named, [other], "the collections that are left")
        expect_equal(await documents.clear(), 0, "the number removed again")
        await documents.create("a", {"n": 1})
        expect_equal(await documents.count(), 1, "what is created afterwards")


async def _check(adaptor: Adaptor, purge: Purge, gone: list[Record], kept: list[Record]) -> None:
    await write_all(adaptor, gone + kept)
    expect_equal(await adaptor.purge(purge), len(gone), f"the number removed by {purge}")
    found = list(await adaptor.read([one.id for one in gone + kept]))
    expect_equal(found, [None] * len(gone) + kept, f"what is left by {purge}")
