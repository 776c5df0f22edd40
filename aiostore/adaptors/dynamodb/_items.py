"""Records as items of the table, and back."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from aiostore.adaptors.dynamodb._tables import (
    BODY,
    CREATED,
    EXPIRES,
    MARK,
    PARTITION,
    SORT,
    TTL,
    UPDATED,
    VERSION,
    index_name,
)
from aiostore.codecs import decode_plain
from aiostore.errors import CorruptRecordError, InvalidKeyError, TooLargeError
from aiostore.filters import Path, Scalar
from aiostore.keys import segment_of
from aiostore.orders import Coarse, coarse, coarse_at
from aiostore.protocols import DocumentId, Mark, Record

Item: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Attributes, each with its type, as DynamoDB takes and gives them."""

_MOST_BYTES = 400 * 1024
MOST_KEY_BYTES = 1024
_SECOND = 1_000_000  # microseconds
_MISSING, _COMPOUND = 0, 5  # ranks of what no index holds


class Items:
    """How records stand in one table.

    Args:
        shards: over how many partitions each collection is spread.
        indexes: the fields that the table has an index on.
    """

    def __init__(self, shards: int, indexes: Sequence[Path] = ()) -> None:
        self.shards = shards
        self.indexes = {path: index_name(path) for path in indexes}

    def key(self, id_: DocumentId) -> dict[str, dict[str, str]]:
        """The primary key of a record.

        Raises:
            InvalidKeyError: it is longer than a sort key may be, which no portable key is.
        """
        size = len(id_.key.encode())
        if size > MOST_KEY_BYTES:
            raise InvalidKeyError(
                f"the key has {size} bytes, and DynamoDB takes {MOST_KEY_BYTES}: shorten it",
                collection=id_.collection,
                key=id_.key,
            )
        shard = segment_of(id_.key, self.shards)
        return {PARTITION: {"S": self.partition(id_.collection, shard)}, SORT: {"S": id_.key}}

    def partition(self, collection: str, shard: int) -> str:
        """The partition key of one shard of a collection."""
        return f"{collection}#{shard}"

    def item(self, record: Record) -> dict[str, dict[str, str]]:
        """What is stored.

        Raises:
            InvalidKeyError: see `key`.
            TooLargeError: it is larger than an item may be, which no portable document is.
        """
        item = {
            **self.key(record.id),
            VERSION: {"S": record.version},
            CREATED: {"N": str(record.created_at)},
            UPDATED: {"N": str(record.updated_at)},
        }
        if record.expires_at is not None:
            item[EXPIRES] = {"N": str(record.expires_at)}
        if record.mark is not Mark.LIVE:
            item[MARK] = {"S": record.mark.value}
        elif record.expires_at is not None:
            # What a migration has marked is its own to remove. DynamoDB counts whole seconds.
            item[TTL] = {"N": str(max(0, -(-record.expires_at // _SECOND)))}
        if record.body is not None:
            item[BODY] = {"S": record.body}
            item |= self._indexed(record.id, record.body)
            _check_size(record.id, item)
        return item

    def place(self, collection: str, value: Scalar) -> str:
        """Where documents of a collection stand in an index that have this value."""
        return _place(collection, coarse(value))

    def _indexed(self, id_: DocumentId, body: str) -> dict[str, dict[str, str]]:
        if not self.indexes:
            return {}
        document = decode_plain(body)
        places = ((name, coarse_at(document, path)) for path, name in self.indexes.items())
        return {
            name: {"S": _place(id_.collection, place)}
            for name, place in places
            if place.rank not in (_MISSING, _COMPOUND)
        }


def record_of(item: Item) -> Record:
    """The record that an item holds.

    Raises:
        CorruptRecordError: it holds none.
    """
    id_ = id_of(item)
    try:
        return Record(
            id_,
            item[BODY]["S"] if BODY in item else None,
            item[VERSION]["S"],
            int(item[CREATED]["N"]),
            int(item[UPDATED]["N"]),
            int(item[EXPIRES]["N"]) if EXPIRES in item else None,
            Mark(item[MARK]["S"]) if MARK in item else Mark.LIVE,
        )
    except (KeyError, ValueError) as error:
        raise CorruptRecordError(
            f"the item is no record of ours: {error!r} of its attributes is missing or wrong",
            collection=id_.collection,
            key=id_.key,
        ) from error


def id_of(item: Item) -> DocumentId:
    """The id of the record that an item holds."""
    return DocumentId(item[PARTITION]["S"].rpartition("#")[0], item[SORT]["S"])


def size_of(item: Item) -> int:
    """Bytes of an item's names and values, as DynamoDB counts them; of numbers no fewer.

    "DynamoDB item sizes and formats", AWS documentation.
    """
    return sum(
        len(name.encode()) + sum(len(value.encode()) + 1 for value in typed.values())
        for name, typed in item.items()
    )


def _check_size(id_: DocumentId, item: Item) -> None:
    if len(item[BODY]["S"]) * 4 <= _MOST_BYTES * 3 // 4:  # most are far from it
        return
    size = size_of(item)
    if size > _MOST_BYTES:
        raise TooLargeError(
            f"the document makes an item of {size} bytes, and DynamoDB takes {_MOST_BYTES}: split "
            "it, or keep large parts elsewhere",
            collection=id_.collection,
            key=id_.key,
        )


def _place(collection: str, place: Coarse) -> str:
    """Numbers that are equal by value are one double, and texts that are equal begin alike."""
    value = place.text or ("" if place.rank not in (2, 3) else repr(place.number))
    return f"{collection}#{place.rank}{value}"
