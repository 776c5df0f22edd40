"""The verbs of a collection, end to end."""

from aiostore.errors import AlreadyExistsError, ConflictError, NotFoundError
from aiostore.testing.check import check
from aiostore.testing.expectations import expect, expect_equal, expect_error
from aiostore.testing.harness import Harness


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
    """`replace` needs the version that stands there, and keeps the moment of creation."""
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        first = await collection.create("k", {"n": 1})
        second = await collection.replace("k", {"n": 2}, version=first.version)
        expect_equal(second.created_at, first.created_at, "the moment of creation")
        expect(second.version > first.version, "versions grow")
        with expect_error(ConflictError, "the version is stale") as caught:
            await collection.replace("k", {"n": 3}, version=first.version)
        expect_equal(caught.error.current, second, "the document that stands there")
        expect_equal(await collection.get("k"), second, "the document")
        for key, version in (("other", first.version), ("other", "nonsense")):
            with expect_error(NotFoundError, "there is none"):
                await collection.replace(key, {}, version=version)


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


@check()
async def check_update(harness: Harness) -> None:
    """`update` stores what the change returns, or what an awaitable of it yields."""
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        first = await collection.create("k", {"n": 1})
        second = await collection.update("k", lambda value: {"n": value["n"] + 1})
        expect_equal(second.value, {"n": 2}, "the changed value")
        expect_equal(second.created_at, first.created_at, "the moment of creation")

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


@check()
async def check_many(harness: Harness) -> None:
    """The verbs for many keys do for each what their single kin do, beyond one batch too."""
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        size = store.capabilities.max_batch + 3 if store.capabilities.max_batch <= 1000 else 100
        values = {f"k{number:05}": {"n": number} for number in range(size)}
        stored = await collection.put_many(values)
        expect_equal(list(stored), list(values), "the order of what was put")
        found = await collection.get_many([*reversed(values), "missing", next(iter(values))])
        expect_equal(list(found), list(reversed(values)), "found, each once, in the order asked")
        expect_equal(found, stored, "the documents found")
        scanned = [document async for document in collection.scan()]
        expect_equal(scanned, list(stored.values()), "the documents scanned")
        await collection.delete_many([*list(values)[:-2], "missing"])
        left = [document.key async for document in collection.scan()]
        expect_equal(left, list(values)[-2:], "what was not deleted")


@check()
async def check_scan(harness: Harness) -> None:
    """`scan` yields documents by key, within a prefix, after a key, and skips what was deleted."""
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        await collection.put_many({key: {} for key in ("a", "a/1", "a/2", "a/3", "b", "B")})
        await collection.delete("a/2")
        keys = [document.key async for document in collection.scan()]
        expect_equal(keys, ["B", "a", "a/1", "a/3", "b"], "all keys")
        keys = [document.key async for document in collection.scan(prefix="a/")]
        expect_equal(keys, ["a/1", "a/3"], "the keys of a prefix")
        keys = [document.key async for document in collection.scan(start_after="a/2")]
        expect_equal(keys, ["a/3", "b"], "the keys after a deleted one")
