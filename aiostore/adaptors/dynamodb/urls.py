"""DynamoDB adaptors from URLs."""

from datetime import timedelta
from typing import Annotated

from msgspec import Meta, Struct

from aiostore.adaptors.dynamodb._connections import Endpoint
from aiostore.adaptors.dynamodb._tables import Table, index_path
from aiostore.adaptors.dynamodb.adaptor import DynamoDBAdaptor
from aiostore.errors import ConfigurationError
from aiostore.urls import StoreURL

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
SomeSeconds = Annotated[float, Meta(ge=0.001, le=86_400)]


class Options(Struct, forbid_unknown_fields=True, kw_only=True):
    """The options of a DynamoDB store; durations in seconds."""

    region: str | None = None
    endpoint_url: str | None = None
    profile: str | None = None
    prefix: str = ""
    create: bool = False
    shards: int = 16
    index: str = ""
    ttl: bool = True
    transactions: bool = True
    connections: Annotated[int, Meta(ge=1, le=10_000)] = 50
    connect_timeout: SomeSeconds = 5.0
    read_timeout: SomeSeconds = 10.0
    throttle_patience: Seconds = 10.0


def from_url(url: StoreURL) -> DynamoDBAdaptor:
    """The table of a URL, `dynamodb://table`."""
    name = url.rest.removeprefix("//").rstrip("/")
    if not url.rest.startswith("//") or not name:
        raise ConfigurationError("a dynamodb URL names a table: write dynamodb://table")
    if "@" in name or ":" in name or "/" in name:  # without the text: it may hold a secret
        raise ConfigurationError(
            "a dynamodb URL names a table and nothing else, dynamodb://table: credentials are set "
            "up as for any AWS client, another server by ?endpoint_url="
        )
    options = url.options(Options)
    table = Table(
        name=options.prefix + name,
        shards=options.shards,
        indexes=tuple(index_path(each) for each in options.index.split(",") if each),
        ttl=options.ttl,
    )
    endpoint = Endpoint(
        region=options.region,
        url=options.endpoint_url,
        profile=options.profile,
        connections=options.connections,
        connect_timeout=timedelta(seconds=options.connect_timeout),
        read_timeout=timedelta(seconds=options.read_timeout),
        throttle_patience=timedelta(seconds=options.throttle_patience),
    )
    return DynamoDBAdaptor(
        table, endpoint, create=options.create, transactions=options.transactions
    )
