"""What stands in the file of one document, and the record that it is."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec

from aiostore.protocols import DocumentId, Mark, Record

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_NO_VALUE = msgspec.Raw(b"null")


class _StoredFile(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What one file holds, in the order in which a person reads it; a tombstone's value is null."""

    key: str
    version: str
    created_at: _Moment
    updated_at: _Moment
    expires_at: _Moment | None = None
    mark: Mark = Mark.LIVE
    value: msgspec.Raw


def content_of(record: Record) -> bytes:
    """What its file holds."""
    stored = _StoredFile(
        key=record.id.key,
        version=record.version,
        created_at=_moment(record.created_at),
        updated_at=_moment(record.updated_at),
        expires_at=None if record.expires_at is None else _moment(record.expires_at),
        mark=record.mark,
        value=_NO_VALUE if record.body is None else msgspec.Raw(record.body.encode()),
    )
    return msgspec.json.format(msgspec.json.encode(stored), indent=2) + b"\n"


def record_in(collection: str, content: bytes) -> Record:
    """The record that a file of the collection holds.

    Raises:
        msgspec.DecodeError, UnicodeError: it holds none.
    """
    stored = msgspec.json.decode(content, type=_StoredFile)
    value = bytes(stored.value)
    return Record(
        DocumentId(collection, stored.key),
        None if value == b"null" else msgspec.json.format(value, indent=-1).decode(),
        stored.version,
        _microseconds(stored.created_at),
        _microseconds(stored.updated_at),
        None if stored.expires_at is None else _microseconds(stored.expires_at),
        stored.mark,
    )


def _moment(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
