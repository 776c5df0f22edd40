"""Optimistic transactions: reads remembered, writes buffered, one atomic write at the end.

Nothing is locked while a transaction runs. At its end one `write_atomic` checks that all it has
read is still so and stores all it has written, in one step or not at all. So the transactions that
were committed are serializable in everything that they have read by key: each might as well have
happened whole at the moment of its commit.
"""

import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from enum import Enum, auto
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import msgspec
import stamina

from aiostore.channel import Channel
from aiostore.collection import Collection, mapper_of
from aiostore.conditions import place_of
from aiostore.documents import Document, Mapper
from aiostore.errors import ClosedError, ConflictError, InvalidValueError, StoreError
from aiostore.footprint import Basis, Expectation, Footprint
from aiostore.protocols import DocumentId, Outcome, Record
from aiostore.versions import VersionClock

T = TypeVar("T")
D = TypeVar("D")
R = TypeVar("R")

ATTEMPTS = 20
"""How often `Store.run` tries by default."""

_MISSING: Any = object()
_FIRST_PAUSE = 0.005  # seconds
_LONGEST_PAUSE = 1.0


class Transaction:
    """Reads and writes of several documents that take effect in one step, or not at all.

    Made by `Store.transaction`, used once, as `async with store.transaction() as tx:`; or by
    `Store.run`, which begins again after a conflict. Leaving the block commits; an exception or a
    cancellation that leaves it discards everything.

    Inside the block:

    * A read is remembered: the same key gives the same document again, though another writer has
      changed it meanwhile.
    * A write is checked and encoded at the call, kept until the commit, and seen by later reads of
      this transaction. What it returns is the document as it will be stored.
    * Several tasks of the block may use the transaction at once.
    * The documents read come from no snapshot. Whether they belong together is known when the
      commit has returned, and not before: an error that rests on several of them is best raised
      after the block, and what cannot be taken back is best done there.
    * There are no queries: the commit could not tell that a document would match by now.

    The commit checks every document that was read, also those that were found missing: no other
    writer has changed, deleted, re-created or created it, and it has not expired. With writes, or
    with more than one document read, that is one call of the engine's; a transaction that has
    read one document at most and written none sends nothing.

    Leaving the block raises:

    * `ConflictError`: something that was read has changed (the first such document is named, what
      stands there now is its `current`, None if there is none), or the version a write was for
      (`version=`) is not the one that stands there, or another writer, whose clock is ahead, has
      written there with a larger version. Nothing was written.
    * `AlreadyExistsError`, `NotFoundError`: a `create` of a document that was not read met one, or
      a write for a `version` met none, as with the verbs of `Collection`. Nothing was written.
    * `UnavailableError`: the engine did not answer; it is not known whether the transaction took
      effect, whole, or not at all. The same holds where the commit is cancelled.

    Every method raises `ClosedError` before the block and after it, and `UnsupportedError` for the
    collection of another store and for more documents than `capabilities.max_atomic`.

    Args:
        channel: the way to the store.
        clock: the store's.
        met: versions that transactions before this one were refused by; those that refuse this one
            are added. What it writes there is past them.
    """

    def __init__(self, channel: Channel, clock: VersionClock, met: dict[DocumentId, str]) -> None:
        self._channel = channel
        self._footprint = Footprint(clock, channel.adaptor.capabilities.max_atomic, met)
        self._stage = _Stage.NEW

    async def __aenter__(self) -> Self:
        if self._stage is not _Stage.NEW:
            raise self._closed("a transaction is used once: make another with store.transaction()")
        self._channel.check_open()
        self._stage = _Stage.OPEN
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stage = _Stage.OVER
        if kind is None:
            await self._commit()

    @overload
    async def get(self, collection: Collection[T], key: str) -> Document[T]: ...

    @overload
    async def get(self, collection: Collection[T], key: str, *, default: D) -> Document[T] | D: ...

    async def get(self, collection: Collection[Any], key: str, *, default: Any = _MISSING) -> Any:
        """The document at `key` as this transaction sees it, or `default` if there is none.

        Raises:
            NotFoundError: there is none, and no default was given.
        """
        mapper = self._mapper(collection)
        id_ = mapper.id(key)
        try:
            await self._read(mapper, [id_])
        except StoreError as error:
            mapper.locate(error, key)
            raise
        seen = self._footprint.seen(id_)
        if seen is not None:
            return _decoded(mapper, seen)
        if default is _MISSING:
            raise mapper.not_found(key)
        return default

    async def get_many(
        self, collection: Collection[T], keys: Iterable[str]
    ) -> dict[str, Document[T]]:
        """The documents at `keys`, by key and in their order; missing ones are left out."""
        mapper = self._mapper(collection)
        ids = list(dict.fromkeys(map(mapper.id, keys)))
        await self._read(mapper, ids)
        seen = {id_.key: self._footprint.seen(id_) for id_ in ids}
        return {key: _decoded(mapper, record) for key, record in seen.items() if record is not None}

    def create(
        self, collection: Collection[T], key: str, value: T, *, ttl: timedelta | None = None
    ) -> Document[T]:
        """Store a document where there is none; it expires after `ttl`, if that is given.

        Raises:
            AlreadyExistsError: this transaction sees one. If it has not read the document, leaving
                the block raises this error where there is one.
        """
        mapper = self._mapper(collection)
        record = self._record(mapper, key, value, ttl)
        seen = self._footprint.seen(record.id)
        if seen is not None:
            raise mapper.already_exists(key, seen)
        self._footprint.change(mapper, record, Expectation(Basis.CREATED))
        return _decoded(mapper, record)

    def put(
        self, collection: Collection[T], key: str, value: T, *, ttl: timedelta | None = None
    ) -> Document[T]:
        """Store a document, whatever was there; its `created_at` is new.

        It expires after `ttl`, or never. If this transaction has read the document it must not
        have changed; otherwise it is overwritten as it is then.
        """
        mapper = self._mapper(collection)
        record = self._record(mapper, key, value, ttl)
        self._footprint.change(mapper, record)
        return _decoded(mapper, record)

    def replace(
        self,
        collection: Collection[T],
        key: str,
        value: T,
        *,
        version: str | None = None,
        ttl: timedelta | None = None,
    ) -> Document[T]:
        """Store a new value in place of a document; it expires after `ttl`, or never.

        Args:
            collection: the document's collection.
            key: its key.
            value: its new value.
            version: replace only this version. May be left out if this transaction has read or
                written the document. If it has not, the `created_at` that is returned is the
                moment of this call, though the stored document keeps its own.
            ttl: how long it is to live.

        Raises:
            ConflictError: this transaction sees another version.
            NotFoundError: it sees no document.
            InvalidValueError: it has neither read nor written the document and was told no version.
        """
        mapper = self._mapper(collection)
        id_ = mapper.id(key)
        expectation = _named(mapper, key, version)
        seen = self._footprint.seen_to_be_changed(mapper, id_, version)
        record = self._record(mapper, key, value, ttl, version)
        if seen is not None:
            record = msgspec.structs.replace(record, created_at=seen.created_at)
        keeps = self._footprint.keeps_created_at(id_)
        self._footprint.change(mapper, record, expectation, keeps_created_at=keeps)
        return _decoded(mapper, record)

    def delete(
        self,
        collection: Collection[Any],
        key: str,
        *,
        version: str | None = None,
        missing_ok: bool = False,
    ) -> None:
        """Remove a document.

        Args:
            collection: the document's collection.
            key: its key.
            version: remove only this version. May be left out if this transaction has read or
                written the document, or with `missing_ok`.
            missing_ok: do not mind if there is none.

        Raises:
            ConflictError: this transaction sees another version.
            NotFoundError: it sees no document, unless `missing_ok`.
            InvalidValueError: it has neither read nor written the document, and was told neither
                `version` nor `missing_ok`.
        """
        mapper = self._mapper(collection)
        id_ = mapper.id(key)
        expectation = _named(mapper, key, version, missing_ok=missing_ok)
        if not missing_ok or self._footprint.seen(id_) is not None:
            self._footprint.seen_to_be_changed(mapper, id_, version)
        elif self._footprint.knows(id_):
            return
        tombstone = mapper.tombstone(key, after=self._footprint.latest(id_, version))
        self._footprint.change(mapper, tombstone, expectation)

    async def _read(self, mapper: Mapper[Any], ids: Sequence[DocumentId]) -> None:
        """See that all of `ids` are known, and remember what is read."""
        unknown = [id_ for id_ in ids if not self._footprint.knows(id_)]
        if not unknown:
            return
        self._footprint.touch(mapper, unknown)
        records = await self._channel.read(unknown)
        self._check_open()
        for id_, record in zip(unknown, records, strict=True):
            self._footprint.remember(mapper, id_, record)

    def _record(
        self,
        mapper: Mapper[T],
        key: str,
        value: T,
        ttl: timedelta | None,
        version: str | None = None,
    ) -> Record:
        after = self._footprint.latest(mapper.id(key), version)
        return mapper.record(key, value, ttl=ttl, after=after)

    async def _commit(self) -> None:
        while items := self._footprint.items():
            outcomes = await self._channel.write_atomic(items)
            errors = [
                self._footprint.refused(place_of(item), outcome.record)
                for item, outcome in zip(items, outcomes, strict=True)
                if not outcome.applied
            ]
            if not errors:
                return
            # What has been read comes first: what was written may rest on it.
            raised = [error for error in errors if error is not None]
            raised.sort(key=lambda error: not isinstance(error, ConflictError))
            if raised:
                raise raised[0]
            # No document stands where none was expected, but other remains of one: once more.

    def _mapper(self, collection: Collection[T]) -> Mapper[T]:
        self._check_open()
        return mapper_of(collection, self._channel)

    def _check_open(self) -> None:
        if self._stage is _Stage.NEW:
            raise self._closed("the transaction has not begun: use `async with` on it")
        if self._stage is _Stage.OVER:
            raise self._closed("the transaction is over: make another with store.transaction()")

    def _closed(self, message: str) -> ClosedError:
        return ClosedError(message, store=self._channel.adaptor.name)


async def run(
    begin: Callable[[], Transaction], fn: Callable[[Transaction], Awaitable[R]], attempts: int
) -> R:
    """What `fn` returns, once a transaction around it is committed; see `Store.run`."""
    if type(attempts) is not int or attempts < 1:
        raise InvalidValueError(f"attempts are a whole number, 1 or more, not {attempts!r:.40}")
    conflicts = 0

    def pause_after(error: Exception) -> bool | float:
        nonlocal conflicts
        if not isinstance(error, ConflictError):
            return False
        conflicts += 1
        longest = min(_FIRST_PAUSE * 2 ** (conflicts - 1), _LONGEST_PAUSE)
        return random.uniform(0, longest)  # noqa: S311  # jitter is no secret

    async def attempt() -> R:
        async with begin() as transaction:
            return await fn(transaction)

    retrying = stamina.AsyncRetryingCaller(attempts=attempts, timeout=None)
    return await retrying(pause_after, attempt)


class _Stage(Enum):
    NEW = auto()
    OPEN = auto()
    OVER = auto()


def _named(
    mapper: Mapper[Any], key: str, version: object, *, missing_ok: bool = False
) -> Expectation | None:
    if version is None:
        return None
    checked = mapper.checked_version(key, version)
    return Expectation(Basis.NAMED, checked, missing_ok=missing_ok)


def _decoded(mapper: Mapper[T], record: Record) -> Document[T]:
    return mapper.stored(Outcome(applied=True, record=record))
