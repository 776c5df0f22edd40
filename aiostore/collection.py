"""The verbs: `Collection[T]`, and `Document[T]` that they return."""

import asyncio
import inspect
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar, overload

from aiostore.channel import Channel
from aiostore.codecs import Codec
from aiostore.errors import (
    AlreadyExistsError,
    BatchError,
    ConflictError,
    CorruptRecordError,
    InvalidKeyError,
    InvalidValueError,
    NotFoundError,
    StoreError,
)
from aiostore.limits import Limits, check_key, check_version
from aiostore.protocols import (
    Absent,
    Condition,
    DocumentId,
    Exactly,
    Mark,
    Newer,
    Outcome,
    Record,
    Scan,
    Write,
)
from aiostore.versions import VersionClock

T = TypeVar("T")
D = TypeVar("D")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MISSING: Any = object()
_UPDATE_ATTEMPTS = 100
_LONGEST_PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Document(Generic[T]):
    """A document as it stood when it was read or written.

    Attributes:
        key: its key within the collection.
        value: its value, this object's own copy.
        version: opaque and new at every write; fit for an HTTP ETag.
        created_at: when it was created or put, in UTC.
        updated_at: when this version was written, in UTC.
        expires_at: from when on it counts as absent; None for never.
    """

    key: str
    value: T
    version: str
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = None


class Collection(Generic[T]):
    """A named set of documents of one type; made by `Store.collection`.

    Every verb checks its arguments before anything is sent (`InvalidKeyError`,
    `InvalidValueError`, `TooLargeError`) and raises `ClosedError` if the store is not open,
    `UnavailableError` if the engine does not answer: after a write it is then not known whether
    it took effect. A write that returns has taken effect.
    """

    def __init__(
        self, name: str, codec: Codec[T], channel: Channel, limits: Limits, clock: VersionClock
    ) -> None:
        self.name = name
        self._codec = codec
        self._channel = channel
        self._limits = limits
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Collection {self.name!r} of {self._channel.adaptor.name}>"

    @overload
    async def get(self, key: str) -> Document[T]: ...

    @overload
    async def get(self, key: str, *, default: D) -> Document[T] | D: ...

    async def get(self, key: str, *, default: Any = _MISSING) -> Any:
        """The document at `key`, or `default` if there is none.

        Raises:
            NotFoundError: there is none, and no default was given.
        """
        [record] = await self._channel.read([self._id(key)])
        document = self._document(record)
        if document is not None:
            return document
        if default is _MISSING:
            raise self._not_found(key)
        return default

    async def create(self, key: str, value: T) -> Document[T]:
        """Store a document where there is none.

        Raises:
            AlreadyExistsError: there is one.
        """
        record = self._record(key, value)
        condition: Condition = Absent()
        while True:
            outcome = await self._apply(record, condition)
            if outcome.applied:
                return self._stored(outcome)
            standing = outcome.record
            if self._is_there(standing):
                raise AlreadyExistsError(
                    "there is a document already: use put to overwrite it",
                    current=self._document(standing),
                    **self._where(key),
                )
            condition = Absent() if standing is None else Exactly(standing.version)
            record = self._renewed(record, standing)

    async def put(self, key: str, value: T) -> Document[T]:
        """Store a document, whatever was there; its `created_at` is new.

        `replace` and `update` keep `created_at`, and notice a competing write.
        """
        record = self._record(key, value)
        while True:
            outcome = await self._apply(record, Newer())
            if outcome.applied:
                return self._stored(outcome)
            record = self._renewed(record, outcome.record)

    async def replace(self, key: str, value: T, *, version: str) -> Document[T]:
        """Store a new value in place of exactly this version.

        Raises:
            ConflictError: another version stands there, in `current`.
            NotFoundError: there is no document.
        """
        record = self._record(key, value, after=self._checked(key, version))
        condition = Exactly(version, unexpired_at=record.updated_at)
        outcome = await self._apply(record, condition, keep_created_at=True)
        if not outcome.applied:
            raise self._refusal(key, version, outcome.record)
        return self._stored(outcome)

    async def update(self, key: str, change: Callable[[T], T | Awaitable[T]]) -> Document[T]:
        """Read, change and replace, again from the start if another write came between.

        Args:
            key: the document's key.
            change: gets the value (a copy) and returns the new one, or an awaitable of it. Called
                once for each attempt.

        Raises:
            NotFoundError: there is no document.
            ConflictError: 100 attempts met another write each.
        """
        for attempt in range(_UPDATE_ATTEMPTS):
            document = await self.get(key)
            changed = change(document.value)
            value: Any = await changed if inspect.isawaitable(changed) else changed
            if value is None:
                raise InvalidValueError(
                    "the change returned None: return the new value", **self._where(key)
                )
            try:
                return await self.replace(key, value, version=document.version)
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
            await self._delete_exactly(key, version, missing_ok=missing_ok)
        elif missing_ok:
            tombstone = self._tombstone(key)
            while not (outcome := await self._apply(tombstone, Newer(), erase=True)).applied:
                tombstone = self._renewed(tombstone, outcome.record)
        else:
            await self._delete_whatever_stands(key)

    async def get_many(self, keys: Iterable[str]) -> dict[str, Document[T]]:
        """The documents at `keys`, by key and in their order; missing ones are left out."""
        ids = list(dict.fromkeys(map(self._id, keys)))
        documents = [self._document(record) for record in await self._channel.read(ids)]
        return {document.key: document for document in documents if document is not None}

    async def put_many(self, values: Mapping[str, T]) -> dict[str, Document[T]]:
        """Put each value under its key; the documents stored, by key and in their order.

        Not one step: each put stands alone.

        Raises:
            BatchError: some could not be stored, or it is not known whether they were: `errors` by
                key; the others are `done`.
        """
        self._channel.check_open()
        records = [self._record(key, value) for key, value in values.items()]
        stored = await self._apply_newer(records, erase=False)
        return {key: self._stored(stored[key]) for key in values}

    async def delete_many(self, keys: Iterable[str]) -> None:
        """Remove the documents at `keys`, as far as there are any.

        Raises:
            BatchError: as for `put_many`.
        """
        self._channel.check_open()
        tombstones = [self._tombstone(id_.key) for id_ in dict.fromkeys(map(self._id, keys))]
        await self._apply_newer(tombstones, erase=True)

    async def scan(
        self, *, prefix: str = "", start_after: str | None = None
    ) -> AsyncGenerator[Document[T], None]:
        """All documents in the order of their keys (code points), in constant memory.

        Not a snapshot: a document that is there and unchanged from start to end comes exactly
        once; one that is written meanwhile at most once.

        Args:
            prefix: only keys that begin with it.
            start_after: only keys greater than it.
        """
        for bound in (prefix, start_after):
            if bound not in ("", None):
                self._id(bound)
        request = Scan(self.name, prefix=prefix, start_after=start_after)
        async with aclosing(self._channel.scan(request)) as chunks:
            async for chunk in chunks:
                for record in chunk:
                    document = self._document(record)
                    if document is not None:
                        yield document

    async def _delete_whatever_stands(self, key: str) -> None:
        while True:
            document = await self.get(key)
            with suppress(ConflictError):  # another write came between: read it again
                return await self._delete_exactly(key, document.version, missing_ok=False)

    async def _delete_exactly(self, key: str, version: str, *, missing_ok: bool) -> None:
        tombstone = self._tombstone(key, after=self._checked(key, version))
        condition = Exactly(version, unexpired_at=tombstone.updated_at)
        outcome = await self._apply(tombstone, condition, erase=True)
        if not outcome.applied and not (missing_ok and not self._is_there(outcome.record)):
            raise self._refusal(key, version, outcome.record)

    async def _apply(
        self,
        record: Record,
        condition: Condition,
        *,
        keep_created_at: bool = False,
        erase: bool = False,
    ) -> Outcome:
        write = Write(record, condition, Mark.LIVE, keep_created_at, erase)
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
                        records.append(self._renewed(record, answer.record))
                    except CorruptRecordError as error:
                        errors[record.id.key] = error
        if errors:
            first = next(iter(errors.values()))
            raise BatchError(
                f"{len(errors)} of {len(errors) + len(applied)} failed; the first: {first}",
                errors=errors,
                done={key: self._document(outcome.record) for key, outcome in applied.items()},
                store=self._channel.adaptor.name,
                collection=self.name,
            ) from first
        return applied

    def _id(self, key: object) -> DocumentId:
        try:
            return DocumentId(self.name, check_key(key, self._limits, self.name))
        except InvalidKeyError as error:
            error.store = self._channel.adaptor.name
            raise

    def _checked(self, key: str, version: object) -> str:
        with self._located(self._id(key).key):
            return check_version(version)

    def _record(self, key: str, value: T, *, after: str | None = None) -> Record:
        id_ = self._id(key)
        with self._located(key):
            body = self._codec.encode(value, self._limits)
        now = self._clock.now()
        return Record(id_, body, self._clock.next(after), created_at=now, updated_at=now)

    def _tombstone(self, key: str, *, after: str | None = None) -> Record:
        now = self._clock.now()
        return Record(self._id(key), None, self._clock.next(after), created_at=now, updated_at=now)

    def _renewed(self, record: Record, standing: Record | None) -> Record:
        """The same record with a fresh version, past the one that stands there."""
        now = self._clock.now()
        version = self._clock.next(None if standing is None else standing.version)
        if standing is not None and version <= standing.version:
            raise CorruptRecordError(
                f"{standing.version!r:.80} stands there as a version and is none, or none can "
                "follow it: restore the record",
                **self._where(record.id.key),
            )
        return Record(record.id, record.body, version, created_at=now, updated_at=now)

    def _is_there(self, record: Record | None) -> bool:
        """Whether a reader finds a document: no tombstone, and not expired."""
        return (
            record is not None
            and record.body is not None
            and (record.expires_at is None or record.expires_at > self._clock.now())
        )

    def _document(self, record: Record | None) -> Document[T] | None:
        if record is None or record.body is None or not self._is_there(record):
            return None
        return self._decoded(record, record.body)

    def _stored(self, outcome: Outcome) -> Document[T]:
        record = outcome.record
        if record is None or record.body is None:
            raise StoreError(
                "the adaptor acknowledged a write and returned no record",
                store=self._channel.adaptor.name,
                collection=self.name,
            )
        return self._decoded(record, record.body)

    def _decoded(self, record: Record, body: str) -> Document[T]:
        with self._located(record.id.key):
            value = self._codec.decode(body)
        return Document(
            record.id.key,
            value,
            record.version,
            _moment(record.created_at),
            _moment(record.updated_at),
            None if record.expires_at is None else _moment(record.expires_at),
        )

    def _refusal(self, key: str, version: str, standing: Record | None) -> StoreError:
        if standing is not None:
            self._clock.observe(standing.version)
        current = self._document(standing)
        if current is None:
            return self._not_found(key)
        return ConflictError(
            f"version {version} was expected and {current.version} stands there: read it again",
            current=current,
            **self._where(key),
        )

    def _not_found(self, key: str) -> NotFoundError:
        return NotFoundError("there is no such document", **self._where(key))

    def _where(self, key: str) -> dict[str, str]:
        return {"store": self._channel.adaptor.name, "collection": self.name, "key": key}

    @contextmanager
    def _located(self, key: str) -> Iterator[None]:
        """Tell errors where they happened."""
        try:
            yield
        except StoreError as error:
            error.store, error.collection, error.key = self._channel.adaptor.name, self.name, key
            raise


def _pause_after(attempt: int) -> float:
    longest = min(0.001 * 2**attempt, _LONGEST_PAUSE)
    return random.uniform(0, longest)  # noqa: S311  # jitter is no secret


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
