import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from recording import HOUR, NOW, PRESENT, RecordingAdaptor, refused

from aiostore.collection import Collection
from aiostore.documents import Document
from aiostore.errors import (
    AlreadyExistsError,
    ClosedError,
    ConflictError,
    CorruptRecordError,
    InvalidKeyError,
    InvalidValueError,
    NotFoundError,
    StoreError,
    UnsupportedError,
)
from aiostore.protocols import Absent, Check, Exactly, Mark, Newer, Write
from aiostore.store import Store
from aiostore.testing import ManualClock
from aiostore.transaction import Transaction
from aiostore.versions import VersionClock

MINUTE = timedelta(minutes=1)
NEVER_THERE = "0" * 32
Accounts = Collection[dict[str, Any]]


@pytest.fixture
def engine() -> RecordingAdaptor:
    """What lies below the store."""
    return RecordingAdaptor()


@pytest.fixture
def hands() -> ManualClock:
    """The time."""
    return ManualClock(NOW)


@pytest.fixture
async def store(engine: RecordingAdaptor, hands: ManualClock) -> AsyncIterator[Store]:
    """A store that is open."""
    async with Store(engine, clock=VersionClock(hands)) as opened:
        engine.reads.clear()
        yield opened


@pytest.fixture
def accounts(store: Store) -> Accounts:
    """An empty collection."""
    return store.collection("accounts")


def where(error: StoreError) -> tuple[str | None, ...]:
    """What an error tells of the place."""
    return error.store, error.collection, error.key


PLACE = ("memory://", "accounts", "a")


# What a transaction is


@pytest.mark.parametrize("make", [Store.transaction, lambda store: store.two_way_index("i")])
def test_a_store_without_atomic_writes_has_none(
    make: Callable[[Store], object], engine: RecordingAdaptor
) -> None:
    """It says so at once, before anything is opened."""
    engine.most = 0
    with pytest.raises(UnsupportedError, match=r"in one step.*'memory://'"):
        make(Store(engine))


async def test_nor_does_it_run_any(engine: RecordingAdaptor) -> None:
    """`run` refuses before it calls the function."""
    engine.most = 0

    async def never(_: Transaction) -> None:
        raise AssertionError

    async with Store(engine) as store:
        with pytest.raises(UnsupportedError):
            await store.run(never)


Use = Callable[[Transaction, Accounts], object]


async def finish(used: object) -> None:
    """Await what a use returned, if there is something to await."""
    if isinstance(used, Awaitable):
        await used


USES: dict[str, Use] = {
    "get": lambda tx, accounts: tx.get(accounts, "a"),
    "get_many": lambda tx, accounts: tx.get_many(accounts, ["a"]),
    "get none": lambda tx, accounts: tx.get_many(accounts, []),
    "create": lambda tx, accounts: tx.create(accounts, "a", {}),
    "put": lambda tx, accounts: tx.put(accounts, "a", {}),
    "replace": lambda tx, accounts: tx.replace(accounts, "a", {}, version=NEVER_THERE),
    "delete": lambda tx, accounts: tx.delete(accounts, "a", missing_ok=True),
}
every_use = pytest.mark.parametrize("use", USES.values(), ids=USES)


@every_use
async def test_a_transaction_has_to_begin(use: Use, store: Store, accounts: Accounts) -> None:
    """Outside `async with` nothing can be done with it."""
    with pytest.raises(ClosedError, match=r"has not begun: use `async with`.*'memory://'"):
        await finish(use(store.transaction(), accounts))


@every_use
async def test_a_transaction_that_is_over(use: Use, store: Store, accounts: Accounts) -> None:
    """After its block nothing can be done with it, whether it was committed or not."""
    async with store.transaction() as committed:
        pass
    with pytest.raises(ZeroDivisionError):
        async with store.transaction() as discarded:
            raise ZeroDivisionError
    for over in (committed, discarded):
        with pytest.raises(ClosedError, match=r"is over: make another.*'memory://'"):
            await finish(use(over, accounts))


async def test_a_transaction_is_used_once(store: Store) -> None:
    """It begins neither within itself nor again."""
    async with store.transaction() as tx:
        with pytest.raises(ClosedError, match="used once"):
            await tx.__aenter__()
    with pytest.raises(ClosedError, match="used once"):
        async with tx:
            pass


async def test_the_store_has_to_be_open(engine: RecordingAdaptor) -> None:
    """A transaction may be made before, but begins on an open store only."""
    store = Store(engine)
    transaction = store.transaction()
    with pytest.raises(ClosedError, match="async with open_store"):
        async with transaction:
            pass
    async with store, transaction:
        pass
    with pytest.raises(ClosedError, match="the store is closed"):
        async with store.transaction():
            pass


async def test_a_store_closed_within_the_block_commits_nothing(engine: RecordingAdaptor) -> None:
    """The commit is told that the store is closed."""
    store = await Store(engine).open()
    async with refused(store, ClosedError) as (tx, _):
        tx.put(store.collection("accounts"), "a", {})
        await store.aclose()
    assert engine.standing("a") is None


@every_use
async def test_a_collection_of_another_store(use: Use, store: Store) -> None:
    """A transaction stays within its store, were the other one over the same engine."""
    other = Store(store.adaptor).collection("accounts")
    async with store.transaction() as tx:
        with pytest.raises(UnsupportedError, match="is another store's"):
            await finish(use(tx, other))


# Reads and buffered writes


async def test_a_read_is_remembered(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """A second read gives the same document, from memory, as a copy."""
    document = await accounts.put("a", {"n": 1})
    async with store.transaction() as tx:
        first = await tx.get(accounts, "a")
        assert first == document
        first.value["n"] = 2
        assert await tx.get(accounts, "a") == document
        assert await tx.get_many(accounts, ["a"]) == {"a": document}
    assert len(engine.reads) == 1


async def test_a_missing_document_is_remembered(store: Store, accounts: Accounts) -> None:
    """It is not found again, though another writer has created it by then."""
    async with refused(store, ConflictError) as (tx, _):
        assert await tx.get(accounts, "a", default=None) is None
        await accounts.create("a", {})
        with pytest.raises(NotFoundError) as caught:
            await tx.get(accounts, "a")
        assert where(caught.value) == PLACE
        assert await tx.get(accounts, "a", default=0) == 0
        assert await tx.get_many(accounts, ["a"]) == {}
        await tx.get(accounts, "b", default=None)


@pytest.mark.parametrize("body", [None, "{}"])
async def test_a_dead_record_is_no_document(
    body: str | None, store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """Neither is a tombstone, nor what has expired."""
    version = await engine.poke("a", body, ahead=-HOUR, expires_at=NOW)
    async with store.transaction() as tx:
        assert await tx.get(accounts, "a", default=None) is None
        tx.create(accounts, "a", {"n": 1})
    [[write]] = engine.atomic
    assert isinstance(write, Write)
    assert write.condition == Exactly(version)
    assert (await accounts.get("a")).value == {"n": 1}


async def test_a_document_that_expires_meanwhile_is_remembered(
    store: Store, accounts: Accounts, hands: ManualClock
) -> None:
    """It stays what was read until the block ends; the commit tells."""
    document = await accounts.put("a", {"n": 1}, ttl=MINUTE)
    async with refused(store, ConflictError) as (tx, caught):
        assert await tx.get(accounts, "a") == document
        hands.now += HOUR
        assert await tx.get(accounts, "a") == document
        tx.put(accounts, "b", {})
    assert caught.value.current is None


async def test_so_it_is_by_the_errors_that_hold_it(
    store: Store, accounts: Accounts, hands: ManualClock
) -> None:
    """What refuses a write is what the transaction sees, though it has expired."""
    document = await accounts.put("a", {"n": 1}, ttl=MINUTE)
    async with store.transaction() as tx:
        assert await tx.get(accounts, "a") == document
        hands.now += HOUR
        with pytest.raises(AlreadyExistsError) as met:
            tx.create(accounts, "a", {})
        with pytest.raises(ConflictError) as refused:
            tx.replace(accounts, "a", {}, version=NEVER_THERE)
    assert (met.value.current, refused.value.current) == (document, document)


async def test_many_are_read_at_once(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """By key, in the order asked for, without those that are missing; in one read."""
    await accounts.put_many({"a": {"n": 1}, "b": {"n": 2}})
    async with store.transaction() as tx:
        found = await tx.get_many(accounts, ["b", "nobody", "a", "b"])
        assert [(key, document.value["n"]) for key, document in found.items()] == [
            ("b", 2),
            ("a", 1),
        ]
    assert len(engine.reads) == 1


async def test_own_writes_are_visible(store: Store, accounts: Accounts) -> None:
    """Each verb is seen by the reads that follow it, and nobody else's."""
    await accounts.put("a", {"n": 0})
    async with store.transaction() as tx:
        put = tx.put(accounts, "a", {"n": 1})
        assert await tx.get(accounts, "a") == put
        replaced = tx.replace(accounts, "a", {"n": 2}, version=put.version)
        assert replaced.version > put.version
        assert replaced.created_at == put.created_at
        assert await tx.get_many(accounts, ["a"]) == {"a": replaced}
        tx.delete(accounts, "a", version=replaced.version)
        assert await tx.get(accounts, "a", default=None) is None
        created = tx.create(accounts, "a", {"n": 3})
        assert created.version > replaced.version
        final = tx.replace(accounts, "a", {"n": 4})
        assert await tx.get(accounts, "a") == final
        assert (await accounts.get("a")).value == {"n": 0}
    assert await accounts.get("a") == final


Writing = Callable[[Transaction, Accounts, str], Document[dict[str, Any]]]
WRITINGS: dict[str, Writing] = {
    "create": lambda tx, accounts, _: tx.create(accounts, "new", {"n": 1}),
    "create with ttl": lambda tx, accounts, _: tx.create(accounts, "new", {}, ttl=MINUTE),
    "put": lambda tx, accounts, _: tx.put(accounts, "new", {"n": 1}),
    "put over": lambda tx, accounts, _: tx.put(accounts, "a", {"n": 1}),
    "put over what was read": lambda tx, accounts, _: tx.put(accounts, "read", {}, ttl=MINUTE),
    "replace": lambda tx, accounts, _: tx.replace(accounts, "read", {"n": 1}),
    "replace with ttl": lambda tx, accounts, _: tx.replace(accounts, "read", {}, ttl=MINUTE),
}


@pytest.mark.parametrize("writing", WRITINGS.values(), ids=WRITINGS)
async def test_a_write_returns_what_will_be_stored(
    writing: Writing, store: Store, accounts: Accounts, hands: ManualClock
) -> None:
    """The same document, with the same version and dates, stands there after the commit."""
    for key in ("a", "read"):
        await accounts.put(key, {"n": 0})
    hands.now += 1000
    async with store.transaction() as tx:
        read = await tx.get(accounts, "read")
        hands.now += 1000
        written = writing(tx, accounts, read.version)
        hands.now += 1000
    assert await accounts.get(written.key) == written
    assert written.updated_at == PRESENT + timedelta(milliseconds=2)


async def test_a_replacement_keeps_the_creation(
    store: Store, accounts: Accounts, hands: ManualClock
) -> None:
    """Of a document that was read, and of one that is named by its version; a put does not."""
    for key in ("read", "named", "put"):
        await accounts.put(key, {})
    named = await accounts.get("named")
    hands.now += HOUR
    async with store.transaction() as tx:
        await tx.get(accounts, "read")
        tx.replace(accounts, "read", {"n": 1})
        tx.replace(accounts, "read", {"n": 2})
        first = tx.replace(accounts, "named", {"n": 1}, version=named.version)
        tx.replace(accounts, "named", {"n": 2}, version=first.version)
        await tx.get(accounts, "put")
        put = tx.put(accounts, "put", {"n": 1})
        tx.replace(accounts, "put", {"n": 2})
    assert put.created_at == PRESENT + timedelta(hours=1)
    documents = await accounts.get_many(["read", "named", "put"])
    assert [(document.created_at, document.value) for document in documents.values()] == [
        (PRESENT, {"n": 2}),
        (PRESENT, {"n": 2}),
        (put.created_at, {"n": 2}),
    ]


async def test_a_value_is_encoded_at_the_call(store: Store, accounts: Accounts) -> None:
    """Changing the caller's object, or the document returned, changes nothing."""
    value = {"tags": ["a"]}
    async with store.transaction() as tx:
        document = tx.put(accounts, "a", value)
        value["tags"].append("b")
        document.value["tags"].append("c")
        assert (await tx.get(accounts, "a")).value == {"tags": ["a"]}
    assert (await accounts.get("a")).value == {"tags": ["a"]}


WRONG: dict[str, tuple[Use, type[StoreError]]] = {
    "key": (lambda tx, accounts: tx.get(accounts, ""), InvalidKeyError),
    "keys": (lambda tx, accounts: tx.get_many(accounts, ["b", ""]), InvalidKeyError),
    "create": (lambda tx, accounts: tx.create(accounts, "", {}), InvalidKeyError),
    "value": (lambda tx, accounts: tx.put(accounts, "b", {"n": 2**64}), InvalidValueError),
    "ttl": (lambda tx, accounts: tx.put(accounts, "b", {}, ttl=-MINUTE), InvalidValueError),
    "replaced value": (
        lambda tx, accounts: tx.replace(accounts, "b", {"n": object()}, version=NEVER_THERE),
        InvalidValueError,
    ),
    "version": (
        lambda tx, accounts: tx.replace(accounts, "b", {}, version="\0"),
        InvalidValueError,
    ),
    "deleted version": (
        lambda tx, accounts: tx.delete(accounts, "b", version="\0"),
        InvalidValueError,
    ),
    "blind replace": (lambda tx, accounts: tx.replace(accounts, "b", {}), InvalidValueError),
    "blind delete": (lambda tx, accounts: tx.delete(accounts, "b"), InvalidValueError),
    "create over": (lambda tx, accounts: tx.create(accounts, "a", {}), AlreadyExistsError),
    "replace other": (
        lambda tx, accounts: tx.replace(accounts, "a", {}, version=NEVER_THERE),
        ConflictError,
    ),
    "delete other": (
        lambda tx, accounts: tx.delete(accounts, "a", version=NEVER_THERE, missing_ok=True),
        ConflictError,
    ),
    "replace none": (lambda tx, accounts: tx.replace(accounts, "none", {}), NotFoundError),
    "delete none": (lambda tx, accounts: tx.delete(accounts, "none"), NotFoundError),
    "delete this none": (
        lambda tx, accounts: tx.delete(accounts, "none", version=NEVER_THERE),
        NotFoundError,
    ),
}


@pytest.mark.parametrize(("use", "error"), WRONG.values(), ids=WRONG)
async def test_mistakes_are_told_at_the_call(
    use: Use, error: type[StoreError], store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """And leave the transaction as it was."""
    await accounts.put("a", {})
    async with store.transaction() as tx:
        document = await tx.get(accounts, "a")
        await tx.get(accounts, "none", default=None)
        with pytest.raises(error) as caught:
            await finish(use(tx, accounts))
        assert where(caught.value)[:2] == PLACE[:2]
        if isinstance(caught.value, AlreadyExistsError | ConflictError):
            assert caught.value.current == document
            assert caught.value.key == "a"
        tx.put(accounts, "c", {})
    [items] = engine.atomic
    assert [(type(item).__name__, key(item)) for item in items] == [
        ("Check", "a"),
        ("Check", "none"),
        ("Write", "c"),
    ]


def key(item: Write | Check) -> str:
    """The key that an item is about."""
    return item.id.key if isinstance(item, Check) else item.record.id.key


async def test_a_blind_replacement_says_what_to_do(store: Store, accounts: Accounts) -> None:
    """Get the document first, or give the version."""
    async with store.transaction() as tx:
        with pytest.raises(InvalidValueError, match="get it first, or give the version") as caught:
            tx.replace(accounts, "a", {})
    assert where(caught.value) == PLACE


async def test_deleting_none_need_not_be_minded(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """With `missing_ok`, whether it was read or not, and whatever the version."""
    async with store.transaction() as tx:
        assert await tx.get(accounts, "read", default=None) is None
        tx.delete(accounts, "read", missing_ok=True)
        tx.delete(accounts, "read", version=NEVER_THERE, missing_ok=True)
        tx.delete(accounts, "unread", missing_ok=True)
        tx.delete(accounts, "unread", missing_ok=True)
        with pytest.raises(NotFoundError):
            tx.delete(accounts, "unread")
    assert [type(item).__name__ for item in engine.atomic[0]] == ["Check", "Write"]


# What is sent


async def test_one_item_for_each_document(
    store: Store, accounts: Accounts, engine: RecordingAdaptor, hands: ManualClock
) -> None:
    """However often it was touched: a check if it was only read, else one write."""
    versions = {}
    for name in ("read", "put", "replaced", "deleted", "named", "away"):
        versions[name] = (await accounts.put(name, {})).version
    hands.now += HOUR
    async with store.transaction() as tx:
        await tx.get(accounts, "read")
        await tx.get(accounts, "none", default=None)
        for name in ("put", "replaced", "deleted"):
            await tx.get(accounts, name)
        tx.put(accounts, "put", {})
        tx.replace(accounts, "replaced", {})
        tx.delete(accounts, "deleted")
        tx.put(accounts, "blind", {})
        tx.delete(accounts, "gone", missing_ok=True)
        tx.create(accounts, "created", {})
        tx.replace(accounts, "named", {}, version=versions["named"])
        tx.delete(accounts, "away", version=versions["away"])
        tx.create(accounts, "came", {})
        tx.delete(accounts, "came")
    [items] = engine.atomic
    now = hands.now
    sent = [
        (key(item), item.condition, isinstance(item, Write) and (item.keep_created_at, item.erase))
        for item in items
    ]
    assert sent == [
        ("read", Exactly(versions["read"], now), False),
        ("none", Absent(), False),
        ("put", Exactly(versions["put"], now), (False, False)),
        ("replaced", Exactly(versions["replaced"], now), (True, False)),
        ("deleted", Exactly(versions["deleted"], now), (False, True)),
        ("blind", Newer(), (False, False)),
        ("gone", Newer(), (False, True)),
        ("created", Absent(), (False, False)),
        ("named", Exactly(versions["named"], now), (True, False)),
        ("away", Exactly(versions["away"], now), (False, True)),
        ("came", Absent(), False),
    ]
    assert {item.mark for item in items} == {Mark.LIVE}
    assert [document.key async for document in accounts.scan()] == sorted(
        ["read", "put", "replaced", "named", "blind", "created"]
    )


async def test_nothing_is_sent_for_nothing(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """A transaction that reads one document at most, and writes none, needs no commit."""
    await accounts.put("a", {})
    async with store.transaction():
        pass
    async with store.transaction() as tx:
        await tx.get(accounts, "a")
        await accounts.put("a", {})
    async with store.transaction() as tx:
        await tx.get(accounts, "none", default=None)
        tx.put(accounts, "none", {})
        tx.delete(accounts, "none")
    assert engine.atomic == []


async def test_several_reads_are_checked(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """That they belong together is known once the block is left; nothing is written."""
    await accounts.put_many({"a": {}, "b": {}})
    async with store.transaction() as tx:
        await tx.get_many(accounts, ["a", "b"])
    assert [[type(item) for item in items] for items in engine.atomic] == [[Check, Check]]


async def test_an_exception_discards_everything(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """It passes as it is, nothing is sent."""
    async with refused(store, ZeroDivisionError) as (tx, _):
        tx.put(accounts, "a", {})
        _ = 1 // 0
    assert engine.atomic == []


async def test_a_cancellation_discards_everything(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """It passes, nothing is sent."""
    waiting = asyncio.Event()

    async def work() -> None:
        async with store.transaction() as tx:
            tx.put(accounts, "a", {})
            waiting.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.atomic == []


async def test_a_commit_can_be_cancelled(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """The caller is let go at once."""
    waiting = asyncio.Event()

    async def wait() -> None:
        waiting.set()
        await asyncio.Event().wait()

    async def work() -> None:
        async with store.transaction() as tx:
            tx.put(accounts, "a", {})

    engine.before_atomic = wait
    task = asyncio.create_task(work())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_several_tasks_may_share_a_transaction(store: Store, accounts: Accounts) -> None:
    """Reads of one key at once give one document, though it changes between them."""
    await accounts.put("a", {"n": 0})
    async with refused(store, ConflictError) as (tx, _):

        async def later() -> Document[dict[str, Any]]:
            await accounts.put("a", {"n": 1})
            return await tx.get(accounts, "a")

        first, second = await asyncio.gather(tx.get(accounts, "a"), later())
        assert first == second
        assert first.value == {"n": 0}
        await tx.get(accounts, "b", default=None)


async def test_of_two_reads_under_way_the_first_to_end_counts(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """The other one gives the same document, whatever it has met."""
    await accounts.put("a", {"n": 0})
    gates = [asyncio.Event(), asyncio.Event()]
    waiting = asyncio.Event()

    async def wait() -> None:
        number = len(engine.reads) - 1
        if number == 1:
            waiting.set()
        await gates[number].wait()

    engine.after_read = wait
    async with store.transaction() as tx:
        old = asyncio.create_task(tx.get(accounts, "a"))
        await asyncio.sleep(0)
        await accounts.put("a", {"n": 1})
        new = asyncio.create_task(tx.get(accounts, "a"))
        await waiting.wait()
        gates[1].set()
        assert (await new).value == {"n": 1}
        gates[0].set()
        assert await old == await new
        tx.put(accounts, "b", {})
    assert engine.standing("b") is not None


async def test_a_write_overtakes_a_read_under_way(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """The read gives what was written, and does not hinder the commit."""
    await accounts.put("a", {"n": 0})
    gate = asyncio.Event()
    engine.after_read = gate.wait
    async with store.transaction() as tx:
        read = asyncio.create_task(tx.get(accounts, "a"))
        await asyncio.sleep(0)
        await accounts.put("a", {"n": 1})
        written = tx.put(accounts, "a", {"n": 2})
        gate.set()
        assert await read == written
    [[write]] = engine.atomic
    assert write.condition == Newer()


async def test_a_read_that_ends_after_the_block(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """Is told that the transaction is over: what it has met was never checked."""
    gate = asyncio.Event()
    engine.after_read = gate.wait
    async with store.transaction() as tx:
        read = asyncio.create_task(tx.get(accounts, "a", default=None))
        await asyncio.sleep(0)
    gate.set()
    with pytest.raises(ClosedError, match="is over"):
        await read


async def test_one_collection_in_several_types(store: Store, accounts: Accounts) -> None:
    """Each collection object gives the documents in its own type, written or read."""

    class Account(msgspec.Struct):
        n: int

    typed = store.collection("accounts", Account)
    await accounts.put("a", {"n": 1})
    async with store.transaction() as tx:
        assert (await tx.get(accounts, "a")).value == {"n": 1}
        assert (await tx.get(typed, "a")).value == Account(1)
        tx.put(typed, "a", Account(2))
        assert (await tx.get(accounts, "a")).value == {"n": 2}


async def test_a_document_that_cannot_be_read(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """Is told at every read of it; a put mends it."""
    await engine.poke("a", "{")
    async with store.transaction() as tx:
        for _ in range(2):
            with pytest.raises(CorruptRecordError) as caught:
                await tx.get(accounts, "a")
            assert where(caught.value) == PLACE
        tx.put(accounts, "a", {"n": 1})
    assert (await accounts.get("a")).value == {"n": 1}


# How large


async def test_a_transaction_touches_so_many_documents(engine: RecordingAdaptor) -> None:
    """The call that asks for one more is refused and the rest can be committed."""
    engine.most = 3
    async with Store(engine) as store:
        accounts, others = store.collection("accounts"), store.collection("others")
        async with store.transaction() as tx:
            tx.put(accounts, "a", {})
            tx.replace(accounts, "a", {})
            await tx.get(others, "a", default=None)
            with pytest.raises(UnsupportedError, match=r"at most 3 .*'memory://'"):
                await tx.get_many(accounts, ["a", "b", "c"])
            await tx.get_many(accounts, ["a", "b"])
            for one_more in (USES["get"], USES["put"], USES["create"], USES["delete"]):
                with pytest.raises(UnsupportedError, match="at most 3"):
                    await finish(one_more(tx, store.collection("more")))
            with pytest.raises(UnsupportedError, match="at most 3"):
                tx.replace(accounts, "c", {}, version=NEVER_THERE)
            tx.put(accounts, "b", {})
        assert [document.key async for document in accounts.scan()] == ["a", "b"]


async def test_reads_under_way_count(engine: RecordingAdaptor) -> None:
    """Of several reads at once, the one that would be too many is refused before it is sent."""
    engine.most = 2
    async with Store(engine) as store, store.transaction() as tx:
        engine.reads.clear()
        accounts = store.collection("accounts")
        reads = [tx.get(accounts, key, default=None) for key in "abc"]
        answers = await asyncio.gather(*reads, return_exceptions=True)
        assert answers[:2] == [None, None]
        assert isinstance(answers[2], UnsupportedError)
        assert sum(map(len, engine.reads)) == 2
