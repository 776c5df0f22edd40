"""Writing: what is stored, and what each verb answers."""

from aiostore.errors import AlreadyExistsError, ConflictError, NotFoundError
from aiostore.protocols import Absent, Exactly, Mark, Newer, Outcome, Record, Write
from aiostore.testing.check import check
from aiostore.testing.expectations import expect, expect_equal, expect_error
from aiostore.testing.harness import Harness
from aiostore.testing.records import NOW, record, standing_at, version


@check()
async def check_verbatim(harness: Harness) -> None:
    """Documents and tombstones come back as they were written, every field of them."""
    collection = harness.collection()
    written = [
        record(collection, "plain", 1),
        record(collection, "tombstone", 2, body=None),
        record(collection, "expiring", 4, expires_at=NOW + 10**15),
        record(collection, "old", 5, created_at=0),
        record(collection, "before 1970", 6, created_at=-1),
    ]
    await _check_come_back(harness, written)


@check(needs=("marks",))
async def check_keeps_marks(harness: Harness) -> None:
    """A record's mark comes back as it was written."""
    collection = harness.collection()
    await _check_come_back(harness, [record(collection, mark, 1, mark=mark) for mark in Mark])


@check(needs=("peek",))
async def check_reach_the_engine(harness: Harness) -> None:
    """What was acknowledged is in the engine itself once the adaptor is closed."""
    collection = harness.collection()
    written = [record(collection, "k", 1), record(collection, "t", 2, body=None)]
    async with harness.adaptor() as adaptor:
        await adaptor.write([Write(one, Absent()) for one in written])
    found = [await harness.peek(one.id) for one in written]
    expect_equal(found, written, "what the engine holds")


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
        expect_equal(await standing_at(adaptor, expected.id), expected, "the stored created_at")
        write = Write(record(collection, "k", 3), Exactly(version(2)))
        [outcome] = await adaptor.write([write])
        expect_equal(outcome.record, write.record, "without the flag a record is stored verbatim")
    async with harness.store() as store:
        documents = store.collection(harness.collection())
        first = await documents.create("k", {"n": 1})
        second = await documents.replace("k", {"n": 2}, version=first.version)
        third = await documents.update("k", lambda value: value)
        expect_equal([second.created_at, third.created_at], [first.created_at] * 2, "the moment")


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
            for left in (outcome.record, await standing_at(adaptor, tombstone.id)):
                expect(left in (None, tombstone), "at most the tombstone is left")
            tombstone = record(collection, "k", 3, body=None)
            await adaptor.write([Write(tombstone, Newer(), erase=True)])
            collection = harness.collection()
        nothing = record(collection, "never there", 1, body=None)
        [outcome] = await adaptor.write([Write(nothing, Newer(), erase=True)])
        expect(outcome.applied, "erasing nothing, if it is not newer, is applied")


@check()
async def check_create(harness: Harness) -> None:
    """`create` stores a document where there is none, else raises with the one that is there."""
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        first = await collection.create("k", {"n": 1})
        expect_equal(first.created_at, first.updated_at, "the moments of a new document")
        expect(first.created_at.tzinfo is not None, "moments know their time zone")
        with expect_error(AlreadyExistsError, "it is there") as caught:
            await collection.create("k", {"n": 2})
        expect_equal(caught.error.current, first, "the document that stands there")
        expect_equal(await collection.get("k"), first, "the document")
        await collection.delete("k")
        second = await collection.create("k", {"n": 3})
        expect(second.version > first.version, "versions grow")
        expect_equal(await collection.get("k"), second, "the document created anew")


@check()
async def check_put(harness: Harness) -> None:
    """`put` stores whatever was there, with a new version each time."""
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        first = await collection.put("k", {"n": 1})
        second = await collection.put("k", {"n": 1})
        expect(second.version > first.version, "every put has a new, larger version")
        expect_equal(await collection.get("k"), second, "the document")
        await collection.delete("k")
        third = await collection.put("k", {"n": 3})
        expect_equal(await collection.get("k"), third, "the document put anew")


@check()
async def check_replace(harness: Harness) -> None:
    """`replace` needs the version that stands there, else raises with the one that does."""
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        first = await collection.create("k", {"n": 1})
        second = await collection.replace("k", {"n": 2}, version=first.version)
        expect(second.version > first.version, "versions grow")
        with expect_error(ConflictError, "the version is stale") as caught:
            await collection.replace("k", {"n": 3}, version=first.version)
        expect_equal(caught.error.current, second, "the document that stands there")
        expect_equal(await collection.get("k"), second, "the document")
        for key, version in (("other", first.version), ("other", "nonsense")):
            with expect_error(NotFoundError, "there is none"):
                await collection.replace(key, {}, version=version)


@check()
async def check_update(harness: Harness) -> None:
    """`update` stores what the change returns, or what an awaitable of it yields."""
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        await collection.create("k", {"n": 1})
        second = await collection.update("k", lambda value: {"n": value["n"] + 1})
        expect_equal(second.value, {"n": 2}, "the changed value")

        async def change(value: dict[str, int]) -> dict[str, int]:
            return {"n": value["n"] * 10}

        expect_equal((await collection.update("k", change)).value, {"n": 20}, "an awaited change")
        with expect_error(NotFoundError, "there is none"):
            await collection.update("other", change)


@check()
async def check_delete(harness: Harness) -> None:
    """`delete` removes a document, of a given version if so told, and says if there was none."""
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        first = await collection.create("k", {"n": 1})
        second = await collection.replace("k", {"n": 2}, version=first.version)
        with expect_error(ConflictError, "the version is stale") as caught:
            await collection.delete("k", version=first.version)
        expect_equal(caught.error.current, second, "the document that stands there")
        await collection.delete("k", version=second.version)
        for version in (None, second.version):
            with expect_error(NotFoundError, "there is none"):
                await collection.delete("k", version=version)
            await collection.delete("k", version=version, missing_ok=True)
        with expect_error(NotFoundError, "there is none"):
            await collection.get("k")
        expect_equal(await collection.get("k", default=None), None, "the default")
        expect_equal([document async for document in collection.scan()], [], "a scan")
        await collection.create("k", {"n": 3})
        await collection.delete("k")
        await collection.create("k", {"n": 4})
        await collection.delete("k", missing_ok=True)
        expect_equal(await collection.get("k", default=None), None, "the default")


async def _check_come_back(harness: Harness, written: list[Record]) -> None:
    async with harness.adaptor() as adaptor:
        outcomes = await adaptor.write([Write(one, Absent()) for one in written])
        expect_equal([outcome.record for outcome in outcomes], written, "the outcomes' records")
        found = list(await adaptor.read([one.id for one in written]))
        expect_equal(found, written, "records come back as they were written")
