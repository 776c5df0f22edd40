import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.collection import Collection
from aiostore.documents import Document
from aiostore.errors import (
    AlreadyExistsError,
    BatchError,
    ConflictError,
    CorruptRecordError,
    InvalidKeyError,
    InvalidValueError,
    NotFoundError,
    StoreError,
    TooLargeError,
    UnavailableError,
)
from aiostore.protocols import Capabilities, DocumentId, Newer, Outcome, Record, Write
from aiostore.store import Store
from aiostore.testing import ManualClock
from aiostore.versions import VersionClock

PRESENT = datetime(2026, 1, 1, tzinfo=UTC)
MICROSECONDS = int(PRESENT.timestamp()) * 1_000_000
DAY = 24 * 60 * 60 * 1_000_000
NEVER_THERE = "0" * 32
Users = Collection[dict[str, Any]]


class Engine(MemoryAdaptor):
    """Memory that takes two at a time, and lets a test in before a write or make it fail."""

    def __init__(self) -> None:
        super().__init__()
        self.before_write: Callable[[Write], object] = lambda _: None
        self.batches: list[int] = []

    @property
    def capabilities(self) -> Capabilities:
        return msgspec.structs.replace(super().capabilities, max_batch=2)

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        self.batches.append(len(ids))
        return await super().read(ids, consistent=consistent)

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        self.batches.append(len(writes))
        for write in writes:
            self.before_write(write)
        return await super().write(writes)

    async def poke(
        self,
        key: str,
        body: str | None = "{}",
        *,
        ahead: int = 0,
        expires_at: int | None = None,
        version: str = "",
    ) -> str:
        """Leave a record there as another process would, and its version."""
        made = version or VersionClock(lambda: MICROSECONDS + ahead).next()
        record = Record(DocumentId("users", key), body, made, 1, 2, expires_at)
        [outcome] = await MemoryAdaptor.write(self, [Write(record, Newer())])
        assert outcome.applied
        return made


@pytest.fixture
def engine() -> Engine:
    """What lies below the collection."""
    return Engine()


@pytest.fixture
def hands() -> ManualClock:
    """The time."""
    return ManualClock(MICROSECONDS)


@pytest.fixture
async def store(engine: Engine, hands: ManualClock) -> AsyncIterator[Store]:
    """A store that is open."""
    async with Store(engine, clock=VersionClock(hands)) as opened:
        engine.batches.clear()
        yield opened


@pytest.fixture
def users(store: Store) -> Users:
    """An empty collection."""
    return store.collection("users")


def where(error: StoreError) -> tuple[str | None, ...]:
    """What an error tells of the place."""
    return error.store, error.collection, error.key


ALICE = ("memory://", "users", "alice")


async def test_what_is_put_is_got(users: Users) -> None:
    """A document has its key, value, version and dates; reading it gives the same."""
    document = await users.put("alice", {"age": 1})
    assert document == Document("alice", {"age": 1}, document.version, PRESENT, PRESENT, None)
    assert await users.get("alice") == document


async def test_a_document_is_a_copy(users: Users) -> None:
    """Changing a value, given or got, changes nothing in the store."""
    value = {"tags": ["a"]}
    document = await users.put("alice", value)
    value["tags"].append("b")
    document.value["tags"].append("c")
    assert (await users.get("alice")).value == {"tags": ["a"]}


async def test_a_falsy_document_is_there(users: Users) -> None:
    """An empty document is a document."""
    await users.put("alice", {})
    assert (await users.get("alice", default=None)) is not None


async def test_a_missing_document(users: Users) -> None:
    """`get` raises `NotFoundError`, or returns the default, whatever that is."""
    with pytest.raises(NotFoundError) as caught:
        await users.get("alice")
    assert where(caught.value) == ALICE
    assert await users.get("alice", default=None) is None
    assert await users.get("alice", default=0) == 0


async def test_create_stores_a_new_document(users: Users) -> None:
    """Where there is none."""
    document = await users.create("alice", {"age": 1})
    assert await users.get("alice") == document


async def test_create_refuses_what_is_there(users: Users) -> None:
    """`AlreadyExistsError` holds the document that stands there, which stays."""
    standing = await users.put("alice", {"age": 1})
    with pytest.raises(AlreadyExistsError) as caught:
        await users.create("alice", {"age": 2})
    assert caught.value.current == standing
    assert where(caught.value) == ALICE
    assert await users.get("alice") == standing


@pytest.mark.parametrize("ahead", [-DAY, 0, 10 * DAY])
@pytest.mark.parametrize(
    "gone", [{"body": None}, {"expires_at": MICROSECONDS}, {"expires_at": 1}], ids=str
)
async def test_create_takes_the_place_of_what_is_gone(
    users: Users, engine: Engine, gone: dict[str, Any], ahead: int
) -> None:
    """A tombstone or an expired document does not hinder, whatever its version."""
    version = await engine.poke("alice", ahead=ahead, **gone)
    document = await users.create("alice", {"age": 1})
    assert document.version > version
    assert document.created_at == PRESENT
    assert await users.get("alice") == document


async def test_create_notices_a_competing_create(users: Users, engine: Engine) -> None:
    """Where a tombstone stood, the first of two takes its place and the second is refused."""
    await engine.poke("alice", None)
    first, second = await asyncio.gather(
        users.create("alice", {"n": 1}), users.create("alice", {"n": 2}), return_exceptions=True
    )
    assert isinstance(first, Document)
    assert isinstance(second, AlreadyExistsError)


async def test_create_goes_on_when_what_was_gone_is_removed(users: Users, engine: Engine) -> None:
    """A purge between the two attempts of a create does not fail it."""
    await engine.poke("alice", None)

    def purge(write: Write) -> None:
        if not isinstance(write.condition, Newer) and len(engine.batches) == 2:
            engine._collections["users"].clear()

    engine.before_write = purge
    await users.create("alice", {"age": 1})
    assert engine.batches == [1, 1, 1]


async def test_put_overwrites(users: Users, hands: ManualClock) -> None:
    """Whatever was there: the version and both dates are new."""
    first = await users.put("alice", {"age": 1})
    hands.now += DAY
    second = await users.put("alice", {"age": 2})
    assert second.version > first.version
    assert second.created_at == second.updated_at > first.updated_at


@pytest.mark.parametrize("ahead", [DAY // 2, 400 * DAY])
@pytest.mark.parametrize("body", ["{}", None])
async def test_put_never_fails_for_clock_skew(
    users: Users, engine: Engine, ahead: int, body: str | None
) -> None:
    """A version of another writer's clock, however far ahead, is overwritten by one past it."""
    version = await engine.poke("alice", body, ahead=ahead)
    documents = [await users.put("alice", {"n": n}) for n in range(3)]
    assert version < documents[0].version < documents[1].version < documents[2].version
    assert await users.get("alice") == documents[2]


@pytest.mark.parametrize("version", ["zzz", "f" * 12 + "7fff" + "b" + "f" * 15])
async def test_a_version_that_none_can_follow_is_told(
    users: Users, engine: Engine, version: str
) -> None:
    """A record with what is no version is damaged: put, create and delete say so and end."""
    await engine.poke("alice", None, version=version)
    for verb in (
        users.put("alice", {}),
        users.create("alice", {}),
        users.delete("alice", missing_ok=True),
    ):
        with pytest.raises(CorruptRecordError, match="stands there as a version") as caught:
            await verb
        assert where(caught.value) == ALICE
    with pytest.raises(BatchError) as batch:
        await users.put_many({"alice": {}, "bob": {}})
    assert list(batch.value.errors) == ["alice"]
    assert list(batch.value.done) == ["bob"]


async def test_replace_takes_the_place_of_its_version(users: Users, hands: ManualClock) -> None:
    """The value and the date of change are new, the date of creation stays."""
    first = await users.put("alice", {"age": 1})
    hands.now += DAY
    second = await users.replace("alice", {"age": 2}, version=first.version)
    assert second.version > first.version
    assert second.created_at == first.created_at < second.updated_at
    assert await users.get("alice") == second


async def test_replace_refuses_another_version(users: Users) -> None:
    """`ConflictError` holds what stands there, which stays; the loser can go on from it."""
    first = await users.put("alice", {"age": 1})
    second = await users.put("alice", {"age": 2})
    with pytest.raises(ConflictError, match=first.version) as caught:
        await users.replace("alice", {"age": 3}, version=first.version)
    assert caught.value.current == second
    assert where(caught.value) == ALICE
    assert await users.get("alice") == second
    await users.replace("alice", {"age": 3}, version=caught.value.current.version)


async def test_an_old_version_does_not_come_back(users: Users) -> None:
    """A document deleted and made again is another one to who knows the first (ABA)."""
    first = await users.create("alice", {"age": 1})
    await users.delete("alice")
    await users.create("alice", {"age": 1})
    with pytest.raises(ConflictError):
        await users.replace("alice", {"age": 2}, version=first.version)


@pytest.mark.parametrize(
    ("gone", "knows_version"),
    [
        (None, False),
        ({"body": None}, False),
        ({"expires_at": MICROSECONDS}, False),
        ({"expires_at": MICROSECONDS}, True),
    ],
)
async def test_what_is_gone_is_not_found(
    users: Users, engine: Engine, gone: dict[str, Any] | None, *, knows_version: bool
) -> None:
    """To replace, update, delete and get alike, deleted and expired are as never written."""
    standing = NEVER_THERE if gone is None else await engine.poke("alice", **gone)
    version = standing if knows_version else NEVER_THERE
    verbs: list[Callable[[], Awaitable[object]]] = [
        lambda: users.get("alice"),
        lambda: users.replace("alice", {}, version=version),
        lambda: users.update("alice", dict),
        lambda: users.delete("alice"),
        lambda: users.delete("alice", version=version),
    ]
    for verb in verbs:
        with pytest.raises(NotFoundError) as caught:
            await verb()
        assert where(caught.value) == ALICE
    await users.delete("alice", version=version, missing_ok=True)
    assert await users.get_many(["alice"]) == {}
    assert [document async for document in users.scan()] == []


async def test_a_document_expires_at_its_moment(
    users: Users, engine: Engine, hands: ManualClock
) -> None:
    """It is there until a microsecond before, and gone from then on."""
    await engine.poke("alice", expires_at=MICROSECONDS + 5)
    hands.now += 4
    document = await users.get("alice")
    assert document.expires_at is not None
    assert document.expires_at > document.updated_at
    hands.now += 1
    assert await users.get("alice", default=None) is None


@pytest.mark.parametrize("version", ["", "x", "ä", "x" * 10_000, '"', "W/1"])
async def test_a_text_that_is_no_version_stands_nowhere(users: Users, version: str) -> None:
    """What a client sends as a version is only compared."""
    await users.put("alice", {})
    with pytest.raises(ConflictError):
        await users.replace("alice", {}, version=version)
    with pytest.raises(ConflictError):
        await users.delete("alice", version=version)


@pytest.mark.parametrize("version", [5, b"x", "a\0", "\ud800"])
async def test_a_version_that_cannot_be_compared_is_refused(users: Users, version: Any) -> None:
    """What not every store can compare alike, or is no text, is told with the place."""
    await users.put("alice", {})
    for verb in (
        users.replace("alice", {}, version=version),
        users.delete("alice", version=version),
    ):
        with pytest.raises(InvalidValueError, match="version") as caught:
            await verb
        assert where(caught.value) == ALICE
    with pytest.raises(InvalidValueError, match="version"):
        await users.replace("alice", {}, version=None)  # type: ignore[arg-type]


async def test_update_changes_what_it_read(users: Users) -> None:
    """The change gets a copy of the value and returns the new one."""
    first = await users.put("alice", {"age": 1})
    document = await users.update("alice", lambda user: user | {"age": user["age"] + 1})
    assert document.value == {"age": 2}
    assert document.created_at == first.created_at
    assert await users.get("alice") == document


async def test_a_change_may_be_awaited(users: Users) -> None:
    """A coroutine function is a change too."""

    async def grow(user: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        return user | {"age": user["age"] + 1}

    await users.put("alice", {"age": 1})
    assert (await users.update("alice", grow)).value == {"age": 2}


async def test_updates_in_parallel_are_all_counted(users: Users) -> None:
    """Every one of many contending updates takes effect exactly once."""

    async def increment(user: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"n": user["n"] + 1}

    await users.put("alice", {"n": 0})
    await asyncio.gather(*(users.update("alice", increment) for _ in range(8)))
    assert (await users.get("alice")).value == {"n": 8}


async def test_an_update_gives_up_in_the_end(
    users: Users, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When each of 100 attempts met another write, the last conflict is raised."""
    await users.put("alice", {"n": 0})
    attempts = 0

    async def beaten(user: dict[str, Any]) -> dict[str, Any]:
        nonlocal attempts
        attempts += 1
        await users.put("alice", {"n": attempts})
        return user

    monkeypatch.setattr("aiostore.collection._LONGEST_PAUSE", 0)
    with pytest.raises(ConflictError) as caught:
        await users.update("alice", beaten)
    assert attempts == 100
    assert caught.value.current.value == {"n": 100}


async def test_a_change_that_fails_changes_nothing(users: Users) -> None:
    """Its error passes; one that returns None by oversight is told."""
    document = await users.put("alice", {"n": 1})
    with pytest.raises(ZeroDivisionError):
        await users.update("alice", lambda user: {"n": user["n"] // 0})
    with pytest.raises(InvalidValueError, match="returned None") as caught:
        await users.update("alice", lambda user: user.clear())  # type: ignore[arg-type,return-value]
    assert where(caught.value) == ALICE
    assert await users.get("alice") == document


@pytest.mark.parametrize("named", [True, False], ids=["its version", "whatever stands"])
@pytest.mark.parametrize("missing_ok", [True, False])
async def test_delete_removes(users: Users, *, named: bool, missing_ok: bool) -> None:
    """The document is gone, by its version or whatever stands there."""
    document = await users.put("alice", {})
    version = document.version if named else None
    await users.delete("alice", version=version, missing_ok=missing_ok)
    assert await users.get("alice", default=None) is None


@pytest.mark.parametrize("missing_ok", [True, False])
async def test_delete_refuses_another_version(users: Users, *, missing_ok: bool) -> None:
    """Also with `missing_ok`: the document is there."""
    standing = await users.put("alice", {})
    with pytest.raises(ConflictError) as caught:
        await users.delete("alice", version=NEVER_THERE, missing_ok=missing_ok)
    assert caught.value.current == standing
    assert await users.get("alice") == standing


@pytest.mark.parametrize("ahead", [0, 400 * DAY])
async def test_delete_minds_a_missing_document_or_not(
    users: Users, engine: Engine, ahead: int
) -> None:
    """`NotFoundError`, unless `missing_ok`; a version far ahead is no hindrance."""
    with pytest.raises(NotFoundError):
        await users.delete("alice")
    await users.delete("alice", missing_ok=True)
    await engine.poke("alice", ahead=ahead)
    await users.delete("alice", missing_ok=True)
    assert await users.get("alice", default=None) is None


async def test_delete_without_a_version_does_not_conflict(users: Users, engine: Engine) -> None:
    """A write that comes between its reading and its removing is removed as well."""
    await users.put("alice", {"n": 1})
    later = Record(DocumentId("users", "alice"), "{}", VersionClock().next(), 1, 2)

    def interfere(_: Write) -> None:
        engine.before_write = lambda _: None
        engine._collections["users"]["alice"] = later

    engine.before_write = interfere
    await users.delete("alice")
    assert await users.get("alice", default=None) is None


async def test_many_are_read_in_batches(users: Users, engine: Engine) -> None:
    """By key, in the order asked for, each once, missing ones left out."""
    await users.put_many({key: {"key": key} for key in "abcde"})
    engine.batches.clear()
    documents = await users.get_many(iter("ecaxe"))
    assert list(documents) == ["e", "c", "a"]
    assert documents["c"].value == {"key": "c"}
    assert engine.batches == [2, 2]
    assert await users.get_many([]) == {}


async def test_many_are_put_in_batches(users: Users, engine: Engine) -> None:
    """Each under its key, in the order given; those that a larger version refused as well."""
    far = await engine.poke("c", ahead=400 * DAY)
    documents = await users.put_many({key: {"key": key} for key in "edcba"})
    assert list(documents) == list("edcba")
    assert documents["c"].version > far
    assert engine.batches == [2, 2, 1, 1]
    assert await users.get_many("edcba") == documents
    assert await users.put_many({}) == {}


async def test_many_are_deleted_in_batches(users: Users, engine: Engine) -> None:
    """As far as they are there, each once."""
    await users.put_many({key: {} for key in "abcd"})
    await engine.poke("e", ahead=400 * DAY)
    await users.delete_many(iter("aaxce"))
    assert [document.key async for document in users.scan()] == ["b", "d"]


def no_answer_for(key: str) -> Callable[[Write], None]:
    """Makes the engine fail when this key is written."""

    def before_write(write: Write) -> None:
        if write.record.id.key == key:
            raise UnavailableError("does not answer")

    return before_write


async def test_a_failed_batch_tells_what_is_done(users: Users, engine: Engine) -> None:
    """`errors` by key and the documents that took effect, be they of the same batch."""
    engine.before_write = no_answer_for("c")
    with pytest.raises(BatchError, match=r"1 of 5 failed; the first: does not answer") as caught:
        await users.put_many({key: {"key": key} for key in "abcde"})
    error = caught.value
    assert where(error) == ("memory://", "users", None)
    assert list(error.errors) == ["c"]
    assert isinstance(error.errors["c"], UnavailableError)
    assert error.done == await users.get_many("abcde")
    assert list(error.done) == ["a", "b", "d", "e"]


async def test_a_failed_batch_of_deletes_tells_what_is_done(users: Users, engine: Engine) -> None:
    """As for puts, with nothing left to tell of those that are gone."""
    await users.put_many({key: {} for key in "abc"})
    engine.before_write = no_answer_for("c")
    with pytest.raises(BatchError) as caught:
        await users.delete_many("abc")
    assert list(caught.value.errors) == ["c"]
    assert caught.value.done == {"a": None, "b": None}


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"a": {}, "": {}}, InvalidKeyError),
        ({"a": {}, "b": {"n": 2**63}}, InvalidValueError),
        ({"a": {}, "b": {"text": "x" * 400_000}}, TooLargeError),
    ],
)
async def test_nothing_of_a_wrong_batch_is_sent(
    users: Users, engine: Engine, values: dict[str, Any], error: type[StoreError]
) -> None:
    """Keys and values are checked before the first is written."""
    with pytest.raises(error):
        await users.put_many(values)
    assert engine.batches == []


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        ({}, ["Z", "eu/1", "eu/2", "eu0", "\U0001f600"]),
        ({"prefix": "eu/"}, ["eu/1", "eu/2"]),
        ({"prefix": "eu/", "start_after": "eu/1"}, ["eu/2"]),
        ({"prefix": "eu/", "start_after": "Z"}, ["eu/1", "eu/2"]),
        ({"start_after": ""}, ["Z", "eu/1", "eu/2", "eu0", "\U0001f600"]),
        ({"start_after": "eu/15"}, ["eu/2", "eu0", "\U0001f600"]),
        ({"prefix": "zz"}, []),
    ],
)
async def test_a_scan_is_in_order(users: Users, arguments: dict[str, Any], keys: list[str]) -> None:
    """By code point, within a prefix, after a key."""
    await users.put_many({key: {} for key in ("eu0", "eu/2", "\U0001f600", "Z", "eu/1")})
    assert [document.key async for document in users.scan(**arguments)] == keys


async def test_a_scan_can_be_left(users: Users) -> None:
    """Closing it early releases everything."""
    await users.put_many({str(number): {} for number in range(10)})
    async with aclosing(users.scan()) as documents:
        async for document in documents:
            assert document.key == "0"
            break


KEYED: dict[str, Callable[[Users, Any], Any]] = {
    "get": lambda users, key: users.get(key),
    "create": lambda users, key: users.create(key, {}),
    "put": lambda users, key: users.put(key, {}),
    "replace": lambda users, key: users.replace(key, {}, version="1"),
    "update": lambda users, key: users.update(key, dict),
    "delete": lambda users, key: users.delete(key),
    "delete exactly": lambda users, key: users.delete(key, version="1"),
    "get_many": lambda users, key: users.get_many([key]),
    "put_many": lambda users, key: users.put_many({key: {}}),
    "delete_many": lambda users, key: users.delete_many([key]),
    "scan prefix": lambda users, key: anext(users.scan(prefix=key)),
    "scan after": lambda users, key: anext(users.scan(start_after=key)),
}


@pytest.mark.parametrize("verb", KEYED.values(), ids=KEYED)
@pytest.mark.parametrize("key", ["\0", "\ud800", "x" * 513, 5, ("a",)])
async def test_a_wrong_key_is_refused(
    users: Users, engine: Engine, verb: Callable[[Users, Any], Any], key: object
) -> None:
    """Every verb checks it before anything is sent, and the error names the place."""
    with pytest.raises(InvalidKeyError, match="key") as caught:
        await verb(users, key)
    assert where(caught.value) == ("memory://", "users", None)
    assert engine.batches == []


@pytest.mark.parametrize("verb", ["get", "put", "get_many", "delete_many"])
async def test_keys_that_cannot_even_be_compared_are_refused(users: Users, verb: str) -> None:
    """A list is no key, rather than a `TypeError` from within."""
    if verb == "put":
        with pytest.raises(InvalidKeyError):
            await users.put([], {})  # type: ignore[arg-type]
    else:
        with pytest.raises(InvalidKeyError):
            await KEYED[verb](users, [])


@pytest.mark.parametrize("verb", ["create", "put", "replace"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        ([], InvalidValueError),
        ({"n": 2**63}, InvalidValueError),
        ({"x": "x" * 400_000}, TooLargeError),
    ],
)
async def test_a_wrong_value_is_refused(
    users: Users, engine: Engine, verb: str, value: Any, error: type[StoreError]
) -> None:
    """Before anything is sent, and the error names the place."""
    version = {"version": "1"} if verb == "replace" else {}
    with pytest.raises(error) as caught:
        await getattr(users, verb)("alice", value, **version)
    assert where(caught.value) == ALICE
    assert engine.batches == []


@dataclasses.dataclass
class Dataclass:
    name: str
    age: int = 0


class Struct(msgspec.Struct):
    name: str
    age: int = 0


class Model(pydantic.BaseModel):
    name: str
    age: int = 0


class Dict(TypedDict):
    name: str
    age: int


@pytest.mark.parametrize("type_", [dict, Dataclass, Struct, Model, Dict])
async def test_typed_documents(store: Store, type_: type[Any]) -> None:
    """Every verb takes and returns values of the collection's type."""
    people = store.collection("people", type_)
    ada = type_(name="Ada", age=36)
    created = await people.create("ada", ada)
    put = await people.put("ada", ada)
    replaced = await people.replace("ada", ada, version=put.version)
    updated = await people.update("ada", lambda value: value)
    many = await people.put_many({"ada": ada})
    got = await people.get_many(["ada"])
    [scanned] = [document async for document in people.scan()]
    for document in (created, put, replaced, updated, many["ada"], got["ada"], scanned):
        assert document.value == ada
        assert type(document.value) is type(ada)
    with pytest.raises(InvalidValueError) as caught:
        await people.put("bob", {"name": float("nan")})
    assert where(caught.value) == ("memory://", "people", "bob")


@pytest.mark.parametrize("type_", [Dataclass, Struct, Model, Dict])
async def test_a_document_of_another_type_is_told(store: Store, type_: type[Any]) -> None:
    """What was written untyped and does not fit is a `CorruptRecordError` that names the place."""
    await store.collection("people").put("bob", {"age": "old"})
    with pytest.raises(CorruptRecordError, match="does not fit") as caught:
        await store.collection("people", type_).get("bob")
    assert where(caught.value) == ("memory://", "people", "bob")


async def test_an_adaptor_that_answers_nothing_is_told() -> None:
    """A write acknowledged without its record is the adaptor's fault, and said to be."""

    class Mute(MemoryAdaptor):
        async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
            return [Outcome(applied=True, record=None) for _ in writes]

    async with Store(Mute()) as store:
        with pytest.raises(StoreError, match="returned no record"):
            await store.collection("users").put("alice", {})
