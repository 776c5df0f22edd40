"""Documents that live for a time: absent at once when it is over, whoever looks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from aiostore.collection import Collection
from aiostore.errors import InvalidValueError, NotFoundError
from aiostore.filters import F
from aiostore.testing.check import check
from aiostore.testing.clock import ManualClock
from aiostore.testing.expectations import expect, expect_equal, expect_error
from aiostore.testing.harness import Harness
from aiostore.versions import VersionClock

_HOUR = timedelta(hours=1)
_MICROSECOND = timedelta(microseconds=1)


@check()
async def check_moment(harness: Harness) -> None:
    """A document tells when it expires, its time to live after it was written, and is there until.

    To the microsecond: at the moment itself it is gone.
    """
    async with _timed(harness) as (documents, clock):
        moment = _present(clock) + _HOUR
        created = await documents.create("k", {"n": 1}, ttl=_HOUR)
        expect_equal(created.expires_at, moment, "when it expires")
        clock.advance(_HOUR - _MICROSECOND)
        expect_equal(await documents.get("k"), created, "the document, a moment before")
        clock.advance(_MICROSECOND)
        expect_equal(await documents.get("k", default=None), None, "the document, at the moment")
        never = await documents.put("k", {"n": 2})
        expect_equal(never.expires_at, None, "when a document without a time to live expires")
        clock.advance(timedelta(days=9999))
        expect_equal(await documents.get("k"), never, "a document that never expires")


@check()
async def check_reading(harness: Harness) -> None:
    """What has expired is absent from every verb that reads, at once."""
    async with _timed(harness) as (documents, clock):
        await documents.put_many({"a": {"n": 1}, "c": {"n": 3}}, ttl=_HOUR)
        stays = await documents.put("b", {"n": 2}, ttl=3 * _HOUR)
        expect_equal(await documents.count(), 3, "the number before")
        clock.advance(2 * _HOUR)
        with expect_error(NotFoundError, "it has expired"):
            await documents.get("a")
        expect_equal(await documents.get_many(["a", "b", "c"]), {"b": stays}, "get_many")
        expect_equal([one async for one in documents.scan()], [stays], "scan")
        expect_equal([one async for one in documents.find()], [stays], "find")
        found = [one async for one in documents.find(F.n >= 1, order_by="-n")]
        expect_equal(found, [stays], "find, by a filter and in an order")
        expect_equal((await documents.page()).documents, [stays], "page")
        expect_equal(await documents.count(), 1, "count")
        expect_equal(await documents.count(F.n >= 1), 1, "count of what matches")


@check()
async def check_create(harness: Harness) -> None:
    """`create` works over a document that has expired, as if there had never been one."""
    async with _timed(harness) as (documents, clock):
        for ttl in (None, _HOUR):
            gone = await documents.put("k", {"n": 1}, ttl=_HOUR)
            clock.advance(2 * _HOUR)
            created = await documents.create("k", {"n": 2}, ttl=ttl)
            expect_equal(await documents.get("k"), created, "the document created anew")
            expect_equal(created.created_at, _present(clock), "when it was created")
            expect(created.version > gone.version, "versions grow")


@check()
async def check_refusals(harness: Harness) -> None:
    """To replace, update or delete what has expired is refused: there is no such document."""
    async with _timed(harness) as (documents, clock):
        gone = await documents.put("k", {"n": 1}, ttl=_HOUR)
        clock.advance(2 * _HOUR)
        for _ in range(2):
            with expect_error(NotFoundError, "replace"):
                await documents.replace("k", {"n": 2}, version=gone.version)
            with expect_error(NotFoundError, "update"):
                await documents.update("k", lambda value: value)
            with expect_error(NotFoundError, "delete"):
                await documents.delete("k")
            with expect_error(NotFoundError, "delete of its version"):
                await documents.delete("k", version=gone.version)
        await documents.delete("k", version=gone.version, missing_ok=True)
        await documents.delete("k", missing_ok=True)
        expect_equal(await documents.get("k", default=None), None, "the document")


@check()
async def check_update(harness: Harness) -> None:
    """`update` keeps the expiry that stands, unless it is told another, or none."""
    async with _timed(harness) as (documents, clock):
        created = await documents.create("k", {"n": 1}, ttl=3 * _HOUR)
        clock.advance(_HOUR)
        for arguments, expires_at in (
            ({}, created.expires_at),
            ({"ttl": 9 * _HOUR}, _present(clock) + 9 * _HOUR),
            ({}, _present(clock) + 9 * _HOUR),
            ({"ttl": 2 * _HOUR}, _present(clock) + 2 * _HOUR),
            ({"ttl": None}, None),
            ({}, None),
            ({"ttl": _HOUR}, _present(clock) + _HOUR),
        ):
            updated = await documents.update("k", lambda value: value, **arguments)
            expect_equal(updated.expires_at, expires_at, f"after update with {arguments}")
            expect_equal(await documents.get("k"), updated, "the document")


@check()
async def check_overwriting(harness: Harness) -> None:
    """`put` and `replace` begin anew: with a time to live of their own, or without end."""
    async with _timed(harness) as (documents, clock):
        for ttl, expires_at in ((None, None), (2 * _HOUR, _present(clock) + 2 * _HOUR)):
            first = await documents.put("k", {"n": 1}, ttl=_HOUR)
            second = await documents.replace("k", {"n": 2}, version=first.version, ttl=ttl)
            expect_equal(second.expires_at, expires_at, "when what was replaced expires")
            third = await documents.put("k", {"n": 3}, ttl=ttl)
            expect_equal(third.expires_at, expires_at, "when what was put expires")
            expect_equal(await documents.get("k"), third, "the document")
        clock.advance(_HOUR)
        expect_equal(await documents.get("k"), third, "the document, when the first would be gone")


@check()
async def check_bad_times_to_live(harness: Harness) -> None:
    """A time to live is a positive `timedelta`; anything else is refused, nothing is stored."""
    async with _timed(harness) as (documents, _):
        bad: list[Any] = [timedelta(0), -_HOUR, 60, 1.5, "1h", datetime.now(UTC)]
        for ttl in bad:
            for verb in (documents.create, documents.put):
                with expect_error(InvalidValueError, f"a time to live of {ttl!r} is refused"):
                    await verb("k", {}, ttl=ttl)
        expect_equal([one async for one in documents.scan()], [], "what was stored")


@check(needs=("purges",))
async def check_purge(harness: Harness) -> None:
    """`purge_expired` removes what has expired, in all collections, and nothing else."""
    clock = ManualClock()
    async with harness.store(VersionClock(clock)) as store:
        one, other = (store.collection(harness.collection()) for _ in range(2))
        for documents in (one, other):
            await documents.put_many({"a": {}, "b": {}}, ttl=_HOUR)
            await documents.put("c", {}, ttl=3 * _HOUR)
            await documents.put("d", {})
        expect_equal(await one.purge_expired(), 0, "the number removed while all are alive")
        clock.advance(_HOUR)
        expect_equal(await one.purge_expired(), 2, "the number removed from one collection")
        expect_equal(await one.purge_expired(), 0, "the number removed again")
        await store.purge_expired()
        expect_equal(await other.purge_expired(), 0, "the number left in the other")
        for documents in (one, other):
            left = [document.key async for document in documents.scan()]
            expect_equal(left, ["c", "d"], "what is left")


@asynccontextmanager
async def _timed(
    harness: Harness,
) -> AsyncIterator[tuple[Collection[dict[str, Any]], ManualClock]]:
    """A collection, and the clock that it goes by."""
    clock = ManualClock()
    async with harness.store(VersionClock(clock)) as store:
        yield store.collection(harness.collection()), clock


def _present(clock: ManualClock) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + clock() * _MICROSECOND
