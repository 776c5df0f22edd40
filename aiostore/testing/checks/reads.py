"""Reading: what stands there, all of it, in the order that was asked for."""

from aiostore.errors import NotFoundError
from aiostore.protocols import DocumentId, Record
from aiostore.testing.check import check
from aiostore.testing.expectations import (
    expect,
    expect_equal,
    expect_error,
    expect_in_time,
)
from aiostore.testing.harness import Harness
from aiostore.testing.records import NOW, record, standing_at, write_all


@check()
async def check_missing_is_none(harness: Harness) -> None:
    """Where nothing was written nothing is read, be the collection there or not."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        expect_equal(await standing_at(adaptor, DocumentId(collection, "k")), None, "no record")
        await write_all(adaptor, [record(collection, "k", 1)])
        missing = [DocumentId(collection, "other"), DocumentId(harness.collection(), "k")]
        expect_equal(list(await adaptor.read(missing)), [None, None], "no record")


@check()
async def check_order_of_ids(harness: Harness) -> None:
    """A read answers in the order of its ids, missing ones and several collections mixed."""
    one, other = harness.collection(), harness.collection()
    async with harness.adaptor() as adaptor:
        b, a, c = record(one, "b", 1), record(one, "a", 2), record(other, "b", 3)
        await write_all(adaptor, [b, a, c])
        ids = [c.id, DocumentId(one, "missing"), b.id, DocumentId(other, "a"), a.id]
        expect_equal(list(await adaptor.read(ids)), [c, None, b, None, a], "order of the ids")


@check()
async def check_the_dead(harness: Harness) -> None:
    """Tombstones and documents that expired long ago are read like any record."""
    collection = harness.collection()
    written = [
        record(collection, "tombstone", 1, body=None),
        record(collection, "expired", 2, expires_at=1),
    ]
    async with harness.adaptor() as adaptor:
        await write_all(adaptor, written)
        expect_equal(list(await adaptor.read([one.id for one in written])), written, "the dead")


@check()
async def check_older_states(harness: Harness) -> None:
    """A read that need not be consistent sees states that there were, and in time the last."""
    collection = harness.collection()
    ids = [DocumentId(collection, key) for key in ("b", "missing", "a", "c")]
    first = [record(collection, key, 1) for key in "abc"]
    last = [record(collection, "a", 2), record(collection, "b", 3, body=None)]
    latest = [last[1], None, last[0], first[2]]
    async with harness.adaptor() as adaptor:
        await write_all(adaptor, first)
        await write_all(adaptor, last)

        async def ask() -> list[Record | None]:
            found = list(await adaptor.read(ids, consistent=False))
            expect_equal(len(found), len(ids), "one answer for each id")
            for id_, one in zip(ids, found, strict=True):
                states = [None, *(state for state in (*first, *last) if state.id == id_)]
                expect(one in states, f"what is read at {id_} has stood there: {one!r:.300}")
            return found

        await expect_in_time(ask, latest, "what it comes to see")
        expect_equal(list(await adaptor.read(ids, consistent=True)), latest, "what stands there")


@check(needs=("poke",))
async def check_from_the_engine(harness: Harness) -> None:
    """What the engine holds is read, whoever put it there."""
    written = record(harness.collection(), "k", 1, body='{"poked":true}')
    async with harness.adaptor():
        """Make the place."""
    await harness.poke(written)
    async with harness.adaptor() as adaptor:
        expect_equal(await standing_at(adaptor, written.id), written, "what was poked")


@check()
async def check_get(harness: Harness) -> None:
    """`get` returns the document, or the default; without one it raises that there is none."""
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        written = await collection.put("k", {"n": NOW})
        for default in (None, 7):
            expect_equal(await collection.get("k", default=default), written, "the document")
            expect_equal(await collection.get("other", default=default), default, "the default")
        expect_equal(await collection.get("k"), written, "the document")
        with expect_error(NotFoundError, "there is none"):
            await collection.get("other")


@check()
async def check_get_many(harness: Harness) -> None:
    """`get_many` finds each document once, in the order of the keys; missing ones are left out."""
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        written = {key: await collection.put(key, {"key": key}) for key in ("b", "a", "c")}
        found = await collection.get_many(["c", "missing", "a", "b", "a"])
        expect_equal(list(found), ["c", "a", "b"], "the keys, each once and in the order asked")
        expect_equal(found, written, "the documents")
        expect_equal(await collection.get_many([]), {}, "of no keys")
