"""Writes to two stores at once, and what keeps them equal."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from engines import IndexingMemory
from faults import Pair, at_rest, take_for_verified

import aiostore
from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.errors import (
    AlreadyExistsError,
    ConflictError,
    MigrationError,
    StoreError,
    UnavailableError,
    UnsupportedError,
)
from aiostore.migration import MigrationAdaptor, backfill, finish, rows, verify
from aiostore.protocols import (
    Absent,
    DocumentId,
    Exactly,
    Mark,
    Outcome,
    Purge,
    Record,
    Sort,
    Write,
)
from aiostore.sending import Retries
from aiostore.store import Store
from aiostore.testing.faults import FaultyAdaptor, turns
from aiostore.versions import VersionClock

AT_ONCE = Retries(first_pause=timedelta(0), longest_pause=timedelta(0))
ONCE = Retries(attempts=1)


@pytest.fixture
def pair() -> Pair:
    """Two empty memories."""
    return Pair()


async def test_every_write_reaches_both_stores_alike(pair: Pair) -> None:
    """Both stores hold the same versions, values and moments after every verb, and tombstones."""
    async with pair.store() as store:
        c = store.collection("c")
        created = await c.create("created", {"n": 1})
        await c.put("put", {"n": 1})
        await c.replace("created", {"n": 2}, version=created.version)
        await c.update("put", lambda value: {"n": value["n"] + 1})
        await c.put_many({f"many {n}": {"n": n} for n in range(5)})
        await c.delete("many 1")
        await c.delete_many(["many 2", "never there"])
        await MigrationAdaptor.of(store).drain()
        assert pair.equal()
        assert sorted(k for k, r in pair.target.held().items() if r.body is None) == [
            "many 1",
            "many 2",
            "never there",
        ]


@pytest.mark.parametrize("late", ["current", "target"])
async def test_a_rejected_write_is_never_left_in_the_target(pair: Pair, late: str) -> None:
    """Rejected saves, creates and deletes leave the target as it was, whichever store is slow."""
    slow = getattr(pair, late)
    async with pair.store() as store:
        c = store.collection("c")
        first = await c.create("k", {"n": 1})
        second = await c.replace("k", {"n": 2}, version=first.version)
        gate = slow.hangs = asyncio.Event()
        rejected = [
            asyncio.ensure_future(call)
            for call in (
                c.replace("k", {"n": "stale"}, version=first.version),
                c.create("k", {"n": "duplicate"}),
                c.delete("k", version=first.version),
            )
        ]
        await asyncio.sleep(0)
        gate.set()
        errors = await asyncio.gather(*rejected, return_exceptions=True)
        assert [type(error) for error in errors] == [
            ConflictError,
            AlreadyExistsError,
            ConflictError,
        ]
        await MigrationAdaptor.of(store).drain()
        assert pair.equal()
        assert pair.target.held()["k"].version == second.version


async def test_a_rejected_create_is_settled_where_only_the_target_took_it(pair: Pair) -> None:
    """A create that the target accepts, not having the document yet, is taken out again."""
    async with Store(pair.current) as plain:
        standing = await plain.collection("c").create("k", {"n": 1})
    async with pair.store() as store:
        with pytest.raises(AlreadyExistsError):
            await store.collection("c").create("k", {"n": "duplicate"})
        await MigrationAdaptor.of(store).drain()
        assert pair.target.held()["k"].version == standing.version


async def test_a_write_that_the_target_was_not_ready_for_is_issued_again(pair: Pair) -> None:
    """An update of a document that was not copied yet arrives in the target all the same."""
    async with Store(pair.current) as plain:
        standing = await plain.collection("c").create("k", {"n": 1})
    async with pair.store() as store:
        updated = await store.collection("c").replace("k", {"n": 2}, version=standing.version)
        assert updated.created_at == standing.created_at
        await MigrationAdaptor.of(store).drain()
        assert pair.equal()


@pytest.mark.parametrize("fate", ["lost", "unanswered"])
@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("verb", ["create", "put", "replace", "delete"])
async def test_a_write_that_is_sent_again_is_one_write_in_both_stores(
    pair: Pair, verb: str, fate: str, *, copied: bool
) -> None:
    """Refused by itself where its answer was lost it counts as applied, and the target gets it.

    An erasure leaves a tombstone here, so it recognises itself, too.
    """
    async with Store(pair.current) as plain:
        standing = await plain.collection("c").create("k", {"n": 1})
    migration = pair.migration(grace=timedelta(hours=1))
    async with Store(migration, retries=AT_ONCE) as store:
        c = store.collection("c")
        if copied:
            await backfill(migration)
        pair.current.fates = iter([fate])
        match verb:
            case "create":
                await c.create("l", {"n": 2})
            case "put":
                await c.put("k", {"n": 2})
            case "replace":
                await c.replace("k", {"n": 2}, version=standing.version)
            case _:
                await c.delete("k", version=standing.version)
        await migration.drain()
        key = "l" if verb == "create" else "k"
        assert next(pair.current.fates, None) is None
        assert pair.target.held()[key] == rows.mirror(pair.current.held()[key])
        assert pair.target.held()[key].version != standing.version


async def test_a_write_that_is_sent_again_and_refused_is_settled(pair: Pair) -> None:
    """Though the target had accepted it when it did not reach the current store."""
    migration = pair.migration(grace=timedelta(hours=1))
    async with pair.store(migration) as store, Store(pair.current) as elsewhere:
        first = await store.collection("c").create("k", {"n": 1})
        record = Record(DocumentId("c", "k"), "{}", VersionClock().next(first.version), 1, 1)
        write = Write(record, Exactly(first.version))
        pair.current.fates = iter(["lost"])
        with pytest.raises(UnavailableError):
            await migration.write([write])
        assert pair.target.held()["k"] == rows.mirror(record)
        await elsewhere.collection("c").put("k", {"n": 2})
        [outcome] = await migration.write([write])
        assert not outcome.applied
        await migration.drain()
        assert pair.equal()


async def test_a_write_that_is_sent_again_arrives_though_a_repair_took_it_out(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repair takes the first attempt for dead while the second is on its way."""
    migration = pair.migration(grace=timedelta(hours=1))
    async with pair.store(migration) as store:
        first = await store.collection("c").create("k", {"n": 1})
        id_ = DocumentId("c", "k")
        record = Record(id_, "{}", VersionClock().next(first.version), 1, 1)
        write = Write(record, Exactly(first.version))
        pair.current.fates = iter(["lost"])
        with pytest.raises(UnavailableError):
            await migration.write([write])
        gate = asyncio.Event()
        arrive = pair.current.memory.write

        async def arrive_late(writes: Sequence[Write]) -> Sequence[Outcome]:
            await gate.wait()
            return await arrive(writes)

        monkeypatch.setattr(pair.current.memory, "write", arrive_late)
        again = asyncio.ensure_future(migration.write([write]))
        await turns(5)
        await migration.repair.settle({id_: record.version})
        assert pair.target.held()["k"].version == first.version
        gate.set()
        [outcome] = await again
        await migration.drain()
        assert outcome.applied
        assert pair.equal()


async def test_a_cancelled_caller_leaves_both_legs_to_end(pair: Pair) -> None:
    """The legs belong to the store: a client that goes away separates nothing."""
    async with pair.store() as store:
        c = store.collection("c")
        pair.target.hangs = asyncio.Event()
        caller = asyncio.ensure_future(c.put("k", {"n": 1}))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        pair.target.hangs.set()
        await MigrationAdaptor.of(store).drain()
        assert pair.equal()


async def test_a_caller_is_answered_even_if_the_legs_are_torn_down(pair: Pair) -> None:
    """When the event loop cancels everything, nobody is left waiting for ever."""
    async with Store(pair.migration(), retries=ONCE) as store:
        pair.current.hangs = asyncio.Event()
        caller = asyncio.ensure_future(store.collection("c").put("k", {"n": 1}))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        [job] = MigrationAdaptor.of(store)._jobs
        job.cancel()
        with pytest.raises(UnavailableError, match="not known"):
            await caller


async def test_closing_waits_for_the_legs(pair: Pair) -> None:
    """What is under way at the closing ends in both stores."""
    gate = asyncio.Event()
    async with pair.store() as store:
        pair.target.hangs = gate
        caller = asyncio.ensure_future(store.collection("c").put("k", {"n": 1}))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        caller.cancel()
        asyncio.get_running_loop().call_soon(gate.set)
    assert pair.equal()
    assert list(pair.target.held()) == ["k"]


async def test_a_failing_target_fails_nothing_and_is_caught_up(pair: Pair) -> None:
    """The service does not notice a target that is down; once it is back it is mended by itself."""
    migration = pair.migration()
    async with pair.store(migration) as store:
        c = store.collection("c")
        await c.put_many({f"k{n}": {"n": n} for n in range(4)})
        await take_for_verified(migration)
        states = [migration.complete]
        pair.target.down = True
        await c.put("k0", {"n": "new"})
        await c.delete("k1")
        await c.update("k2", lambda value: {"n": value["n"] + 1})
        await c.create("k4", {})
        with pytest.raises(ConflictError):
            await c.replace("k3", {}, version="stale")
        await migration.drain()
        states.append(migration.complete)
        assert migration.target_failures >= 5
        pair.target.down = False
        await at_rest(migration)
        assert pair.equal()
        assert [*states, migration.complete] == [True, False, True]


async def test_a_target_that_keeps_failing_is_left_alone(pair: Pair) -> None:
    """After five failures in a row the target is not called for a while."""
    migration = pair.migration()
    async with pair.store(migration) as store:
        c = store.collection("c")
        pair.target.loses_answers = True
        before = pair.target.calls["write"]
        for n in range(20):
            await c.put(f"k{n}", {"n": n})
        assert pair.target.calls["write"] - before == 5
        assert migration.target_failures == 20
        assert not migration.complete


async def test_a_slow_target_costs_no_more_than_its_deadline(pair: Pair) -> None:
    """A write waits for a hanging target until the deadline, and then succeeds."""
    migration = pair.migration(target_deadline=timedelta(milliseconds=20))
    async with pair.store(migration) as store:
        pair.target.hangs = asyncio.Event()
        async with asyncio.timeout(2):
            await store.collection("c").put("k", {"n": 1})
        await migration.drain()
        pair.target.hangs = None
        await at_rest(migration)
        assert pair.equal()


async def test_a_target_that_is_down_at_the_start_is_connected_later(pair: Pair) -> None:
    """The service starts without its target, which is caught up when it comes."""
    migration = pair.migration()
    pair.target.down = True
    async with pair.store(migration) as store:
        await store.collection("c").put("k", {"n": 1})
        assert not migration.connected.is_set()
        pair.target.down = False
        await migration.connected.wait()
        await at_rest(migration)
        assert pair.equal()


async def test_an_unknown_outcome_is_told_and_settled_after_the_grace(pair: Pair) -> None:
    """When the current store does not answer, the caller is told so and the target follows it."""
    migration = pair.migration(
        current_deadline=timedelta(milliseconds=20), grace=timedelta(milliseconds=50)
    )
    async with Store(migration, retries=ONCE) as store:
        c = store.collection("c")
        first = await c.create("k", {"n": 1})
        gate = pair.current.hangs = asyncio.Event()
        with pytest.raises(UnavailableError, match="no answer within"):
            await c.replace("k", {"n": 2}, version=first.version)
        assert pair.target.held()["k"].version > first.version
        pair.current.hangs = None
        gate.set()
        await at_rest(migration)
        assert pair.equal()
        assert (await c.get("k")).version == first.version

        pair.current.loses_answers = True
        with pytest.raises(UnavailableError, match="lost"):
            await c.replace("k", {"n": 3}, version=first.version)
        pair.current.loses_answers = False
        await at_rest(migration)
        assert pair.equal()
        assert (await c.get("k")).value == {"n": 3}


async def test_an_adaptor_that_breaks_its_contract_in_the_target_fails_nothing(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Even an error that no adaptor may raise stays in the target's leg, and in the log."""

    async def burst(_: object) -> None:
        raise ZeroDivisionError

    migration = pair.migration()
    async with pair.store(migration) as store:
        with monkeypatch.context() as patch:
            patch.setattr(pair.target, "write", burst)
            await store.collection("c").put("k", {"n": 1})
            await migration.drain()
        assert "raised what it must not" in caplog.text
        await at_rest(migration)
        assert pair.equal()


async def test_purging_waits_for_the_end(pair: Pair) -> None:
    """But for everything, which leaves tombstones."""
    migration = pair.migration()
    async with pair.store(migration) as store:
        c = store.collection("c")
        await c.put_many({"a": {}, "b": {}})
        assert await migration.purge(Purge("c", deleted_before=2**60)) == 0
        assert await migration.purge(Purge("c", everything=True)) == 2
        await migration.drain()
        assert [document async for document in c.scan()] == []
        assert pair.equal()
        assert await migration.count("c") == 2
        assert await store.collections() == ["c"]


async def test_orders_and_indexes_are_the_current_stores(caplog: pytest.LogCaptureFixture) -> None:
    """An index is made in both stores, so that the target has it when it takes over."""
    for able in (True, False):
        current, target = IndexingMemory(), IndexingMemory(indexes=able)
        async with Store(MigrationAdaptor(current, target, name="test")) as store:
            assert store.capabilities.indexes
            people = store.collection("people", indexes=["email"])
            await people.put_many({"a": {"email": "x"}, "b": {"email": "w"}})
            await people.ensure_indexes()
            answer = people.find(order_by="email", limit=1, allow_scan=False)
            assert [document.key async for document in answer] == ["b"]
        assert current.scans[-1].order == Sort(("email",))
        assert current.made == [("people", ("email",))]
        assert target.begun == current.made * able
    assert caplog.messages == []


async def test_a_current_store_without_indexes_has_none_in_a_migration() -> None:
    """Whatever the target can."""
    pair = MigrationAdaptor(MemoryAdaptor(), IndexingMemory(), name="test")
    async with Store(pair) as store:
        assert not store.capabilities.indexes
        with pytest.raises(UnsupportedError, match="no indexes"):
            await pair.index("people", ("email",))


@pytest.mark.parametrize("error", [StoreError("no room"), ZeroDivisionError("a fault")])
async def test_an_index_that_the_target_cannot_make_fails_nothing(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """It is logged, and made when the target is asked for it as the store."""
    current, target = IndexingMemory(), IndexingMemory()
    target.errors = [error]
    async with Store(MigrationAdaptor(current, target, name="test")) as store:
        await store.collection("people", indexes=["email"]).ensure_indexes()
    assert (current.made, target.made) == ([("people", ("email",))], [])
    [told] = caplog.messages
    assert told == f"the target has no index on F.email yet: {error!r}"


async def test_a_target_that_is_away_is_asked_for_no_index() -> None:
    """Until it is connected."""
    current, target = IndexingMemory(), IndexingMemory()
    faulty = FaultyAdaptor(target)
    faulty.down = True
    migration = MigrationAdaptor(current, faulty, name="test", rest=timedelta(0))
    async with Store(migration) as store:
        people = store.collection("people", indexes=["email"])
        await people.ensure_indexes()
        assert (current.made, target.begun) == ([("people", ("email",))], [])


async def test_a_finished_migration_goes_on_in_the_target(pair: Pair) -> None:
    """The service need not stop for it; the source stays as it was."""
    migration = pair.migration()
    async with pair.store(migration) as store:
        c = store.collection("c")
        await c.put("k", {"n": 1})
        await backfill(migration)
        assert (await verify(migration)).clean
        await finish(migration)
        moved = pair.current.held()["k"]
        await c.put("k", {"n": 2})
        assert (await c.get("k")).value == {"n": 2}
        assert pair.current.held()["k"] == moved
    async with Store(pair.target) as plain:
        assert (await plain.collection("c").get("k")).value == {"n": 2}


async def test_a_document_that_was_moved_refuses_a_plain_store() -> None:
    """A record with another authority is neither read nor written as if it were its own."""
    adaptor = MemoryAdaptor()
    async with Store(adaptor) as store:
        moved = Record(DocumentId("c", "k"), "{}", VersionClock().next(), 1, 1, mark=Mark.MOVED)
        await adaptor.write([Write(moved, Absent())])
        c = store.collection("c")
        for use in (c.get("k"), c.put("k", {}), c.create("k", {}), c.delete("k", missing_ok=True)):
            with pytest.raises(MigrationError, match="is moving this document"):
                await use
        with pytest.raises(MigrationError, match="is moving this document"):
            [document async for document in c.scan()]


async def test_versions_survive_the_cutover(pair: Pair) -> None:
    """A client's version from before the migration is good for a compare-and-set after it."""
    async with Store(pair.current) as plain:
        before = await plain.collection("c").create("k", {"n": 1})
    migration = pair.migration()
    async with pair.store(migration) as store:
        during = await store.collection("c").create("l", {"n": 1})
        await backfill(migration)
        assert (await verify(migration)).clean
        await finish(migration)
    async with Store(pair.target) as plain:
        c = plain.collection("c")
        assert await c.get("k") == before
        assert (await c.replace("k", {"n": 2}, version=before.version)).value == {"n": 2}
        assert (await c.replace("l", {"n": 2}, version=during.version)).value == {"n": 2}


@pytest.fixture
def configured(tmp_path: Path) -> Store:
    """A migration made by configuration alone, as at a service's start."""
    return aiostore.open_store(
        {
            "current": f"file:{tmp_path}/files",
            "target": f"sqlite:///{tmp_path}/documents.db",
            "migration": "test",
        }
    )


async def test_configuration_opens_a_migration(configured: Store) -> None:
    """A mapping with current, target and a name is all that a service changes."""
    async with configured as store:
        await store.collection("c").put("k", {"n": 1})
        assert (await verify(MigrationAdaptor.of(store))).clean


async def test_a_plain_store_is_no_migration() -> None:
    """Whoever asks a plain store for its migration is told what to configure."""
    async with Store(MemoryAdaptor()) as store:
        with pytest.raises(MigrationError, match="not configured as a migration"):
            MigrationAdaptor.of(store)


def _create(key: str) -> Write:
    return Write(Record(DocumentId("c", key), "{}", VersionClock().next(), 1, 1), Absent())
