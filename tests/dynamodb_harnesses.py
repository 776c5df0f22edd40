"""Harnesses over DynamoDB servers, whose hooks look at the items by botocore alone.

What an engine lacks:

- moto (`dynamodb`) nothing that the kit asks for. It does not remember the tokens of transactions;
  what the adaptor needs to recognise its own, it finds in the items.
- dynalite has no transactions and removes no expired items, and its URLs say so
  (`dynamodb_servers`). It returns no old items with an error either; the adaptor reads them.
- AWS checks signatures, which no proxy can make, so it has no `outage`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dynamodb_servers import DynamoDBServer
from served import Lent
from servers import dynamodb_server

import aiostore.adaptors.dynamodb  # noqa: F401  # loaded while no event loop is there to be blocked
from aiostore.keys import segment_of
from aiostore.opening import open_adaptor
from aiostore.protocols import Adaptor, DocumentId, Mark, Record
from aiostore.testing import Harness

SHARDS = 4
"""Of the tables that are lent."""

INDEXES = "v,in.v,w"
"""The fields that the kit's checks of indexes ask for."""


def dynamodb_makes(name: str) -> Callable[[Path], Callable[[], Adaptor]]:
    """For an engine: what returns a new adaptor at every call, over a table of its own each."""

    def make_for(_: Path) -> Callable[[], Adaptor]:
        shared = dynamodb_server(name)
        return _make(shared, shared.lend())

    return make_for


def dynamodb_harness(name: str) -> Harness:
    """A harness over a table of an engine's server, with indexes."""
    shared = dynamodb_server(name)
    lent = shared.lend()
    behind = Behind(shared, shared.table_of(lent.url))
    return Harness(
        _make(shared, lent),
        peek=behind.peek,
        poke=behind.poke,
        damage=behind.damaged,
        unusable=lambda: open_adaptor(shared.url_of("aiostore-test-missing")),
        outage=None if shared.endpoint is None else lambda: _outage(shared, lent),
    )


def _make(shared: DynamoDBServer, lent: Lent) -> Callable[[], Adaptor]:
    # Who holds the function holds the table.
    return lambda: open_adaptor(f"{lent.url}&index={INDEXES}")


class Behind:
    """What stands in a table, by botocore alone.

    Args:
        server: where the table is.
        table: its name there.
    """

    def __init__(self, server: DynamoDBServer, table: str, shards: int = SHARDS) -> None:
        self._client = server.client
        self._table = table
        self._shards = shards

    def key(self, id_: DocumentId) -> dict[str, Any]:
        """The key of the item that holds a record."""
        shard = segment_of(id_.key, self._shards)
        return {"pk": {"S": f"{id_.collection}#{shard}"}, "sk": {"S": id_.key}}

    async def item(self, id_: DocumentId) -> dict[str, Any] | None:
        """The item that holds a record."""
        answer = await asyncio.to_thread(
            self._client.get_item, TableName=self._table, Key=self.key(id_), ConsistentRead=True
        )
        item: dict[str, Any] | None = answer.get("Item")
        return item

    async def put(self, item: dict[str, Any]) -> None:
        """Put an item, whatever stands there."""
        await asyncio.to_thread(self._client.put_item, TableName=self._table, Item=item)

    async def peek(self, id_: DocumentId) -> Record | None:
        """The record that stands there."""
        item = await self.item(id_)
        if item is None:
            return None
        return Record(
            id_,
            item["body"]["S"] if "body" in item else None,
            item["version"]["S"],
            int(item["created"]["N"]),
            int(item["updated"]["N"]),
            int(item["expires"]["N"]) if "expires" in item else None,
            Mark(item["mark"]["S"]) if "mark" in item else Mark.LIVE,
        )

    async def poke(self, record: Record) -> None:
        """Put a live document that never expires and has none of the indexed fields."""
        assert record.body is not None
        await self.put({"pk": {"S": "#collections"}, "sk": {"S": record.id.collection}})
        await self.put(
            {
                **self.key(record.id),
                "body": {"S": record.body},
                "version": {"S": record.version},
                "created": {"N": str(record.created_at)},
                "updated": {"N": str(record.updated_at)},
            }
        )

    @asynccontextmanager
    async def damaged(self, id_: DocumentId) -> AsyncIterator[None]:
        """In this context the body of a record is no JSON."""
        sound = await self.item(id_)
        assert sound is not None
        await self.put(sound | {"body": {"S": "{" + sound["body"]["S"]}})
        try:
            yield
        finally:
            await self.put(sound)


@asynccontextmanager
async def _outage(shared: DynamoDBServer, lent: Lent) -> AsyncIterator[Adaptor]:
    """Writes are not answered: one of them is never heard of, the others are done."""
    from dynamodb_proxy import ALWAYS, WRITES, Fault, FaultProxy  # noqa: PLC0415  # aiohttp may be missing

    async with FaultProxy(shared.endpoint) as proxy:
        name = shared.name_of(lent.url)
        url = shared.url_of(name, endpoint_url=proxy.url, read_timeout="0.1")
        adaptor = await asyncio.to_thread(open_adaptor, url)
        try:
            await adaptor.open()
            for operation in WRITES:
                proxy.faults.append(Fault(operation, "unheard"))
                proxy.faults.append(Fault(operation, "unanswered", times=ALWAYS))
            yield adaptor
        finally:
            await adaptor.aclose()
