"""The description of DynamoDB's table: what is asked for, and what is taken for one of ours."""

from copy import deepcopy
from typing import Any

import pytest

from aiostore.adaptors.dynamodb._tables import (
    LAYOUT_KEY,
    Layout,
    Provisioned,
    Table,
    create_request,
    index_name,
    index_path,
    indexes_of,
    layout_item,
    layout_of,
    recovery_request,
    shape_fault,
    ttl_request,
)
from aiostore.errors import ConfigurationError
from aiostore.filters import Path

INDEXES: tuple[Path, ...] = (("email",), ("address", "city"))
TABLE = Table(name="documents", indexes=INDEXES)


def described(table: Table = TABLE) -> dict[str, Any]:
    """What `DescribeTable` tells of a table that was made as asked."""
    description = deepcopy(create_request(table))
    for index in description.get("GlobalSecondaryIndexes", ()):
        index["IndexStatus"] = "ACTIVE"
    return {**description, "TableStatus": "ACTIVE"}


def test_the_request_for_a_table_on_demand() -> None:
    """A table has two keys of texts, and a sparse index of keys for each field."""
    assert create_request(TABLE) == {
        "TableName": "documents",
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
            {"AttributeName": "by-email", "AttributeType": "S"},
            {"AttributeName": "by-address.city", "AttributeType": "S"},
        ],
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        "BillingMode": "PAY_PER_REQUEST",
        "GlobalSecondaryIndexes": [
            {
                "IndexName": name,
                "KeySchema": [
                    {"AttributeName": name, "KeyType": "HASH"},
                    {"AttributeName": "sk", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
            for name in ("by-email", "by-address.city")
        ],
    }


def test_the_request_for_provisioned_capacity() -> None:
    """The capacity is the table's and that of each index."""
    units = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 7}
    request = create_request(
        Table(name="documents", indexes=(("email",),), provisioned=Provisioned(5, 7))
    )
    assert request["BillingMode"] == "PROVISIONED"
    assert request["ProvisionedThroughput"] == units
    assert request["GlobalSecondaryIndexes"][0]["ProvisionedThroughput"] == units


def test_a_table_without_indexes_names_none() -> None:
    """DynamoDB refuses an empty list of indexes."""
    assert "GlobalSecondaryIndexes" not in create_request(Table(name="documents"))


def test_the_requests_for_expiry_and_recovery() -> None:
    """Expiry goes by the attribute `ttl`; recovery is switched on."""
    assert ttl_request("documents") == {
        "TableName": "documents",
        "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "ttl"},
    }
    assert recovery_request("documents") == {
        "TableName": "documents",
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
    }


@pytest.mark.parametrize("name", ["ab", "a" * 256, "a b", "tisch/1", "größe", ""])
def test_a_name_that_no_table_can_have(name: str) -> None:
    """The name is checked before anything is sent."""
    with pytest.raises(ConfigurationError, match="3 to 255 characters"):
        Table(name=name)


@pytest.mark.parametrize("shards", [0, -1, 1001])
def test_a_number_of_shards_that_is_out_of_range(shards: int) -> None:
    """There are 1 to 1000 shards."""
    with pytest.raises(ConfigurationError, match=f"1 to 1000 shards, not {shards}"):
        Table(name="documents", shards=shards)


def test_the_limits_are_allowed() -> None:
    """What DynamoDB allows is allowed: the names' lengths, the shards, 20 indexes."""
    twenty = tuple((f"field_{number}",) for number in range(20))
    for name in ("abc", "a" * 255, "a-b_c.D9"):
        for shards in (1, 1000):
            assert Table(name=name, shards=shards, indexes=twenty).shards == shards


def test_more_indexes_than_a_table_can_have() -> None:
    """DynamoDB's quota is told before anything is sent."""
    with pytest.raises(ConfigurationError, match="21 indexes are asked for"):
        Table(name="documents", indexes=tuple((f"field_{number}",) for number in range(21)))


def test_an_index_that_is_named_twice() -> None:
    """That is a slip, and is told."""
    with pytest.raises(ConfigurationError, match="named twice"):
        Table(name="documents", indexes=(("email",), ("email",)))


@pytest.mark.parametrize(("read", "write"), [(0, 1), (1, 0), (-5, 5)])
def test_capacity_that_is_none(read: int, write: int) -> None:
    """DynamoDB provides one unit at least."""
    with pytest.raises(ConfigurationError, match="at least 1 read unit"):
        Provisioned(read, write)


@pytest.mark.parametrize("dotted", ["email", "address.city", "_a.B9"])
def test_the_name_of_an_index(dotted: str) -> None:
    """The name is the field's, so that people recognise it."""
    assert index_name(index_path(dotted)) == f"by-{dotted}"


@pytest.mark.parametrize("dotted", ["", ".", "a.", ".a", "a..b", "9a", "a-b", "größe", "a" * 65])
def test_a_field_that_can_have_no_index(dotted: str) -> None:
    """A name that filters cannot pass on, or that is none, is refused."""
    with pytest.raises(ConfigurationError, match="letters, digits and _"):
        index_path(dotted)


def test_an_index_whose_name_is_too_long() -> None:
    """The name of an index, and of its attribute, has 255 characters at most."""
    longest = ("a" * 62, "a" * 63, "a" * 62, "a" * 62)
    assert len(index_name(longest)) == 255
    with pytest.raises(ConfigurationError, match="256 characters"):
        index_name((*longest[:3], "a" * 63))


@pytest.mark.parametrize("layout", [Layout(16), Layout(3, INDEXES)])
def test_the_layout_item_comes_back(layout: Layout) -> None:
    """What the item says is what was put into it."""
    item = layout_item(layout)
    assert layout_of(item) == layout
    assert {name: item[name] for name in LAYOUT_KEY} == LAYOUT_KEY


def test_the_layout_item_as_it_is_stored() -> None:
    """Other versions read this form."""
    assert layout_item(Layout(3, INDEXES)) == {
        "pk": {"S": "#"},
        "sk": {"S": "layout"},
        "layout": {"N": "1"},
        "shards": {"N": "3"},
        "indexes": {"L": [{"S": "email"}, {"S": "address.city"}]},
    }


def test_a_later_layout() -> None:
    """A table of a later version is left alone."""
    item = {**layout_item(Layout(16)), "layout": {"N": "2"}, "shards": {"S": "many"}}
    with pytest.raises(ConfigurationError, match="upgrade"):
        layout_of(item)


@pytest.mark.parametrize(
    "change",
    [
        {"layout": {"S": "1"}},
        {"layout": {"N": "0"}},
        {"layout": {"N": "x"}},
        {"layout": None},
        {"shards": {"N": "0"}},
        {"shards": {"N": "1.5"}},
        {"shards": {}},
        {"indexes": {"L": [{"N": "1"}]}},
    ],
)
def test_a_damaged_layout(change: dict[str, Any]) -> None:
    """A layout that cannot be read is told, and nothing is guessed."""
    with pytest.raises(ConfigurationError, match="cannot be read"):
        layout_of({**layout_item(Layout(16)), **change})


@pytest.mark.parametrize("indexes", [(), INDEXES])
def test_a_table_of_ours(indexes: tuple[Path, ...]) -> None:
    """A table that was made as asked has no fault, and the indexes that were asked for."""
    description = described(Table(name="documents", indexes=indexes))
    assert shape_fault(description, indexes) is None
    assert set(indexes_of(description)) == set(indexes)


def test_keys_in_another_order_are_the_same_keys() -> None:
    """Lists of keys have no order."""
    description = described()
    description["KeySchema"].reverse()
    assert shape_fault(description, INDEXES) is None


def test_other_people_have_indexes_too() -> None:
    """An index of another name, or that no field can have, is nothing of ours."""
    description = described()
    for name in ("by_email", "by-9", "statistics"):
        other = deepcopy(description["GlobalSecondaryIndexes"][0])
        other.update(IndexName=name, KeySchema=[{"AttributeName": name, "KeyType": "HASH"}])
        description["GlobalSecondaryIndexes"].append(other)
    assert shape_fault(description, INDEXES) is None
    assert indexes_of(description) == (("address", "city"), ("email",))


def test_a_wider_projection_serves() -> None:
    """An index that copies whole items costs more, and is used."""
    description = described()
    description["GlobalSecondaryIndexes"][0]["Projection"] = {"ProjectionType": "ALL"}
    assert shape_fault(description, INDEXES) is None


def test_another_primary_key() -> None:
    """A table of somebody else's is recognised by its key."""
    description = described(Table(name="documents"))
    description["KeySchema"] = [{"AttributeName": "id", "KeyType": "HASH"}]
    assert shape_fault(description) == (
        "its primary key is id (HASH), and must be pk (HASH) and sk (RANGE)"
    )


@pytest.mark.parametrize("name", ["pk", "sk", "by-email"])
def test_a_key_of_another_type(name: str) -> None:
    """Keys are texts."""
    description = described()
    for attribute in description["AttributeDefinitions"]:
        if attribute["AttributeName"] == name:
            attribute["AttributeType"] = "B"
    assert shape_fault(description, INDEXES) == (
        f"its attribute {name!r} is of type B, and must be of type S"
    )


def test_an_index_that_is_missing() -> None:
    """An index that the layout names must be there, and one that is being deleted is not."""
    assert shape_fault(described(Table(name="documents")), INDEXES) == "it has no index 'by-email'"
    description = described()
    description["GlobalSecondaryIndexes"][1]["IndexStatus"] = "DELETING"
    assert indexes_of(description) == (("email",),)
    assert shape_fault(description, INDEXES) == "it has no index 'by-address.city'"


@pytest.mark.parametrize("wanted", [(), INDEXES])
def test_an_index_by_other_keys(wanted: tuple[Path, ...]) -> None:
    """An index that has our name is by our keys."""
    description = described()
    description["GlobalSecondaryIndexes"][0]["KeySchema"].pop()
    assert shape_fault(description, wanted) == (
        "the key of its index 'by-email' is by-email (HASH), and must be by-email (HASH) and "
        "sk (RANGE)"
    )
