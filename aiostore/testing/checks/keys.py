"""Keys and names are exact: none is folded, trimmed or mistaken for another."""

from aiostore.errors import InvalidKeyError
from aiostore.testing.check import check
from aiostore.testing.expectations import expect_equal, expect_error
from aiostore.testing.harness import Harness
from aiostore.testing.hostile import COLLECTION_SUFFIXES, KEYS


@check()
async def check_hostile_keys(harness: Harness) -> None:
    """Every key that the contract allows is a document of its own, and comes back as it went."""
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        values = {key: {"number": number} for number, key in enumerate(dict.fromkeys(KEYS))}
        await collection.put_many(values)
        found = await collection.get_many(values)
        expect_equal({key: found[key].value for key in found}, values, "the documents")
        scanned = [document.key async for document in collection.scan()]
        expect_equal(scanned, sorted(values), "the keys that a scan yields")
        for key in list(values)[::3]:
            await collection.delete(key)
            del values[key]
        scanned = [document.key async for document in collection.scan()]
        expect_equal(scanned, sorted(values), "the keys after some were deleted")


@check()
async def check_collections_are_apart(harness: Harness) -> None:
    """Collections whose names are alike are different collections."""
    names = harness.collections_like(COLLECTION_SUFFIXES)
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
