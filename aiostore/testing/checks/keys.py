"""Keys and names are exact: none is folded, trimmed or mistaken for another."""

from aiostore.errors import InvalidKeyError
from aiostore.protocols import DocumentId, Exactly, Scan, Write
from aiostore.testing.check import check
from aiostore.testing.expectations import expect, expect_equal, expect_error
from aiostore.testing.harness import Harness
from aiostore.testing.hostile import COLLECTION_SUFFIXES, KEYS
from aiostore.testing.records import record, scanned, version, write_all


@check()
async def check_hostile_keys(harness: Harness) -> None:
    """Every key that the contract allows is a place of its own, at the boundary and for users."""
    name = harness.collection()
    keys = list(dict.fromkeys(KEYS))
    written = {key: record(name, key, 1, body=f'{{"n":{n}}}') for n, key in enumerate(keys)}
    async with harness.adaptor() as adaptor:
        await write_all(adaptor, list(written.values()))
        size = adaptor.capabilities.max_batch
        for start in range(0, len(keys), size):
            asked = keys[start : start + size]
            found = list(await adaptor.read([DocumentId(name, key) for key in asked]))
            expect_equal(found, [written[key] for key in asked], "the records")
        for key in keys[::3]:
            tombstone = record(name, key, 2, body=None)
            [outcome] = await adaptor.write([Write(tombstone, Exactly(version(1)), erase=True)])
            expect(outcome.applied, f"{key!r:.60} is erased")
            del written[key]
        left = {one.id.key: one for one in await scanned(adaptor, Scan(name)) if one.body}
        expect_equal(left, written, "what was not erased")
    async with harness.store() as store:
        documents = store.collection(harness.collection())
        values = {key: {"n": number} for number, key in enumerate(keys)}
        await documents.put_many(values)
        got = await documents.get_many(values)
        expect_equal({key: got[key].value for key in got}, values, "the documents")
        names = [document.key async for document in documents.scan()]
        expect_equal(sorted(names), sorted(values), "the keys that a scan yields")


@check()
async def check_collections_are_apart(harness: Harness) -> None:
    """Collections whose names are alike are different collections."""
    names = harness.collections_like(COLLECTION_SUFFIXES)
    async with harness.adaptor() as adaptor:
        written = [record(name, "k", number) for number, name in enumerate(names, start=1)]
        await write_all(adaptor, written)
        expect_equal(list(await adaptor.read([one.id for one in written])), written, "the records")
        for one in written:
            expect_equal(await scanned(adaptor, Scan(one.id.collection)), [one], "a scan of one")
    async with harness.store() as store:
        for name in names:
            await store.collection(name).put("k", {"collection": name})
        for name in names:
            found = [document.value async for document in store.collection(name).scan()]
            expect_equal(found, [{"collection": name}], f"the documents of {name}")
        listed = [name for name in await store.collections() if name.startswith(names[0])]
        expect_equal(listed, sorted(names), "the collections' names")


@check()
async def check_bad_keys(harness: Harness) -> None:
    """A key or a name outside the contract is refused before anything is sent."""
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        for key in ("", "a\0b", "\ud800", "x" * 513, "é" * 257, 7, None, b"k"):
            with expect_error(InvalidKeyError, f"the key {key!r:.20} is refused"):
                await collection.put(key, {})  # type: ignore[arg-type]  # that is the point
        for name in ("", "a b", "a.b", "é", "x" * 65, ".aiostore", None):
            with expect_error(InvalidKeyError, f"the name {name!r:.20} is refused"):
                store.collection(name)  # type: ignore[arg-type]  # that is the point
        left = [document async for document in collection.scan()]
        expect_equal(left, [], "nothing was stored")
