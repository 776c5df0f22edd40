"""Cursors: a place in a query's answer as text that a service can hand to its clients.

A cursor holds the place itself (the values sorted by and the key of the last document), so it
outlives inserts, deletes and the store: it is as good on another store with the same documents. It
is bound to its query and carries a checksum, so one that was cut, altered or taken from another
query is told apart. It is no secret and no proof: who reads one learns the values that the query
sorts by, and who forges one gets no document that the query would not have given.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b

import msgspec

from aiostore.errors import InvalidValueError
from aiostore.filters import Scalar, rank_of
from aiostore.limits import check_scalar

_FORMAT = b"1"
_RANKS_OF_SCALARS = {2, 3, 4}  # booleans, numbers, texts
_OTHER_RANKS = {0, 1, 5}  # missing, null, arrays and objects
_DIGEST = 12  # bytes: no accident passes, and a cursor stays short


class Place(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a document stands in a query's order.

    Attributes:
        values: for each field that the query sorts by, the rank of its type and its value.
        key: the document's key, which decides where those are equal.
    """

    values: tuple[tuple[int, Scalar], ...]
    key: str


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Place)


def fingerprint(*query: object) -> bytes:
    """What binds a cursor to its query."""
    return blake2b(msgspec.json.encode(query), digest_size=_DIGEST).digest()


def to_cursor(place: Place, query: bytes) -> str:
    """The cursor of a place in the answer to the query with this fingerprint."""
    payload = query + _encode(place)
    return urlsafe_b64encode(_FORMAT + _checksum(payload) + payload).decode().rstrip("=")


def to_place(cursor: object, query: bytes, fields: int) -> Place:
    """The place of a cursor.

    Args:
        cursor: anything.
        query: the fingerprint of the query that it is used with.
        fields: how many fields that query sorts by.

    Raises:
        InvalidValueError: it is no cursor, damaged, or another query's.
    """
    if type(cursor) is not str:
        raise InvalidValueError(
            f"a cursor is a str, the `next_cursor` of a page, not {type(cursor).__name__}"
        )
    try:
        content = urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))
    except (binascii.Error, UnicodeEncodeError):
        raise _damaged(cursor) from None
    checksum, payload = content[1 : 1 + _DIGEST], content[1 + _DIGEST :]
    if content[:1] != _FORMAT or checksum != _checksum(payload):
        raise _damaged(cursor)
    if payload[:_DIGEST] != query:
        raise InvalidValueError(
            "the cursor belongs to another query: use it with the collection, filter, prefix and "
            "order of the page that it came from"
        )
    try:
        place = _decoder.decode(payload[_DIGEST:])
    except msgspec.MsgspecError:
        raise _damaged(cursor) from None
    if len(place.values) != fields or not all(map(_is_value, place.values)):
        raise _damaged(cursor)
    return place


def _is_value(ranked: tuple[int, Scalar]) -> bool:
    """Whether a document could stand there: the value goes to the engine, whoever made it."""
    rank, value = ranked
    if rank not in _RANKS_OF_SCALARS:
        return rank in _OTHER_RANKS and value == 0
    try:
        check_scalar(value)
    except InvalidValueError:
        return False
    return rank_of(value)[0] == rank


def _checksum(payload: bytes) -> bytes:
    return blake2b(payload, digest_size=_DIGEST, person=b"aiostore cursor").digest()


def _damaged(cursor: str) -> InvalidValueError:
    return InvalidValueError(
        f"{cursor!r:.60} is no cursor, or was altered: use the `next_cursor` of a page as it is"
    )
