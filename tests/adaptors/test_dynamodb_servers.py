"""The DynamoDB servers that other tests rest on: their tables, and that requests are atomic."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import servers
from botocore.exceptions import ClientError
from dynamodb_proxy import Fault, FaultProxy
from dynamodb_servers import NOBODYS_ENVIRONMENT, DynamoDBServer, LocalDynamoDB
from servers import DYNAMODB_ENGINES, close_servers, dynamodb_server, private_dynamodb, variable


@pytest.fixture(scope="module", params=DYNAMODB_ENGINES)
def local(request: pytest.FixtureRequest) -> Iterator[LocalDynamoDB]:
    """A server of these tests alone, which each leaves running."""
    with private_dynamodb(request.param, durable=False) as started:
        yield started


@pytest.fixture
def own(local: LocalDynamoDB) -> Iterator[DynamoDBServer]:
    """The same server, as if it were one's own, with a prefix for its tables."""
    running = DynamoDBServer(local.name, f"{local.url}&prefix=ours-")
    yield running
    running.close()


def create(running: DynamoDBServer, url: str) -> str:
    """Make the table of a store, with a sort key; returns its name."""
    table = running.table_of(url)
    keys = {"pk": "HASH", "sk": "RANGE"}
    running.client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    status = "CREATING"
    while status != "ACTIVE":
        status = running.client.describe_table(TableName=table)["Table"]["TableStatus"]
    return table


def tables(running: DynamoDBServer) -> list[str]:
    """The tables of a server, without those that are being deleted."""
    found = []
    for name in running.client.list_tables()["TableNames"]:
        with suppress(running.client.exceptions.ResourceNotFoundException):  # gone meanwhile
            if running.client.describe_table(TableName=name)["Table"]["TableStatus"] == "ACTIVE":
                found.append(name)
    return found


def key(name: str) -> dict[str, Any]:
    """The key of an item."""
    return {"pk": {"S": "numbers"}, "sk": {"S": name}}


def test_a_lent_table_is_nobody_elses(own: DynamoDBServer) -> None:
    """Two that are lent are two; one that is given back is deleted before another is lent."""
    before = tables(own)
    first, second = own.lend(), own.lend()
    names = [create(own, each.url) for each in (first, second)]
    assert len(set(names)) == 2
    assert all(name.startswith("ours-aiostore-test-") for name in names)
    assert sorted(tables(own)) == sorted([*before, *names])
    del first
    third = own.lend()
    assert own.table_of(third.url) not in names
    assert sorted(tables(own)) == sorted([*before, names[1]])


def test_the_url_of_a_table(own: DynamoDBServer, local: LocalDynamoDB) -> None:
    """It has the options of the server's, and says that the table may be made."""
    url = own.lend().url
    asked = {name: value for name, [value] in parse_qs(urlsplit(url).query).items()}
    given = {name: value for name, [value] in parse_qs(urlsplit(local.url).query).items()}
    assert asked == given | {"prefix": "ours-", "create": "true", "shards": "4"}
    assert own.name_of(url).startswith("aiostore-test-")
    assert own.table_of(url) == f"ours-{own.name_of(url)}"


def test_a_fresh_table_lasts_until_the_test_ends(
    own: DynamoDBServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one test every table is another; they are gone when the next test asks for one."""
    before = tables(own)
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "test_one (setup)")
    first = create(own, own.fresh())
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "test_one (call)")
    second = create(own, own.fresh())
    assert sorted(tables(own)) == sorted([*before, first, second])
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "test_two (setup)")
    own.fresh()
    assert tables(own) == before


def test_ones_own_server_is_used_and_left_as_it_was(
    local: LocalDynamoDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable names a server that tests share, do not kill, and leave without a table."""
    monkeypatch.setattr(servers, "_shared", {})
    monkeypatch.setenv(variable(local.name), local.url)
    theirs = create(local, local.url_of(f"theirs-of-{local.name}"))
    given = dynamodb_server(local.name)
    assert given is dynamodb_server(local.name)
    assert type(given) is DynamoDBServer
    create(given, given.fresh())
    given.fresh()  # whose table nobody makes
    assert len(tables(local)) == 2
    with (
        pytest.raises(pytest.skip.Exception, match=variable(local.name)),
        private_dynamodb(local.name),
    ):
        pass
    close_servers()
    assert tables(local) == [theirs]
    local.client.delete_table(TableName=theirs)


async def test_a_table_that_is_still_being_made_is_deleted_as_well(local: LocalDynamoDB) -> None:
    """AWS deletes no table that it is making, so its end is waited for."""
    async with FaultProxy(str(local.endpoint)) as proxy:
        slow = DynamoDBServer(local.name, local.url_of("any", endpoint_url=proxy.url))
        lent = await asyncio.to_thread(slow.lend)
        table = await asyncio.to_thread(create, slow, lent.url)
        proxy.faults.append(Fault("DeleteTable", "error", code="ResourceInUseException"))
        await asyncio.to_thread(slow.close)
        assert proxy.counts["DeleteTable"] == 2
    assert table not in tables(local)


def test_nobodys_credentials() -> None:
    """Tests find no credentials of the person who runs them, but for a server of theirs."""
    if variable("dynamodb") in os.environ:
        pytest.skip("one's own server is used with one's own credentials")
    found = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    assert found == NOBODYS_ENVIRONMENT


@pytest.mark.parametrize("name", DYNAMODB_ENGINES)
def test_requests_at_once_are_atomic(name: str) -> None:
    """Of increments by conditional puts none is lost, and of two creations of an item one fails."""
    with restless(name) as running:
        table = create(running, running.lend().url)
        put_counters(running, table)
        results = at_once(
            [lambda: increments(running, table)] * 4 + [lambda: creations(running, table)] * 2
        )
        assert counters(running, table) == [sum(results[:4]), 0]
        assert sum(results[4:]) == 30


def test_transactions_at_once_are_atomic() -> None:
    """A transaction is done whole or not at all, and a refused one takes nobody's write back."""
    with restless("dynamodb") as running:
        table = create(running, running.lend().url)
        put_counters(running, table)
        results = at_once(
            [lambda: transactions(running, table)] * 3 + [lambda: creations(running, table)] * 2
        )
        assert counters(running, table) == [sum(results[:3])] * 2
        assert sum(results[3:]) == 30
        get = running.client.get_item
        made = [get(TableName=table, Key=key(f"new {number}")) for number in range(30)]
        assert all("Item" in answer for answer in made)


def restless(name: str) -> AbstractContextManager[LocalDynamoDB]:
    """A server; moto's threads take turns so often that what is not one step is interrupted."""
    options = ["1e-6"] if name == "dynamodb" else []
    return private_dynamodb(name, durable=False, options=options)


def put_counters(running: DynamoDBServer, table: str) -> None:
    """Two that are 0, and much else: moto copies the whole table for a transaction."""
    for number in range(100):
        running.client.put_item(TableName=table, Item=key(f"filling {number}"))
    for name in "ab":
        running.client.put_item(TableName=table, Item=key(name) | {"n": {"N": "0"}})


def counters(running: DynamoDBServer, table: str) -> list[int]:
    """What they have come to."""
    return [
        int(running.client.get_item(TableName=table, Key=key(name))["Item"]["n"]["N"])
        for name in "ab"
    ]


def at_once(tasks: list[Callable[[], int]]) -> list[int]:
    """What they return, each in a thread of its own, all begun together."""
    ready = threading.Barrier(len(tasks))

    def run(task: Callable[[], int]) -> int:
        ready.wait()
        return task()

    with ThreadPoolExecutor(len(tasks)) as threads:
        return list(threads.map(run, tasks))


def increments(running: DynamoDBServer, table: str) -> int:
    """How many of 30 attempts to increment a counter were acknowledged."""
    return sum(
        accepted(running.client.put_item, TableName=table, **incremented(running, table, "a"))
        for _ in range(30)
    )


def transactions(running: DynamoDBServer, table: str) -> int:
    """How many of 30 attempts to increment two counters that are equal."""
    done = 0
    for _ in range(30):
        put = incremented(running, table, "a")
        both = [
            {"Put": {"TableName": table, **put, "Item": put["Item"] | key(name)}} for name in "ab"
        ]
        done += accepted(running.client.transact_write_items, TransactItems=both)
    return done


def creations(running: DynamoDBServer, table: str) -> int:
    """How many of 30 items were made here, which others try to make, too."""
    return sum(
        accepted(
            running.client.put_item,
            TableName=table,
            Item=key(f"new {number}"),
            ConditionExpression="attribute_not_exists(pk)",
        )
        for number in range(30)
    )


def incremented(running: DynamoDBServer, table: str, name: str) -> dict[str, Any]:
    """What a put of a counter's next number says."""
    answer = running.client.get_item(TableName=table, Key=key(name), ConsistentRead=True)
    number = int(answer["Item"]["n"]["N"])
    return {
        "Item": key(name) | {"n": {"N": str(number + 1)}},
        "ConditionExpression": "n = :n",
        "ExpressionAttributeValues": {":n": {"N": str(number)}},
    }


def accepted(send: Callable[..., Any], **parameters: Any) -> bool:
    """Whether a request's condition held."""
    try:
        send(**parameters)
    except ClientError as error:
        if error.response["Error"]["Code"] not in REFUSALS:
            raise
        return False
    return True


REFUSALS = ("ConditionalCheckFailedException", "TransactionCanceledException")


def test_a_request_that_stops_in_the_midst_keeps_none_waiting(local: LocalDynamoDB) -> None:
    """Though requests are done one by one, a client that hangs is not in their way."""
    with socket.create_connection(("127.0.0.1", local.port)) as hanging:
        hanging.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        assert tables(local) is not None


def test_what_dynalite_keeps() -> None:
    """Told to be durable it has its tables in a folder, and they survive a kill."""
    with private_dynamodb("dynalite", durable=True) as running:
        table = create(running, running.lend().url)
        running.client.put_item(TableName=table, Item=key("a"))
        running.kill()
        running.restart()
        assert running.client.get_item(TableName=table, Key=key("a"))["Item"] == key("a")
