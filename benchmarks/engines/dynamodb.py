"""DynamoDB: beside aiobotocore with a request for each item, on a table of the same shape.

The server is one on this machine, which has nothing of AWS's latency: what is compared is the work
on this side and the number of requests.
"""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from aiostore import open_store
from aiostore.adaptors.dynamodb._items import Items
from aiostore.protocols import DocumentId
from benchmarks.documents import Documents, Value
from benchmarks.engines.ours import fill, ours
from benchmarks.engines.rows import decode, encode, new_version
from benchmarks.variants import COLLECTION, Place, Variant

NAME = "DynamoDB"
NEEDS: str | None = "dynamodb"

_CONNECTIONS = 50
"""As many as aiostore's."""

_SHARDS = 16


@asynccontextmanager
async def variants(place: Place, documents: Documents) -> AsyncIterator[Sequence[Variant]]:
    """See `Engine`."""
    parts = urlsplit(place.servers["dynamodb"])
    options = dict(parse_qsl(parts.query)) | {"create": "true", "shards": str(_SHARDS)}
    token = secrets.token_hex(4)
    names = [f"aiostore-benchmark-{token}-{each}" for each in ("ours", "raw")]
    query = urlencode(options, safe=":/")
    first, second = [parts._replace(netloc=name, query=query).geturl() for name in names]
    async with AsyncExitStack() as running:
        client = await running.enter_async_context(
            get_session().create_client(
                "dynamodb",
                region_name=options.get("region"),
                endpoint_url=options.get("endpoint_url"),
                config=AioConfig(max_pool_connections=_CONNECTIONS),
            )
        )
        for name in names:
            running.push_async_callback(client.delete_table, TableName=name)
        async with open_store(second) as store:
            await fill(store, documents)
        yield [
            await running.enter_async_context(ours(open_store(first), documents)),
            _aiobotocore(client, names[1]),
        ]


def _aiobotocore(client: Any, table: str) -> Variant:
    items = Items(_SHARDS)
    versions: dict[str, str] = {}

    async def get(key: str) -> Value:
        answer = await client.get_item(
            TableName=table, Key=items.key(DocumentId(COLLECTION, key)), ConsistentRead=True
        )
        versions[key] = answer["Item"]["version"]["S"]
        return decode(answer["Item"]["body"]["S"])

    def item(key: str, value: Value, version: str) -> dict[str, Any]:
        return {
            **items.key(DocumentId(COLLECTION, key)),
            "body": {"S": encode(value).decode()},
            "version": {"S": version},
        }

    async def put(key: str, value: Value) -> None:
        version = new_version()
        await client.put_item(TableName=table, Item=item(key, value, version))
        versions[key] = version

    async def replace(key: str, value: Value) -> bool:
        if key not in versions:
            await get(key)
        version = new_version()
        # A condition that does not hold raises.
        await client.put_item(
            TableName=table,
            Item=item(key, value, version),
            ConditionExpression="#v = :v",
            ExpressionAttributeNames={"#v": "version"},
            ExpressionAttributeValues={":v": {"S": versions[key]}},
        )
        versions[key] = version
        return True

    return Variant(name="aiobotocore", get=get, put=put, replace=replace)
