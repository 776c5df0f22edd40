"""The columns of a field's coarse place (`aiostore.orders`), and which places a filter asks for.

The module of each database makes the columns, `place(path)`. They serve for indexes too, so they
hold literals alone, and are neither NULL nor an error whatever the body is.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby, takewhile
from math import isfinite
from operator import ge, gt, le, lt
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Double,
    Integer,
    Text,
    and_,
    false,
    literal_column,
    or_,
    tuple_,
)

from aiostore.adaptors.sql._filters import Condition, Leaf
from aiostore.filters import Compare, In, Operator, Prefix, Scalar
from aiostore.keys import end_of_prefix
from aiostore.orders import LONGEST_TEXT, RELATIVE_MARGIN, SMALLEST_MARGIN, Coarse, coarse

UNREADABLE, MISSING, NULL, BOOLEAN, NUMBER, TEXT, OTHER = range(-1, 6)
"""The ranks of a value's type, arrays and objects being all alike; of a tombstone `MISSING`.

`UNREADABLE` is the rank of a document that the database cannot read. Nothing is known of it, so
whoever looks at some places alone looks there too: at `Range(UNREADABLE)`.
"""

_MOST_RANGES = 50

_Columns: TypeAlias = Sequence[ColumnElement[Any]]
_Values: TypeAlias = tuple[Any, ...]


class Place(NamedTuple):
    """The columns of a `Coarse` place, by which documents sort as they do by `Coarse` itself.

    Numbers are as the database reads them, which may be with an error within the margins.
    """

    rank: ColumnElement[int]
    number: ColumnElement[float]
    text: ColumnElement[str]


class Range(NamedTuple):
    """Places of one rank, bounds included.

    Attributes:
        rank: of all of them.
        low: the smallest, a number for numbers and booleans and a text for texts; None for none.
        high: the largest, likewise.
    """

    rank: int
    low: float | str | None = None
    high: float | str | None = None


class Stretch(NamedTuple):
    """Places that follow each other, as an index of the columns and the key yields them.

    Attributes:
        where: which they are.
        order: what they are to be sorted by. In one of several parts, what is the same for all is
            left out: SQLite would sort by it once more.
    """

    where: Condition
    order: tuple[ColumnElement[Any], ...]


def bounds(leaf: Leaf) -> list[Range] | None:
    """Ranges that hold the place of every document that matches; None if there are no such.

    Of a document, that is, that the database can read.

    They are in order and do not overlap; an `In` of many values has few that are wider.
    """
    match leaf:
        case Compare(operator="!="):
            return None
        case Compare(operator=operator, value=value):
            return [_range_of(operator, value)]
        case In(values=values):
            return _joined(_range_of("==", value) for value in values)
        case Prefix(text=text):
            start = text[:LONGEST_TEXT]
            end = end_of_prefix(text) if start == text else start
            return [Range(TEXT, start, end)]
        case _:
            return None


def within(place: Place, ranges: Iterable[Range]) -> Condition:
    """The condition that a place is within one of the ranges, which an index is searched by.

    For more than one range SQLite uses no index that holds a part of the documents: there, go
    through their `stretches`.
    """
    return or_(false(), *(_is_within(place, one) for one in ranges))


def stretches(
    place: Place,
    key: ColumnElement[str],
    ranges: Sequence[Range] | None = None,
    *,
    start: Coarse | None = None,
    start_after: str | None = None,
    descending: bool = False,
    row_values: bool = False,
) -> list[Stretch]:
    """The coarse order and, where places are alike, the order of the keys, in parts.

    One after another they are what `(rank, number, text, key) > (…)` gives at once; but SQLite and
    MariaDB do not find that in an index. PostgreSQL does, and no parts: where columns are equal to
    something, it takes the documents for so few that it sorts them rather than go by the index.

    Args:
        place: the columns of the field.
        key: the documents' key.
        ranges: which places, in order and not overlapping; None for all.
        start: the place to begin at, as the database has it.
        start_after: the key behind which to begin there; None for all that stand there.
        descending: all of it the other way round, the keys too.
        row_values: the database finds several columns, compared at once, in an index.
    """
    at: _Values = (*(start or ()), *([] if start_after is None else [start_after]))
    columns = (*place, key)
    parts: Sequence[Range | None] = (None,) if ranges is None else ranges
    return [
        stretch
        for one in (reversed(parts) if descending else parts)
        for stretch in _stretches_of(columns, one, at, descending=descending, row_values=row_values)
    ]


def inline(value: str | float) -> ColumnElement[Any]:
    """The value as a literal of the statement: an index is used where its columns stand as made."""
    if isinstance(value, str):
        return literal_column("'" + value.replace("'", "''") + "'", Text)
    return literal_column(repr(value), Integer if isinstance(value, int) else Double)


def _is_within(place: Place, one: Range) -> Condition:
    """With every column that is known, so that an index gives one place's documents in order."""
    first, last = _ends(one)
    alike = _length_alike(first, last)
    known = [column == value for column, value in zip(place, first[:alike], strict=False)]
    above = [place[alike] >= value for value in first[alike : alike + 1]]
    below = [place[alike] <= value for value in last[alike : alike + 1]]
    return and_(*known, *above, *below)


def _stretches_of(
    columns: _Columns, one: Range | None, at: _Values, *, descending: bool, row_values: bool
) -> list[Stretch]:
    first, last = _ends(one)
    begin, end = (last, first) if descending else (first, last)
    behind, not_before, not_behind = (lt, le, ge) if descending else (gt, ge, le)
    if at and behind(at[: len(end)], end):
        return []
    if not at or behind(begin, at[: len(begin)]):
        at, ahead = begin, not_before
    else:
        ahead = behind if len(at) == len(columns) else not_before
    order = tuple(column.desc() if descending else column for column in columns)
    if row_values:
        start, stop = ahead(_row(columns, at), at), not_behind(_row(columns, end), end)
        return [Stretch(and_(start, stop), order)]

    alike = _length_alike(begin, end)
    known = [column == value for column, value in zip(columns, end[:alike], strict=False)]
    stops = [not_behind(columns[alike], value) for value in end[alike : alike + 1]]
    found = []
    for position in reversed(range(alike, len(at))):
        same = [columns[other] == at[other] for other in range(alike, position)]
        compare = ahead if position == len(at) - 1 else behind
        start = compare(columns[position], at[position])
        rest = stops if position == alike else []
        found.append(Stretch(and_(*known, *same, start, *rest), order[position:]))
    return found or [Stretch(and_(*known, *stops), order[alike:])]


def _row(columns: _Columns, values: _Values) -> Any:
    return tuple_(*columns[: len(values)])


def _ends(one: Range | None) -> tuple[_Values, _Values]:
    """The first columns of its first and of its last place, as far as they are known."""
    if one is None:
        return (UNREADABLE,), (OTHER,)
    rank, low, high = one
    if rank == NULL:
        return coarse(None), coarse(None)
    before: _Values = (rank, 0.0) if rank == TEXT else (rank,)
    behind: _Values = ("",) if rank == BOOLEAN else ()
    return (
        before if low is None else (*before, low, *behind),
        before if high is None else (*before, high, *behind),
    )


def _length_alike(one: _Values, other: _Values) -> int:
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _range_of(operator: Operator, value: Scalar) -> Range:
    rank, number, text = coarse(value)
    if rank == NULL:
        return Range(NULL)
    low: float | str | None
    high: float | str | None
    if rank == NUMBER:
        margin = abs(number) * RELATIVE_MARGIN + SMALLEST_MARGIN
        low, high = _finite(number - margin), _finite(number + margin)
    else:
        low = high = text if rank == TEXT else number
    match operator:
        case "<" | "<=":
            return Range(rank, None, high)
        case ">" | ">=":
            return Range(rank, low, None)
        case _:
            return Range(rank, low, high)


def _finite(bound: float) -> float | None:
    """No bound where it has become infinite, as a number that a database reads may have."""
    return bound if isfinite(bound) else None


def _joined(ranges: Iterable[Range]) -> list[Range]:
    """The ranges of single values, in order; what overlaps is one, or all of a rank if too many."""
    joined: list[Range] = []
    for one in sorted(ranges, key=_start):
        if joined and _overlap(joined[-1], one):
            joined[-1] = joined[-1]._replace(high=one.high)
        else:
            joined.append(one)
    if len(joined) <= _MOST_RANGES:
        return joined
    return [
        Range(rank, ranked[0].low, ranked[-1].high)
        for rank, ranked in ((rank, list(ranked)) for rank, ranked in groupby(joined, _rank))
    ]


def _start(one: Range) -> tuple[Any, ...]:
    return (one.rank, one.low is not None, one.low)


def _rank(one: Range) -> int:
    return one.rank


def _overlap(one: Range, following: Range) -> bool:
    if one.rank != following.rank:
        return False
    bounds: tuple[Any, Any] = one.high, following.low
    return None in bounds or bounds[1] <= bounds[0]
