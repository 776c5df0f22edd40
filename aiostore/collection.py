"""The verbs: `Collection[T]`."""

import asyncio
import inspect
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from datetime import timedelta
from typing import Any, Generic, TypeVar, overload

from aiostore.channel import Channel
from aiostore.documents import Document, Mapper, Page
from aiostore.errors import (
    BatchError,
    ConflictError,
    CorruptRecordError,
    InvalidValueError,
    StoreError,
    UnsupportedError,
)
from aiostore.filters import Filter, Path
from aiostore.metering import metered
from aiostore.plans import Analysis, OrderBy, Plan, query
from aiostore.protocols import (
    Absent,
    Condition,
    Exactly,
    Mark,
    Newer,
    Outcome,
    Purge,
    Record,
    Write,
)
from aiostore.queries import LARGEST_PAGE, Answer

T = TypeVar("T")
D = TypeVar("D")

_MISSING: Any = object()
_KEPT: Any = object()
_UPDATE_ATTEMPTS = 100
_LONGEST_PAUSE = 0.1


class Collection(Generic[T]):
    """A named set of documents of one type; made by `Store.collection`.

    Every verb checks its arguments before anything is sent (`InvalidKeyError`,
    `InvalidValueError`, `TooLargeError`) and raises `ClosedError` if the store is not open. What
    the engine does not answer is sent again; if it stays away the verb raises `UnavailableError`:
    after a write it is then not known whether it took effect. A write that returns has taken
    effect.

    A document whose time to live (`ttl`) is over is absent at once, for every verb.

    A read sees every write that was acknowledged before it began. Verbs that only read can do
    without: with `consistent=False` the store may answer with an older state of a document, or as
    if there were none yet, where that is cheaper; usually by less than a second, but it may be from
    before a write of this very process. On a store where nothing is saved by it the answer is the
    latest all the same. One thing may lag behind on some stores without being asked to: what a
    query by an index leads to. `explain` tells (`Plan.may_lag`).
    """

    def __init__(self, channel: Channel, mapper: Mapper[T], indexes: tuple[Path, ...] = ()) -> None:
        self.name = mapper.collection
        self._channel = channel
        self._mapper = mapper
        self._indexes = indexes

    def __repr__(self) -> str:
        return f"<Collection {self.name!r} of {self._mapper.store}>"

    @overload
    async def get(self, key: str, *, consistent: bool = True) -> Document[T]: ...

    @overload
    async def get(self, key: str, *, default: D, consistent: bool = True) -> Document[T] | D: ...

    async def get(self, key: str, *, default: Any = _MISSING, consistent: bool = True) -> Any:
        """The document at `key`, or `default` if there is none.

        Args:
            key: the document's key.
            default: what to return if there is none.
            consistent: if false, it may be an older state; see `Collection`.

        Raises:
            NotFoundError: there is none, and no default was given.
        """
        document = self._mapper.document(await self._read(key, consistent=consistent))
        if document is not None:
            return document
        if default is _MISSING:
            raise self._mapper.not_found(key)
        return default

    async def create(self, key: str, value: T, *, ttl: timedelta | None = None) -> Document[T]:
        """Store a document where there is none; it expires after `ttl`, if that is given.

        Raises:
            AlreadyExistsError: there is one.
        """
        record = self._mapper.record(key, value, ttl=ttl)
        condition: Condition = Absent()
        while True:
            outcome = await self._apply(record, condition)
            if outcome.applied:
                return self._mapper.stored(outcome)
            standing = outcome.record
            if self._mapper.is_there(standing):
                raise self._mapper.already_exists(key, standing)
            condition = Absent() if standing is None else Exactly(standing.version)
            record = self._mapper.renewed(record, standing)

    async def put(self, key: str, value: T, *, ttl: timedelta | None = None) -> Document[T]:
        """Store a document, whatever was there; its `created_at` is new.

        It expires after `ttl`, or never. `replace` and `update` keep `created_at`, and notice a
        competing write.
        """
        record = self._mapper.record(key, value, ttl=ttl)
        while True:
            outcome = await self._apply(record, Newer())
            if outcome.applied:
                return self._mapper.stored(outcome)
            record = self._mapper.renewed(record, outcome.record)

    async def replace(
        self, key: str, value: T, *, version: str, ttl: timedelta | None = None
    ) -> Document[T]:
        """Store a new value in place of exactly this version; it expires after `ttl`, or never.

        Raises:
            ConflictError: another version stands there, in `current`.
            NotFoundError: there is no document.
        """
        version = self._mapper.checked_version(key, version)
        return await self._replace(self._mapper.record(key, value, ttl=ttl, after=version), version)

    async def update(
        self,
        key: str,
        change: Callable[[T], T | Awaitable[T]],
        *,
        ttl: timedelta | None = _KEPT,
    ) -> Document[T]:
        """Read, change and replace, again from the start if another write came between.

        Args:
            key: the document's key.
            change: gets the value (a copy) and returns the new one, or an awaitable of it. Called
                once for each attempt.
            ttl: when the document is to expire from now, None for never. If it is not given the
                document expires when it would have.

        Raises:
            NotFoundError: there is no document.
            ConflictError: 100 attempts met another write each.
        """
        for attempt in range(_UPDATE_ATTEMPTS):
            standing = await self._read(key)
            document = self._mapper.document(standing)
            if standing is None or document is None:
                raise self._mapper.not_found(key)
            changed = change(document.value)
            value: Any = await changed if inspect.isawaitable(changed) else changed
            if value is None:
                raise InvalidValueError(
                    "the change returned None: return the new value", **self._mapper.where(key)
                )
            record = self._mapper.record(
                key,
                value,
                ttl=None if ttl is _KEPT else ttl,
                expires_at=standing.expires_at if ttl is _KEPT else None,
                after=document.version,
            )
            try:
                return await self._replace(record, document.version)
            except ConflictError as error:
                conflict = error
            if attempt:
                await asyncio.sleep(_pause_after(attempt))
        raise conflict

    async def delete(
        self, key: str, *, version: str | None = None, missing_ok: bool = False
    ) -> None:
        """Remove the document.

        Args:
            key: its key.
            version: remove it only if this version stands there.
            missing_ok: do not mind if there is none.

        Raises:
            NotFoundError: there is none, unless `missing_ok`.
            ConflictError: another version stands there.
        """
        if version is not None:
            version = self._mapper.checked_version(key, version)
            await self._delete_exactly(key, version, missing_ok=missing_ok)
        elif missing_ok:
            tombstone = self._mapper.tombstone(key)
            while not (outcome := await self._apply(tombstone, Newer(), erase=True)).applied:
                tombstone = self._mapper.renewed(tombstone, outcome.record)
        else:
            await self._delete_whatever_stands(key)

    async def get_many(
        self, keys: Iterable[str], *, consistent: bool = True
    ) -> dict[str, Document[T]]:
        """The documents at `keys`, by key and in their order; missing ones are left out.

        Args:
            keys: the documents' keys, any number of them.
            consistent: if false, they may be older states; see `Collection`.
        """
        ids = list(dict.fromkeys(map(self._mapper.id, keys)))
        records = await self._channel.read(ids, consistent=consistent)
        documents = map(self._mapper.document, records)
        return {document.key: document for document in documents if document is not None}

    async def put_many(
        self, values: Mapping[str, T], *, ttl: timedelta | None = None
    ) -> dict[str, Document[T]]:
        """Put each value under its key; the documents stored, by key and in their order.

        Not one step: each put stands alone.

        Raises:
            BatchError: some could not be stored, or it is not known whether they were: `errors` by
                key; the others are `done`.
        """
        self._channel.check_open()
        records = [self._mapper.record(key, value, ttl=ttl) for key, value in values.items()]
        stored = await self._apply_newer(records, erase=False)
        return {key: self._mapper.stored(stored[key]) for key in values}

    async def delete_many(self, keys: Iterable[str]) -> None:
        """Remove the documents at `keys`, as far as there are any.

        Raises:
            BatchError: as for `put_many`.
        """
        self._channel.check_open()
        ids = dict.fromkeys(map(self._mapper.id, keys))
        await self._apply_newer([self._mapper.tombstone(id_.key) for id_ in ids], erase=True)

    def scan(
        self, *, prefix: str = "", start_after: str | None = None, consistent: bool = True
    ) -> AsyncGenerator[Document[T], None]:
        """All documents in the order of their keys (code points), in constant memory.

        Not a snapshot: a document that is there and unchanged from start to end comes exactly
        once; one that is written meanwhile at most once.

        Args:
            prefix: only keys that begin with it.
            start_after: only keys greater than it.
            consistent: if false, older states may come; see `Collection`.
        """
        self._check_bound(prefix)
        if start_after is not None:
            self._check_bound(start_after)
        return self._answer(None, prefix, (), consistent=consistent).documents(start_after)

    def find(
        self,
        where: Filter | None = None,
        *,
        prefix: str = "",
        order_by: OrderBy = (),
        limit: int | None = None,
        allow_scan: bool = True,
        consistent: bool = True,
    ) -> AsyncGenerator[Document[T], None]:
        """The documents that match, in the order of their keys unless another is asked for.

        Not a snapshot, as `scan`. Memory is constant, but with `order_by` it grows with `limit`,
        or without one with the answer.

        Args:
            where: a filter made of `F`, as in `F.age >= 18`; see `aiostore.filters`.
            prefix: only keys that begin with it.
            order_by: a field or several, as in `"-age"` or `F.age.desc()`; where those are equal
                documents come in the order of their keys. See `aiostore.filters.Order`.
            limit: at most so many.
            allow_scan: if false, a filter or an order that makes the store walk through documents
                that are no part of the answer is refused; `explain` tells.
            consistent: if false, the answer may rest on older states; see `Collection`.

        Raises:
            InvalidValueError: the filter, the order or the limit is none.
            UnsupportedError: it would scan and may not.
        """
        answer = self._answer(
            where, prefix, order_by, limit, allow_scan=allow_scan, consistent=consistent
        )
        return answer.documents()

    async def page(
        self,
        where: Filter | None = None,
        *,
        size: int = 50,
        cursor: str | None = None,
        prefix: str = "",
        order_by: OrderBy = (),
        allow_scan: bool = True,
        consistent: bool = True,
    ) -> Page[T]:
        """A part of what `find` answers, and the cursor of the next one.

        A cursor stands for a place in the order, not for a number: documents that are created or
        deleted meanwhile move no other to another page. It is good on every store that has the
        documents, for the same query, with any `size`. It holds the values that the query sorts
        by, as long as they are.

        Args:
            where: see `find`.
            size: how many documents, 1 to 1000.
            cursor: the `next_cursor` of the page before; None for the first page.
            prefix: see `find`.
            order_by: see `find`.
            allow_scan: see `find`.
            consistent: see `find`.

        Raises:
            InvalidValueError: the cursor is damaged or belongs to another query, or as for `find`.
            UnsupportedError: as for `find`.
        """
        _check_number(size, "a page's size", 1, LARGEST_PAGE)
        answer = self._answer(
            where, prefix, order_by, size, allow_scan=allow_scan, consistent=consistent
        )
        return await answer.page(size, cursor)

    async def count(
        self,
        where: Filter | None = None,
        *,
        prefix: str = "",
        allow_scan: bool = True,
        consistent: bool = True,
    ) -> int:
        """How many documents there are, or match; arguments and errors as for `find`.

        Without a filter and a prefix it is exact, and `consistent` makes no difference.
        """
        if where is None and prefix == "":
            return await self._channel.count(self.name, self._mapper.clock.now())
        answer = self._answer(where, prefix, (), allow_scan=allow_scan, consistent=consistent)
        return await answer.count()

    def explain(
        self,
        where: Filter | None = None,
        *,
        prefix: str = "",
        order_by: OrderBy = (),
        limit: int | None = None,
    ) -> Plan:
        """How this store would answer `find` with these arguments; nothing is sent.

        For `page`, the limit is its size. Indexes are told as if they were made already.
        """
        return self._answer(where, prefix, order_by, limit).plan

    async def analyze(
        self,
        where: Filter | None = None,
        *,
        prefix: str = "",
        order_by: OrderBy = (),
        limit: int | None = None,
        consistent: bool = True,
    ) -> Analysis:
        """Answer `find` with these arguments, and tell how, and what that took: EXPLAIN ANALYZE.

        The documents are thrown away. Errors as for `find`.
        """
        answer = self._answer(where, prefix, order_by, limit, consistent=consistent)
        documents = 0
        began = time.perf_counter()
        with metered() as usage:
            async with aclosing(answer.documents()) as found:
                async for _ in found:
                    documents += 1
        return Analysis(answer.plan, documents, time.perf_counter() - began, usage)

    async def ensure_indexes(self) -> None:
        """Make the indexes that the collection declares, and wait until they are in use.

        For a moment when time does not matter, such as a deployment. Without it they begin to be
        made in the background at the first query with a filter or an order; that query does not
        wait for them, nor does any, and if one fails the logger `aiostore` is told once. On a store
        without indexes nothing is done.

        Raises:
            StoreError: one could not be made; the next call tries again.
        """
        await self._channel.ensure_indexes(self.name, self._indexes)

    async def clear(self) -> int:
        """Remove everything for good; returns how many records that were.

        A document that is written meanwhile may stay.
        """
        return await self._channel.purge(Purge(self.name, everything=True))

    async def purge_expired(self) -> int:
        """Free the room that expired documents take; returns how many were removed.

        They are absent since they have expired, whether or not this is ever called. A document
        that is written afresh meanwhile stays. A store in the midst of a migration puts it off.
        """
        # Expired is what expires at this moment, too.
        return await self._channel.purge(
            Purge(self.name, expired_before=self._mapper.clock.now() + 1)
        )

    async def _read(self, key: str, *, consistent: bool = True) -> Record | None:
        id_ = self._mapper.id(key)
        with self._mapper.located(key):
            [record] = await self._channel.read([id_], consistent=consistent)
        return record

    async def _replace(self, record: Record, version: str) -> Document[T]:
        condition = Exactly(version, unexpired_at=record.updated_at)
        outcome = await self._apply(record, condition, keep_created_at=True)
        if not outcome.applied:
            raise self._mapper.refusal(record.id.key, version, outcome.record)
        return self._mapper.stored(outcome)

    async def _delete_whatever_stands(self, key: str) -> None:
        while True:
            document = await self.get(key)
            with suppress(ConflictError):  # another write came between: read it again
                return await self._delete_exactly(key, document.version, missing_ok=False)

    async def _delete_exactly(self, key: str, version: str, *, missing_ok: bool) -> None:
        tombstone = self._mapper.tombstone(key, after=version)
        condition = Exactly(version, unexpired_at=tombstone.updated_at)
        outcome = await self._apply(tombstone, condition, erase=True)
        if not outcome.applied and not (missing_ok and not self._mapper.is_there(outcome.record)):
            raise self._mapper.refusal(key, version, outcome.record)

    async def _apply(
        self,
        record: Record,
        condition: Condition,
        *,
        keep_created_at: bool = False,
        erase: bool = False,
    ) -> Outcome:
        write = Write(record, condition, Mark.LIVE, keep_created_at, erase)
        with self._mapper.located(record.id.key):
            return await self._channel.write(write)

    async def _apply_newer(self, records: list[Record], *, erase: bool) -> dict[str, Outcome]:
        """Put every record; one that a larger version refused again, with a version past it."""
        applied: dict[str, Outcome] = {}
        errors: dict[str, StoreError] = {}
        while records:
            sent, records = records, []
            writes = [Write(record, Newer(), Mark.LIVE, erase=erase) for record in sent]
            for record, answer in zip(sent, await self._channel.write_many(writes), strict=True):
                if isinstance(answer, StoreError):
                    errors[record.id.key] = answer
                elif answer.applied:
                    applied[record.id.key] = answer
                else:
                    try:
                        records.append(self._mapper.renewed(record, answer.record))
                    except CorruptRecordError as error:
                        errors[record.id.key] = error
        if errors:
            first = next(iter(errors.values()))
            raise BatchError(
                f"{len(errors)} of {len(errors) + len(applied)} failed; the first: {first}",
                errors=errors,
                done={key: self._mapper.document(o.record) for key, o in applied.items()},
                store=self._mapper.store,
                collection=self.name,
            ) from first
        return applied

    def _answer(
        self,
        where: Filter | None,
        prefix: str,
        order_by: OrderBy,
        limit: int | None = None,
        *,
        allow_scan: bool = True,
        consistent: bool = True,
    ) -> Answer[T]:
        if limit is not None:
            _check_number(limit, "a limit", 0, None)
        asked = query(where, self._check_bound(prefix), order_by)
        return Answer(
            self._channel,
            self._mapper,
            asked,
            self._indexes,
            limit,
            allow_scan=allow_scan,
            consistent=consistent,
        )

    def _check_bound(self, bound: str) -> str:
        """A prefix, or a key to start after, which may be empty."""
        if bound != "":
            self._mapper.id(bound)
        return bound


def mapper_of(collection: Collection[T], channel: Channel) -> Mapper[T]:
    """The collection's mapper, for what works on several collections of one store.

    Raises:
        UnsupportedError: the collection is not of the store behind `channel`.
    """
    if collection._channel is not channel:  # noqa: SLF001  # both are of this module
        raise UnsupportedError(
            f"{collection!r} is another store's, and a transaction stays within one: make the "
            "collection with the same store",
            store=channel.adaptor.name,
        )
    return collection._mapper  # noqa: SLF001  # likewise


def _check_number(number: object, what: str, least: int, most: int | None) -> None:
    if type(number) is not int or number < least or (most is not None and number > most):
        bounds = f"{least} or more" if most is None else f"{least} to {most}"
        raise InvalidValueError(f"{what} is a whole number, {bounds}, not {number!r:.40}")


def _pause_after(attempt: int) -> float:
    longest = min(0.001 * 2**attempt, _LONGEST_PAUSE)
    return random.uniform(0, longest)  # noqa: S311  # jitter is no secret
