"""When a write is applied, and what it answers when it is not."""

from aiostore.protocols import (
    Absent,
    Adaptor,
    Condition,
    DocumentId,
    Exactly,
    Mark,
    Newer,
    Outcome,
    Record,
    Write,
)
from aiostore.testing.check import check
from aiostore.testing.expectations import expect, expect_equal
from aiostore.testing.harness import NOW, Harness, record, version

_DOCUMENT = '{"n":10}'


@check()
async def check_absent(harness: Harness) -> None:
    """`Absent` holds where no record stands; a tombstone and an expired document are records."""
    await _check(harness, Absent(), nothing=True)
    await _check(harness, Absent(), standing=_DOCUMENT, applied=False)
    await _check(harness, Absent(), standing=None, applied=False)
    await _check(harness, Absent(), standing=_DOCUMENT, expires_at=NOW - 1, applied=False)


@check()
async def check_exactly(harness: Harness) -> None:
    """`Exactly` holds where this version stands, as a document or as a tombstone."""
    await _check(harness, Exactly(version(10)), nothing=True, applied=False)
    await _check(harness, Exactly(version(10)), standing=_DOCUMENT)
    await _check(harness, Exactly(version(10)), standing=None)
    await _check(harness, Exactly(version(9)), standing=_DOCUMENT, applied=False)
    await _check(harness, Exactly(version(11)), standing=_DOCUMENT, applied=False)
    await _check(harness, Exactly(version(11)), standing=None, applied=False)
    await _check(harness, Exactly("no version"), standing=_DOCUMENT, applied=False)


@check()
async def check_exactly_unexpired(harness: Harness) -> None:
    """`Exactly` with a moment holds only if the record has not expired at that moment."""
    condition = Exactly(version(10), unexpired_at=NOW)
    await _check(harness, condition, standing=_DOCUMENT)
    await _check(harness, condition, standing=_DOCUMENT, expires_at=NOW + 1)
    await _check(harness, condition, standing=_DOCUMENT, expires_at=NOW, applied=False)
    await _check(harness, condition, standing=_DOCUMENT, expires_at=NOW - 1, applied=False)
    await _check(harness, Exactly(version(10)), standing=_DOCUMENT, expires_at=NOW - 1)


@check()
async def check_newer(harness: Harness) -> None:
    """`Newer` holds where nothing or a smaller version stands, be it a tombstone's."""
    await _check(harness, Newer(), nothing=True)
    for body in (_DOCUMENT, None):
        await _check(harness, Newer(), standing=body)
        await _check(harness, Newer(), standing=body, written=10, applied=False)
        await _check(harness, Newer(), standing=body, written=9, applied=False)


@check(needs=("marks",))
async def check_marks(harness: Harness) -> None:
    """A mark that is demanded must be the standing record's; where nothing stands it is no bar."""
    for condition in (Exactly(version(10)), Newer()):
        for standing in Mark:
            for demanded in Mark:
                await _check(
                    harness,
                    condition,
                    standing=_DOCUMENT,
                    mark=standing,
                    demanded=demanded,
                    applied=standing is demanded,
                )
    await _check(harness, Newer(), nothing=True, demanded=Mark.MIRROR)
    await _check(harness, Absent(), nothing=True, demanded=Mark.MIRROR)


@check()
async def check_keeps_created_at(harness: Harness) -> None:
    """With `keep_created_at` the standing moment of creation stays, and the outcome tells it."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        await adaptor.write([Write(record(collection, "k", 1, created_at=NOW - 77), Absent())])
        replacement = record(collection, "k", 2)
        write = Write(replacement, Exactly(version(1)), keep_created_at=True)
        [outcome] = await adaptor.write([write])
        expected = record(collection, "k", 2, created_at=NOW - 77)
        expect_equal(outcome, Outcome(applied=True, record=expected), "the outcome's created_at")
        expect_equal(await _at(adaptor, expected.id), expected, "the stored created_at")
        write = Write(record(collection, "k", 3), Exactly(version(2)))
        [outcome] = await adaptor.write([write])
        expect_equal(outcome.record, write.record, "without the flag a record is stored verbatim")


@check()
async def check_erases(harness: Harness) -> None:
    """An erasure is applied under its condition like any write, and leaves nothing to be read."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        for condition in (Exactly(version(1)), Newer()):
            await adaptor.write([Write(record(collection, "k", 1), Newer())])
            tombstone = record(collection, "k", 2, body=None)
            [refused] = await adaptor.write([Write(tombstone, Exactly(version(7)), erase=True)])
            expect(not refused.applied, "an erasure whose condition fails is refused")
            expect_equal(refused.record, record(collection, "k", 1), "what refused it")
            [outcome] = await adaptor.write([Write(tombstone, condition, erase=True)])
            expect(outcome.applied, "an erasure whose condition holds is applied")
            for left in (outcome.record, await _at(adaptor, tombstone.id)):
                expect(left in (None, tombstone), "at most the tombstone is left")
            tombstone = record(collection, "k", 3, body=None)
            await adaptor.write([Write(tombstone, Newer(), erase=True)])
            collection = harness.collection()
        nothing = record(collection, "never there", 1, body=None)
        [outcome] = await adaptor.write([Write(nothing, Newer(), erase=True)])
        expect(outcome.applied, "erasing nothing, if it is not newer, is applied")


async def _check(
    harness: Harness,
    condition: Condition,
    *,
    nothing: bool = False,
    standing: str | None = None,
    expires_at: int | None = None,
    mark: Mark = Mark.LIVE,
    written: int = 20,
    demanded: Mark | None = None,
    applied: bool = True,
) -> None:
    """Write version `written` under a condition over version 10, or over nothing."""
    collection = harness.collection()
    before: Record | None = None
    async with harness.adaptor() as adaptor:
        if not nothing:
            before = record(collection, "k", 10, body=standing, expires_at=expires_at, mark=mark)
            [made] = await adaptor.write([Write(before, Absent())])
            expect_equal(made, Outcome(applied=True, record=before), "a first write is applied")
        after = record(collection, "k", written, body='{"n":20}')
        [outcome] = await adaptor.write([Write(after, condition, demanded)])
        stands = after if applied else before
        case = f"{condition} over {before}, demanding the mark {demanded}"
        expect_equal(outcome, Outcome(applied=applied, record=stands), f"the outcome of {case}")
        expect_equal(await _at(adaptor, after.id), stands, f"what stands after {case}")


async def _at(adaptor: Adaptor, id_: DocumentId) -> Record | None:
    [found] = await adaptor.read([id_])
    return found
