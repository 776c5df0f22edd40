"""Documents as users hold them, and the way between them and records."""

from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from aiostore.codecs import Codec
from aiostore.conditions import is_alive
from aiostore.errors import (
    AlreadyExistsError,
    ConflictError,
    CorruptRecordError,
    InvalidKeyError,
    InvalidValueError,
    NotFoundError,
    StoreError,
)
from aiostore.limits import Limits, check_key, check_version
from aiostore.protocols import DocumentId, Outcome, Record
from aiostore.versions import VersionClock

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_END_OF_TIME = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


class Document(Struct, Generic[T], frozen=True):
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


class Page(Struct, Generic[T], frozen=True):
    """A part of a query's answer.

    Attributes:
        documents: in the query's order.
        next_cursor: where the next page begins; None if this is the last one.
    """

    documents: list[Document[T]]
    next_cursor: str | None


class Mapper(Generic[T]):
    """Between the documents of one collection and their records: ids, moments, versions, errors.

    Args:
        store: the store's name, for messages.
        collection: the collection's name.
        codec: the codec of its type.
        limits: the limits on keys and values.
        clock: makes versions and tells the time.
    """

    def __init__(
        self, store: str, collection: str, codec: Codec[T], limits: Limits, clock: VersionClock
    ) -> None:
        self.store = store
        self.collection = collection
        self.clock = clock
        self._codec = codec
        self._limits = limits

    def id(self, key: object) -> DocumentId:
        """The id of a document.

        Raises:
            InvalidKeyError: the key breaks the contract.
        """
        try:
            return DocumentId(self.collection, check_key(key, self._limits, self.collection))
        except InvalidKeyError as error:
            error.store = self.store
            raise

    def checked_version(self, key: str, version: object) -> str:
        """The version, if one can be asked for by it, for the document at `key`.

        Raises:
            InvalidValueError: the version is no text that a store could hold.
        """
        try:
            return check_version(version)
        except InvalidValueError as error:
            self.locate(error, key)
            raise

    def record(
        self,
        key: str,
        value: T,
        *,
        ttl: timedelta | None = None,
        expires_at: int | None = None,
        after: str | None = None,
    ) -> Record:
        """A record of this moment, with a fresh version, which is past `after`.

        Args:
            key: the document's key.
            value: its value.
            ttl: how long it is to live; None leaves `expires_at` as it is given.
            expires_at: see `Record`.
            after: a version.

        Raises:
            InvalidKeyError: the key breaks the contract.
            InvalidValueError: the value or the time to live does.
        """
        id_ = self.id(key)
        now = self.clock.now()
        try:
            body = self._codec.encode(value, self._limits)
            if ttl is not None:
                expires_at = _moment_after(now, ttl)
        except StoreError as error:
            self.locate(error, key)
            raise
        return Record(id_, body, self.clock.next(after), now, now, expires_at)

    def tombstone(self, key: str, *, after: str | None = None) -> Record:
        """What a deletion at this moment leaves, where it leaves anything."""
        now = self.clock.now()
        return Record(self.id(key), None, self.clock.next(after), created_at=now, updated_at=now)

    def renewed(self, record: Record, standing: Record | None) -> Record:
        """The same record with a fresh version, past the one that stands there.

        Raises:
            CorruptRecordError: nothing can be past it.
        """
        now = self.clock.now()
        version = self.clock.next(None if standing is None else standing.version)
        if standing is not None and version <= standing.version:
            raise CorruptRecordError(
                f"{standing.version!r:.80} stands there as a version and is none, or none can "
                "follow it: restore the record",
                **self.where(record.id.key),
            )
        return replace(record, version=version, created_at=now, updated_at=now)

    def is_there(self, record: Record | None) -> bool:
        """Whether a reader finds a document: no tombstone, and not expired."""
        if record is None or record.expires_at is None:  # which is nearly always, and cheap
            return record is not None and record.body is not None
        return is_alive(record, self.clock.now())

    def document(self, record: Record | None) -> Document[T] | None:
        """The document that a reader finds, or None."""
        return self._held(record) if self.is_there(record) else None

    def stored(self, outcome: Outcome) -> Document[T]:
        """The document that an applied write has stored, were it so short-lived as to be gone."""
        record = outcome.record
        if record is None or record.body is None:
            raise StoreError(
                "the adaptor acknowledged a write and returned no record",
                store=self.store,
                collection=self.collection,
            )
        return self._decoded(record, record.body)

    def not_found(self, key: str) -> NotFoundError:
        """The error for a document that is not there."""
        return NotFoundError("there is no such document", **self.where(key))

    def already_exists(self, key: str, standing: Record | None) -> AlreadyExistsError:
        """The error for a creation that met a document, be it one that has expired since."""
        return AlreadyExistsError(
            "there is a document already: use put to overwrite it",
            current=self._held(standing),
            **self.where(key),
        )

    def conflict(self, key: str, version: str, standing: Record) -> ConflictError:
        """The error for a write that expected `version` and met another document."""
        return ConflictError(
            f"version {version} was expected and {standing.version} stands there: read it again",
            current=self._held(standing),
            **self.where(key),
        )

    def refusal(self, key: str, version: str, standing: Record | None) -> StoreError:
        """The error for a write that expected `version` and met something else."""
        if standing is not None:
            self.clock.observe(standing.version)
            if self.is_there(standing):
                return self.conflict(key, version, standing)
        return self.not_found(key)

    def where(self, key: str) -> dict[str, str]:
        """The place of a document, as errors are told it."""
        return {"store": self.store, "collection": self.collection, "key": key}

    def locate(self, error: StoreError, key: str) -> None:
        """Tell an error where it happened, as far as it does not know."""
        error.store = error.store or self.store
        error.collection = error.collection or self.collection
        error.key = error.key or key

    def _held(self, record: Record | None) -> Document[T] | None:
        """The document that a record holds, whether or not it has expired."""
        if record is None or record.body is None:
            return None
        return self._decoded(record, record.body)

    def _decoded(self, record: Record, body: str) -> Document[T]:
        try:
            value = self._codec.decode(body)
        except StoreError as error:
            self.locate(error, record.id.key)
            raise
        return Document(
            record.id.key,
            value,
            record.version,
            _moment(record.created_at),
            _moment(record.updated_at),
            None if record.expires_at is None else _moment(record.expires_at),
        )


def _moment(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND


def _moment_after(now: int, ttl: Any) -> int:
    if not isinstance(ttl, timedelta):
        raise InvalidValueError(f"a time to live is a timedelta, not {type(ttl).__name__}")
    moment = now + ttl // _MICROSECOND
    if not now < moment <= _END_OF_TIME:
        raise InvalidValueError(
            f"a time to live is more than nothing and ends before the year 10000, not {ttl}"
        )
    return moment
