"""The fault proxy: each fault as a bare client of aiobotocore sees it, and what the server has."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    ConnectionClosedError,
    HTTPClientError,
    ReadTimeoutError,
)
from dynamodb_proxy import ALWAYS, ANY, WRITES, Fault, FaultProxy
from dynamodb_servers import DynamoDBServer
from servers import DYNAMODB_ENGINES, absent_server, dynamodb_server


@asynccontextmanager
async def connected(url: str, read_timeout: float = 10) -> AsyncIterator[Any]:
    """A client that sends every request once."""
    config = AioConfig(retries={"total_max_attempts": 1}, read_timeout=read_timeout)
    async with SESSION.create_client(
        "dynamodb", region_name="eu-central-1", endpoint_url=url, config=config
    ) as client:
        yield client


SESSION = get_session()
"""Reads the files of botocore once."""


class Numbers:
    """A table with a number for each name, through a client."""

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table

    async def put(self, name: str, number: int) -> None:
        await self._client.put_item(TableName=self._table, Item=item(name, number))

    async def get(self, name: str) -> int | None:
        answer = await self._client.get_item(TableName=self._table, Key=key(name))
        return int(answer["Item"]["n"]["N"]) if "Item" in answer else None

    async def get_batch(self, names: str) -> dict[str, Any]:
        """The answer for many of one letter."""
        asked = {"Keys": [key(name) for name in names], "ConsistentRead": True}
        answer: dict[str, Any] = await self._client.batch_get_item(
            RequestItems={self._table: asked}
        )
        return answer

    async def put_batch(self, names: str, number: int) -> dict[str, Any]:
        """Likewise."""
        asked = [{"PutRequest": {"Item": item(name, number)}} for name in names]
        answer: dict[str, Any] = await self._client.batch_write_item(
            RequestItems={self._table: asked}
        )
        return answer

    async def create(self) -> None:
        await self._client.create_table(
            TableName=self._table,
            KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        status = "CREATING"
        while status != "ACTIVE":
            described = await self._client.describe_table(TableName=self._table)
            status = described["Table"]["TableStatus"]


def key(name: str) -> dict[str, Any]:
    """The key of an item."""
    return {"name": {"S": name}}


def item(name: str, number: int) -> dict[str, Any]:
    """An item."""
    return {**key(name), "n": {"N": str(number)}}


async def heard(proxy: FaultProxy, operation: str) -> None:
    """Wait for the first request of an operation."""
    while proxy.counts[operation] < 1:  # noqa: ASYNC110  # a proxy's requests are a plain list
        await asyncio.sleep(0)


@pytest.fixture(params=DYNAMODB_ENGINES)
def shared(request: pytest.FixtureRequest) -> DynamoDBServer:
    """A server that checks no signatures."""
    shared = dynamodb_server(request.param)
    if shared.endpoint is None:
        pytest.skip("AWS checks signatures, which no proxy can make")
    return shared


class Place:
    """A proxy, a client through it, and one past it."""

    def __init__(self, proxy: FaultProxy, client: Any, through: Numbers, past: Numbers) -> None:
        self.proxy = proxy
        self.client = client
        self.through = through
        self.past = past


@pytest.fixture
async def place(shared: DynamoDBServer) -> AsyncIterator[Place]:
    """Over a new table."""
    assert shared.endpoint is not None
    table = shared.table_of(shared.fresh())
    async with (
        FaultProxy(shared.endpoint) as proxy,
        connected(proxy.url) as client,
        connected(shared.endpoint) as straight,
    ):
        past = Numbers(straight, table)
        await past.create()
        yield Place(proxy, client, Numbers(client, table), past)


async def test_nothing_goes_wrong(place: Place) -> None:
    """Without faults the proxy passes everything on, and remembers it."""
    await place.through.put("a", 1)
    assert await place.through.get("a") == 1
    assert await place.past.get("a") == 1
    assert [(each.operation, each.word) for each in place.proxy.requests] == [
        ("PutItem", "pass"),
        ("GetItem", "pass"),
    ]
    assert place.proxy.requests[0].body["Item"] == item("a", 1)
    assert place.proxy.counts == {"PutItem": 1, "GetItem": 1}


@pytest.mark.parametrize(
    ("word", "stands"), [("lost-request", None), ("lost-answer", 1), ("truncated", 1)]
)
async def test_a_connection_that_breaks(place: Place, word: str, stands: int | None) -> None:
    """The client cannot tell whether the server has done it; the next request goes through."""
    place.proxy.script("PutItem", word)
    with pytest.raises((ConnectionClosedError, HTTPClientError)):
        await place.through.put("a", 1)
    assert await place.past.get("a") == stands
    await place.through.put("a", 2)
    assert await place.past.get("a") == 2
    assert [each.word for each in place.proxy.requests] == [word, "pass"]


async def test_an_answer_that_is_no_json(place: Place) -> None:
    """The server has done it, and the client gets something else."""
    await place.past.put("a", 1)
    place.proxy.script("GetItem", "garbled")
    with pytest.raises(ChecksumError):
        await place.through.get("a")
    assert await place.through.get("a") == 1


@pytest.mark.parametrize(("word", "stands"), [("unheard", None), ("unanswered", 1)])
async def test_no_answer(place: Place, word: str, stands: int | None) -> None:
    """The client waits in vain, as long as it likes; the proxy ends all the same."""
    place.proxy.faults.append(Fault("PutItem", word, times=ALWAYS))
    async with connected(place.proxy.url, read_timeout=0.05) as hasty:
        numbers = Numbers(hasty, place.past._table)
        for _ in range(2):
            with pytest.raises(ReadTimeoutError):
                await numbers.put("a", 1)
    assert await place.past.get("a") == stands
    place.proxy.heal()
    await place.through.put("a", 2)


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        (Fault("PutItem", "throttled"), "ProvisionedThroughputExceededException", 400),
        (Fault("PutItem", "error", code="ThrottlingException"), "ThrottlingException", 400),
        (Fault("PutItem", "error"), "InternalServerError", 500),
        (Fault(ANY, "error", code="ServiceUnavailable"), "ServiceUnavailable", 503),
        (Fault(ANY, "error", code="SlowDown", status=429), "SlowDown", 429),
    ],
)
async def test_errors(place: Place, fault: Fault, code: str, status: int) -> None:
    """The client sees the error by its code and its status, and nothing is done."""
    place.proxy.faults.append(fault)
    with pytest.raises(ClientError) as raised:
        await place.through.put("a", 1)
    told = raised.value.response
    assert (told["Error"]["Code"], told["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    assert await place.past.get("a") is None
    await place.through.put("a", 2)


async def test_an_error_has_details(place: Place) -> None:
    """What DynamoDB tells besides the code, a fault can tell."""
    reasons = [{"Code": "None"}, {"Code": "TransactionConflict", "Message": "busy"}]
    code = "TransactionCanceledException"
    details = {"CancellationReasons": reasons, "message": "cancelled"}
    place.proxy.faults.append(Fault("TransactWriteItems", "error", code=code, details=details))
    check = {"TableName": "t", "Key": key("a"), "ConditionExpression": "attribute_exists(n)"}
    with pytest.raises(ClientError) as raised:
        await place.client.transact_write_items(TransactItems=[{"ConditionCheck": check}])
    assert raised.value.response["Error"] == {"Code": code, "Message": "cancelled"}
    assert raised.value.response["CancellationReasons"] == reasons


async def test_a_part_of_a_batch_of_reads(place: Place) -> None:
    """Of a batch the first are answered, the others come back as they were asked for."""
    for name in "abc":
        await place.past.put(name, 1)
    place.proxy.faults.append(Fault("BatchGetItem", "partial", keep=2))
    answer = await place.through.get_batch("abcd")
    [(table, found)] = answer["Responses"].items()
    assert sorted(each["name"]["S"] for each in found) == ["a", "b"]
    left = {"Keys": [key("c"), key("d")], "ConsistentRead": True}
    assert answer["UnprocessedKeys"] == {table: left}
    answer = await place.client.batch_get_item(RequestItems=answer["UnprocessedKeys"])
    assert answer["Responses"] == {table: [item("c", 1)]}
    assert answer["UnprocessedKeys"] == {}


async def test_a_part_of_a_batch_of_writes(place: Place) -> None:
    """Of a batch the first are written, the others come back, and nothing has happened to them."""
    place.proxy.faults.append(Fault("BatchWriteItem", "partial", keep=1))
    answer = await place.through.put_batch("abc", 1)
    assert [await place.past.get(name) for name in "abc"] == [1, None, None]
    [left] = answer["UnprocessedItems"].values()
    assert left == [{"PutRequest": {"Item": item(name, 1)}} for name in "bc"]
    await place.client.batch_write_item(RequestItems=answer["UnprocessedItems"])
    assert [await place.past.get(name) for name in "abc"] == [1, 1, 1]


async def test_a_part_that_is_the_whole(place: Place) -> None:
    """What is no batch, or is no longer than the part, passes."""
    place.proxy.faults.append(Fault(ANY, "partial", keep=3, times=ALWAYS))
    await place.through.put("z", 1)
    assert (await place.through.put_batch("abc", 1))["UnprocessedItems"] == {}
    assert [await place.past.get(name) for name in "zabc"] == [1, 1, 1, 1]


async def test_what_is_left_joins_what_the_server_left(shared: DynamoDBServer) -> None:
    """A batch of which the server, too, does a part: nothing is lost of what neither has done."""
    assert shared.endpoint is not None
    table = shared.table_of(shared.fresh())
    async with (
        FaultProxy(shared.endpoint) as inner,
        FaultProxy(inner.url) as outer,
        connected(outer.url) as client,
    ):
        numbers = Numbers(client, table)
        await numbers.create()
        for proxy, keep in ((inner, 1), (outer, 2)):
            proxy.faults.append(Fault("BatchWriteItem", "partial", keep=keep))
            proxy.faults.append(Fault("BatchGetItem", "partial", keep=keep))
        [left] = (await numbers.put_batch("abc", 1))["UnprocessedItems"].values()
        assert left == [{"PutRequest": {"Item": item(name, 1)}} for name in "bc"]
        [keys] = (await numbers.get_batch("abc"))["UnprocessedKeys"].values()
        assert keys == {"Keys": [key("b"), key("c")], "ConsistentRead": True}


async def test_an_error_for_a_part(place: Place) -> None:
    """Where the server refuses what a part was made of, the client sees the refusal."""
    place.proxy.faults.append(Fault("BatchWriteItem", "partial"))
    asked = [{"PutRequest": {"Item": item(name, 1)}} for name in "ab"]
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        await place.client.batch_write_item(RequestItems={"missing-table": asked})


async def test_slow_and_late(place: Place) -> None:
    """A request waits before the server does it, an answer after: until an event, or some turns."""
    done = asyncio.Event()
    place.proxy.faults += [
        Fault("PutItem", "slow", until=done),
        Fault("PutItem", "late", until=done),
        Fault("PutItem", "slow", turns=3),
    ]
    slow = asyncio.create_task(place.through.put("a", 1))
    await heard(place.proxy, "PutItem")
    late = asyncio.create_task(place.through.put("b", 1))
    while await place.past.get("b") is None:
        """The server has not done it yet."""
    await place.through.put("c", 1)
    assert (slow.done(), late.done()) == (False, False)
    assert await place.past.get("a") is None
    done.set()
    await asyncio.gather(slow, late)
    assert await place.past.get("a") == 1


@pytest.mark.parametrize("word", ["slow", "late", "unheard", "unanswered"])
async def test_the_end_of_a_proxy(shared: DynamoDBServer, word: str) -> None:
    """Who waits for a proxy that ends is told so, and what was slow is not done afterwards."""
    assert shared.endpoint is not None
    table = shared.table_of(shared.fresh())
    async with connected(shared.endpoint) as straight:
        past = Numbers(straight, table)
        await past.create()
        async with FaultProxy(shared.endpoint) as proxy, connected(proxy.url) as client:
            proxy.faults.append(Fault("PutItem", word, until=asyncio.Event()))
            waiting = asyncio.create_task(Numbers(client, table).put("a", 1))
            await heard(proxy, "PutItem")
            await proxy.__aexit__(None, None, None)
            with pytest.raises(BotoCoreError):
                await waiting
        stands = 1 if word in ("late", "unanswered") else None
        assert await past.get("a") == stands


async def test_a_server_that_is_away(shared: DynamoDBServer) -> None:
    """Behind a proxy, a server that cannot be reached is a connection that is closed."""
    absent = DynamoDBServer(shared.name, absent_server(shared.name))
    async with FaultProxy(str(absent.endpoint)) as proxy, connected(proxy.url) as client:
        with pytest.raises(BotoCoreError):
            await client.list_tables()
        assert proxy.counts == {"ListTables": 1}


async def test_a_script_is_for_one_operation(place: Place) -> None:
    """Requests of another operation pass by, and a fault comes as often as it says."""
    place.proxy.script("PutItem", "pass", "throttled")
    place.proxy.faults.append(Fault(ANY, "error", code="LimitExceededException", times=2))
    await place.through.put("a", 1)
    for expected in ("LimitExceeded", "ProvisionedThroughputExceeded", "LimitExceeded"):
        call = place.through.get("a") if expected[0] == "L" else place.through.put("a", 2)
        with pytest.raises(ClientError, match=f"{expected}Exception"):
            await call
    assert place.proxy.faults == []
    assert await place.through.get("a") == 1


async def test_faults_at_random(place: Place) -> None:
    """A seed decides what goes wrong, with which probability; other operations pass."""

    async def met(seed: int) -> list[str]:
        place.proxy.heal()
        place.proxy.requests.clear()
        words = {"throttled": 0.3, "lost-answer": 0.2}
        place.proxy.at_random(random.Random(seed), words, WRITES)
        for number in range(30):
            try:
                await place.through.put("a", number)
            except (ClientError, BotoCoreError):
                assert place.proxy.requests[-1].word in words
            else:
                assert place.proxy.requests[-1].word == "pass"
            await place.through.get("a")
        reads = [each.word for each in place.proxy.requests if each.operation == "GetItem"]
        assert set(reads) == {"pass"}
        return [each.word for each in place.proxy.requests if each.operation == "PutItem"]

    first = await met(1)
    assert set(first) == {"pass", "throttled", "lost-answer"}
    assert first == await met(1)
    assert first != await met(2)


def test_what_no_fault_is_called() -> None:
    """A word that is none is refused, wherever it is said."""
    with pytest.raises(ValueError, match="'gone'"):
        Fault(ANY, "gone")
    with pytest.raises(ValueError, match="called gone"):
        FaultProxy("http://127.0.0.1:1").at_random(random.Random(1), {"gone": 1})
    with pytest.raises(ValueError, match="AWS"):
        FaultProxy(None)
