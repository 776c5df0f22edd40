"""When a write is applied, and what it answers when it is not."""

from aiostore.errors import ConflictError
from aiostore.protocols import Absent, Condition, Exactly, Mark, Newer, Outcome, Record, Write
from aiostore.testing.check import check
from aiostore.testing.expectations import expect_equal, expect_error
from aiostore.testing.harness import Harness
from aiostore.testing.records import NOW, record, standing_at, version

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
async def check_no_aba(harness: Harness) -> None:
    """A version from before a delete never fits what was created after it."""
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        first = await collection.create("k", {"n": 1})
        await collection.delete("k")
        second = await collection.create("k", {"n": 1})
        with expect_error(ConflictError, "the version is of a former life"):
            await collection.replace("k", {"n": 2}, version=first.version)
        with expect_error(ConflictError, "the version is of a former life"):
            await collection.delete("k", version=first.version)
        expect_equal(await collection.get("k"), second, "the document")


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
            [made] = await adaptor.write([Write(before, Newer())])
            expect_equal(made, Outcome(applied=True, record=before), "a first write is applied")
        after = record(collection, "k", written, body='{"n":20}')
        [outcome] = await adaptor.write([Write(after, condition, demanded)])
        stands = after if applied else before
        case = f"{condition} over {before}, demanding the mark {demanded}"
        expect_equal(outcome, Outcome(applied=applied, record=stands), f"the outcome of {case}")
        expect_equal(await standing_at(adaptor, after.id), stands, f"what stands after {case}")
