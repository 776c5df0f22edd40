"""Making the table, once, by however many processes at the same time.

The layout item is written last, so a table that has it was finished. Whoever is killed half way
leaves a table that the next call completes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from botocore.exceptions import ClientError

from aiostore.adaptors.dynamodb._connections import Connections, Endpoint
from aiostore.adaptors.dynamodb._errors import (
    CONDITION_FAILED,
    INVALID,
    NO_TABLE,
    code_of,
    translated,
)
from aiostore.adaptors.dynamodb._tables import (
    LAYOUT_KEY,
    PARTITION,
    TTL,
    Layout,
    Table,
    create_request,
    index_name,
    indexes_of,
    layout_item,
    layout_of,
    recovery_request,
    shape_fault,
    ttl_request,
)
from aiostore.errors import ConfigurationError, UnavailableError

_FIRST_PAUSE = 0.1  # seconds; DynamoDB takes some ten to make a table, other servers none
_LONGEST_PAUSE = 5.0

_IN_USE = "ResourceInUseException"
_UNKNOWN = "UnknownOperationException"

_LATER = frozenset(
    {
        _IN_USE,
        "ContinuousBackupsUnavailableException",  # they are being enabled
        "LimitExceededException",  # too many such requests at once
        "ThrottlingException",
    }
)
"""Codes of changes to a table that are possible a little later."""


_PATIENCE = timedelta(minutes=5)


async def make_table(
    table: Table, endpoint: Endpoint | None = None, *, patience: timedelta = _PATIENCE
) -> None:
    """Make a table, or see that the one that stands there is as it is to be; see `create_table`.

    Args:
        table: what it is to be.
        endpoint: where it is to be.
        patience: for how long to wait until DynamoDB has made it.

    Raises:
        ConfigurationError: a different table stands there, and was left alone; the server has no
            expiry or no recovery; or the credentials do not allow it.
        UnavailableError: the server cannot be reached, or the table was not ready in time; the next
            call goes on with it.
    """
    store = f"dynamodb://{table.name}"
    connections = Connections(Endpoint() if endpoint is None else endpoint, store)
    try:
        await connections.open()
        with translated(store):
            await create_table(connections.client, table, patience=patience)
    finally:
        await connections.aclose()


async def create_table(client: Any, table: Table, *, patience: timedelta = _PATIENCE) -> None:
    """Make a table, or see that the one that stands there is as it is to be.

    What is missing is added: expiry, recovery, the layout item. How an existing table is paid for
    is left as it is, and nothing that it has besides is switched off.

    Args:
        client: aiobotocore's, for DynamoDB.
        table: what it is to be.
        patience: for how long to wait until DynamoDB has made it.

    Raises:
        ConfigurationError: a different table stands there, and was left alone; or the server has
            no expiry or no recovery. The message says what differs.
        UnavailableError: the table was not ready in time; the next call goes on with it.
        ClientError: the server refused, for other reasons.
    """
    pauses = _Pauses(table.name, patience)
    fault = _fault(await _standing(client, table, pauses), table)
    if fault is None:
        fault = _fault_of_layout(await read_layout(client, table.name), table)
    if fault is not None:
        raise _different(table.name, fault)
    if table.ttl:
        await _expire(client, table.name, pauses)
    if table.point_in_time_recovery:
        await _back_up(client, table.name, pauses)
    fault = _fault_of_layout(await keep_layout(client, table.name, _layout(table)), table)
    if fault is not None:
        raise _different(table.name, fault)


async def read_layout(client: Any, name: str) -> Layout | None:
    """The layout of a table; None if it is empty.

    Raises:
        ConfigurationError: its layout cannot be read, or it holds items and no layout.
        ClientError: the server refused.
    """
    layout = await _layout_item(client, name)
    if layout is not None:
        return layout
    answer = await client.scan(TableName=name, Limit=1, ConsistentRead=True)
    if not answer["Items"]:
        return None
    layout = await _layout_item(client, name)  # others may have begun just now
    if layout is None:
        raise ConfigurationError(
            f"the table {name!r} holds items and no layout item, so it is not aiostore's: use "
            "another one"
        )
    return layout


async def keep_layout(client: Any, name: str, layout: Layout) -> Layout:
    """Write the layout, if the table has none; returns the one that stands there then.

    Raises:
        ConfigurationError: the one that stands there cannot be read.
        ClientError: the server refused.
    """
    while True:
        try:
            await client.put_item(
                TableName=name,
                Item=layout_item(layout),
                ConditionExpression=f"attribute_not_exists({PARTITION})",
            )
        except ClientError as error:
            if code_of(error) not in CONDITION_FAILED:
                raise
            standing = await _layout_item(client, name)
            if standing is not None:
                return standing
        else:
            return layout


async def _layout_item(client: Any, name: str) -> Layout | None:
    answer = await client.get_item(TableName=name, Key=dict(LAYOUT_KEY), ConsistentRead=True)
    item = answer.get("Item")
    return None if item is None else layout_of(item)


async def _standing(client: Any, table: Table, pauses: "_Pauses") -> dict[str, Any]:
    """What `DescribeTable` says of the table, which is made if it is missing, and fit for use."""
    asked_for = False
    while True:
        try:
            answer = await client.describe_table(TableName=table.name)
        except ClientError as error:
            if code_of(error) != NO_TABLE:
                raise
            if not asked_for:
                await _ask_for(client, table)
                asked_for = True
                continue
        else:
            description: dict[str, Any] = answer["Table"]
            status = description["TableStatus"]
            if status in ("ACTIVE", "UPDATING"):
                return description
            if status != "CREATING":
                raise ConfigurationError(
                    f"the table {table.name!r} cannot be used, since DynamoDB says that it is "
                    f"{status}: wait for the end of it, or use another name"
                )
        await pauses.wait("DynamoDB has not yet made the table")


async def _ask_for(client: Any, table: Table) -> None:
    try:
        await client.create_table(**create_request(table))
    except ClientError as error:
        if code_of(error) != _IN_USE:  # another process was faster
            raise


async def _expire(client: Any, name: str, pauses: "_Pauses") -> None:
    """Let DynamoDB remove expired documents."""
    try:
        if not await _expires(client, name):
            await pauses.until_done(lambda: client.update_time_to_live(**ttl_request(name)))
    except ClientError as error:
        if code_of(error) == _UNKNOWN:
            raise ConfigurationError(
                "this server does not remove expired documents by itself (it has no "
                "UpdateTimeToLive): make the table without, by ttl=false or --no-ttl"
            ) from error
        if code_of(error) != INVALID or not await _expires(client, name):
            raise


async def _expires(client: Any, name: str) -> bool:
    answer = await client.describe_time_to_live(TableName=name)
    found = answer["TimeToLiveDescription"]
    if found["TimeToLiveStatus"] not in ("ENABLED", "ENABLING"):
        return False
    if found["AttributeName"] != TTL:
        raise _different(
            name, f"items expire by its attribute {found['AttributeName']!r}, and not by {TTL!r}"
        )
    return True


async def _back_up(client: Any, name: str, pauses: "_Pauses") -> None:
    """Have continuous backups kept."""
    try:
        answer = await client.describe_continuous_backups(TableName=name)
        found = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
        if found.get("PointInTimeRecoveryStatus") != "ENABLED":
            await pauses.until_done(
                lambda: client.update_continuous_backups(**recovery_request(name))
            )
    except ClientError as error:
        if code_of(error) != _UNKNOWN:
            raise
        raise ConfigurationError(
            "this server keeps no continuous backups (it has no UpdateContinuousBackups): make the "
            "table without point-in-time recovery"
        ) from error


class _Pauses:
    """The pauses between questions, for a while, and each a little longer."""

    def __init__(self, name: str, patience: timedelta) -> None:
        self._name = name
        self._end = asyncio.get_running_loop().time() + patience.total_seconds()
        self._pause = _FIRST_PAUSE

    async def wait(self, reason: str) -> None:
        """One of them, unless the time is over."""
        left = self._end - asyncio.get_running_loop().time()
        if left <= 0:
            raise UnavailableError(
                f"{reason} {self._name!r}: try again, and what has been done is gone on with"
            )
        await asyncio.sleep(min(self._pause, left))
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    async def until_done(self, change: Callable[[], Awaitable[Any]]) -> None:
        """Ask for a change to the table until it is possible."""
        while True:
            try:
                await change()
            except ClientError as error:
                if code_of(error) not in _LATER:
                    raise
            else:
                return
            await self.wait("DynamoDB is busy with other changes to the table")


def _layout(table: Table) -> Layout:
    return Layout(table.shards, table.indexes)


def _fault(description: dict[str, Any], table: Table) -> str | None:
    fault = shape_fault(description, table.indexes)
    if fault is not None:
        return fault
    besides = [path for path in indexes_of(description) if path not in table.indexes]
    return f"it has the index {index_name(besides[0])!r} besides" if besides else None


def _fault_of_layout(layout: Layout | None, table: Table) -> str | None:
    if layout is None:
        return None
    if layout.shards != table.shards:
        return f"it has {layout.shards} shards, and not {table.shards}"
    if set(layout.indexes) != set(table.indexes):
        names = ", ".join(map(index_name, layout.indexes)) or "none"
        return f"the indexes that its documents were written for are {names}"
    return None


def _different(name: str, fault: str) -> ConfigurationError:
    return ConfigurationError(
        f"the table {name!r} stands there, and is not what was asked for: {fault}. Use another "
        "name, or ask for what there is"
    )
