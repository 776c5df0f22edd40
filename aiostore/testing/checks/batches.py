"""Many items in one call: each stands alone."""

import asyncio

from aiostore.protocols import Absent, Exactly, Newer, Write
from aiostore.testing.check import check
from aiostore.testing.expectations import expect, expect_equal
from aiostore.testing.harness import Harness
from aiostore.testing.records import record, standing_at, version, write_all

_MANY = 1000
"""So many items are enough for a batch, however large the capabilities allow it to be."""


@check()
async def check_neighbours(harness: Harness) -> None:
    """In a batch each write stands alone: a refused one hinders no other; outcomes keep order."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        standing = [record(collection, f"there {number}", 10) for number in range(3)]
        await write_all(adaptor, standing)
        writes = [
            Write(record(collection, "new 1", 20), Absent()),
            Write(record(collection, "there 0", 20), Absent()),
            Write(record(collection, "there 1", 20), Exactly(version(10))),
            Write(record(collection, "nowhere", 20), Exactly(version(10))),
            Write(record(collection, "there 2", 5), Newer()),
            Write(record(collection, "new 2", 20), Newer()),
        ]
        outcomes = await adaptor.write(writes)
        applied = [True, False, True, False, False, True]
        expect_equal([outcome.applied for outcome in outcomes], applied, "which were applied")
        stands = [
            writes[0].record,
            standing[0],
            writes[2].record,
            None,
            standing[2],
            writes[5].record,
        ]
        expect_equal([outcome.record for outcome in outcomes], stands, "what the outcomes hold")
        found = list(await adaptor.read([write.record.id for write in writes]))
        expect_equal(found, stands, "what stands afterwards")


@check()
async def check_across_collections(harness: Harness) -> None:
    """A batch may hold several collections' records, under one key too, documents and erasures."""
    one, other = harness.collection(), harness.collection()
    async with harness.adaptor() as adaptor:
        gone = record(one, "gone", 1)
        await write_all(adaptor, [gone])
        written = [record(other, "k", 2), record(one, "k", 3), record(other, "a", 4)]
        erasure = Write(record(one, "gone", 5, body=None), Exactly(version(1)), erase=True)
        outcomes = await adaptor.write([erasure, *(Write(new, Absent()) for new in written)])
        expect_equal([outcome.applied for outcome in outcomes], [True] * 4, "all are applied")
        found = [await standing_at(adaptor, new.id) for new in written]
        expect_equal(found, written, "what was written")
        left = await standing_at(adaptor, gone.id)
        expect(left in (None, erasure.record), "the erased one is gone")


@check()
async def check_largest(harness: Harness) -> None:
    """A batch as long as the capabilities say is written and read whole."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        size = min(adaptor.capabilities.max_batch, _MANY)
        written = [record(collection, f"k{number}", 1) for number in range(size)]
        outcomes = await adaptor.write([Write(one, Newer()) for one in written])
        expect_equal([outcome.applied for outcome in outcomes], [True] * size, "all are applied")
        expect_equal(list(await adaptor.read([one.id for one in written])), written, "a full batch")


@check()
async def check_verbs_for_many(harness: Harness) -> None:
    """The verbs for many keys do for each what their single kin do, beyond one batch too."""
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        most = store.capabilities.max_batch
        size = most + 3 if most <= _MANY else 100
        values = {f"k{number:05}": {"n": number} for number in range(size)}
        stored = await collection.put_many(values)
        expect_equal(list(stored), list(values), "the order of what was put")
        found = await collection.get_many(values)
        expect_equal(found, stored, "the documents found")
        await collection.delete_many([*list(values)[:-2], "missing"])
        left = await collection.get_many(values)
        expect_equal(list(left), list(values)[-2:], "what was not deleted")


@check()
async def check_together(harness: Harness) -> None:
    """What many callers ask at the same moment is answered to each as if it were alone."""
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        keys = [f"k{number}" for number in range(30)]
        puts = [collection.put(key, {"key": key}) for key in keys]
        written = dict(zip(keys, await asyncio.gather(*puts), strict=True))
        asked = [*keys, *keys[::-1], "missing"]
        found = await asyncio.gather(*(collection.get(key, default=None) for key in asked))
        expect_equal(found, [written.get(key) for key in asked], "the documents, each to its asker")
