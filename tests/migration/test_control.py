"""What each store knows of its migration, and whom it refuses."""

from typing import Any

import pytest
from faults import FaultyMemory, Pair

from aiostore.channel import CONTROL_ID
from aiostore.errors import (
    ConfigurationError,
    CorruptRecordError,
    InvalidKeyError,
    MigrationError,
)
from aiostore.limits import SYSTEM_COLLECTION
from aiostore.migration import MigrationAdaptor, Phase, advance, backfill, finish, verify
from aiostore.migration.claims import Claims, Role
from aiostore.opening import open_adaptor
from aiostore.protocols import Adaptor, DocumentId, Newer, Record, Write
from aiostore.store import Store
from aiostore.versions import PROCESS_CLOCK


async def finished(pair: Pair) -> None:
    """Migrate a pair to its end."""
    migration = pair.migration()
    async with Store(migration) as store:
        await store.collection("c").put("k", {"n": 1})
        await backfill(migration)
        await verify(migration)
        await finish(migration)


async def test_the_target_refuses_a_plain_store_until_the_end() -> None:
    """A target that is not complete cannot be opened by mistake; the current store can."""
    pair = Pair()
    async with pair.store():
        pass
    with pytest.raises(MigrationError, match="copying into this store"):
        async with Store(pair.target):
            pass
    async with Store(pair.current) as plain:
        await plain.collection("c").put("k", {})


async def test_the_source_refuses_a_plain_store_after_the_end() -> None:
    """After the end the target opens plainly and the source says where its documents are."""
    pair = Pair()
    await finished(pair)
    async with Store(pair.target) as plain:
        assert (await plain.collection("c").get("k")).value == {"n": 1}
        assert await plain.collections() == ["c"]
    with pytest.raises(MigrationError, match="moved this store's documents to memory:target"):
        async with Store(pair.current):
            pass


async def test_a_finished_migration_is_not_begun_again() -> None:
    """Neither with the same name, nor by another one from the store that was moved away.

    Processes that are still configured for it may start, and go on in its last phase.
    """
    pair = Pair()
    await finished(pair)
    async with pair.store() as store:
        migration = MigrationAdaptor.of(store)
        assert migration.phase is Phase.TARGET
        with pytest.raises(MigrationError, match="is finished"):
            await advance(migration, Phase.HANDOFF)
    onward = MigrationAdaptor(pair.current, FaultyMemory("memory:third"), name="onward")
    with pytest.raises(MigrationError, match="moved this store's documents"):
        async with Store(onward):
            pass


async def test_the_target_of_one_migration_is_the_source_of_the_next() -> None:
    """What was moved can be moved on."""
    pair = Pair()
    await finished(pair)
    third = FaultyMemory("memory:third")
    migration = MigrationAdaptor(pair.target, third, name="onward")
    async with Store(migration) as store:
        await store.collection("c").put("l", {"n": 2})
        await backfill(migration)
        assert (await verify(migration)).clean
        await finish(migration)
    async with Store(third) as plain:
        assert [document.key async for document in plain.collection("c").scan()] == ["k", "l"]


async def test_a_target_that_holds_something_is_refused() -> None:
    """A migration begins with an empty target, so that nothing of anybody's is overwritten."""
    pair = Pair()
    async with Store(pair.target) as plain:
        await plain.collection("users").put("k", {})
    with pytest.raises(MigrationError, match="not empty"):
        async with pair.store():
            pass


async def test_two_migrations_do_not_share_a_store() -> None:
    """A store that is part of a running migration is refused to another."""
    pair = Pair()
    async with pair.store():
        pass
    for current, target in (
        (pair.current, FaultyMemory("memory:third")),
        (FaultyMemory("memory:third"), pair.target),
    ):
        with pytest.raises(MigrationError, match="the migration 'test'"):
            async with Store(MigrationAdaptor(current, target, name="other")):
                pass


async def test_finish_needs_a_proof() -> None:
    """Without a clean verification, or with anything in doubt, a migration cannot be finished."""
    pair = Pair()
    migration = pair.migration()
    async with pair.store(migration) as store:
        with pytest.raises(MigrationError, match="not known to be complete"):
            await finish(migration)
        await backfill(migration)
        await verify(migration)
        pair.target.down = True
        await store.collection("c").put("k", {})
        with pytest.raises(MigrationError, match="in doubt: 1"):
            await finish(migration)
        pair.target.down = False


async def test_an_end_that_was_interrupted_can_be_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A crash between the two stores' control documents leaves a migration that can go on."""
    pair = Pair()
    migration = pair.migration()
    with monkeypatch.context() as patch:
        write = Claims._set

        async def crash_at_the_target(
            self: Claims, store: Adaptor, role: Role, *, finished: bool = False, **rest: Any
        ) -> None:
            if finished and role == "target":
                raise ZeroDivisionError
            await write(self, store, role, finished=finished, **rest)

        patch.setattr(Claims, "_set", crash_at_the_target)
        async with pair.store(migration) as store:
            await store.collection("c").put("k", {"n": 1})
            await backfill(migration)
            await verify(migration)
            with pytest.raises(ZeroDivisionError):
                await finish(migration)
    for plain in (pair.current, pair.target):
        with pytest.raises(MigrationError):
            async with Store(plain):
                pass
    again = pair.migration()
    async with pair.store(again):
        assert (await verify(again)).clean
        await finish(again)
    async with Store(pair.target) as opened:
        assert (await opened.collection("c").get("k")).value == {"n": 1}


async def test_a_wrong_target_fails_the_opening() -> None:
    """A target that is misconfigured, not merely down, is told at once, and both are closed."""
    pair = Pair()
    folder = "file:/nowhere/at/all"
    migration = MigrationAdaptor(pair.current, open_adaptor(folder), name="test")
    with pytest.raises(ConfigurationError, match="nowhere"):
        async with Store(migration):
            pass


def test_a_migration_has_a_proper_name() -> None:
    """The name becomes a part of keys, so it keeps to the rules of names."""
    with pytest.raises(InvalidKeyError):
        MigrationAdaptor(FaultyMemory(), FaultyMemory(), name="no spaces, please")


@pytest.mark.parametrize(
    "id_",
    [
        CONTROL_ID,
        DocumentId(SYSTEM_COLLECTION, "job/test/backfill/c"),
        DocumentId(SYSTEM_COLLECTION, "job/test/backfill/c/0"),
    ],
    ids=["claim", "division", "checkpoint"],
)
async def test_a_damaged_record_of_the_migration_is_told(id_: DocumentId) -> None:
    """What the migration keeps in the target is read like any document: damage has its error."""
    pair = Pair()
    async with pair.store() as store:
        await store.collection("c").put("k", {})
    damaged = Record(id_, '{"migration":1,"segments":"x","done":"x"}', PROCESS_CLOCK.next(), 1, 1)
    await pair.target.write([Write(damaged, Newer())])
    with pytest.raises(CorruptRecordError, match="does not fit"):
        async with pair.store() as store:
            await backfill(MigrationAdaptor.of(store))
