"""Errors are of the declared kind, and say where they happened."""

from collections.abc import Awaitable, Callable

from aiostore.errors import (
    AlreadyExistsError,
    ConfigurationError,
    ConflictError,
    CorruptRecordError,
    InvalidKeyError,
    InvalidValueError,
    NotFoundError,
    StoreError,
    TooLargeError,
    UnavailableError,
)
from aiostore.limits import PORTABLE
from aiostore.protocols import Newer, Write
from aiostore.testing.check import check
from aiostore.testing.expectations import CheckFailedError, expect, expect_equal, expect_error
from aiostore.testing.harness import Harness
from aiostore.testing.records import record, standing_at, write_all


@check()
async def check_refusals_say_where(harness: Harness) -> None:
    """Every refusal is of its declared kind, and names the store, the collection and the key."""
    async with harness.store() as store:
        name = harness.collection()
        documents = store.collection(name)
        there = await documents.create("there", {"n": 1})
        newer = await documents.replace("there", {"n": 2}, version=there.version)
        stale = there.version
        large = {"a": "x" * (PORTABLE.body_bytes or 0)}
        bad = {"a": float("nan")}
        refusals: list[tuple[type[StoreError], str | None, Callable[[], Awaitable[object]]]] = [
            (NotFoundError, "missing", lambda: documents.get("missing")),
            (NotFoundError, "missing", lambda: documents.delete("missing")),
            (NotFoundError, "missing", lambda: documents.replace("missing", {}, version=stale)),
            (NotFoundError, "missing", lambda: documents.update("missing", dict)),
            (AlreadyExistsError, "there", lambda: documents.create("there", {})),
            (ConflictError, "there", lambda: documents.replace("there", {}, version=stale)),
            (ConflictError, "there", lambda: documents.delete("there", version=stale)),
            (InvalidValueError, "there", lambda: documents.put("there", bad)),
            (TooLargeError, "there", lambda: documents.put("there", large)),
            (InvalidKeyError, None, lambda: documents.put("", {})),
        ]
        for kind, key, call in refusals:
            with expect_error(kind, f"a refusal that concerns {key}") as caught:
                await call()
            where = (caught.error.store, caught.error.collection, caught.error.key)
            expect_equal(where, (store.name, name, key), f"where {caught.error} happened")
            current = getattr(caught.error, "current", newer)
            expect_equal(current, newer, f"the document that {caught.error} met")


@check(needs=("unusable",))
async def check_unusable_place(harness: Harness) -> None:
    """A place where no store can be raises `ConfigurationError`, and closing it is no error."""
    adaptor = harness.unusable()
    for _ in range(2):
        with expect_error(ConfigurationError, "the place is unusable") as caught:
            await adaptor.open()
        expect_equal(caught.error.store, adaptor.name, "the store that the error names")
        await adaptor.aclose()


@check(needs=("damage",))
async def check_damage_is_told(harness: Harness) -> None:
    """A record that cannot be read raises `CorruptRecordError` that names it; others are read."""
    name = harness.collection()
    async with harness.adaptor() as adaptor:
        damaged, sound = (record(name, key, 1) for key in ("damaged", "sound"))
        await write_all(adaptor, [damaged, sound])
    async with harness.damage(damaged.id), harness.store() as store:
        documents = store.collection(name)
        with expect_error(CorruptRecordError, "the record is damaged") as caught:
            await documents.get("damaged")
        where = (caught.error.store, caught.error.collection, caught.error.key)
        expect_equal(where, (store.name, name, "damaged"), f"where {caught.error} happened")
        expect_equal((await documents.get("sound")).value, {"a": 1}, "the one beside it")


@check(needs=("outage",))
async def check_outage_is_told(harness: Harness) -> None:
    """A write to an engine that does not answer raises `UnavailableError`, and leaves no part."""
    collection = harness.collection()
    old = [record(collection, f"k{number}", 1) for number in range(3)]
    new = [record(collection, one.id.key, 2) for one in old]
    async with harness.adaptor() as adaptor:
        await write_all(adaptor, old)
    async with harness.outage() as adaptor:
        with expect_error(UnavailableError, "the engine does not answer") as caught:
            await adaptor.write([Write(one, Newer()) for one in new])
        expect_equal(caught.error.store, adaptor.name, "the store that the error names")
    async with harness.adaptor() as adaptor:
        for before, after in zip(old, new, strict=True):
            stands = await standing_at(adaptor, before.id)
            expect(stands in (before, after), f"{stands} is neither old nor new")


@check()
async def check_every_error_is_a_store_error(harness: Harness) -> None:
    """Whatever a caller passes to a verb, what it gets is an error of the library's tree."""
    async with harness.store() as store:
        documents = store.collection(harness.collection())
        strange: list[object] = [None, 7, b"k", object(), ["k"], {"k": 1}, float("nan")]
        for argument in strange:
            await _expect_refusal(documents.get(argument), argument)  # type: ignore[call-overload]  # that is the point
            await _expect_refusal(documents.put(argument, {}), argument)  # type: ignore[arg-type]  # likewise
            await _expect_refusal(documents.delete(argument), argument)  # type: ignore[arg-type]  # likewise
            await _expect_refusal(documents.get_many([argument]), argument)  # type: ignore[list-item]  # likewise
            replaced = documents.replace("k", {}, version=argument)  # type: ignore[arg-type]  # likewise
            await _expect_refusal(replaced, argument)


async def _expect_refusal(call: Awaitable[object], argument: object) -> None:
    try:
        await call
    except StoreError:
        return
    raise CheckFailedError(f"broken: {argument!r:.40} is refused\nactual:   no error")
