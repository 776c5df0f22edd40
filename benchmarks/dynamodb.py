"""DynamoDB: the library, and aiobotocore item by item, on one table."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

from aiostore.adaptors.dynamodb._tables import BODY, CREATED, PARTITION, SORT, UPDATED, VERSION
from aiostore.keys import segment_of
from aiostore.versions import PROCESS_CLOCK
from benchmarks.documents import Value
from benchmarks.library import library
from benchmarks.variants import Documents, Opened, Place, Variant

NAME = "dynamodb"
TITLE = "DynamoDB"
DURABLE = False
LEFT_OUT: Mapping[str, str] = {
    "find": "each put would have to keep an index that its rival has not"
}
DISTRIBUTIONS: Sequence[str] = ("aiobotocore", "botocore", "moto")

CONNECTIONS = 50
"""Of each variant, as many as a store of the library's has."""


@asynccontextmanager
async def opened(place: Place) -> Opened:
    """See `Engine`."""
    url = place.lend()
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    table = options.get("prefix", "") + parts.netloc
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(library(url))
        client = await stack.enter_async_context(_client(options))
        shards = int(options.get("shards", 16))
        yield [
            ours,
            Variant(
                "aiobotocore",
                lambda name: DynamoDBDocuments(client, table, name, shards),
                remark="one request for each item, 50 connections",
            ),
        ]


class DynamoDBDocuments(Documents):
    """A collection in the library's own table."""

    def __init__(self, client: Any, table: str, name: str, shards: int) -> None:
        self._client = client
        self._table = table
        self._name = name
        self._shards = shards

    async def get(self, key: str) -> Value:
        answer = await self._client.get_item(
            TableName=self._table, Key=self._key(key), ConsistentRead=True
        )
        value: Value = msgspec.json.decode(answer["Item"][BODY]["S"])
        return value

    async def put(self, key: str, value: Value) -> str | None:
        version, item = self._item(key, value)
        await self._client.put_item(TableName=self._table, Item=item)
        return version

    async def replace(self, key: str, value: Value, version: str) -> str | None:
        new, item = self._item(key, value)
        try:
            await self._client.put_item(
                TableName=self._table,
                Item=item,
                ConditionExpression="#version = :version",
                ExpressionAttributeNames={"#version": VERSION},
                ExpressionAttributeValues={":version": {"S": version}},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        return new

    def _key(self, key: str) -> dict[str, Any]:
        shard = segment_of(key, self._shards)
        return {PARTITION: {"S": f"{self._name}#{shard}"}, SORT: {"S": key}}

    def _item(self, key: str, value: Value) -> tuple[str, dict[str, Any]]:
        version, now = PROCESS_CLOCK.next(), str(PROCESS_CLOCK.now())
        return version, {
            **self._key(key),
            BODY: {"S": msgspec.json.encode(value).decode()},
            VERSION: {"S": version},
            CREATED: {"N": now},
            UPDATED: {"N": now},
        }


@asynccontextmanager
async def _client(options: dict[str, str]) -> AsyncIterator[Any]:
    session = AioSession(profile=options.get("profile"))
    async with session.create_client(
        "dynamodb",
        region_name=options.get("region"),
        endpoint_url=options.get("endpoint_url"),
        config=AioConfig(max_pool_connections=CONNECTIONS, parameter_validation=False),
    ) as client:
        yield client
