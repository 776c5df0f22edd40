"""Records as they were written, read one by one and in batches."""

from aiostore.protocols import Absent, DocumentId, Exactly, Mark, Newer, Record, Write
from aiostore.testing.check import check
from aiostore.testing.expectations import expect, expect_equal
from aiostore.testing.harness import NOW, Harness, record, version


@check()
async def check_missing_is_none(harness: Harness) -> None:
    """Where nothing was written nothing is read, be the collection there or not."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        expect_equal(list(await adaptor.read([DocumentId(collection, "k")])), [None], "no record")
        await adaptor.write([Write(record(collection, "k", 1), Absent())])
        missing = [DocumentId(collection, "K"), DocumentId(harness.collection(), "k")]
        expect_equal(list(await adaptor.read(missing)), [None, None], "no record")


@check()
async def check_verbatim(harness: Harness) -> None:
    """Documents and tombstones come back as they were written, every field of them."""
    collection = harness.collection()
    written = [
        record(collection, "plain", 1),
        record(collection, "tombstone", 2, body=None),
        record(collection, "expired", 3, expires_at=NOW - 1),
        record(collection, "expiring", 4, expires_at=NOW + 10**15),
        record(collection, "old", 5, created_at=0),
        record(collection, "before 1970", 6, created_at=-1),
        record(collection, "body", 7, body='{"b":1.0,"a":-0.0,"c":"\\u0001é😀","d":1e16}'),
    ]
    await _check_come_back(harness, written)


@check(needs=("marks",))
async def check_keeps_marks(harness: Harness) -> None:
    """A record's mark comes back as it was written."""
    collection = harness.collection()
    await _check_come_back(harness, [record(collection, mark, 1, mark=mark) for mark in Mark])


@check()
async def check_order_of_reads(harness: Harness) -> None:
    """A read answers in the order of its ids, missing ones and several collections mixed."""
    one, other = harness.collection(), harness.collection()
    async with harness.adaptor() as adaptor:
        b, a, c = record(one, "b", 1), record(one, "a", 2), record(other, "b", 3)
        await adaptor.write([Write(written, Absent()) for written in (b, a, c)])
        ids = [c.id, DocumentId(one, "missing"), b.id, DocumentId(other, "a"), a.id]
        expect_equal(list(await adaptor.read(ids)), [c, None, b, None, a], "order of the ids")


@check()
async def check_neighbours(harness: Harness) -> None:
    """In a batch each write stands alone: a refused one hinders no other; outcomes keep order."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        standing = [record(collection, f"there {number}", 10) for number in range(3)]
        await adaptor.write([Write(there, Absent()) for there in standing])
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
async def check_largest_batch(harness: Harness) -> None:
    """A batch as long as the capabilities say is written and read whole."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        size = min(adaptor.capabilities.max_batch, 2000)
        written = [record(collection, f"k{number}", 1) for number in range(size)]
        outcomes = await adaptor.write([Write(one, Newer()) for one in written])
        expect(all(outcome.applied for outcome in outcomes), "a full batch is applied")
        expect_equal(list(await adaptor.read([one.id for one in written])), written, "a full batch")


@check(needs=("peek",))
async def check_writes_reach_the_engine(harness: Harness) -> None:
    """What was acknowledged is in the engine itself once the adaptor is closed."""
    collection = harness.collection()
    written = [record(collection, "k", 1), record(collection, "t", 2, body=None)]
    async with harness.adaptor() as adaptor:
        await adaptor.write([Write(one, Absent()) for one in written])
    found = [await harness.peek(one.id) for one in written]
    expect_equal(found, written, "what the engine holds")


@check(needs=("poke",))
async def check_reads_from_the_engine(harness: Harness) -> None:
    """What the engine holds is read, whoever put it there."""
    written = record(harness.collection(), "k", 1, body='{"poked":true}')
    async with harness.adaptor():
        """Make the place."""
    await harness.poke(written)
    async with harness.adaptor() as adaptor:
        expect_equal(list(await adaptor.read([written.id])), [written], "what was poked")


async def _check_come_back(harness: Harness, written: list[Record]) -> None:
    async with harness.adaptor() as adaptor:
        outcomes = await adaptor.write([Write(one, Absent()) for one in written])
        expect_equal([outcome.record for outcome in outcomes], written, "the outcomes' records")
        found = list(await adaptor.read([one.id for one in written]))
        expect_equal(found, written, "records come back as they were written")
