"""Many requests at once, and requests of many keys."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from itertools import islice
from typing import Any, TypeVar

from aiostore.adaptors.dynamodb._connections import Connections
from aiostore.adaptors.dynamodb._items import Item, Items, id_of, record_of
from aiostore.protocols import DocumentId, Record

R = TypeVar("R")
T = TypeVar("T")

MOST_READ = 100
"""Keys in one `BatchGetItem`."""

_MOST_REMOVED = 25
"""Keys in one `BatchWriteItem`."""

_AT_ONCE = 16
"""Requests of one job under way together, beside those of others."""


async def together(calls: Iterable[Awaitable[R]]) -> list[R]:
    """What they return, in order; the first error cancels the others.

    A cancellation outweighs an error of the same moment. `asyncio.gather` would lose it, and so
    would a `TaskGroup` up to CPython 3.12, which also leaves one of its own on the task.
    """
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        if tasks:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        if not all(task.done() for task in tasks):
            await asyncio.wait(tasks)
        errors = [task.exception() for task in tasks if not task.cancelled()]
    for error in errors:
        if error is not None:
            raise error
    return [task.result() for task in tasks]


async def spread(call: Callable[[T], Awaitable[R]], arguments: Iterable[T]) -> list[R]:
    """What `call` returns for each argument, some at once; the first error cancels the others."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(argument: T) -> R:
        async with slots:
            return await call(argument)

    return await together(map(one, arguments))


async def read(
    connections: Connections,
    table: str,
    items: Items,
    ids: Sequence[DocumentId],
    *,
    consistent: bool,
) -> dict[DocumentId, Record]:
    """The records that stand at `ids`, at most 100.

    One is a `GetItem`, which costs the same and is faster; several are one `BatchGetItem`, and as
    many more as the server leaves keys over: it does so when it is busy, and beyond 16 MB.
    """
    if len(ids) == 1:
        answer = await connections.call(
            "GetItem",
            {"TableName": table, "Key": items.key(ids[0]), "ConsistentRead": consistent},
        )
        return {ids[0]: record_of(answer["Item"])} if "Item" in answer else {}
    found: dict[DocumentId, Record] = {}
    left: Any = {
        table: {"Keys": [items.key(id_) for id_ in ids], "ConsistentRead": consistent},
    }
    backoff = connections.backoff()
    while left:
        before = len(left[table]["Keys"])
        answer = await connections.call("BatchGetItem", {"RequestItems": left})
        found |= {id_of(item): record_of(item) for item in answer["Responses"].get(table, [])}
        left = answer.get("UnprocessedKeys")
        # Those that are missing have been read, too.
        if left and len(left[table]["Keys"]) == before and not await backoff.pause():
            raise connections.busy()
    return found


async def remove(connections: Connections, table: str, keys: Sequence[Item]) -> None:
    """Remove the items at these keys, whatever stands there."""
    batches = iter(keys)
    slices = iter(lambda: list(islice(batches, _MOST_REMOVED)), [])
    await spread(lambda some: _remove(connections, table, some), slices)


async def _remove(connections: Connections, table: str, keys: Sequence[Item]) -> None:
    left: Any = {table: [{"DeleteRequest": {"Key": key}} for key in keys]}
    backoff = connections.backoff()
    while left:
        before = len(left[table])
        answer = await connections.call("BatchWriteItem", {"RequestItems": left})
        left = answer.get("UnprocessedItems")
        if left and len(left[table]) == before and not await backoff.pause():
            raise connections.busy()


async def pages(
    connections: Connections, parameters: dict[str, Any]
) -> AsyncGenerator[dict[str, Any], None]:
    """The answers to a `Query`, page by page."""
    start: Item | None = None
    while True:
        more = {} if start is None else {"ExclusiveStartKey": start}
        answer = await connections.call("Query", {**parameters, **more})
        yield answer
        start = answer.get("LastEvaluatedKey")
        if not start:
            return
