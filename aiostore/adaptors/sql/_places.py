"""The columns of a field's coarse place (`aiostore.orders`), and which places a filter asks for.

The module of each database makes the columns, `place(path)`. They serve for indexes too, so they
hold literals alone, and are neither NULL nor an error whatever the body is: what the database
cannot read sorts as missing.
"""

from collections.abc import Iterable
from itertools import groupby
from math import isfinite
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, false, or_

from aiostore.adaptors.sql._filters import Condition, Leaf
from aiostore.filters import Compare, In, Operator, Prefix, Scalar
from aiostore.keys import end_of_prefix
from aiostore.orders import LONGEST_TEXT, RELATIVE_MARGIN, SMALLEST_MARGIN, coarse

MISSING, NULL, BOOLEAN, NUMBER, TEXT, OTHER = range(6)
"""The ranks of a value's type; arrays and objects are all alike."""

_MOST_RANGES = 50


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


def bounds(leaf: Leaf) -> list[Range] | None:
    """Ranges that hold the place of every document that matches; None if there are no such.

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
    """The condition that a place is within one of the ranges, as an index of it is searched by."""
    return or_(false(), *(_is_within(place, one) for one in ranges))


def _is_within(place: Place, found: Range) -> Condition:
    """With every column that is known, so that an index gives one place's documents in order."""
    rank, low, high = found
    ranked = place.rank == rank
    if rank == NULL:
        return and_(ranked, place.number == 0.0, place.text == "")
    if rank == TEXT:
        return and_(ranked, place.number == 0.0, *_is_between(place.text, low, high))
    if rank == BOOLEAN:
        ranked = and_(ranked, place.text == "")
    return and_(ranked, *_is_between(place.number, low, high))


def _is_between(
    column: ColumnElement[float] | ColumnElement[str],
    low: float | str | None,
    high: float | str | None,
) -> list[Condition]:
    if low == high and low is not None:
        return [column == low]
    bounds = [] if low is None else [column >= low]
    return bounds if high is None else [*bounds, column <= high]


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
