"""Scans: each shard is one query, and what they yield is merged by key.

A shard is read page by page, all shards at once. How long a page is grows with the scan: who wants
twenty documents has little more than twenty read, who wants all of them has few requests.
"""

from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from math import ceil, gcd, sqrt
from typing import Any

from aiostore.adaptors.dynamodb._batches import MOST_READ, read, together
from aiostore.adaptors.dynamodb._connections import Connections
from aiostore.adaptors.dynamodb._items import MOST_KEY_BYTES, Item, Items, id_of, record_of
from aiostore.filters import And, Compare, Filter, In
from aiostore.keys import end_of_prefix, segment_of
from aiostore.protocols import DocumentId, Record, Scan

_MOST_LOOKUPS = 100
"""An index is asked for so many values; for more the collection is walked through."""

_PAGE_LENGTH = 256 * 1024
"""Characters of a page of a shard, about: DynamoDB's limit is 1 MB, and there are many shards."""

_OTHERS_LENGTH = 200
"""Of an item's keys, dates and names."""


class Scans:
    """The scans of one table."""

    def __init__(self, connections: Connections, table: str, items: Items) -> None:
        self._connections = connections
        self._table = table
        self._items = items

    async def scan(self, request: Scan) -> AsyncGenerator[Sequence[Record], None]:
        """As `Adaptor.scan` promises."""
        bounds = Bounds.of(request)
        if bounds is None:
            return
        looked_up = self._looked_up(request)
        queries = self._by_shard(request) if looked_up is None else looked_up
        walks = [_Walk(self._connections, query, bounds) for query in queries]
        async with aclosing(_merged(walks, request.chunk)) as chunks:
            async for found in chunks:
                items = [item for item in found if _is_in_segment(item, request)]
                for start in range(0, len(items), request.chunk):
                    chunk = items[start : start + request.chunk]
                    if looked_up is None:
                        yield [record_of(item) for item in chunk]
                    else:
                        ids = [id_of(item) for item in chunk]
                        records = await self._read(ids, consistent=request.consistent)
                        if records:  # they may have gone since the index was read
                            yield records

    def of_collection(self, collection: str) -> list[dict[str, Any]]:
        """A query for each shard of a collection."""
        partitions = (
            self._items.partition(collection, shard) for shard in range(self._items.shards)
        )
        return [self._query("pk", partition) for partition in partitions]

    def _by_shard(self, request: Scan) -> list[dict[str, Any]]:
        """Of the shards that can hold a key of the segment: both are remainders of one number."""
        common = gcd(self._items.shards, request.segments)
        return [
            {**query, "ConsistentRead": request.consistent}
            for shard, query in enumerate(self.of_collection(request.collection))
            if shard % common == request.segment % common
        ]

    def _looked_up(self, request: Scan) -> list[dict[str, Any]] | None:
        """A query of an index for each value that is asked for; None if no index helps."""
        found: list[dict[str, Any]] | None = None
        for part in _conjuncts(request.where):
            if not isinstance(part, Compare | In) or part.path not in self._items.indexes:
                continue
            if isinstance(part, Compare) and part.operator != "==":
                continue
            values = part.values if isinstance(part, In) else (part.value,)
            places = dict.fromkeys(self._items.place(request.collection, one) for one in values)
            if len(places) <= (_MOST_LOOKUPS if found is None else len(found) - 1):
                name = self._items.indexes[part.path]
                found = [self._query(name, place, IndexName=name) for place in places]
        return found

    def _query(self, attribute: str, value: str, **more: Any) -> dict[str, Any]:
        return {
            "TableName": self._table,
            "KeyConditionExpression": "#partition = :partition",
            "ExpressionAttributeNames": {"#partition": attribute},
            "ExpressionAttributeValues": {":partition": {"S": value}},
            **more,
        }

    async def _read(self, ids: Sequence[DocumentId], *, consistent: bool) -> list[Record]:
        slices = [ids[start : start + MOST_READ] for start in range(0, len(ids), MOST_READ)]
        found: dict[DocumentId, Record] = {}
        for records in await together(
            read(self._connections, self._table, self._items, some, consistent=consistent)
            for some in slices
        ):
            found |= records
        return [found[id_] for id_ in ids if id_ in found]


@dataclass(frozen=True, slots=True)
class Bounds:
    """A range of keys.

    Attributes:
        low: the smallest key that can be in it; None for no limit.
        after: nothing up to this one is.
        end: nothing from this one on is; None for no limit.
    """

    low: str | None
    after: str | None
    end: str | None

    @staticmethod
    def of(request: Scan) -> "Bounds | None":
        """The keys of a scan; None if there can be none."""
        prefix, after = request.prefix, request.start_after
        end = end_of_prefix(prefix)
        if _is_too_long(prefix) or (after is not None and end is not None and after >= end):
            return None
        # DynamoDB takes no key that is too long, nor the empty one, which is below all others.
        low = max(prefix, after or "")
        while _is_too_long(low):
            low = low[:-1]
        return Bounds(low or None, after, end)

    def condition(self) -> tuple[str, dict[str, dict[str, str]]]:
        """The part of a key condition that it makes, and its values."""
        if self.low is None:
            return "", {}
        values = {":low": {"S": self.low}}
        if self.end is None or _is_too_long(self.end):
            return " AND #sort >= :low", values
        # Both are included, and what is too many is left out here: there may be one condition.
        return " AND #sort BETWEEN :low AND :end", {**values, ":end": {"S": self.end}}

    def holds(self, key: str) -> bool:
        """Whether a key that meets the condition is in the range."""
        return (self.end is None or key < self.end) and (self.after is None or key > self.after)


class _Walk:
    """One query, page by page.

    Attributes:
        items: what has been read and not yet been taken, in the order of keys.
        ended: whether there is no more to read.
    """

    def __init__(self, connections: Connections, query: dict[str, Any], bounds: Bounds) -> None:
        condition, values = bounds.condition()
        names = {"#sort": "sk"} if condition else {}
        self._connections = connections
        self._bounds = bounds
        self._query = {
            **query,
            "KeyConditionExpression": query["KeyConditionExpression"] + condition,
            "ExpressionAttributeNames": query["ExpressionAttributeNames"] | names,
            "ExpressionAttributeValues": query["ExpressionAttributeValues"] | values,
        }
        self._start: Item | None = None
        self._page = 0
        self._most: int | None = None
        self.items: list[Item] = []
        self.ended = False

    @property
    def is_short(self) -> bool:
        """Whether more is to be read, when others have to."""
        return not self.ended and len(self.items) <= self._page // 2

    async def read_on(self, limit: int) -> None:
        """Read about `limit` items more, and at least one if there is any."""
        self._page = limit if self._most is None else min(limit, self._most)
        while True:
            more: dict[str, Any] = {"Limit": self._page}
            if self._start is not None:
                more["ExclusiveStartKey"] = self._start
            answer = await self._connections.call("Query", {**self._query, **more})
            items = answer["Items"]
            if items:
                length = sum(map(_length, items))
                self._most = max(1, _PAGE_LENGTH * len(items) // length)
            self.items += [item for item in items if self._bounds.holds(_key_of(item))]
            self._start = answer.get("LastEvaluatedKey")
            self.ended = not self._start
            if self.items or self.ended:
                return


async def _merged(walks: list[_Walk], chunk: int) -> AsyncGenerator[list[Item], None]:
    """What the walks yield together, in the order of keys."""
    mean = chunk / max(1, len(walks))
    limit = ceil(mean + sqrt(mean)) + 1  # keys are spread at random: few walks have many more
    while True:
        if any(not walk.items and not walk.ended for walk in walks):
            await together(walk.read_on(limit) for walk in walks if walk.is_short)
            limit *= 2
        # What comes later in a walk is beyond the last that it has read.
        known = min((_key_of(walk.items[-1]) for walk in walks if not walk.ended), default=None)
        found: list[Item] = []
        for walk in walks:
            end = len(walk.items) if known is None else bisect_right(walk.items, known, key=_key_of)
            found += walk.items[:end]
            del walk.items[:end]
        if found:
            yield sorted(found, key=_key_of)
        elif all(walk.ended for walk in walks):
            return


def _key_of(item: Item) -> str:
    key: str = item["sk"]["S"]
    return key


def _length(item: Item) -> int:
    """Roughly its size."""
    return len(item["body"]["S"]) + _OTHERS_LENGTH if "body" in item else _OTHERS_LENGTH


def _is_too_long(key: str) -> bool:
    return len(key.encode()) > MOST_KEY_BYTES


def _is_in_segment(item: Item, request: Scan) -> bool:
    return segment_of(item["sk"]["S"], request.segments) == request.segment


def _conjuncts(where: Filter | None) -> Sequence[Filter]:
    if where is None:
        return ()
    return where.parts if isinstance(where, And) else (where,)
