"""The verbs: `Collection[T]`, those that write; those that only read are in `aiostore.reading`."""

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from aiostore.channel import Channel
from aiostore.documents import Document, Mapper
from aiostore.errors import (
    BatchError,
    ConflictError,
    CorruptRecordError,
    InvalidValueError,
    StoreError,
    UnsupportedError,
)
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
from aiostore.reading import Reading

T = TypeVar("T")

_KEPT: Any = object()
_UPDATE_ATTEMPTS = 100
_LONGEST_PAUSE = 0.1
_A_DAY = 24 * 60 * 60 * 1_000_000


class Collection(Reading[T]):
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

    def __repr__(self) -> str:
        return f"<Collection {self.name!r} of {self._mapper.store}>"

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
        that is written afresh meanwhile stays. So does the room go, and is counted, that a finished
        migration has left to what was deleted during it, a day later. A store in the midst of a
        migration puts it off.
        """
        now = self._mapper.clock.now()
        # Expired is what expires at this moment, too.
        return await self._channel.purge(
            Purge(self.name, expired_before=now + 1, deleted_before=now - _A_DAY)
        )

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

    def _apply(
        self,
        record: Record,
        condition: Condition,
        *,
        keep_created_at: bool = False,
        erase: bool = False,
    ) -> Coroutine[Any, Any, Outcome]:
        return self._channel.write(Write(record, condition, Mark.LIVE, keep_created_at, erase))

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


def _pause_after(attempt: int) -> float:
    longest = min(0.001 * 2**attempt, _LONGEST_PAUSE)
    return random.uniform(0, longest)  # noqa: S311  # jitter is no secret
