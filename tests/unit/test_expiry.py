from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.collection import Collection
from aiostore.documents import Document
from aiostore.errors import AlreadyExistsError, InvalidValueError, NotFoundError
from aiostore.protocols import DocumentId, Exactly, Write
from aiostore.store import Store
from aiostore.testing import ManualClock
from aiostore.versions import VersionClock

Sessions = Collection[dict[str, Any]]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def moment(hands: ManualClock) -> datetime:
    """What the hands show."""
    return EPOCH + hands() * MICROSECOND


@pytest.fixture
def hands() -> ManualClock:
    """The time."""
    return ManualClock()


@pytest.fixture
async def store(hands: ManualClock) -> AsyncIterator[Store]:
    """A store that goes by that time."""
    async with Store(MemoryAdaptor(), clock=VersionClock(hands)) as opened:
        yield opened


@pytest.fixture
def sessions(store: Store) -> Sessions:
    """An empty collection."""
    return store.collection("sessions")


async def stored_by(verb: str, sessions: Sessions, ttl: timedelta) -> Document[dict[str, Any]]:
    """A document that a verb has given a time to live."""
    match verb:
        case "create":
            return await sessions.create("k", {"n": 1}, ttl=ttl)
        case "put":
            return await sessions.put("k", {"n": 1}, ttl=ttl)
        case "put_many":
            return (await sessions.put_many({"k": {"n": 1}}, ttl=ttl))["k"]
        case "replace":
            first = await sessions.create("k", {"n": 0})
            return await sessions.replace("k", {"n": 1}, version=first.version, ttl=ttl)
        case _:
            await sessions.create("k", {"n": 0})
            return await sessions.update("k", lambda _: {"n": 1}, ttl=ttl)


@pytest.mark.parametrize("verb", ["create", "put", "put_many", "replace", "update"])
async def test_a_time_to_live_ends_at_its_moment(
    sessions: Sessions, hands: ManualClock, verb: str
) -> None:
    """The document says when, is there until then, and is absent from that moment on."""
    document = await stored_by(verb, sessions, MINUTE)
    assert document.expires_at == moment(hands) + MINUTE
    hands.advance(MINUTE - MICROSECOND)
    assert await sessions.get("k") == document
    hands.advance(MICROSECOND)
    assert await sessions.get("k", default=None) is None


async def test_expired_is_absent_for_every_verb(sessions: Sessions, hands: ManualClock) -> None:
    """Reading, replacing, updating, deleting, walking through and counting."""
    document = await sessions.put("k", {"n": 1}, ttl=MINUTE)
    hands.advance(MINUTE)
    with pytest.raises(NotFoundError):
        await sessions.get("k")
    with pytest.raises(NotFoundError):
        await sessions.replace("k", {}, version=document.version)
    with pytest.raises(NotFoundError):
        await sessions.update("k", dict)
    for version in (None, document.version):
        with pytest.raises(NotFoundError):
            await sessions.delete("k", version=version)
    assert await sessions.get_many(["k"]) == {}
    assert [one async for one in sessions.scan()] == []
    assert [one async for one in sessions.find()] == []
    assert (await sessions.page()).documents == []
    assert await sessions.count() == 0


async def test_create_works_over_an_expired_document(
    sessions: Sessions, hands: ManualClock
) -> None:
    """As if there were none, and not before."""
    first = await sessions.put("k", {"n": 1}, ttl=MINUTE)
    with pytest.raises(AlreadyExistsError):
        await sessions.create("k", {"n": 2})
    hands.advance(MINUTE)
    second = await sessions.create("k", {"n": 2}, ttl=2 * MINUTE)
    assert second.version > first.version
    assert second.created_at == moment(hands)
    assert second.expires_at == moment(hands) + 2 * MINUTE
    assert await sessions.get("k") == second


async def test_put_and_replace_without_a_time_to_live_never_expire(
    sessions: Sessions, hands: ManualClock
) -> None:
    """Whatever stood there had."""
    await sessions.put("put", {"n": 1}, ttl=MINUTE)
    await sessions.put("put", {"n": 2})
    first = await sessions.put("replaced", {"n": 1}, ttl=MINUTE)
    await sessions.replace("replaced", {"n": 2}, version=first.version)
    hands.advance(timedelta(days=1000))
    for key in ("put", "replaced"):
        assert (await sessions.get(key)).expires_at is None


async def test_update_keeps_the_moment_unless_told(sessions: Sessions, hands: ManualClock) -> None:
    """A new one counts from now; None is for ever."""
    first = await sessions.put("k", {"n": 1}, ttl=MINUTE)
    hands.advance(MINUTE / 2)
    assert (await sessions.update("k", dict)).expires_at == first.expires_at
    assert (await sessions.update("k", dict, ttl=MINUTE)).expires_at == moment(hands) + MINUTE
    assert (await sessions.update("k", dict, ttl=None)).expires_at is None


@pytest.mark.parametrize(
    "ttl",
    [60, 1.5, "60", timedelta(0), -MINUTE, timedelta(microseconds=0.4), timedelta.max, True],
)
async def test_a_time_to_live_is_a_span_that_a_date_can_hold(sessions: Sessions, ttl: Any) -> None:
    """Anything else is refused before anything is sent."""
    for write in (sessions.put("k", {}, ttl=ttl), sessions.create("k", {}, ttl=ttl)):
        with pytest.raises(InvalidValueError, match="a time to live is") as caught:
            await write
        assert caught.value.key == "k"
    assert await sessions.count() == 0


async def test_purging_removes_what_has_expired(
    store: Store, sessions: Sessions, hands: ManualClock
) -> None:
    """At this moment and before, in one collection or all; nothing else."""
    others = store.collection("others")
    for collection in (sessions, others):
        await collection.put("past", {}, ttl=MINUTE)
        await collection.put("now", {}, ttl=2 * MINUTE)
        await collection.put("later", {}, ttl=2 * MINUTE + MICROSECOND)
        await collection.put("never", {})
    assert await sessions.purge_expired() == 0
    hands.advance(2 * MINUTE)
    assert await sessions.purge_expired() == 2
    assert await store.purge_expired() == 2
    assert [one.key async for one in others.scan()] == ["later", "never"]
    assert await store.adaptor.count("others") == 2


async def test_purging_removes_old_tombstones(
    store: Store, sessions: Sessions, hands: ManualClock
) -> None:
    """What a migration has left of deleted documents goes a day later."""
    document = await sessions.create("deleted", {})
    [record] = await store.adaptor.read([DocumentId("sessions", "deleted")])
    assert record is not None
    tombstone = replace(record, body=None, updated_at=hands())
    await store.adaptor.write([Write(tombstone, Exactly(document.version))])
    hands.advance(DAY)
    assert await sessions.purge_expired() == 0
    hands.advance(MICROSECOND)
    assert await sessions.purge_expired() == 1
    assert await store.adaptor.count("sessions") == 0


async def test_clearing_removes_everything(
    store: Store, sessions: Sessions, hands: ManualClock
) -> None:
    """The expired too; other collections stay."""
    await sessions.put_many({"a": {}, "b": {}})
    await sessions.put("expired", {}, ttl=MINUTE)
    await store.collection("others").put("a", {})
    hands.advance(MINUTE)
    assert await sessions.clear() == 3
    assert await sessions.clear() == 0
    assert await store.collections() == ["others"]
