"""What stands in a table besides records: its layout, and the names of collections."""

from collections.abc import Sequence
from typing import Any

from botocore.exceptions import ClientError

from aiostore.adaptors.dynamodb._batches import pages
from aiostore.adaptors.dynamodb._connections import Connections
from aiostore.adaptors.dynamodb._errors import CONDITION_FAILED, INVALID, NO_TABLE, code_of
from aiostore.adaptors.dynamodb._statements import OLD_ITEM
from aiostore.adaptors.dynamodb._tables import (
    COLLECTIONS,
    PARTITION,
    SORT,
    Layout,
    Table,
    indexes_of,
    layout_item,
    shape_fault,
)
from aiostore.adaptors.dynamodb.create import create_table, keep_layout, read_layout
from aiostore.errors import ConfigurationError
from aiostore.protocols import DocumentId


class Schema:
    """One table's.

    Args:
        connections: the way to it.
        table: what it is to be, if it has to be made or holds nothing yet.
        create: make it if it is missing.

    Attributes:
        returns_old_items: whether the server tells what refused a write. AWS does.
    """

    def __init__(self, connections: Connections, table: Table, *, create: bool) -> None:
        self._connections = connections
        self._table = table
        self._create = create
        self._known: set[str] = set()
        self.returns_old_items = True

    async def prepare(self) -> Layout:
        """The table's layout, which is put there if nothing is; then it is fixed.

        Raises:
            ConfigurationError: the table is not of our shape or not ours.
            ClientError: it is missing, or may not be read and written.
        """
        layout = await self._found()
        if layout is None:
            description = await self._described()
            layout = await keep_layout(
                self._connections.client,
                self._table.name,
                Layout(self._table.shards, indexes_of(description)),
            )
        self.returns_old_items = await self._tells_what_refuses()
        return layout

    async def describe(self) -> dict[str, Any]:
        """What DynamoDB says of the table."""
        answer = await self._connections.client.describe_table(TableName=self._table.name)
        description: dict[str, Any] = answer["Table"]
        return description

    async def remember(self, ids: Sequence[DocumentId]) -> None:
        """See to it that the collections of these ids can be found, before there is a record."""
        for name in sorted({id_.collection for id_ in ids} - self._known):
            marker = {PARTITION: {"S": COLLECTIONS}, SORT: {"S": name}}
            asked = {"TableName": self._table.name, "Key": marker, "ConsistentRead": True}
            if "Item" not in await self._connections.call("GetItem", asked):
                await self._connections.call(
                    "PutItem", {"TableName": self._table.name, "Item": marker}
                )
            self._known.add(name)

    async def remembered(self) -> list[str]:
        """The names of all collections that have ever held a record, in order."""
        query = {
            "TableName": self._table.name,
            "KeyConditionExpression": "#pk = :pk",
            "ExpressionAttributeNames": {"#pk": PARTITION},
            "ExpressionAttributeValues": {":pk": {"S": COLLECTIONS}},
            "ConsistentRead": True,
        }
        return [
            item[SORT]["S"]
            async for page in pages(self._connections, query)
            for item in page["Items"]
        ]

    async def _found(self) -> Layout | None:
        try:
            return await read_layout(self._connections.client, self._table.name)
        except ClientError as error:
            if code_of(error) == INVALID:  # it has no such key
                await self._described()
            if code_of(error) != NO_TABLE or not self._create:
                raise
        await create_table(self._connections.client, self._table)
        return await read_layout(self._connections.client, self._table.name)

    async def _described(self) -> dict[str, Any]:
        description = await self.describe()
        fault = shape_fault(description)
        if fault is not None:
            raise ConfigurationError(
                f"the table cannot be used, for {fault}: name another, or make one by `aiostore "
                "dynamodb create-table`"
            )
        return description

    async def _tells_what_refuses(self) -> bool:
        """Found out by a write that is refused; so that writing is allowed is found out, too."""
        try:
            await self._connections.call(
                "PutItem",
                {
                    "TableName": self._table.name,
                    "Item": layout_item(Layout(self._table.shards)),
                    "ConditionExpression": "attribute_not_exists(#pk)",
                    "ExpressionAttributeNames": {"#pk": PARTITION},
                    **OLD_ITEM,
                },
            )
        except ClientError as error:
            if code_of(error) not in CONDITION_FAILED:
                raise
            return "Item" in error.response
        raise ConfigurationError("the table's layout item was removed this very moment")
