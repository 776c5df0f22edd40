"""The table: its description for `CreateTable`, and what one that stands there must look like.

Pure: requests and answers are those of DynamoDB's API, as dictionaries.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from msgspec import Struct

from aiostore.errors import ConfigurationError
from aiostore.filters import Path, is_plain_path

LAYOUT_VERSION: Final = 1
"""What this module describes. A table's own stands in its layout item."""

PARTITION: Final = "pk"
"""Of a record `{collection}#{shard}`."""

SORT: Final = "sk"
"""Of a record its key."""

BODY: Final = "body"
VERSION: Final = "version"
CREATED: Final = "created"
UPDATED: Final = "updated"
EXPIRES: Final = "expires"
MARK: Final = "mark"

TTL: Final = "ttl"
"""The second from which on DynamoDB may remove the item."""

INDEX_PREFIX: Final = "by-"
"""How the names of indexes begin, and those of the attributes that they are by."""

LAYOUT: Final = "layout"
SHARDS: Final = "shards"
INDEXES: Final = "indexes"

# No collection's name is empty, so no record's partition key begins with `#`.
LAYOUT_KEY: Final[Mapping[str, Any]] = {PARTITION: {"S": "#"}, SORT: {"S": "layout"}}
"""Where the layout item stands."""

COLLECTIONS: Final = "#collections"
"""The partition key of the items that name the collections, each by its sort key."""

MOST_SHARDS: Final = 1000

MOST_INDEXES: Final = 20
"""DynamoDB's default quota ("Quotas in Amazon DynamoDB", Secondary indexes)."""

LONGEST_NAME: Final = 255
"""Characters, of a table, of an index and of an attribute that is an index's key (likewise)."""

_TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")

_TABLE_KEYS = [(PARTITION, "HASH"), (SORT, "RANGE")]


class Provisioned(Struct, frozen=True):
    """Capacity that is paid for whether it is used or not; each index gets as much once more.

    Attributes:
        read_units: of strongly consistent reads of 4 KB, a second.
        write_units: of writes of 1 KB, a second.
    """

    read_units: int
    write_units: int

    def __post_init__(self) -> None:
        if self.read_units < 1 or self.write_units < 1:
            raise ConfigurationError(
                "provisioned capacity is at least 1 read unit and 1 write unit, and both are "
                f"given: not {self.read_units} and {self.write_units}"
            )


class Table(Struct, frozen=True, kw_only=True):
    """A table as it is to be.

    Attributes:
        name: its whole name.
        shards: into how many partition keys a collection is spread, 1 to 1000; fixed for good.
        indexes: the fields that documents are found by, for all collections; fixed likewise.
        provisioned: the capacity to be paid for; None to pay for each request (on demand).
        point_in_time_recovery: keep continuous backups.
        ttl: let the engine remove expired documents. They count as absent either way.

    Raises:
        ConfigurationError: DynamoDB would refuse it, or this library could not use it.
    """

    name: str
    shards: int = 16
    indexes: tuple[Path, ...] = ()
    provisioned: Provisioned | None = None
    point_in_time_recovery: bool = False
    ttl: bool = True

    def __post_init__(self) -> None:
        if _TABLE_NAME.fullmatch(self.name) is None:
            raise ConfigurationError(
                "a table's name, its prefix included, is 3 to 255 characters of "
                f"a-z A-Z 0-9 _ - ., not {self.name!r:.300}"
            )
        if not 1 <= self.shards <= MOST_SHARDS:
            raise ConfigurationError(
                f"a table has 1 to {MOST_SHARDS} shards, not {self.shards}: 16 serve most"
            )
        if len(self.indexes) > MOST_INDEXES:
            raise ConfigurationError(
                f"{len(self.indexes)} indexes are asked for, and DynamoDB allows a table "
                f"{MOST_INDEXES}: name those that documents are often found by"
            )
        names = [index_name(path) for path in self.indexes]
        if len(set(names)) < len(names):
            raise ConfigurationError("an index is named twice: name each field once")


class Layout(Struct, frozen=True):
    """What a table's layout item says.

    Attributes:
        shards: see `Table`.
        indexes: see `Table`.
    """

    shards: int
    indexes: tuple[Path, ...] = ()


def index_path(dotted: str) -> Path:
    """The field of an index as people name it: `email`, `address.city`.

    Raises:
        ConfigurationError: there can be no index of that name.
    """
    path = tuple(dotted.split("."))
    index_name(path)
    return path


def index_name(path: Path) -> str:
    """The name of a field's index, and of the attribute that it is by.

    Raises:
        ConfigurationError: there can be none.
    """
    dotted = ".".join(path)
    if not is_plain_path(path):
        raise ConfigurationError(
            f"an index is of a field such as email or address.city, not of {dotted!r:.80}: each "
            "name is of letters, digits and _, 64 at most and no digit first"
        )
    name = INDEX_PREFIX + dotted
    if len(name) > LONGEST_NAME:
        raise ConfigurationError(
            f"the index {name!r:.80} would have a name of {len(name)} characters, and DynamoDB "
            f"allows {LONGEST_NAME}: use a field that is nested less deep"
        )
    return name


def create_request(table: Table) -> dict[str, Any]:
    """The parameters of `CreateTable`."""
    names = [index_name(path) for path in table.indexes]
    request: dict[str, Any] = {
        "TableName": table.name,
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": "S"} for name in (PARTITION, SORT, *names)
        ],
        "KeySchema": _schema(_TABLE_KEYS),
        "BillingMode": "PAY_PER_REQUEST" if table.provisioned is None else "PROVISIONED",
    }
    indexes: list[dict[str, Any]] = [
        {
            "IndexName": name,
            "KeySchema": _schema(_index_keys(name)),
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
        for name in names
    ]
    if indexes:
        request["GlobalSecondaryIndexes"] = indexes
    if table.provisioned is not None:
        units = table.provisioned
        for part in (request, *indexes):
            part["ProvisionedThroughput"] = {
                "ReadCapacityUnits": units.read_units,
                "WriteCapacityUnits": units.write_units,
            }
    return request


def ttl_request(name: str) -> dict[str, Any]:
    """The parameters of `UpdateTimeToLive` for the table of that name."""
    return {
        "TableName": name,
        "TimeToLiveSpecification": {"Enabled": True, "AttributeName": TTL},
    }


def recovery_request(name: str) -> dict[str, Any]:
    """The parameters of `UpdateContinuousBackups` for the table of that name."""
    return {
        "TableName": name,
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
    }


def layout_item(layout: Layout) -> dict[str, Any]:
    """The layout item."""
    return {
        **LAYOUT_KEY,
        LAYOUT: {"N": f"{LAYOUT_VERSION}"},
        SHARDS: {"N": f"{layout.shards}"},
        INDEXES: {"L": [{"S": ".".join(path)} for path in layout.indexes]},
    }


def layout_of(item: Mapping[str, Any]) -> Layout:
    """What a layout item says.

    Raises:
        ConfigurationError: it is of a later version of aiostore, or damaged.
    """
    try:
        version = int(item[LAYOUT]["N"])
        if version > LAYOUT_VERSION:
            raise ConfigurationError(
                f"the table is of layout {version}, made by a later aiostore, and this one knows "
                f"{LAYOUT_VERSION}: upgrade it"
            )
        shards = int(item[SHARDS]["N"])
        indexes = tuple(index_path(each["S"]) for each in item[INDEXES]["L"])
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged() from error
    if version < 1 or not 1 <= shards <= MOST_SHARDS:
        raise _damaged()
    return Layout(shards, indexes)


def indexes_of(description: Mapping[str, Any]) -> tuple[Path, ...]:
    """The fields that a table has indexes for, in the order of their names.

    Args:
        description: the `Table` of an answer of `DescribeTable`. Indexes of other names are other
            people's, and one that is being deleted is as good as gone.
    """
    paths = [
        tuple(name.removeprefix(INDEX_PREFIX).split("."))
        for name in _indexes(description)
        if name.startswith(INDEX_PREFIX)
    ]
    return tuple(path for path in sorted(paths) if is_plain_path(path))


def shape_fault(description: Mapping[str, Any], indexes: Collection[Path] = ()) -> str | None:
    """What keeps a table from being one of ours, as the end of a sentence; None if nothing does.

    Whatever an index projects, it holds the keys: more costs more and does no harm, and some
    servers know no other projection than all attributes.

    Args:
        description: the `Table` of an answer of `DescribeTable`.
        indexes: the fields that it must have indexes for. Those that it has besides must be of the
            right shape too, since they bear our names.
    """
    keys = _keys(description)
    if keys != _TABLE_KEYS:
        return f"its primary key is {_written(keys)}, and must be {_written(_TABLE_KEYS)}"
    found = _indexes(description)
    theirs = [index_name(path) for path in indexes_of(description)]
    for path in indexes:
        if index_name(path) not in theirs:
            return f"it has no index {index_name(path)!r}"
    for name in theirs:
        keys, wanted = _keys(found[name]), _index_keys(name)
        if keys != wanted:
            return (
                f"the key of its index {name!r} is {_written(keys)}, and must be {_written(wanted)}"
            )
    types = {
        each["AttributeName"]: each["AttributeType"]
        for each in description.get("AttributeDefinitions", ())
    }
    for name in (PARTITION, SORT, *theirs):
        if types.get(name) != "S":
            return f"its attribute {name!r} is of type {types.get(name)}, and must be of type S"
    return None


def _schema(keys: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in keys]


def _index_keys(name: str) -> list[tuple[str, str]]:
    return [(name, "HASH"), (SORT, "RANGE")]


def _keys(described: Mapping[str, Any]) -> list[tuple[str, str]]:
    keys = [(each["AttributeName"], each["KeyType"]) for each in described["KeySchema"]]
    return sorted(keys, key=lambda key: key[1])  # HASH, RANGE


def _indexes(description: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {
        each["IndexName"]: each
        for each in description.get("GlobalSecondaryIndexes") or ()
        if each.get("IndexStatus") != "DELETING"
    }


def _written(keys: list[tuple[str, str]]) -> str:
    return " and ".join(f"{name} ({kind})" for name, kind in keys)


def _damaged() -> ConfigurationError:
    return ConfigurationError(
        f"the table's layout item ({PARTITION} '#', {SORT} 'layout') cannot be read: write it "
        "again as it was, which docs/dynamodb.md shows"
    )
