"""The adaptor: requests, and outcomes from what they return."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from botocore.exceptions import ClientError
from msgspec import Struct

from aiostore.adaptors.dynamodb._batches import MOST_READ, pages, read, remove, spread, together
from aiostore.adaptors.dynamodb._connections import Connections, Endpoint
from aiostore.adaptors.dynamodb._errors import (
    CANCELLED,
    CONDITION_FAILED,
    code_of,
    hindrances_of,
    translated,
)
from aiostore.adaptors.dynamodb._items import Items, record_of
from aiostore.adaptors.dynamodb._scans import Scans
from aiostore.adaptors.dynamodb._schema import Schema
from aiostore.adaptors.dynamodb._statements import (
    doomed,
    filtered,
    merged,
    outcome_of,
    removal,
    request_of,
    size_of_all,
    transaction,
)
from aiostore.adaptors.dynamodb._tables import Table, index_name, shape_fault
from aiostore.conditions import decide
from aiostore.errors import (
    StoreError,
    TooLargeError,
    UnavailableError,
    UnsupportedError,
)
from aiostore.filters import Path
from aiostore.metering import Usage
from aiostore.protocols import (
    Capabilities,
    Check,
    DocumentId,
    Outcome,
    Purge,
    Record,
    Scan,
    Write,
)

_MOST_TRANSACTION_BYTES = 4 * 1024 * 1024


class _Opened(Struct, frozen=True):
    """What there is while the adaptor is open.

    Attributes:
        connections: to the server.
        schema: the table's.
        items: how records stand in it.
        scans: its scans.
    """

    connections: Connections
    schema: Schema
    items: Items
    scans: Scans


class DynamoDBAdaptor:
    """One table.

    Args:
        table: which one, and how it is made; `shards` and `indexes` of one that exists are its own.
        endpoint: where it is.
        create: make it if it is missing.
        transactions: whether the server has them. AWS has.

    Attributes:
        usage: all requests since this object was made, and what they consumed, for metrics. Of
            those that it refuses DynamoDB tells nothing, though it charges for failed conditions.
    """

    def __init__(
        self,
        table: Table,
        endpoint: Endpoint | None = None,
        *,
        create: bool = False,
        transactions: bool = True,
    ) -> None:
        self._table = table
        self._endpoint = Endpoint() if endpoint is None else endpoint
        self._create = create
        self._name = f"dynamodb://{table.name}"
        self._capabilities = Capabilities(
            persistent=True,
            shared=True,
            atomic_writes=transactions,
            max_batch=MOST_READ,
            max_atomic=100 if transactions else 0,
            filters=frozenset({"equal", "in", "and"}),
            filters_need_index=True,
            indexes=True,
            indexes_lag=True,
            # Requests gain nothing by waiting for one another, but that reads travel together.
            read_lanes=8,
            write_lanes=16,
        )
        self.usage = Usage()
        self._opened: _Opened | None = None
        self._connections: Connections | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def open(self) -> None:
        self._connections = connections = Connections(self._endpoint, self.name, self.usage)
        await connections.open()
        schema = Schema(connections, self._table, create=self._create)
        with translated(self.name):
            layout = await schema.prepare()
        items = Items(layout.shards, layout.indexes)
        scans = Scans(connections, self._table.name, items)
        self._opened = _Opened(connections, schema, items, scans)

    async def aclose(self) -> None:
        self._opened = None
        connections, self._connections = self._connections, None
        if connections is not None:
            await connections.aclose()

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        opened = self._open_now()
        with translated(self.name):
            found = await self._read(opened, ids, consistent=consistent)
        return [found.get(id_) for id_ in ids]

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        opened = self._open_now()
        # All of them first: nothing is sent if one cannot be.
        requests = [request_of(write, opened.items) for write in writes]
        with translated(self.name):
            await opened.schema.remember([one.record.id for one in writes if not one.erase])
        if len(writes) == 1:
            return [await self._write(opened, writes[0], *requests[0])]
        answers = await asyncio.gather(
            *(
                self._write(opened, write, *one)
                for write, one in zip(writes, requests, strict=True)
            ),
            return_exceptions=True,
        )
        return _all_or_error(answers)

    async def write_atomic(self, items: Sequence[Write | Check], /) -> Sequence[Outcome]:
        if not self._capabilities.atomic_writes:
            raise UnsupportedError(
                "this server has no transactions, says transactions=false", store=self.name
            )
        opened = self._open_now()
        with translated(self.name):
            actions, token = transaction(items, opened.items)
            size = size_of_all(actions)
            if size > _MOST_TRANSACTION_BYTES:
                raise TooLargeError(
                    f"the transaction stores {size} bytes, and DynamoDB takes "
                    f"{_MOST_TRANSACTION_BYTES} in one: change fewer documents at a time",
                    store=self.name,
                )
            changed = [item.record.id for item in items if isinstance(item, Write)]
            await opened.schema.remember(changed)
            parameters: dict[str, Any] = {
                "TransactItems": [
                    {kind: {"TableName": self._table.name, **action}}
                    for one in actions
                    for kind, action in one.items()
                ]
            }
            if token is not None:
                parameters["ClientRequestToken"] = token
            try:
                await opened.connections.call("TransactWriteItems", parameters)
            except ClientError as error:
                return _refusals(items, error)
        return [
            Outcome(applied=True, record=None)
            if isinstance(item, Check) or item.erase
            else Outcome(applied=True, record=item.record)
            for item in items
        ]

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        opened = self._open_now()
        async with aclosing(opened.scans.scan(request)) as chunks:
            while True:
                with translated(self.name):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                yield chunk

    async def index(self, collection: str, path: Path, /) -> None:
        opened = self._open_now()
        name = index_name(path)
        with translated(self.name):
            if path not in opened.items.indexes:
                fault = f"it has no index {name!r}"
            else:
                fault = shape_fault(await opened.schema.describe(), [path]) or ""
        if fault:
            raise UnsupportedError(
                f"the table cannot find documents by {'.'.join(path)}, for {fault}, and its "
                "indexes are those that it was made with: make another table with this one "
                "(`aiostore dynamodb create-table --index …`) and migrate to it",
                store=self.name,
                collection=collection,
            )

    async def count(self, collection: str, /, *, alive_at: int | None = None) -> int:
        """A count reads everything, so one that may be an estimate does so at half the price."""
        opened = self._open_now()
        more: dict[str, Any] = {"Select": "COUNT", "ConsistentRead": alive_at is not None}
        if alive_at is not None:
            more |= filtered(
                "attribute_exists(#body) AND (attribute_not_exists(#expires) OR #expires > :alive)",
                {"alive": alive_at},
            )

        async def counted(query: dict[str, Any]) -> int:
            async with aclosing(pages(opened.connections, merged(query, more))) as answers:
                return sum([answer["Count"] async for answer in answers])

        with translated(self.name):
            return sum(await spread(counted, opened.scans.of_collection(collection)))

    async def collections(self) -> Sequence[str]:
        opened = self._open_now()

        async def is_held(name: str) -> bool:
            for query in opened.scans.of_collection(name):
                answer = await opened.connections.call(
                    "Query", {**query, "Limit": 1, "ConsistentRead": True}
                )
                if answer["Items"]:
                    return True
            return False

        with translated(self.name):
            names = await opened.schema.remembered()
            held = await spread(is_held, names)
        return [name for name, there in zip(names, held, strict=True) if there]

    async def purge(self, request: Purge, /) -> int:
        opened = self._open_now()
        if request == Purge(request.collection):
            return 0
        with translated(self.name):
            queries = opened.scans.of_collection(request.collection)
            return sum(await together(self._purge(opened, query, request) for query in queries))

    def _open_now(self) -> _Opened:
        if self._opened is None:
            raise StoreError("the adaptor is not open", store=self.name)
        return self._opened

    async def _read(
        self, opened: _Opened, ids: Sequence[DocumentId], *, consistent: bool = True
    ) -> dict[DocumentId, Record]:
        return await read(
            opened.connections, self._table.name, opened.items, ids, consistent=consistent
        )

    async def _write(
        self, opened: _Opened, write: Write, operation: str, parameters: dict[str, Any]
    ) -> Outcome:
        while True:
            with translated(self.name):
                try:
                    answer = await opened.connections.call(
                        operation, {"TableName": self._table.name, **parameters}
                    )
                except ClientError as error:
                    if code_of(error) not in CONDITION_FAILED:
                        raise
                    met = await self._met(opened, write.record.id, error)
                else:
                    return outcome_of(write, answer)
            # Where the server does not tell what it met, that may have gone meanwhile.
            if opened.schema.returns_old_items or not decide(write, met).applied:
                return Outcome(applied=False, record=met)

    async def _met(self, opened: _Opened, id_: DocumentId, error: ClientError) -> Record | None:
        """What refused a write."""
        item = error.response.get("Item")
        if item is not None:
            return record_of(item)
        if opened.schema.returns_old_items:
            return None
        return (await self._read(opened, [id_])).get(id_)

    async def _purge(self, opened: _Opened, query: dict[str, Any], request: Purge) -> int:
        """How many went of one shard."""
        removed = 0
        query = {**merged(query, doomed(request)), "ConsistentRead": True}
        async with aclosing(pages(opened.connections, query)) as answers:
            async for answer in answers:
                keys = [{"pk": item["pk"], "sk": item["sk"]} for item in answer["Items"]]
                if request.everything:
                    await remove(opened.connections, self._table.name, keys)
                    removed += len(keys)
                else:
                    removed += sum(
                        await spread(partial(self._remove_doomed, opened, request), keys)
                    )
        return removed

    async def _remove_doomed(
        self, opened: _Opened, request: Purge, key: dict[str, dict[str, str]]
    ) -> bool:
        """Remove an item if the purge still means it."""
        try:
            await opened.connections.call(
                "DeleteItem", {"TableName": self._table.name, "Key": key, **removal(request)}
            )
        except ClientError as error:
            if code_of(error) not in CONDITION_FAILED:
                raise
            return False
        return True


def _refusals(items: Sequence[Write | Check], error: ClientError) -> list[Outcome]:
    """The outcomes of a transaction that was cancelled because of conditions; or the error."""
    codes = hindrances_of(error)
    if code_of(error) != CANCELLED or not codes or not CONDITION_FAILED.issuperset(codes):
        raise error
    return [
        Outcome(applied=True, record=item.record if isinstance(item, Write) else None)
        if reason.get("Code", "None") == "None"
        else Outcome(applied=False, record=_item_of(reason))
        for item, reason in zip(items, error.response["CancellationReasons"], strict=True)
    ]


def _item_of(reason: dict[str, Any]) -> Record | None:
    return record_of(reason["Item"]) if "Item" in reason else None


def _all_or_error(answers: Sequence[Outcome | BaseException]) -> list[Outcome]:
    """The outcomes; or one error for all.

    Anything but `UnavailableError` would say that nothing of the batch took effect.
    """
    outcomes = [answer for answer in answers if isinstance(answer, Outcome)]
    errors = [answer for answer in answers if isinstance(answer, BaseException)]
    if not errors:
        return outcomes
    for error in errors:
        if not isinstance(error, StoreError):
            raise error
    unknown = [error for error in errors if isinstance(error, UnavailableError)]
    if unknown or not any(outcome.applied for outcome in outcomes):
        raise (unknown or errors)[0]
    raise UnavailableError(f"a part of the batch was refused: {errors[0]}") from errors[0]
