"""DynamoDB stores of the tests: opened for a while, and watched from behind."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from dynamodb_proxy import FaultProxy
from dynamodb_servers import DynamoDBServer
from servers import dynamodb_server

from aiostore.adaptors.dynamodb import DynamoDBAdaptor
from aiostore.opening import open_adaptor
from aiostore.protocols import DocumentId, Newer, Record, Write
from aiostore.sending import Retries
from aiostore.store import Store
from aiostore.versions import VersionClock

CLOCK = VersionClock()
AT_ONCE = Retries(first_pause=timedelta(0), longest_pause=timedelta(0))
"""The store's own repetitions, without pauses."""


def place(key: str) -> DocumentId:
    """Where a document of the tests stands."""
    return DocumentId("users", key)


def record(key: str, body: str | None = "{}") -> Record:
    """A record with a fresh version."""
    return Record(place(key), body, CLOCK.next(), 1, 2)


def put(key: str, body: str | None = "{}") -> Write:
    """A write that is applied whatever stands there."""
    return Write(record(key, body), Newer())


def proxied_table(engine: str) -> "Table":
    """A table on an engine that a proxy can stand before."""
    server = dynamodb_server(engine)
    if server.endpoint is None:
        pytest.skip("AWS checks signatures, which no proxy can make")
    return Table(server)


class Table:
    """A table of a server's that no test has used, not yet made.

    Attributes:
        server: the server.
        url: of a store in it, which makes it.
        name: as the server knows it.
    """

    def __init__(self, server: DynamoDBServer) -> None:
        self._lent = server.lend()
        self.server = server
        self.url = self._lent.url
        self.name = server.table_of(self.url)

    def adaptor(self, **options: object) -> DynamoDBAdaptor:
        """An adaptor, not yet open, with further options."""
        return _adaptor(self.url, options)

    @asynccontextmanager
    async def opened(self, **options: object) -> AsyncIterator[DynamoDBAdaptor]:
        """An adaptor while it is open."""
        adaptor = self.adaptor(**options)
        try:
            await adaptor.open()
            yield adaptor
        finally:
            await adaptor.aclose()

    @asynccontextmanager
    async def store(self, **options: object) -> AsyncIterator[Store]:
        """A store while it is open."""
        async with Store(self.adaptor(**options)) as store:
            yield store

    @asynccontextmanager
    async def behind_proxy(self, **options: object) -> AsyncIterator[tuple[Store, FaultProxy]]:
        """A store whose requests go through a proxy; what it asks when it opens is forgotten."""
        async with (
            FaultProxy(self.server.endpoint) as proxy,
            Store(self.adaptor_at(proxy.url, **options), retries=AT_ONCE) as store,
        ):
            proxy.requests.clear()
            yield store, proxy

    def adaptor_at(self, endpoint: str, **options: object) -> DynamoDBAdaptor:
        """An adaptor, not yet open, whose requests go to another endpoint than the server's."""
        own = f"endpoint_url={self.server.endpoint}"
        url = self.url.replace(own, f"endpoint_url={endpoint}")
        assert url != self.url
        return _adaptor(url, options)

    async def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a request behind the adaptor's back, such as `get_item`."""
        call = getattr(self.server.client, operation)
        answer: dict[str, Any] = await asyncio.to_thread(call, TableName=self.name, **parameters)
        return answer

    async def item(self, partition: str, sort: str) -> dict[str, Any] | None:
        """The item that stands at a key."""
        key = {"pk": {"S": partition}, "sk": {"S": sort}}
        answer = await self.call("get_item", Key=key, ConsistentRead=True)
        return answer.get("Item")


def _adaptor(url: str, options: Mapping[str, object]) -> DynamoDBAdaptor:
    adaptor = open_adaptor("&".join([url, *(f"{name}={each}" for name, each in options.items())]))
    assert isinstance(adaptor, DynamoDBAdaptor)
    return adaptor
