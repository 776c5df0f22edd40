"""Filters and the documents that they are asked of, to hold a database to the reference."""

from collections.abc import Mapping, Sequence
from functools import reduce
from math import inf, isfinite, nextafter
from operator import and_, or_
from typing import Any

import msgspec
from hypothesis import strategies as st

from aiostore.filters import Compare, F, Filter, Operator, matches
from aiostore.testing import hostile

OPERATORS: tuple[Operator, ...] = ("==", "!=", "<", "<=", ">", ">=")

HOSTILE: list[list[dict[str, Any]]] = [
    [{"a": value}, {"a": list(value.values())}, *({"a": one} for one in value.values())]
    for value in hostile.VALUES
]
"""Of each hostile value, documents that have it and its parts in a field of a plain name."""

NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-20, 20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.builds(float, st.integers(-(2**63), 2**63 - 1)),
    st.builds(lambda whole, part: whole / part, st.integers(-(10**17), 10**17), st.integers(1, 9)),
    st.builds(
        lambda digits, power: float(f"{digits}e{power}"),
        st.integers(-(10**17), 10**17),
        st.integers(-340, 291),
    ),
)
EXTREMES = [
    *(0, 1, -1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 0.1, -0.1, 0.5, 1e15, 1e16, 1e22, -1e16),
    *(2.0**52, 2.0**53, -(2.0**53), 2.0**63, -(2.0**63), 2.0**64, 1e-4, 1e-5, 1e-300, -1e-300),
    *(5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308),
    1.152921504606847e18,  # 1152921504606846976, with fewer digits
]


def around(number: float) -> list[int | float]:
    """The number as it is and as a float, what is next to it, and the integers around."""
    close = [float(number)]
    for _ in range(3):
        close = [nextafter(close[0], -inf), *close, nextafter(close[-1], inf)]
    integers = [round(number) + step for step in range(-2, 3)]
    portable = [one for one in integers if -(2**63) <= one < 2**63]
    return [number, *portable, *filter(isfinite, close), -number / 2, 0, -0.0]


def documents_of(numbers: Sequence[int | float]) -> list[dict[str, Any]]:
    """Documents with these numbers in the field `a`, alone and as an array's element."""
    return [*({"a": number} for number in numbers), *({"a": [number]} for number in numbers)]


def asked_of(number: float, other: float) -> list[Filter]:
    """Filters of all kinds that ask for a number, one of them for another too."""
    asked: list[Filter] = [Compare(("a",), operator, number) for operator in OPERATORS]
    return [*asked, F.a.in_((number, other)), F.a.contains(number)]


def nested(where: Filter, levels: int, *also: Filter) -> Filter:
    """The filter behind so many `~`, each time with what else is asked for."""
    for _ in range(levels):
        where = ~reduce(and_, also, where)
    return where


TOO_LARGE: dict[str, Any] = {
    "and": reduce(and_, [F.a >= 5, *(~(F.a == number) for number in range(10, 1500))]),
    "or": reduce(or_, [F.a == number for number in range(1500)]),
    "not": nested(F.a == 1, 300),
    "not and": nested(F.a == 1, 100, F.a.exists()),
    "in": F.a.in_(range(100_000)),
    "in again": F.a.in_([*range(-100_000, 0), 1]),
    "contains": F.a.contains("x" * 1_000_000),
}
"""Filters of more parts, values or characters than a statement has room for."""


def encoded(values: Sequence[Mapping[str, Any]]) -> list[str]:
    """As the codecs write them."""
    return [msgspec.json.encode(value).decode() for value in values]


def matching(values: Sequence[Mapping[str, Any]], where: Filter) -> list[int]:
    """The numbers of those that match."""
    return [number for number, value in enumerate(values) if matches(where, value)]
