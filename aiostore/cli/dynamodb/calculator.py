"""What documents cost in DynamoDB: units, bytes, partitions, by AWS's published rules.

Pure, and without a price: prices are passed in. The rules are those of the pages of the "Amazon
DynamoDB Developer Guide" that are named at each.
"""

from math import ceil

from msgspec import Struct

from aiostore.errors import ConfigurationError

_READ_UNIT = 4 * 1024
_WRITE_UNIT = 1024
"""Bytes of one unit ("DynamoDB read and write operations")."""

_OVERHEAD = 100
"""Bytes that are paid for with each item, and with each entry of an index ("DynamoDB item sizes and
formats"; "Using Global Secondary Indexes in DynamoDB")."""

_LARGEST_ITEM = 400 * 1024
"""Bytes ("Quotas in Amazon DynamoDB")."""

_PARTITION_BYTES = 10 * 2**30
"""("Scaling DynamoDB: How partitions, hot keys, and split for heat impact performance", AWS
Database Blog.)"""

PARTITION_READ_UNITS = 3000
PARTITION_WRITE_UNITS = 1000
"""A second, of one partition, and so of one partition key ("Best practices for designing and using
partition keys effectively in DynamoDB")."""

NEW_TABLE_WRITE_UNITS = 4000
"""A second, that a new table on demand takes ("DynamoDB on-demand capacity mode")."""

HOURS = 730
"""Of a month, as AWS's own price examples have it."""

SECONDS = HOURS * 3600

_GIGABYTE = 2**30
_CHECKPOINT = 100  # documents, after each of which a migration notes how far it is

# What an item holds besides the body and the key: names and values of `pk` (a collection's name of
# 12 bytes and a shard), `sk`, `body`, `version`, `created` and `updated`. A number takes a byte for
# two digits, and one.
_COLLECTION = 12
_PARTITION_KEY = 2 + _COLLECTION + len("#15")
_SORT_KEY_NAME = 2
_OTHERS = 4 + (7 + 32) + 2 * (7 + 9)

# Of an indexed field, whose name is taken to have 8 bytes and whose value 16.
_INDEX_ATTRIBUTE = len("by-") + 8 + _COLLECTION + len("#4") + 16


class Workload(Struct, frozen=True, kw_only=True):
    """What is stored, and how it is used.

    Attributes:
        documents: how many.
        body_bytes: the usual size of one as JSON.
        key_bytes: of its key.
        writes_per_second: on an average.
        reads_per_second: likewise, of single documents.
        indexes: how many fields of a document are indexed.
        shards: of the table.
        consistent: whether reads are strongly consistent.

    Raises:
        ConfigurationError: there can be no such documents.
    """

    documents: int
    body_bytes: int
    key_bytes: int = 36
    writes_per_second: float = 0.0
    reads_per_second: float = 0.0
    indexes: int = 0
    shards: int = 16
    consistent: bool = True

    def __post_init__(self) -> None:
        size = item_bytes(self)
        if size > _LARGEST_ITEM:
            raise ConfigurationError(
                f"a document of {self.body_bytes} bytes makes an item of {size}, and DynamoDB "
                f"takes {_LARGEST_ITEM}: split it, or keep large parts elsewhere"
            )


class Units(Struct, frozen=True):
    """Request units on demand; capacity units, where they are meant by the second."""

    read: float = 0.0
    write: float = 0.0

    def __add__(self, other: "Units") -> "Units":
        return Units(self.read + other.read, self.write + other.write)

    def __mul__(self, times: float) -> "Units":
        return Units(self.read * times, self.write * times)


class Prices(Struct, frozen=True, kw_only=True):
    """Of one region, in whatever currency; None where it is not known.

    Attributes:
        read_million: of a million read request units.
        write_million: of a million write request units.
        storage_gb: of a gigabyte for a month.
        read_unit_hour: of one provisioned read capacity unit for an hour.
        write_unit_hour: of one provisioned write capacity unit for an hour.
    """

    read_million: float | None = None
    write_million: float | None = None
    storage_gb: float | None = None
    read_unit_hour: float | None = None
    write_unit_hour: float | None = None

    def of_requests(self, units: Units) -> float | None:
        """What units cost on demand; None if the price of some is not known."""
        return _sum(
            _times(units.read / 1e6, self.read_million),
            _times(units.write / 1e6, self.write_million),
        )

    def of_capacity(self, per_second: Units) -> float | None:
        """What it costs to have so many units in every second of a month; likewise."""
        return _sum(
            _times(ceil(per_second.read) * HOURS, self.read_unit_hour),
            _times(ceil(per_second.write) * HOURS, self.write_unit_hour),
        )

    def of_storage(self, size: int) -> float | None:
        """What so many bytes cost for a month; likewise."""
        return _times(size / _GIGABYTE, self.storage_gb)


class Operations(Struct, frozen=True):
    """The units of one operation each.

    Attributes:
        read: of a document.
        read_eventually: of a document, with `consistent=False`.
        create: of a document; deletions are alike.
        replace: of a document whose indexed fields stay as they are.
        replace_indexed: of one whose indexed fields all change.
        refused: a write whose condition does not hold, on such a document.
        transaction: for each document that a transaction creates.
        find_one: by an index, if one document is found.
        page: the least that the beginning of a list of documents takes: something of each shard.
        scan: everything; a filter that no index serves, and an exact count, take as much.
    """

    read: Units
    read_eventually: Units
    create: Units
    replace: Units
    replace_indexed: Units
    refused: Units
    transaction: Units
    find_one: Units
    page: Units
    scan: Units


class Migration(Struct, frozen=True):
    """The units of a migration of all documents.

    Attributes:
        into: to copy them here, with what notes how far that is.
        proof: to walk through them once and count them, when this is the target.
        out_of: to walk through and count them twice, for the copy and its proof.
        day: of the mirrored writes, for each day of it, when this is the target.
        copy_seconds: of the copy, at what a new table on demand takes.
    """

    into: Units
    proof: Units
    out_of: Units
    day: Units
    copy_seconds: float


class Partitions(Struct, frozen=True):
    """How the load is spread.

    Attributes:
        least: how many partitions there are at least, by size and by the average load.
        collection_writes: of documents a second, that one collection takes once there is a
            partition for each shard.
        collection_reads: likewise.
        document_writes: a second, of one and the same document.
        document_reads: likewise.
        same_value_writes: of documents a second that have the same value in an indexed field; None
            without indexes.
    """

    least: int
    collection_writes: float
    collection_reads: float
    document_writes: float
    document_reads: float
    same_value_writes: float | None


class Estimate(Struct, frozen=True):
    """All of it.

    Attributes:
        item_bytes: of an item, as units are counted.
        stored_bytes: of the table and its indexes, as storage is.
        operations: of one each.
        second: of the average load.
        month: likewise.
        migration: of all documents.
        partitions: how the load is spread.
    """

    item_bytes: int
    stored_bytes: int
    operations: Operations
    second: Units
    month: Units
    migration: Migration
    partitions: Partitions


def estimate(workload: Workload) -> Estimate:
    """The estimate for a workload; its writes are counted as creations, which touch all indexes."""
    operations = _operations(workload)
    read = operations.read if workload.consistent else operations.read_eventually
    second = read * workload.reads_per_second + operations.create * workload.writes_per_second
    return Estimate(
        item_bytes=item_bytes(workload),
        stored_bytes=_stored_bytes(workload),
        operations=operations,
        second=second,
        month=second * SECONDS,
        migration=_migration(workload, operations),
        partitions=_partitions(workload, operations, second),
    )


def item_bytes(workload: Workload) -> int:
    """The size of an item: names and values of all attributes."""
    return (
        _PARTITION_KEY
        + _SORT_KEY_NAME
        + workload.key_bytes
        + _OTHERS
        + workload.body_bytes
        + workload.indexes * _INDEX_ATTRIBUTE
    )


def _entry_bytes(workload: Workload) -> int:
    """The size of an entry of an index, which holds keys alone."""
    return _PARTITION_KEY + _SORT_KEY_NAME + workload.key_bytes + _INDEX_ATTRIBUTE


def _stored_bytes(workload: Workload) -> int:
    entries = workload.indexes * (_entry_bytes(workload) + _OVERHEAD)
    return workload.documents * (item_bytes(workload) + _OVERHEAD + entries)


def _operations(workload: Workload) -> Operations:
    size = item_bytes(workload)
    read = float(ceil(size / _READ_UNIT))
    write = float(ceil(size / _WRITE_UNIT))
    # An entry is written, removed, or both; what it does not hold may change without it.
    entries = workload.indexes * ceil(_entry_bytes(workload) / _WRITE_UNIT)
    share = 1.0 if workload.consistent else 0.5
    return Operations(
        read=Units(read=read),
        read_eventually=Units(read=read / 2),
        create=Units(write=write + entries),
        replace=Units(write=write),
        replace_indexed=Units(write=write + 2 * entries),
        refused=Units(write=write),
        transaction=Units(write=2 * write + entries),
        # An index is read eventually, the document as it is asked for.
        find_one=Units(read=0.5 + read * share),
        page=Units(read=workload.shards * read * share),
        scan=_scan(workload) * share,
    )


def _scan(workload: Workload) -> Units:
    """Of a consistent walk through everything, which pays for its bytes, and not by the item."""
    return Units(read=float(ceil(workload.documents * item_bytes(workload) / _READ_UNIT)))


def _migration(workload: Workload, operations: Operations) -> Migration:
    checkpoints = Units(write=float(ceil(workload.documents / _CHECKPOINT)))
    into = operations.create * workload.documents + checkpoints
    walk = _scan(workload) * 1.5  # an estimated count for the progress is an eventual one
    # The table and each index have limits of their own; an item is the largest of what is written.
    items = workload.documents * operations.replace.write
    return Migration(
        into=into,
        proof=walk,
        out_of=walk * 2,
        day=operations.create * (workload.writes_per_second * 86_400),
        copy_seconds=items / NEW_TABLE_WRITE_UNITS,
    )


def _partitions(workload: Workload, operations: Operations, second: Units) -> Partitions:
    items = workload.documents * item_bytes(workload)
    writes = operations.replace.write
    reads = operations.read.read if workload.consistent else operations.read_eventually.read
    load = (
        second.read / PARTITION_READ_UNITS
        + workload.writes_per_second * writes / PARTITION_WRITE_UNITS
    )
    document_writes, document_reads = PARTITION_WRITE_UNITS / writes, PARTITION_READ_UNITS / reads
    return Partitions(
        least=max(1, ceil(items / _PARTITION_BYTES), ceil(load)),
        collection_writes=workload.shards * document_writes,
        collection_reads=workload.shards * document_reads,
        document_writes=document_writes,
        document_reads=document_reads,
        same_value_writes=PARTITION_WRITE_UNITS / ceil(_entry_bytes(workload) / _WRITE_UNIT)
        if workload.indexes
        else None,
    )


def _times(number: float, price: float | None) -> float | None:
    if number == 0:
        return 0.0
    return None if price is None else number * price


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second
