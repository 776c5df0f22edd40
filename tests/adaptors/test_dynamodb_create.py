"""Making DynamoDB's table: once, whoever else makes it, and however often it is asked for."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError
from msgspec.structs import replace
from servers import dynamodb_server

from aiostore.adaptors.dynamodb import create
from aiostore.adaptors.dynamodb._tables import (
    LAYOUT_KEY,
    Layout,
    Provisioned,
    Table,
    create_request,
    layout_item,
    layout_of,
    ttl_request,
)
from aiostore.adaptors.dynamodb.create import create_table
from aiostore.errors import ConfigurationError, UnavailableError

SESSION = get_session()
CHANGES = ("create_table", "put_item", "update_time_to_live", "update_continuous_backups")


@pytest.fixture
def endpoint() -> str:
    """The URL of a server of the tests' own, which may make tables."""
    url = dynamodb_server("dynamodb").endpoint
    if url is None:
        pytest.skip("AWS takes a minute for a table and its expiry, and these tests make dozens")
    return url


@pytest.fixture
async def client(endpoint: str) -> AsyncIterator["Client"]:
    """The driver's client."""
    async with SESSION.create_client(
        "dynamodb",
        region_name="eu-central-1",
        endpoint_url=endpoint,
        aws_access_key_id="nobody",
        aws_secret_access_key="nothing",  # noqa: S106  # the server asks for none
        config=AioConfig(retries={"total_max_attempts": 1}, warm_up_loader_caches=True),
    ) as made:
        yield Client(made)


@pytest.fixture(autouse=True)
def pauses_of_no_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for comes at once."""
    monkeypatch.setattr(create, "_FIRST_PAUSE", 0.0)


@pytest.fixture
def table() -> Table:
    """A table that does not exist yet."""
    return Table(name=f"t-{uuid4().hex}", shards=3, indexes=(("email",),))


class Client:
    """The driver's, with answers put before the server's own, and calls counted.

    Attributes:
        calls: how often each method was called.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._first: dict[str, list[Any]] = {}
        self.calls: Counter[str] = Counter()

    def first(self, method: str, *answers: Any) -> None:
        """The next calls of a method have these answers; errors are raised, functions called."""
        self._first[method] = list(answers)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        async def call(**parameters: Any) -> Any:
            self.calls[method] += 1
            waiting = self._first.get(method)
            answer = waiting.pop(0) if waiting else None
            if isinstance(answer, Exception):
                raise answer
            if callable(answer):
                await answer()
            elif answer is not None:
                return answer
            return await getattr(self._client, method)(**parameters)

        return call

    def changes(self) -> dict[str, int]:
        """How often each method was called that changes anything; forgotten then."""
        counted = {name: count for name, count in self.calls.items() if name in CHANGES}
        self.calls.clear()
        return counted


def refusal(code: str) -> ClientError:
    """An error of the server's."""
    return ClientError({"Error": {"Code": code, "Message": "not now"}}, "Operation")


def status(name: str) -> dict[str, Any]:
    """The answer of `DescribeTable` for a table of ours that is in this state."""
    return {"Table": {**create_request(Table(name="any")), "TableStatus": name}}


async def layout_in(client: Client, table: Table) -> Layout:
    """What the layout item says."""
    answer = await client.get_item(TableName=table.name, Key=LAYOUT_KEY)
    return layout_of(answer["Item"])


async def expiry_of(client: Client, table: Table) -> dict[str, Any]:
    """Whether the table's items expire, and by what."""
    answer = await client.describe_time_to_live(TableName=table.name)
    found: dict[str, Any] = answer["TimeToLiveDescription"]
    return found


async def recovery_of(client: Client, table: Table) -> str:
    """Whether backups are kept."""
    answer = await client.describe_continuous_backups(TableName=table.name)
    recovery = answer["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    return str(recovery["PointInTimeRecoveryStatus"])


async def test_a_table_is_made(client: Client, table: Table) -> None:
    """The table, its expiry and its layout are there."""
    await create_table(client, table)
    assert await layout_in(client, table) == Layout(3, (("email",),))
    assert await expiry_of(client, table) == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
    assert await recovery_of(client, table) == "DISABLED"


async def test_a_table_as_it_is_asked_for(client: Client, table: Table) -> None:
    """Capacity, backups and the want of expiry are as asked for."""
    await create_table(
        client,
        replace(table, provisioned=Provisioned(5, 7), point_in_time_recovery=True, ttl=False),
    )
    description = (await client.describe_table(TableName=table.name))["Table"]
    assert description["ProvisionedThroughput"]["ReadCapacityUnits"] == 5
    assert (await expiry_of(client, table))["TimeToLiveStatus"] == "DISABLED"
    assert await recovery_of(client, table) == "ENABLED"


async def test_making_it_again_changes_nothing(client: Client, table: Table) -> None:
    """A table that is as it is to be is left alone, however it is paid for."""
    wanted = replace(table, point_in_time_recovery=True)
    await create_table(client, wanted)
    client.changes()
    await create_table(client, wanted)
    await create_table(client, table)
    await create_table(client, replace(table, provisioned=Provisioned(1, 1), ttl=False))
    assert client.changes() == {"put_item": 3}  # refused
    assert (await expiry_of(client, table))["TimeToLiveStatus"] == "ENABLED"
    assert await recovery_of(client, table) == "ENABLED"


@pytest.mark.parametrize("done", [0, 1, 2, 3])
async def test_whoever_was_killed_half_way_is_completed(
    client: Client, table: Table, done: int
) -> None:
    """The next call goes on where the last one ended."""
    wanted = replace(table, point_in_time_recovery=True)
    died = RuntimeError("killed")
    method = CHANGES[(0, 2, 3, 1)[done]]
    client.first(method, died)
    with pytest.raises(RuntimeError):
        await create_table(client, wanted)
    client.changes()
    await create_table(client, wanted)
    made = {"create_table", "update_time_to_live", "update_continuous_backups", "put_item"}
    before = [CHANGES[number] for number in (0, 2, 3, 1)][:done]
    assert client.changes() == dict.fromkeys(made.difference(before), 1)
    assert await layout_in(client, table) == Layout(3, (("email",),))


async def test_many_make_it_at_once(client: Client, table: Table) -> None:
    """All who make the same table at the same time succeed, and it is made once."""
    await asyncio.gather(*(create_table(client, table) for _ in range(8)))
    assert await layout_in(client, table) == Layout(3, (("email",),))


async def test_another_is_faster_between_two_steps(client: Client, table: Table) -> None:
    """Whatever another process does in between, both succeed."""

    async def made_by_another() -> None:
        await create_table(other, table)

    for method in CHANGES[:3]:
        other = Client(client._client)
        client.first(method, made_by_another)
        await create_table(client, table)
        await client.delete_table(TableName=table.name)


async def test_another_makes_another_layout_in_between(client: Client, table: Table) -> None:
    """If two want different shards, the second is told, however close they are."""

    async def made_by_another() -> None:
        await client._client.put_item(TableName=table.name, Item=layout_item(Layout(5)))

    client.first("put_item", made_by_another)
    with pytest.raises(ConfigurationError, match="has 5 shards, and not 3"):
        await create_table(client, table)


async def test_a_layout_that_comes_and_goes(client: Client, table: Table) -> None:
    """If the layout that was in the way is gone, it is written."""
    client.first("put_item", refusal("ConditionalCheckFailedException"))
    await create_table(client, table)
    assert await layout_in(client, table) == Layout(3, (("email",),))


async def test_the_table_takes_its_time(client: Client, table: Table) -> None:
    """It is waited for until DynamoDB has made it, and knows that it has been asked for it."""
    absent = refusal("ResourceNotFoundException")
    client.first("describe_table", absent, absent, status("CREATING"), status("CREATING"))
    await create_table(client, table)
    assert client.changes()["create_table"] == 1


async def test_a_table_that_is_not_ready_in_time(client: Client, table: Table) -> None:
    """The waiting ends, and says that it can be gone on with."""
    client.first("describe_table", status("CREATING"))
    with pytest.raises(UnavailableError, match=r"not yet made the table .* gone on with"):
        await create_table(client, table, patience=timedelta(0))


async def test_whoever_waits_can_be_cancelled(
    client: Client, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancellation ends the waiting at once."""
    monkeypatch.setattr(create, "_FIRST_PAUSE", 3600.0)
    client.first("describe_table", status("CREATING"))
    making = asyncio.create_task(create_table(client, table, patience=timedelta(days=1)))
    for _ in range(3):
        await asyncio.sleep(0)
    assert client.changes() == {}  # it has asked for the table, and waits
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making


@pytest.mark.parametrize("name", ["DELETING", "ARCHIVED"])
async def test_a_table_that_cannot_be_used(client: Client, table: Table, name: str) -> None:
    """A table that is going, or has gone, is told at once."""
    client.first("describe_table", status(name))
    with pytest.raises(ConfigurationError, match=name):
        await create_table(client, table)


async def test_a_table_that_is_being_changed(client: Client, table: Table) -> None:
    """DynamoDB refuses changes while it is at work on others: they are asked for again."""
    client.first("update_time_to_live", refusal("ResourceInUseException"))
    client.first(
        "update_continuous_backups", *[refusal("ContinuousBackupsUnavailableException")] * 2
    )
    await create_table(client, replace(table, point_in_time_recovery=True))
    assert (await expiry_of(client, table))["TimeToLiveStatus"] == "ENABLED"
    assert await recovery_of(client, table) == "ENABLED"


async def test_another_asks_for_expiry_at_the_same_time(client: Client, table: Table) -> None:
    """DynamoDB refuses the second as invalid, and what the first has asked for is enough."""

    async def asked_by_another() -> None:
        await client._client.update_time_to_live(**ttl_request(table.name))
        raise refusal("ValidationException")

    client.first("update_time_to_live", asked_by_another)
    await create_table(client, table)
    assert client.changes()["update_time_to_live"] == 1


async def test_expiry_that_is_refused_otherwise(client: Client, table: Table) -> None:
    """An hour after it was switched off it cannot be switched on: that is told as it is."""
    client.first("update_time_to_live", refusal("ValidationException"))
    with pytest.raises(ClientError, match="not now"):
        await create_table(client, table)


async def test_a_server_without_expiry(client: Client, table: Table) -> None:
    """The error says how to make the table without, and then that works."""
    client.first("update_time_to_live", refusal("UnknownOperationException"))
    with pytest.raises(ConfigurationError, match="ttl=false or --no-ttl"):
        await create_table(client, table)
    await create_table(client, replace(table, ttl=False))


async def test_a_server_without_backups(client: Client, table: Table) -> None:
    """The error says what to leave out."""
    client.first("describe_continuous_backups", refusal("UnknownOperationException"))
    with pytest.raises(ConfigurationError, match="without point-in-time recovery"):
        await create_table(client, replace(table, point_in_time_recovery=True))


@pytest.mark.parametrize(
    "method",
    ["describe_table", "create_table", "put_item", "describe_continuous_backups"],
)
async def test_other_refusals_are_the_drivers(client: Client, table: Table, method: str) -> None:
    """What is no matter of making tables is left to the caller."""
    client.first(method, refusal("AccessDeniedException"))
    with pytest.raises(ClientError, match="AccessDenied"):
        await create_table(client, replace(table, point_in_time_recovery=True))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"shards": 4}, "has 3 shards, and not 4"),
        ({"indexes": ()}, "the index 'by-email' besides"),
        ({"indexes": (("email",), ("age",))}, "no index 'by-age'"),
    ],
)
async def test_a_table_of_another_shape(
    client: Client, table: Table, change: dict[str, Any], fault: str
) -> None:
    """A table that differs from what is asked for is left alone, and the difference is told."""
    await create_table(client, table)
    client.changes()
    with pytest.raises(ConfigurationError, match=fault):
        await create_table(client, replace(table, **change))
    assert client.changes() == {}


async def test_documents_that_were_written_for_other_indexes(client: Client, table: Table) -> None:
    """An index that was added later does not know the documents from before."""
    await client._client.create_table(**create_request(table))
    await client._client.put_item(TableName=table.name, Item=layout_item(Layout(3)))
    with pytest.raises(ConfigurationError, match="documents were written for are none"):
        await create_table(client, table)
    assert client.changes() == {}


async def test_items_that_expire_by_another_attribute(client: Client, table: Table) -> None:
    """Somebody else's expiry is not switched over."""
    await client._client.create_table(**create_request(table))
    await client._client.update_time_to_live(
        TableName=table.name,
        TimeToLiveSpecification={"Enabled": True, "AttributeName": "gone"},
    )
    with pytest.raises(ConfigurationError, match="expire by its attribute 'gone'"):
        await create_table(client, table)
    assert client.changes() == {}


async def test_somebody_elses_table(client: Client, table: Table) -> None:
    """A table of our keys that holds items, and no layout, is not taken for ours."""
    await client._client.create_table(**create_request(table))
    item = {"pk": {"S": "user#1"}, "sk": {"S": "profile"}}
    await client._client.put_item(TableName=table.name, Item=item)
    with pytest.raises(ConfigurationError, match="is not aiostore's"):
        await create_table(client, table)
    assert client.changes() == {}


async def test_a_table_that_others_fill_meanwhile(client: Client, table: Table) -> None:
    """Whoever finds items, and then a layout that is just being written, takes that."""
    await client._client.create_table(**create_request(table))

    async def begun_by_another() -> None:
        await client._client.put_item(
            TableName=table.name, Item=layout_item(Layout(3, (("email",),)))
        )

    client.first("scan", begun_by_another)
    await create_table(client, table)
    assert await layout_in(client, table) == Layout(3, (("email",),))
