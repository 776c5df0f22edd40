"""Scans: by key, by an index, and in the order of a field.

No statement is long. A page of records that match may lie far behind the last one, so what has no
index goes by stretches of some 2,000 records. Sorted, it takes of each stretch the records that
come first, and merges them: what is held is one chunk. With an index a scan goes along that.
"""

from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Sequence,
)
from contextlib import aclosing
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, String, column, literal_column, select

from aiostore.adaptors.sql._dialects import Judging
from aiostore.adaptors.sql._drivers import Rows
from aiostore.adaptors.sql._places import NULL, UNREADABLE, Place, Range, bounds, stretches, within
from aiostore.adaptors.sql._prepared import Prepared
from aiostore.adaptors.sql._sorted import Placed, Position, Sorting, at, labels, placed
from aiostore.adaptors.sql._statements import Statements, columns_of, record_of, text_of
from aiostore.adaptors.sql._walks import Walk
from aiostore.codecs import coarse_in
from aiostore.filters import And, Compare, Filter, In, Path, Prefix
from aiostore.orders import loosened
from aiostore.protocols import DocumentId, Record, Scan, Sort

Fetch = Callable[[Prepared, dict[str, Any]], Awaitable[Rows]]
Chunk = list[Record]

_MOST_FOUND = 10_000
"""So many keys are taken from an index and held; a scan for more goes by key."""

_MOST_SORTED = 1000
"""So many documents are sorted here, and for more the index is taken that has them in order."""

_MANY = 500
"""So many documents are read at a time where more are likely to be asked for."""


class Scans:
    """The scans of one store.

    Args:
        statements: the store's.
        judging: how the database judges and places documents; None if it does not.
        indexes: the fields that have one, by collection and path.
        fetch: executes a statement, as a piece of work of its own.
    """

    def __init__(
        self,
        statements: Statements,
        judging: Judging | None,
        indexes: Collection[tuple[str, Path]],
        fetch: Fetch,
    ) -> None:
        self._statements = statements
        self._judging = judging
        self._indexes = indexes
        self._fetch = fetch
        # Without the table's name, behind which an index may be named.
        self._columns = [column(one.name, one.type) for one in columns_of(statements.documents)]
        self._key: ColumnElement[str] = column("key", statements.documents.c.key.type)

    async def scan(self, request: Scan) -> AsyncGenerator[Chunk, None]:
        """The chunks of one scan, of which some may be empty."""
        if request.order is not None:
            chunks = self._in_order(request, request.order)
        else:
            chunks = self._by_index_or_key(request)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    async def _by_index_or_key(self, request: Scan) -> AsyncGenerator[Chunk, None]:
        chunks = self._by_key(request)
        found = self._lookup(request)
        if found is not None:
            if found.is_one_place and not await self._has_strays(found.field):
                chunks = self._at_one_place(request, found)
            elif (keys := await self._keys_at(request, found, _MOST_FOUND)) is not None:
                chunks = self._of_keys(request, keys)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    async def _by_key(self, request: Scan) -> AsyncGenerator[Chunk, None]:
        walk = self._walk(request)
        after = request.start_after
        while True:
            end = await self._end_of_stretch(walk, after) if walk.is_narrowed else None
            rows = await self._fetch(walk.page(after, end), walk.values(after, end, request.chunk))
            records = list(map(record_of, rows))
            yield records
            if len(records) == request.chunk:
                after = records[-1].id.key
            elif end is None:
                return
            else:
                after = end

    async def _keys_at(self, request: Scan, found: "_Lookup", most: int) -> list[str] | None:
        """The keys that an index has at some places, in order; None if they are too many.

        All that are there are taken: a statement that looked among them for those that are asked
        for would go on for long where these are few.
        """
        field = found.field
        strays = [Range(UNREADABLE)] if field.has_strays else []
        keys: set[str] = set()  # a document that is written meanwhile may be at two of the places
        for one in (*strays, *found.ranges):  # SQLite uses no index for several at once
            here = within(field.place, [one])
            rows = select(self._key).where(field.is_member, here).limit(most + 1 - len(keys))
            keys.update(text_of(row[0]) for row in await self._fetch(field.by_index(rows), {}))
            if len(keys) > most:
                return None
        after = request.start_after
        return sorted(
            key for key in keys if key.startswith(request.prefix) and (after is None or key > after)
        )

    async def _of_keys(
        self, request: Scan, keys: Sequence[str], size: int | None = None
    ) -> AsyncGenerator[Chunk, None]:
        statements = self._statements
        size = size or request.chunk
        for start in range(0, len(keys), size):
            ids = [DocumentId(request.collection, key) for key in keys[start:][:size]]
            rows = await self._fetch(statements.read, statements.ids(ids))
            yield sorted(map(record_of, rows), key=_id_of)

    async def _at_one_place(self, request: Scan, found: "_Lookup") -> AsyncGenerator[Chunk, None]:
        """What an index has at a place, where it goes by key."""
        field = found.field
        here = within(field.place, found.ranges)
        walk = self._walk(request)
        after = request.start_after
        while True:
            between = walk.key_bounds(after, None)
            rows = select(*self._columns).where(field.is_member, here, *between)
            statement = field.by_index(rows.order_by(self._key).limit(request.chunk))
            values = walk.values(after, None, 0)
            records = list(map(record_of, await self._fetch(statement, values)))
            yield records
            if len(records) < request.chunk:
                return
            after = records[-1].id.key

    async def _in_order(self, request: Scan, order: Sort) -> AsyncGenerator[Chunk, None]:
        start = None
        if order.start is not None:
            start = loosened(order.start, descending=order.descending)
        position = None if start is None else Position(start, None)
        # In the order of a field the keys with a prefix may be far from each other.
        field = None if request.prefix else self._field(request.collection, order.path)
        found, keys = self._lookup(request), None
        if found is not None and (field is None or found.path != order.path):
            most = _MOST_FOUND if field is None else _MOST_SORTED
            keys = await self._keys_at(request, found, most)
        if field is None or keys is not None or await self._has_strays(field):
            chunks = self._merged(request, order, position, keys)
        else:
            ranges = _ranges_of(request.where, order.path)
            chunks = self._along(request, field, ranges, position, descending=order.descending)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    async def _along(
        self,
        request: Scan,
        field: "_Field",
        ranges: Sequence[Range] | None,
        position: Position | None,
        *,
        descending: bool,
    ) -> AsyncGenerator[Chunk, None]:
        """What an index has, in its order."""
        most = request.chunk
        while True:
            parts = stretches(
                field.place,
                self._key,
                ranges,
                start=None if position is None else position.place,
                start_after=None if position is None else position.key,
                descending=descending,
                row_values=field.row_values,
            )
            found: list[Placed] = []
            for part in parts:
                size = most - len(found)
                if size:
                    rows = select(*self._columns, *labels(field.place))
                    rows = rows.where(field.is_member, part.where).order_by(*part.order)
                    statement = field.by_index(rows.limit(size))
                    found.extend(map(placed, await self._fetch(statement, {})))
            yield [each.record for each in found]
            if len(found) < most:
                return
            position, most = found[-1].position, _next(most)

    async def _merged(
        self, request: Scan, order: Sort, position: Position | None, keys: Sequence[str] | None
    ) -> AsyncGenerator[Chunk, None]:
        """Of each stretch what comes first, merged; and again, for what comes behind.

        Where an index has found the keys, of all that stands there.
        """
        most = request.chunk
        while True:
            first = _First(most, position, descending=order.descending)
            async with aclosing(self._candidates(request, order, first, keys)) as stretches:
                async for stretch in stretches:
                    first.add(stretch)
            yield [each.record for each in first.found]
            if first.last is None:
                return
            position, most = first.last, _next(most)

    async def _candidates(
        self, request: Scan, order: Sort, first: "_First", keys: Sequence[str] | None
    ) -> AsyncGenerator[list[Placed], None]:
        judging = self._judging
        if judging is None or keys is not None:
            found = self._by_key(request) if keys is None else self._of_keys(request, keys, _MANY)
            async with aclosing(found) as chunks:
                async for chunk in chunks:
                    yield [_placed_here(record, order.path) for record in chunk]
            return
        place = judging.place(order.path)
        sorting = Sorting(self._statements, place, descending=order.descending)
        walk = self._walk(request)
        columns = columns_of(self._statements.documents)
        after: str | None = None
        while True:
            end = await self._end_of_stretch(walk, after)
            inside = [*walk.bounds(after, end), walk.where]
            values = walk.values(after, end, first.most)
            if judging.has_strays:
                strays = select(*columns).where(*inside, place.rank == UNREADABLE)
                rows = await self._fetch(self._statements.prepared(strays), values)
                yield [_placed_here(record, order.path) for record in map(record_of, rows)]
                inside.append(place.rank != UNREADABLE)
            last = first.last
            if first.behind is not None:
                inside.append(sorting.is_behind(first.behind, "behind"))
            if last is not None:
                inside.append(sorting.is_up_to(last, "last"))
            values |= at(first.behind, "behind") | at(last, "last")
            yield list(map(placed, await self._fetch(sorting.first_of(*inside), values)))
            if end is None:
                return
            after = end

    async def _end_of_stretch(self, walk: Walk, after: str | None) -> str | None:
        rows = await self._fetch(walk.end_of_stretch(after), walk.values(after, None, 0))
        return text_of(rows[0][0]) if rows else None

    async def _has_strays(self, field: "_Field") -> bool:
        """Whether there are documents that the database cannot read though others can.

        An index does not know where they belong.
        """
        if not field.has_strays:
            return False
        is_stray = field.place.rank == UNREADABLE
        rows = select(self._key).where(field.is_member, is_stray).limit(1)
        return bool(await self._fetch(field.by_index(rows), {}))

    def _walk(self, request: Scan) -> Walk:
        return Walk(
            self._statements,
            self._judging,
            request.collection,
            prefix=request.prefix,
            where=request.where,
        )

    def _field(self, collection: str, path: Path) -> "_Field | None":
        """A field that has an index."""
        judging = self._judging
        if judging is None or (collection, path) not in self._indexes:
            return None
        statements = self._statements
        table = str(statements.documents.name)
        hint = None if judging.index_hint is None else judging.index_hint(table, collection, path)
        # As a literal: by a parameter no database finds out that an index of a part will do.
        name: ColumnElement[str] = literal_column(f"'{collection}'", String)
        return _Field(
            judging.indexed_place(path),
            column("collection", String) == name,
            lambda rows: statements.by_index(rows, hint),
            judging.row_values,
            judging.has_strays,
        )

    def _lookup(self, request: Scan) -> "_Lookup | None":
        """The index that is likely to narrow a scan down best."""
        found = [
            _Lookup(leaf.path, field, ranges)
            for leaf in _conjuncts(request.where)
            if (field := self._field(request.collection, leaf.path)) is not None
            and (ranges := bounds(leaf)) is not None
        ]
        return min(found, key=_width_of, default=None)


class _Field(NamedTuple):
    """A field that has an index.

    Attributes:
        place: its columns.
        is_member: the condition that a document is of the collection.
        by_index: of a SELECT of documents, the statement that goes by the index.
        row_values: see `stretches`.
        has_strays: see `Judging`.
    """

    place: Place
    is_member: ColumnElement[bool]
    by_index: Callable[[Select[Any]], Prepared]
    row_values: bool
    has_strays: bool


class _Lookup(NamedTuple):
    """Places of an index that hold all that match.

    Attributes:
        path: of the field.
        field: the indexed one.
        ranges: of places.
    """

    path: Path
    field: _Field
    ranges: list[Range]

    @property
    def is_one_place(self) -> bool:
        """Whether all of them are alike, so that an index has them by key."""
        if len(self.ranges) != 1:
            return False
        [(rank, low, high)] = self.ranges
        return rank == NULL or (low is not None and low == high)


class _First:
    """The records that come first of all that are added.

    Args:
        most: how many are kept.
        behind: only what comes behind it.
        descending: in which order.

    Attributes:
        most: likewise.
        found: in order.
        behind: likewise.
    """

    def __init__(self, most: int, behind: Position | None, *, descending: bool) -> None:
        self.most = most
        self._descending = descending
        self.behind = behind
        self.found: list[Placed] = []

    @property
    def last(self) -> Position | None:
        """Beyond which nothing more is kept; None as long as there is room."""
        return self.found[-1].position if len(self.found) == self.most else None

    def add(self, records: Iterable[Placed]) -> None:
        """Keep those of them that come first."""
        self.found.extend(record for record in records if self._is_behind(record.position))
        self.found.sort(key=_position_of, reverse=self._descending)
        del self.found[self.most :]

    def _is_behind(self, position: Position) -> bool:
        if self.behind is None:
            return True
        one, other = position, self.behind
        if other.key is None:  # before all keys of its place
            one, other = Position(one.place, ""), Position(other.place, "")
            return one <= other if self._descending else one >= other
        return one < other if self._descending else one > other


def _next(most: int) -> int:
    """How many records come next: whoever takes more than the first ones may take them all."""
    return max(most, min(2 * most, _MANY))


def _width_of(found: _Lookup) -> tuple[bool, bool]:
    return not found.is_one_place, any(None in one for one in found.ranges)


def _ranges_of(where: Filter | None, path: Path) -> list[Range] | None:
    """The places of all that match, in a field's order; None for all places."""
    for leaf in _conjuncts(where):
        found = bounds(leaf) if leaf.path == path else None
        if found is not None:
            return found
    return None


def _conjuncts(where: Filter | None) -> list[Compare | In | Prefix]:
    """The comparisons all of which must hold."""
    parts = where.parts if isinstance(where, And) else (where,)
    return [part for part in parts if isinstance(part, Compare | In | Prefix)]


def _placed_here(record: Record, path: Path) -> Placed:
    """A record where the reference places it; what nobody can read comes first."""
    return Placed(Position(coarse_in(record.body, path), record.id.key), record)


def _position_of(found: Placed) -> Position:
    return found.position


def _id_of(record: Record) -> DocumentId:
    return record.id
