"""What a range of places means."""

from math import inf
from typing import Any

from aiostore.adaptors.sql._places import TEXT, Range
from aiostore.orders import Coarse


def is_within(place: Coarse, one: Range) -> bool:
    """Whether a place is within a range."""
    value: Any = place.text if place.rank == TEXT else place.number
    low: Any = -inf if one.low is None else one.low
    high: Any = inf if one.high is None else one.high
    if place.rank == TEXT:
        low, high = one.low or "", one.high or chr(0x10FFFF) * 200
    return place.rank == one.rank and low <= value <= high
