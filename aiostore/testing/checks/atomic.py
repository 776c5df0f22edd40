"""Writes that are applied all or none, where there are such."""

from aiostore.errors import UnsupportedError
from aiostore.protocols import Absent, Exactly, Newer, Write
from aiostore.testing.check import check
from aiostore.testing.expectations import expect, expect_equal, expect_error
from aiostore.testing.harness import Harness, record, version


@check(needs=("atomic_writes",))
async def check_all(harness: Harness) -> None:
    """When every condition holds, all are applied, in any mixture of conditions and collections."""
    one, other = harness.collection(), harness.collection()
    async with harness.adaptor() as adaptor:
        await adaptor.write([Write(record(one, "a", 1), Absent())])
        await adaptor.write([Write(record(one, "gone", 1), Absent())])
        writes = [
            Write(record(one, "a", 2), Exactly(version(1))),
            Write(record(other, "b", 2), Absent()),
            Write(record(other, "c", 2, body=None), Newer()),
            Write(record(one, "gone", 2, body=None), Exactly(version(1)), erase=True),
        ]
        outcomes = await adaptor.write_atomic(writes)
        expect_equal([outcome.applied for outcome in outcomes], [True] * 4, "all are applied")
        found = list(await adaptor.read([write.record.id for write in writes[:3]]))
        expect_equal(found, [write.record for write in writes[:3]], "all are stored")
        [left] = await adaptor.read([writes[3].record.id])
        expect(left in (None, writes[3].record), "the erased one is gone")


@check(needs=("atomic_writes",))
async def check_none(harness: Harness) -> None:
    """When one condition fails nothing is stored, and the outcomes tell which one it was."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        standing = record(collection, "a", 5)
        await adaptor.write([Write(standing, Absent())])
        writes = [
            Write(record(collection, "new", 6), Absent()),
            Write(record(collection, "a", 6), Exactly(version(4))),
            Write(record(collection, "newer", 6), Newer()),
        ]
        outcomes = await adaptor.write_atomic(writes)
        expect_equal([outcome.applied for outcome in outcomes], [True, False, True], "which")
        expect_equal(outcomes[1].record, standing, "what refused it")
        found = list(await adaptor.read([write.record.id for write in writes]))
        expect_equal(found, [None, standing, None], "nothing is stored")


@check(lacks=("atomic_writes",))
async def check_unsupported(harness: Harness) -> None:
    """Without the capability `write_atomic` raises `UnsupportedError` and stores nothing."""
    written = record(harness.collection(), "k", 1)
    async with harness.adaptor() as adaptor:
        expect_equal(adaptor.capabilities.max_atomic, 0, "the largest atomic write")
        with expect_error(UnsupportedError, "there are no atomic writes"):
            await adaptor.write_atomic([Write(written, Absent())])
        expect_equal(list(await adaptor.read([written.id])), [None], "nothing is stored")
