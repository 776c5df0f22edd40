"""Queries, answered from a scan.

Whatever the engine has made of its part (`aiostore.plans`), every record that comes is judged by
the reference (`aiostore.filters.matches`) and sorted by it. So every store gives the same answer.

An engine that sorts does so roughly (`aiostore.orders`). What it yields is sorted again as it
comes, and the answer is complete once as many documents are there as were asked for and the scan is
clearly beyond the last of them.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from operator import itemgetter
from typing import Any, Generic, TypeVar

import msgspec

from aiostore.channel import Channel
from aiostore.codecs import decode_plain
from aiostore.cursors import Place, fingerprint, to_cursor, to_place
from aiostore.documents import Document, Mapper, Page
from aiostore.errors import StoreError, UnsupportedError
from aiostore.filters import Order, Path, matches, place_of
from aiostore.orders import Coarse, coarse_at, coarse_of, is_beyond
from aiostore.plans import Query, plan
from aiostore.protocols import Record, Scan, Sort

T = TypeVar("T")

LARGEST_PAGE = 1000
_CHUNK = 500  # records; the default of `Scan.chunk`
_MORE = 16  # records that an ordered scan is asked for beyond the limit, to see that it is passed
_SLACK = 500  # entries that pile up before those beyond the limit are dropped


class Answer(Generic[T]):
    """A query on its way through one collection.

    Args:
        channel: the way to the store.
        mapper: the collection's.
        asked: the query.
        indexes: the paths that the collection declares indexes for.
        limit: how many documents are wanted; None for all.
        allow_scan: whether it may walk through documents that are no part of the answer.
        consistent: if false, it may rest on older states; see `Adaptor.read`.

    Attributes:
        plan: how it is answered.

    Raises:
        UnsupportedError: it would have to, and may not.
    """

    def __init__(
        self,
        channel: Channel,
        mapper: Mapper[T],
        asked: Query,
        indexes: tuple[Path, ...],
        limit: int | None,
        *,
        allow_scan: bool,
        consistent: bool,
    ) -> None:
        self._channel = channel
        self._mapper = mapper
        self._query = asked
        self._indexes = indexes
        self._limit = limit
        self._consistent = consistent
        self.plan = plan(asked, mapper.store, channel.adaptor.capabilities, indexes, limit)
        if self.plan.scans and not allow_scan:
            raise UnsupportedError(
                "the query would scan, and allow_scan is false: ask by key or prefix, or by what "
                f"an index is declared for, or allow it; {self.plan}",
                store=mapper.store,
                collection=mapper.collection,
            )

    async def documents(self, start_after: str | None = None) -> AsyncGenerator[Document[T], None]:
        """The documents; without an order, those with keys greater than a key."""
        if self._limit == 0:
            return
        left = self._limit
        after = None if start_after is None else Place((), start_after)
        async with aclosing(self._entries(after, left)) as entries:
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
        """The page that begins at `cursor`; the limit is its size."""
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
                async for record in found:
                    yield _Entry(record, Place((), record.id.key))
            return
        given: set[str] = set()
        while True:
            best = await self._sorted(after, likely)
            for entry in best:
                if entry.record.id.key not in given:  # else it has moved, and came again
                    given.add(entry.record.id.key)
                    yield entry
            if likely is None or len(best) < likely:
                return
            after = best[-1].place

    async def _sorted(self, after: Place | None, limit: int | None) -> list["_Entry"]:
        """The first ones after a place, in the query's order."""
        order = self._query.order
        best = _Best(order, after, limit)
        sort = self._sort_after(after)
        request = self._request(chunk=self._chunk_of(limit), sort=sort)
        async with aclosing(self._documents(request)) as chunks:
            async for records in chunks:
                for record in records:
                    document = self._decoded(record)
                    if sort is not None and best.is_complete(coarse_at(document, sort.path)):
                        return best.entries()
                    if self._matches(document):
                        values = tuple(place_of(document, order))
                        best.add(_Entry(record, Place(values, record.id.key)))
        return best.entries()

    async def _matching(self, start_after: str | None, chunk: int) -> AsyncGenerator[Record, None]:
        """In the order of keys."""
        request = self._request(start_after=start_after, chunk=chunk)
        async with aclosing(self._documents(request)) as chunks:
            async for records in chunks:
                for record in records:
                    if self._query.where is None or self._matches(self._decoded(record)):
                        yield record

    async def _documents(self, request: Scan) -> AsyncGenerator[list[Record], None]:
        """Those of a scan that are there, in its chunks."""
        if self._query.where is not None or self._query.order:
            self._channel.begin_indexes(self._mapper.collection, self._indexes)
        async with aclosing(self._channel.scan(request)) as chunks:
            async for records in chunks:
                yield [record for record in records if self._mapper.is_there(record)]

    def _request(
        self, *, chunk: int, start_after: str | None = None, sort: Sort | None = None
    ) -> Scan:
        return Scan(
            self._mapper.collection,
            prefix=self._query.prefix,
            start_after=start_after,
            chunk=chunk,
            where=self.plan.pushed_down,
            order=sort,
            consistent=self._consistent,
        )

    def _sort_after(self, after: Place | None) -> Sort | None:
        first = self.plan.ordered_by_engine
        if first is None:
            return None
        start = None if after is None else coarse_of(after.values[0])
        return Sort(first.path, first.descending, start)

    def _chunk_of(self, limit: int | None) -> int:
        """What an ordered scan is asked for at a time: little more than the answer is likely to be.

        All others go through to the end.
        """
        if limit is None or self.plan.sorted_here or self.plan.evaluated_here is not None:
            return _CHUNK
        return min(limit + _MORE, _CHUNK)

    def _matches(self, document: dict[str, Any]) -> bool:
        return self._query.where is None or matches(self._query.where, document)

    def _decoded(self, record: Record) -> dict[str, Any]:
        try:
            return decode_plain(record.body or "")
        except StoreError as error:
            self._mapper.locate(error, record.id.key)
            raise


class _Entry(msgspec.Struct, frozen=True):
    """A document that matches, and where it sorts."""

    record: Record
    place: Place


class _Best:
    """The first entries after a place, of all that are added in whatever order.

    Args:
        order: what to sort by.
        after: the place.
        limit: how many; None for all.
    """

    def __init__(self, order: tuple[Order, ...], after: Place | None, limit: int | None) -> None:
        self._order = order
        self._after = None if after is None else _sort_key(after, order)
        self._limit = limit
        self._held: dict[str, tuple[Any, _Entry]] = {}
        # Once there are enough: one that is no better than this is none of the best.
        self._bound: tuple[Any, _Entry] | None = None

    def add(self, entry: _Entry) -> None:
        """Take an entry into account; one whose key is held already has been written since."""
        key = entry.record.id.key
        sort_key = _sort_key(entry.place, self._order)
        if (
            key in self._held
            or (self._after is not None and not self._after < sort_key)
            or (self._bound is not None and not sort_key < self._bound[0])
        ):
            return
        self._held[key] = sort_key, entry
        if self._limit is not None:
            enough = self._limit if self._bound is None else 2 * self._limit + _SLACK
            if len(self._held) >= enough:
                self._bound = self._drop_others()[-1]

    def is_complete(self, reached: Coarse) -> bool:
        """Whether nothing that is added from here on can be among the best.

        Args:
            reached: how far an ordered scan has come.
        """
        if self._bound is None:
            return False
        last = coarse_of(self._bound[1].place.values[0])
        return is_beyond(reached, last, descending=self._order[0].descending)

    def entries(self) -> list[_Entry]:
        """The best, sorted."""
        return [entry for _, entry in self._drop_others()]

    def _drop_others(self) -> list[tuple[Any, _Entry]]:
        best = sorted(self._held.values(), key=itemgetter(0))[: self._limit]
        self._held = {pair[1].record.id.key: pair for pair in best}
        return best


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
