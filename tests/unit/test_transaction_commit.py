import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import stamina
from recording import DAY, HOUR, NOW, RecordingAdaptor, refused
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from aiostore.collection import Collection
from aiostore.documents import Document
from aiostore.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidValueError,
    MigrationError,
    NotFoundError,
    StoreError,
    UnavailableError,
)
from aiostore.protocols import Absent, Check, Exactly, Mark, Write
from aiostore.store import Store
from aiostore.testing import ManualClock
from aiostore.transaction import Transaction
from aiostore.versions import VersionClock

MINUTE = timedelta(minutes=1)
NEVER_THERE = "0" * 32
PLACE = ("memory://", "accounts", "a")
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
        yield opened


@pytest.fixture
def accounts(store: Store) -> Accounts:
    """An empty collection."""
    return store.collection("accounts")


@pytest.fixture
def hurry() -> Iterator[None]:
    """`run` pauses for no time at all, and tries five times."""
    with stamina.set_testing(True, attempts=5):
        yield


def where(error: StoreError) -> tuple[str | None, ...]:
    """What an error tells of the place."""
    return error.store, error.collection, error.key


# What refuses a commit

Base = Callable[[Transaction, Accounts, str], Awaitable[object] | object]
BASES: dict[str, Base] = {
    "read": lambda tx, accounts, _: tx.get(accounts, "a"),
    "read and put": lambda tx, accounts, _: put_what_was_read(tx, accounts),
    "read and deleted": lambda tx, accounts, _: delete_what_was_read(tx, accounts),
}


async def put_what_was_read(tx: Transaction, accounts: Accounts) -> None:
    """Read it and put it."""
    await tx.get(accounts, "a")
    tx.put(accounts, "a", {})


async def delete_what_was_read(tx: Transaction, accounts: Accounts) -> None:
    """Read it and remove it."""
    await tx.get(accounts, "a")
    tx.delete(accounts, "a")


async def recreate(accounts: Accounts, _: ManualClock) -> None:
    """Remove it, and store the same again."""
    await accounts.delete("a")
    await accounts.create("a", {"n": 0})


MOVES: dict[str, Callable[[Accounts, ManualClock], Awaitable[object] | None]] = {
    "put": lambda accounts, _: accounts.put("a", {"n": 1}),
    "update": lambda accounts, _: accounts.update("a", lambda value: value),
    "delete": lambda accounts, _: accounts.delete("a"),
    "delete and create": recreate,
    "expiry": lambda _, hands: setattr(hands, "now", NOW + HOUR),
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
async def test_what_was_read_must_not_change(
    *,
    base: Base,
    move: Callable[[Accounts, ManualClock], Awaitable[object] | None],
    store: Store,
    accounts: Accounts,
    engine: RecordingAdaptor,
    hands: ManualClock,
) -> None:
    """Nor be re-created, nor expire: nothing is written then, and the error has what stands."""
    document = await accounts.put("a", {"n": 0}, ttl=MINUTE)
    async with refused(store, ConflictError) as (tx, caught):
        done = base(tx, accounts, document.version)
        if isinstance(done, Awaitable):
            await done
        tx.put(accounts, "b", {})
        moved = move(accounts, hands)
        if moved is not None:
            await moved
    assert caught.match("begin the transaction again")
    assert where(caught.value) == PLACE
    assert caught.value.current == await accounts.get("a", default=None)
    assert engine.standing("b") is None


@pytest.mark.parametrize("writes", [False, True])
async def test_what_was_missing_must_stay_so(
    *, writes: bool, store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """A document created meanwhile is a conflict, also where this transaction creates it."""
    async with refused(store, ConflictError) as (tx, caught):
        await tx.get(accounts, "a", default=None)
        if writes:
            tx.create(accounts, "a", {})
        tx.put(accounts, "b", {})
        await accounts.create("a", {"n": 1})
    assert caught.value.current == await accounts.get("a")
    assert engine.standing("b") is None


async def test_what_comes_and_goes_meanwhile_does_not_matter(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """A document that was and is missing is no conflict, whatever has remained of it."""
    await engine.poke("expired", ahead=-HOUR, expires_at=NOW)
    async with store.transaction() as tx:
        await tx.get_many(accounts, ["a", "b", "expired"])
        tx.create(accounts, "b", {"n": 1})
        await engine.poke("a", None, ahead=-HOUR)
        await engine.poke("b", expires_at=NOW, ahead=-HOUR)
        await accounts.purge_expired()
        await engine.poke("b", None, ahead=-HOUR)
    assert (await accounts.get("b")).value == {"n": 1}
    assert len(engine.atomic) == 2


async def test_the_first_that_has_changed_is_named(store: Store, accounts: Accounts) -> None:
    """In the order in which the transaction touched them, though others have changed too."""
    await accounts.put_many({"z": {}, "a": {}, "m": {}})
    async with refused(store, ConflictError) as (tx, caught):
        for key in ("m", "z", "a"):
            await tx.get(accounts, key)
        await accounts.put_many({"a": {}, "z": {}})
    assert caught.value.key == "z"


@pytest.mark.parametrize("deletes", [False, True])
async def test_a_creation_that_meets_a_document(
    *, deletes: bool, store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """Is told so at the commit if it was not read; also if it was to be removed again."""
    standing = await accounts.create("a", {"n": 1})
    async with refused(store, AlreadyExistsError) as (tx, caught):
        tx.create(accounts, "a", {})
        if deletes:
            tx.delete(accounts, "a")
        tx.put(accounts, "b", {})
    assert caught.value.current == standing
    assert where(caught.value) == PLACE
    assert engine.standing("b") is None


@pytest.mark.parametrize("body", [None, "{}"])
async def test_a_creation_over_a_dead_record(
    body: str | None, store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """Is no conflict: the commit is sent again with the version that stands there."""
    await engine.poke("a", body, ahead=-HOUR, expires_at=NOW)
    async with store.transaction() as tx:
        created = tx.create(accounts, "a", {"n": 1})
        tx.put(accounts, "b", {})
    assert await accounts.get("a") == created
    assert engine.standing("b") is not None
    assert len(engine.atomic) == 2


async def test_a_creation_over_ever_new_dead_records(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """Each time it is sent again it expects the version that refused it before."""
    versions: list[str] = []

    async def create_and_delete() -> None:
        if len(versions) < 3:
            versions.append(await engine.poke("a", None, ahead=len(versions) * HOUR - DAY))

    engine.before_atomic = create_and_delete
    async with store.transaction() as tx:
        created = tx.create(accounts, "a", {})
    assert await accounts.get("a") == created
    conditions = [item.condition for [item] in engine.atomic]
    assert conditions == [Absent(), *map(Exactly, versions)]


async def test_a_creation_over_a_dead_record_from_the_future(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """Would make versions go backwards: a conflict, and the next transaction is past it."""
    await engine.poke("a", None, ahead=HOUR)
    async with refused(store, ConflictError) as (tx, caught):
        tx.create(accounts, "a", {})
    assert caught.value.current is None
    async with store.transaction() as tx:
        created = tx.create(accounts, "a", {})
    assert await accounts.get("a") == created


async def test_conflicts_come_first(store: Store, accounts: Accounts) -> None:
    """Where what was read has changed, a document that was to be created may be a consequence."""
    await accounts.put("b", {})
    async with refused(store, ConflictError) as (tx, caught):
        tx.create(accounts, "a", {})
        await tx.get(accounts, "b")
        await accounts.put_many({"a": {}, "b": {}})
    assert caught.value.key == "b"


NAMED: dict[str, Callable[[Transaction, Accounts, str], object]] = {
    "replace": lambda tx, accounts, version: tx.replace(accounts, "a", {}, version=version),
    "delete": lambda tx, accounts, version: tx.delete(accounts, "a", version=version),
}


@pytest.mark.parametrize("write", NAMED.values(), ids=NAMED)
async def test_a_version_that_does_not_stand_there(
    write: Callable[[Transaction, Accounts, str], object],
    store: Store,
    accounts: Accounts,
    hands: ManualClock,
) -> None:
    """Is told as by a collection: a conflict if another one does, else there is no document."""
    first = await accounts.put("a", {}, ttl=MINUTE)
    hands.now += HOUR
    async with refused(store, NotFoundError) as (tx, expired):
        write(tx, accounts, first.version)
    assert where(expired.value) == PLACE
    second = await accounts.put("a", {})
    async with refused(store, ConflictError) as (tx, conflict):
        write(tx, accounts, first.version)
    assert conflict.value.current == second
    await accounts.delete("a")
    async with refused(store, NotFoundError) as (tx, missing):
        write(tx, accounts, second.version)
    assert where(missing.value) == PLACE


async def test_a_version_to_be_removed_if_it_is_there(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """With `missing_ok` it may be gone, and then must not come back until the commit."""
    await engine.poke("dead", None)
    other = await accounts.put("a", {})
    async with store.transaction() as tx:
        for key in ("none", "dead"):
            tx.delete(accounts, key, version=NEVER_THERE, missing_ok=True)
            tx.delete(accounts, key, version=NEVER_THERE, missing_ok=True)
        tx.put(accounts, "b", {})
    assert [type(item) for item in engine.atomic[-1]] == [Check, Check, Write]
    async with refused(store, ConflictError) as (tx, caught):
        tx.delete(accounts, "a", version=NEVER_THERE, missing_ok=True)
    assert caught.value.current == other
    async with store.transaction() as tx:
        tx.delete(accounts, "a", version=other.version, missing_ok=True)
    assert await accounts.get("a", default=None) is None


async def test_a_removal_that_was_not_needed_is_checked(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """A document created just after it was found missing is a conflict."""

    async def create() -> None:
        if len(engine.atomic) == 2:
            await accounts.create("a", {})

    engine.before_atomic = create
    async with refused(store, ConflictError) as (tx, caught):
        tx.delete(accounts, "a", version=NEVER_THERE, missing_ok=True)
        tx.put(accounts, "b", {})
    assert caught.value.current == await accounts.get("a")


async def test_a_removal_and_a_creation(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """Over a version that is gone, a document removed and created is created."""
    async with store.transaction() as tx:
        tx.delete(accounts, "a", version=NEVER_THERE, missing_ok=True)
        created = tx.create(accounts, "a", {"n": 1})
    assert await accounts.get("a") == created
    await engine.poke("b", None, ahead=HOUR)
    async with refused(store, ConflictError) as (tx, _):
        tx.delete(accounts, "b", version=NEVER_THERE, missing_ok=True)
        tx.create(accounts, "b", {"n": 1})


BLIND: dict[str, Callable[[Transaction, Accounts], object]] = {
    "put": lambda tx, accounts: tx.put(accounts, "a", {}),
    "create": lambda tx, accounts: tx.create(accounts, "a", {}),
    "delete": lambda tx, accounts: tx.delete(accounts, "a", missing_ok=True),
}


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize("ahead", [HOUR, 2 * DAY])
@pytest.mark.parametrize("blind", BLIND.values(), ids=BLIND)
async def test_a_version_from_the_future(
    blind: Callable[[Transaction, Accounts], object],
    ahead: int,
    store: Store,
    accounts: Accounts,
    engine: RecordingAdaptor,
) -> None:
    """A write of what was not read conflicts with it once; `run` then writes past it."""
    dead = blind is BLIND["create"]
    future = await engine.poke("a", None if dead else '{"n":1}', ahead=ahead)
    async with refused(store, ConflictError) as (tx, caught):
        blind(tx, accounts)
    assert caught.value.current == await accounts.get("a", default=None)
    engine.atomic.clear()

    async def work(tx: Transaction) -> None:
        blind(tx, accounts)

    await store.run(work)
    assert len(engine.atomic) <= 3
    document = await accounts.get("a", default=None)
    assert document is None or document.version > future


async def test_a_read_leads_past_the_future(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """What is written after a read has a version past what was read, whoever's clock is ahead."""
    future = await engine.poke("a", ahead=2 * DAY)
    async with store.transaction() as tx:
        await tx.get(accounts, "a")
        assert tx.put(accounts, "a", {}).version > future


async def test_an_unanswered_commit(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """Is not tried again by `run`: it may have taken effect."""
    calls = []

    async def silence() -> None:
        raise UnavailableError("does not answer")

    async def work(tx: Transaction) -> None:
        calls.append(tx)
        tx.put(accounts, "a", {})

    engine.before_atomic = silence
    with pytest.raises(UnavailableError):
        await store.run(work)
    assert len(calls) == 1


async def test_a_read_that_fails_leaves_the_transaction_usable(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """The error passes with its place; the document counts as neither read nor written."""

    async def silence() -> None:
        raise UnavailableError("does not answer")

    async with store.transaction() as tx:
        engine.after_read = silence
        with pytest.raises(UnavailableError) as caught:
            await tx.get(accounts, "a")
        engine.after_read = None
        await accounts.put("a", {})
        tx.put(accounts, "b", {})
    assert where(caught.value) == PLACE
    assert [type(item) for item in engine.atomic[0]] == [Write]


async def test_a_document_in_the_hands_of_a_migration(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """Is neither read nor written by a plain store's transaction."""
    await engine.poke("a", mark=Mark.MOVED, ahead=-HOUR)
    async with refused(store, MigrationError) as (tx, _):
        await tx.get(accounts, "a")
    async with refused(store, MigrationError) as (tx, _):
        tx.put(accounts, "a", {})


# run


async def test_run_returns_what_the_function_returns(store: Store, accounts: Accounts) -> None:
    """Once its transaction is committed."""

    async def deposit(tx: Transaction) -> Document[dict[str, Any]]:
        return tx.create(accounts, "a", {"n": 1})

    assert await store.run(deposit) == await accounts.get("a")


@pytest.mark.usefixtures("hurry")
async def test_run_begins_again(store: Store, accounts: Accounts) -> None:
    """After a conflict the function gets a new transaction, which sees what stands there now."""
    await accounts.put("a", {"n": 0})
    seen = []

    async def add(tx: Transaction) -> None:
        document = await tx.get(accounts, "a")
        seen.append((document.value["n"], tx))
        if document.value["n"] < 20:
            await accounts.put("a", {"n": document.value["n"] + 10})
        tx.replace(accounts, "a", {"n": document.value["n"] + 1})

    await store.run(add)
    assert [number for number, _ in seen] == [0, 10, 20]
    assert len({id(tx) for _, tx in seen}) == 3
    assert (await accounts.get("a")).value == {"n": 21}


@pytest.mark.usefixtures("hurry")
async def test_run_begins_again_after_any_conflict(store: Store, accounts: Accounts) -> None:
    """Also one that the function itself raises, or meets at a call."""
    first = await accounts.put("a", {})
    versions = [NEVER_THERE, first.version]

    async def replace(tx: Transaction) -> None:
        await tx.get(accounts, "a")
        tx.replace(accounts, "a", {"n": 1}, version=versions.pop(0))

    await store.run(replace)
    assert (await accounts.get("a")).value == {"n": 1}


@pytest.fixture
def waits() -> Iterator[list[float]]:
    """The pauses of `run`, as they are begun, in seconds."""
    lengths: list[float] = []

    def remember(details: RetryDetails) -> None:
        lengths.append(details.wait_for)

    set_on_retry_hooks([remember])
    yield lengths
    set_on_retry_hooks(None)


async def test_run_gives_up(store: Store, accounts: Accounts, waits: list[float]) -> None:
    """After so many attempts the last conflict is raised; pauses are random and grow."""
    raised = []

    async def never(tx: Transaction) -> None:
        raised.append(ConflictError("again", current=None))
        raise raised[-1]

    with pytest.raises(ConflictError) as caught:
        await store.run(never, attempts=4)
    assert caught.value is raised[-1]
    assert len(raised) == 4
    assert len(set(waits)) == 3
    longest = (0.005, 0.01, 0.02)
    assert [max(*pair) for pair in zip(waits, longest, strict=True)] == list(longest)
    assert min(waits) >= 0


async def test_one_attempt_is_one_attempt(store: Store, accounts: Accounts) -> None:
    """With `attempts=1` nothing is tried again."""
    calls = []

    async def never(tx: Transaction) -> None:
        calls.append(tx)
        raise ConflictError("again", current=None)

    with pytest.raises(ConflictError):
        await store.run(never, attempts=1)
    assert len(calls) == 1


@pytest.mark.parametrize("attempts", [0, -1, True, 1.0, None, "3"])
async def test_attempts_are_a_number(attempts: Any, store: Store) -> None:
    """One or more; told before anything is called."""

    async def never(_: Transaction) -> None:
        raise AssertionError

    with pytest.raises(InvalidValueError, match="attempts are a whole number"):
        await store.run(never, attempts=attempts)


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), NotFoundError("none"), AlreadyExistsError("one", current=None)]
)
async def test_run_lets_other_errors_pass(error: Exception, store: Store) -> None:
    """They are the function's own; it is called once."""
    calls = []

    async def fail(tx: Transaction) -> None:
        calls.append(tx)
        raise error

    with pytest.raises(type(error)) as caught:
        await store.run(fail)
    assert caught.value is error
    assert len(calls) == 1


async def test_run_does_not_repeat_a_creation(store: Store, accounts: Accounts) -> None:
    """One that met a document at the commit would meet it again."""
    await accounts.create("a", {})
    calls = []

    async def create(tx: Transaction) -> None:
        calls.append(tx)
        tx.create(accounts, "a", {})

    with pytest.raises(AlreadyExistsError):
        await store.run(create)
    assert len(calls) == 1


async def test_run_can_be_cancelled(
    store: Store, accounts: Accounts, engine: RecordingAdaptor
) -> None:
    """Within the function cancellation passes, and nothing is written."""
    waiting = asyncio.Event()

    async def wait(tx: Transaction) -> None:
        tx.put(accounts, "a", {})
        waiting.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.run(wait))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.atomic == []
