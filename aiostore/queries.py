"""Queries: planned, checked, and answered from a scan.

The engine narrows the scan down as far as it says it can; every record that comes is then judged by
the reference (`aiostore.filters.matches`), and sorted here. So every store gives the same answer.
"""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from aiostore.channel import Channel
from aiostore.codecs import decode_plain
from aiostore.cursors import Place, fingerprint, to_cursor, to_place
from aiostore.documents import Document, Mapper, Page
from aiostore.errors import InvalidValueError, UnsupportedError
from aiostore.filters import (
    And,
    Field,
    Filter,
    Order,
    described,
    is_filter,
    is_plain,
    kinds_of,
    levels_of,
    matches,
    name_of,
    place_of,
)
from aiostore.limits import check_scalar
from aiostore.protocols import Capabilities, Record, Scan

T = TypeVar("T")

OrderBy: TypeAlias = str | Field | Order | Iterable[str | Field | Order]
"""`"age"`, `"-age"`, `"address.city"`, `F.age.desc()`, or several of those."""

LARGEST_PAGE = 1000
_DEEPEST_FILTER = 64  # levels; Python, and every engine, walk through them by recursion
_CHUNK = 500  # records; the default of `Scan.chunk`
_SLACK = 500  # entries that pile up before those beyond the limit are dropped


class Query(msgspec.Struct, frozen=True):
    """What is asked of a collection.

    Attributes:
        where: which documents.
        prefix: only keys that begin with it.
        order: the fields to sort by; the key decides where those are equal, or alone.
    """

    where: Filter | None
    prefix: str
    order: tuple[Order, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a store answers a query; `str` tells it to a person.

    Attributes:
        store: the store's name.
        prefix: the scan keeps to keys that begin with it.
        pushed_down: the part of the filter that the engine narrows the scan down by.
        evaluated_here: the part that is left.
        sorted_here: the fields that the documents are sorted by, once all have been read.
        scans: whether documents are walked through that may be no part of the answer. There are
            no indexes yet, so every filter and every order does.
    """

    store: str
    prefix: str
    pushed_down: Filter | None
    evaluated_here: Filter | None
    sorted_here: tuple[Order, ...]
    scans: bool

    def __str__(self) -> str:
        keys = f"keys that begin with {self.prefix!r}" if self.prefix else "all keys"
        lines = [f"{'scan' if self.scans else 'read'} of {keys}, on {self.store}"]
        if self.pushed_down is not None:
            lines.append(f"  the engine narrows down by {described(self.pushed_down)}")
        if self.evaluated_here is not None:
            lines.append(f"  evaluated here: {described(self.evaluated_here)}")
        if self.sorted_here:
            fields = ", ".join(
                name_of(one.path) + " descending" * one.descending for one in self.sorted_here
            )
            lines.append(f"  sorted here, after the last has been read: {fields}")
        return "\n".join(lines)


def query(where: object, prefix: str, order_by: OrderBy) -> Query:
    """A query from a user's arguments.

    Raises:
        InvalidValueError: the filter is none or nested too deep, or an order names no field.
    """
    if where is not None:
        if not is_filter(where):
            raise InvalidValueError(
                f"a filter is made of F, as in F.age >= 18, not {type(where).__name__}"
            )
        if levels_of(where) > _DEEPEST_FILTER:
            raise InvalidValueError(
                f"the filter is nested deeper than {_DEEPEST_FILTER} levels: write a & b & c, or "
                "in_, which are one level each"
            )
    one = isinstance(order_by, str | Field | Order) or not isinstance(order_by, Iterable)
    orders: Any = [order_by] if one else order_by
    return Query(where, prefix, tuple(map(_order, orders)))


def plan(asked: Query, store: str, capabilities: Capabilities) -> Plan:
    """How a store of these capabilities answers."""
    parts = asked.where.parts if isinstance(asked.where, And) else (asked.where,)
    conjuncts = [part for part in parts if part is not None]
    pushed = [part for part in conjuncts if _can_be_pushed(part, capabilities)]
    if "and" not in capabilities.filters:
        del pushed[1:]
    left = [part for part in conjuncts if part not in pushed]
    return Plan(
        store,
        asked.prefix,
        _joined(pushed),
        _joined(left),
        asked.order,
        scans=asked.where is not None or bool(asked.order),
    )


class Answer(Generic[T]):
    """A query on its way through one collection.

    Args:
        channel: the way to the store.
        mapper: the collection's.
        asked: the query.
        allow_scan: whether it may walk through documents that are no part of the answer.

    Raises:
        UnsupportedError: it would have to, and may not.
    """

    def __init__(
        self, channel: Channel, mapper: Mapper[T], asked: Query, *, allow_scan: bool
    ) -> None:
        self._channel = channel
        self._mapper = mapper
        self._query = asked
        self._plan = plan(asked, mapper.store, channel.adaptor.capabilities)
        if self._plan.scans and not allow_scan:
            raise UnsupportedError(
                "the query would scan, and allow_scan is false: ask by key or prefix, or allow "
                f"it; {self._plan}",
                store=mapper.store,
                collection=mapper.collection,
            )

    async def documents(
        self, limit: int | None, start_after: str | None = None
    ) -> AsyncGenerator[Document[T], None]:
        """The documents, at most `limit`; without an order, those with keys greater than a key."""
        if limit == 0:
            return
        left = limit
        after = None if start_after is None else Place((), start_after)
        async with aclosing(self._entries(after, limit)) as entries:
            async for entry in entries:
                document = self._mapper.document(entry.record)
                if document is None:
                    continue  # it has expired since it was read
                yield document
                if left is not None:
                    left -= 1
                    if not left:
                        return

    async def page(self, size: int, cursor: str | None) -> Page[T]:
        """The page that begins at `cursor`."""
        query = fingerprint(self._mapper.collection, self._query)
        fields = len(self._query.order)
        after = None if cursor is None else to_place(cursor, query, fields)
        documents: list[Document[T]] = []
        last: Place | None = None
        async with aclosing(self._entries(after, size + 1)) as entries:
            async for entry in entries:
                document = self._mapper.document(entry.record)
                if document is None:
                    continue  # it has expired since it was read
                if last is not None and len(documents) == size:
                    return Page(documents, to_cursor(last, query))
                documents.append(document)
                last = entry.place
        return Page(documents, None)

    async def count(self) -> int:
        """How many documents there are."""
        count = 0
        async with aclosing(self._matching(None, _CHUNK)) as found:
            async for _ in found:
                count += 1
        return count

    async def _entries(
        self, after: Place | None, likely: int | None
    ) -> AsyncGenerator["_Entry", None]:
        """All in the query's order, after a place; about as many as are `likely` to be asked for.

        A sorted answer is read again for those beyond, so that it is never held whole.
        """
        if not self._query.order:
            chunk = _CHUNK if likely is None or self._query.where is not None else likely
            start_after = None if after is None else after.key
            async with aclosing(self._matching(start_after, min(chunk, _CHUNK))) as found:
                async for entry in found:
                    yield entry
            return
        while True:
            best = await self._sorted(after, likely)
            for entry in best:
                yield entry
            if likely is None or len(best) < likely:
                return
            after = best[-1].place

    async def _sorted(self, after: Place | None, limit: int | None) -> list["_Entry"]:
        order = self._query.order
        start = None if after is None else _sort_key(after, order)
        best: list[tuple[Any, _Entry]] = []
        async with aclosing(self._matching(None, _CHUNK)) as found:
            async for entry in found:
                sort_key = _sort_key(entry.place, order)
                if start is None or start < sort_key:
                    best.append((sort_key, entry))
                    if limit is not None and len(best) >= 2 * limit + _SLACK:
                        best.sort(key=_first)
                        del best[limit:]
        best.sort(key=_first)
        return [entry for _, entry in best[:limit]]

    async def _matching(
        self, start_after: str | None, chunk: int
    ) -> AsyncGenerator["_Entry", None]:
        """In the order of keys."""
        query, mapper = self._query, self._mapper
        request = Scan(
            mapper.collection,
            prefix=query.prefix,
            start_after=start_after,
            chunk=chunk,
            where=self._plan.pushed_down,
        )
        async with aclosing(self._channel.scan(request)) as chunks:
            async for records in chunks:
                for record in records:
                    if record.body is None or not mapper.is_there(record):
                        continue
                    if query.where is None and not query.order:
                        yield _Entry(record, Place((), record.id.key))
                        continue
                    with mapper.located(record.id.key):
                        document = decode_plain(record.body)
                    if query.where is None or matches(query.where, document):
                        values = tuple(place_of(document, query.order))
                        yield _Entry(record, Place(values, record.id.key))


class _Entry(msgspec.Struct, frozen=True):
    """A document that matches, and where it sorts."""

    record: Record
    place: Place


class _Descending:
    """Sorts the other way round."""

    __slots__ = ("_value",)

    def __init__(self, value: tuple[int, Any]) -> None:
        self._value = value

    def __lt__(self, other: "_Descending") -> bool:
        return other._value < self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and other._value == self._value

    __hash__ = None  # type: ignore[assignment]  # it is compared, never looked up


def _sort_key(place: Place, order: tuple[Order, ...]) -> Any:
    values: list[Any] = [
        _Descending(value) if one.descending else value
        for value, one in zip(place.values, order, strict=True)
    ]
    return (*values, place.key)


def _first(pair: tuple[Any, _Entry]) -> Any:
    return pair[0]


def _can_be_pushed(part: Filter, capabilities: Capabilities) -> bool:
    return kinds_of(part) <= capabilities.filters and is_plain(part)


def _joined(parts: list[Filter]) -> Filter | None:
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _order(one: object) -> Order:
    if isinstance(one, Order):
        return one
    if isinstance(one, Field):
        return one.asc()
    if not isinstance(one, str):
        raise InvalidValueError(
            f'an order is a field, as in "-age" or F.age.desc(), not {type(one).__name__}'
        )
    path = tuple(one.removeprefix("-").split("."))
    if "" in path:
        raise InvalidValueError(f'{one!r:.80} names no field to sort by: write "age" or "-age"')
    for name in path:
        check_scalar(name)
    return Order(path, descending=one.startswith("-"))
