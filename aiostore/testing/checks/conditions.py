"""When a write is applied, and what it answers when it is not."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace

from aiostore.errors import ConflictError, MigrationError
from aiostore.protocols import (
    Absent,
    Adaptor,
    Condition,
    Exactly,
    Mark,
    Newer,
    Outcome,
    Record,
    Write,
)
from aiostore.testing.check import check
from aiostore.testing.expectations import expect_equal, expect_error
from aiostore.testing.harness import Harness
from aiostore.testing.records import NOW, record, standing_at, version

_DOCUMENT = '{"n":10}'


@check()
async def check_absent(harness: Harness) -> None:
    """`Absent` holds where no record stands; a tombstone and an expired document are records."""
    async with _cases(harness) as case:
        await _check(case, Absent(), nothing=True)
        await _check(case, Absent(), standing=_DOCUMENT, applied=False)
        await _check(case, Absent(), standing=None, applied=False)
        await _check(case, Absent(), standing=_DOCUMENT, expires_at=NOW - 1, applied=False)


@check()
async def check_exactly(harness: Harness) -> None:
    """`Exactly` holds where this version stands, as a document or as a tombstone."""
    async with _cases(harness) as case:
        await _check(case, Exactly(version(10)), nothing=True, applied=False)
        await _check(case, Exactly(version(10)), standing=_DOCUMENT)
        await _check(case, Exactly(version(10)), standing=None)
        await _check(case, Exactly(version(9)), standing=_DOCUMENT, applied=False)
        await _check(case, Exactly(version(11)), standing=_DOCUMENT, applied=False)
        await _check(case, Exactly(version(11)), standing=None, applied=False)
        await _check(case, Exactly("no version"), standing=_DOCUMENT, applied=False)


@check()
async def check_exactly_unexpired(harness: Harness) -> None:
    """`Exactly` with a moment holds only if the record has not expired at that moment."""
    async with _cases(harness) as case:
        condition = Exactly(version(10), unexpired_at=NOW)
        await _check(case, condition, standing=_DOCUMENT)
        await _check(case, condition, standing=_DOCUMENT, expires_at=NOW + 1)
        await _check(case, condition, standing=_DOCUMENT, expires_at=NOW, applied=False)
        await _check(case, condition, standing=_DOCUMENT, expires_at=NOW - 1, applied=False)
        await _check(case, Exactly(version(10)), standing=_DOCUMENT, expires_at=NOW - 1)


@check()
async def check_newer(harness: Harness) -> None:
    """`Newer` holds where nothing or a smaller version stands, be it a tombstone's."""
    async with _cases(harness) as case:
        await _check(case, Newer(), nothing=True)
        for body in (_DOCUMENT, None):
            await _check(case, Newer(), standing=body)
            await _check(case, Newer(), standing=body, written=10, applied=False)
            await _check(case, Newer(), standing=body, written=9, applied=False)


@check(needs=("marks",))
async def check_marks(harness: Harness) -> None:
    """A mark that is demanded must be the standing record's; where nothing stands it is no bar."""
    async with _cases(harness) as case:
        for condition in (Exactly(version(10)), Newer()):
            for standing in Mark:
                for demanded in Mark:
                    await _check(
                        case,
                        condition,
                        standing=_DOCUMENT,
                        mark=standing,
                        demanded=demanded,
                        applied=standing is demanded,
                    )
        await _check(case, Newer(), nothing=True, demanded=Mark.MIRROR)
        await _check(case, Absent(), nothing=True, demanded=Mark.MIRROR)
        await _check_marks_together(case)


async def _check_marks_together(case: "_Case") -> None:
    """In one batch, documents of all marks and tombstones, under every kind of write."""
    harness, adaptor = case
    collection = harness.collection()
    ways: dict[str, dict[str, Any]] = {
        "newer": {"condition": Newer()},
        "exactly": {"condition": Exactly(version(10), unexpired_at=NOW)},
        "kept": {"condition": Exactly(version(10)), "keep_created_at": True},
        "erased": {"condition": Exactly(version(10)), "erase": True},
        "erased if newer": {"condition": Newer(), "erase": True},
    }
    writes: list[Write] = []
    standing: list[Record] = []
    for mark in Mark:
        for body in (_DOCUMENT, None):
            for way, how in ways.items():
                key = f"{mark} {way} {body}"
                standing.append(record(collection, key, 10, body=body, mark=mark))
                after = record(collection, key, 20, body=None if "erase" in how else '{"n":20}')
                writes.append(replace(Write(after, Newer(), Mark.LIVE), **how))
    size = adaptor.capabilities.max_batch
    for start in range(0, len(writes), size):
        some = standing[start : start + size]
        await adaptor.write([Write(one, Newer()) for one in some])
        outcomes = await adaptor.write(writes[start : start + size])
        ids = [one.id for one in some]
        for one, outcome, stands in zip(some, outcomes, await adaptor.read(ids), strict=True):
            promise = f"the mark that is demanded of {one.id.key}, together with others"
            expect_equal(outcome.applied, one.mark is Mark.LIVE, promise)
            if one.mark is not Mark.LIVE:
                expect_equal([outcome.record, stands], [one, one], promise)


@check(needs=("marks",))
async def check_plain_stores(harness: Harness) -> None:
    """A plain store refuses a marked document, and the tombstone of one, wherever it meets it."""
    for mark in Mark:
        for body in (_DOCUMENT, None):
            if mark is not Mark.LIVE:
                await _check_plain_store(harness, mark, body)


async def _check_plain_store(harness: Harness, mark: Mark, body: str | None) -> None:
    name = harness.collection()
    # The tombstone is as old as one that was left where nothing was.
    marked = replace(record(name, "k", 10, body=body, mark=mark), version="0" * 32)
    async with harness.store() as store:
        await store.adaptor.write([Write(marked, Absent())])
        documents = store.collection(name)
        verbs: dict[str, Callable[[], Awaitable[object]]] = {
            "get": lambda: documents.get("k"),
            "get_many": lambda: documents.get_many(["j", "k"]),
            "create": lambda: documents.create("k", {}),
            "update": lambda: documents.update("k", dict),
            "delete": lambda: documents.delete("k"),
        }
        if body is not None:
            verbs["scan"] = lambda: anext(documents.scan())
        for verb, call in verbs.items():
            with expect_error(MigrationError, f"{verb} of what is marked {mark.value}"):
                await call()
        stands = await standing_at(store.adaptor, marked.id)
        expect_equal(stands, marked, "what is marked stands")


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


_Case = tuple[Harness, Adaptor]


@asynccontextmanager
async def _cases(harness: Harness) -> AsyncIterator[_Case]:
    async with harness.adaptor() as adaptor:
        yield harness, adaptor


async def _check(
    case: _Case,
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
    harness, adaptor = case
    collection = harness.collection()
    before: Record | None = None
    if not nothing:
        before = record(collection, "k", 10, body=standing, expires_at=expires_at, mark=mark)
        [made] = await adaptor.write([Write(before, Newer())])
        expect_equal(made, Outcome(applied=True, record=before), "a first write is applied")
    after = record(collection, "k", written, body='{"n":20}')
    [outcome] = await adaptor.write([Write(after, condition, demanded)])
    stands = after if applied else before
    told = f"{condition} over {before}, demanding the mark {demanded}"
    expect_equal(outcome, Outcome(applied=applied, record=stands), f"the outcome of {told}")
    expect_equal(await standing_at(adaptor, after.id), stands, f"what stands after {told}")
