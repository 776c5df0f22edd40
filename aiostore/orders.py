"""The coarse order: how exactly an engine has to sort, and no more.

The order of a query (`aiostore.filters.Order`) compares integers of 64 bits with doubles by value,
and texts of any length by code point. Few engines can do both, by an index. What they all can is
near it: numbers as doubles, the beginnings of texts. So a scan with an order keeps to the coarse
order alone, and the last bit of sorting is done above, among the few records that are alike.

A coarse place is three columns: the rank of the value's type, a number, a text.
"""

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from aiostore.filters import MISSING, Path, rank_of, value_at

LONGEST_TEXT = 128
"""Texts are compared by so many of their first code points."""

RELATIVE_MARGIN = 1e-13
"""Numbers are alike that differ by this part of the larger one, or less."""

SMALLEST_MARGIN = 1e-300
"""And such as differ by this or less."""

_LARGEST = sys.float_info.max
_BOOLEAN, _NUMBER, _TEXT = 2, 3, 4


class Coarse(NamedTuple):
    """Where a value stands in the coarse order.

    Attributes:
        rank: of its type: 0 missing, 1 null, 2 booleans, 3 numbers, 4 texts, 5 arrays and objects.
        number: 0 or 1 for booleans, numbers as the closest double; 0 for what has none.
        text: the first 128 code points of texts; empty for what is none.
    """

    rank: int
    number: float
    text: str


def coarse(value: Any = MISSING) -> Coarse:
    """The coarse place of a value, decoded from JSON; of what is missing, without one."""
    return coarse_of(rank_of(value))


def coarse_at(document: Mapping[str, Any], path: Path) -> Coarse:
    """The coarse place of a field of a document."""
    return coarse(value_at(document, path))


def coarse_of(ranked: tuple[int, Any]) -> Coarse:
    """The coarse place of a value whose rank is known, as `aiostore.filters.place_of` has it."""
    rank, value = ranked
    if rank in (_BOOLEAN, _NUMBER):
        return Coarse(rank, float(value) + 0.0, "")  # -0.0 becomes 0.0
    return Coarse(rank, 0.0, value[:LONGEST_TEXT] if rank == _TEXT else "")


def is_from(place: Coarse, start: Coarse | None, *, descending: bool = False) -> bool:
    """Whether `place` is `start` or comes after it."""
    if start is None:
        return True
    return place <= start if descending else place >= start


def is_beyond(place: Coarse, other: Coarse, *, descending: bool = False) -> bool:
    """Whether `place` comes clearly after `other`: by more than an engine may be wrong.

    Of two records of which one is clearly after the other a scan yields the other first. So once
    it has yielded one that is clearly after `other`, nothing that is not after `other` will come.
    """
    if descending:
        place, other = other, place
    if place.rank != other.rank:
        return place.rank > other.rank
    if place.number != other.number:
        return place.number - other.number > _margin(place.number, other.number)
    return place.text > other.text


def loosened(start: Coarse, *, descending: bool = False) -> Coarse:
    """A place a little before `start`, before all that is not clearly before `start`.

    For engines whose doubles are not always the closest ones: where they begin here, nothing that
    stands at `start` is left out.
    """
    if start.rank != _NUMBER:
        return start
    margin = 2 * _margin(start.number, start.number)
    number = start.number + margin if descending else start.number - margin
    return start._replace(number=max(-_LARGEST, min(number, _LARGEST)))


def _margin(one: float, other: float) -> float:
    return max(RELATIVE_MARGIN * max(abs(one), abs(other)), SMALLEST_MARGIN)
