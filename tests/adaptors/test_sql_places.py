from itertools import pairwise
from math import inf, nextafter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from place_ranges import is_within

from aiostore.adaptors.sql._filters import Leaf
from aiostore.adaptors.sql._places import BOOLEAN, NULL, NUMBER, TEXT, Range, bounds
from aiostore.filters import F, In, matches
from aiostore.orders import coarse_at
from aiostore.testing.strategies import documents, filters

LEAVES = {"equal", "compare", "in", "prefix", "contains", "exists"}


def check_ranges(leaf: Leaf, document: Any) -> None:
    """The ranges are in order and apart; the document is in one of them if it matches."""
    ranges = bounds(leaf)
    if ranges is None:
        return
    if matches(leaf, document):
        assert any(is_within(coarse_at(document, leaf.path), one) for one in ranges)
    assert [one.rank for one in ranges] == sorted(one.rank for one in ranges)
    for one, following in pairwise(ranges):
        if one.rank == following.rank:
            high: Any = one.high
            assert high < following.low


@given(
    st.lists(documents(), min_size=1, max_size=3).flatmap(
        lambda about: st.tuples(st.just(about), filters(kinds=LEAVES, about=about, levels=0))
    )
)
def test_what_matches_is_within_the_bounds(case: tuple[list[Any], Any]) -> None:
    """A scan of the ranges alone misses nothing."""
    values, leaf = case
    for document in values:
        check_ranges(leaf, document)


@given(st.text("ab", min_size=126, max_size=130), st.text("ab", min_size=126, max_size=130))
def test_texts_are_within_the_bounds_where_their_place_ends(one: str, other: str) -> None:
    """Whatever follows behind a text's first 128 code points."""
    document = {"a": one}
    for wanted in (one, other):
        asked: list[Leaf] = [F.a == wanted, F.a < wanted, F.a <= wanted, F.a > wanted]
        asked += [F.a >= wanted, F.a.in_([other, one]), F.a.prefix(wanted)]
        asked += [F.a.prefix(wanted[:127])]
        for leaf in asked:
            check_ranges(leaf, document)


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        (F.a == None, [Range(NULL)]),  # noqa: E711  # it makes a filter
        (F.a == True, [Range(BOOLEAN, 1.0, 1.0)]),  # noqa: E712  # likewise
        (F.a == "x", [Range(TEXT, "x", "x")]),
        (F.a == "é" * 200, [Range(TEXT, "é" * 128, "é" * 128)]),
        (F.a < "x", [Range(TEXT, None, "x")]),
        (F.a >= "x", [Range(TEXT, "x", None)]),
        (F.a.prefix("xa"), [Range(TEXT, "xa", "xb")]),
        (F.a.prefix("x" * 127), [Range(TEXT, "x" * 127, "x" * 126 + "y")]),
        (F.a.prefix("x" * 129), [Range(TEXT, "x" * 128, "x" * 128)]),
        (F.a.prefix(""), [Range(TEXT, "", None)]),
        (F.a > 1.7976931348623157e308, [Range(NUMBER, 1.7976931348621359e308, None)]),
        (F.a <= 1.7976931348623157e308, [Range(NUMBER, None, None)]),
        (F.a.in_([]), []),
        (
            F.a.in_(["b", None, True, "a", False, "b", None]),
            [
                Range(NULL),
                Range(BOOLEAN, 0.0, 0.0),
                Range(BOOLEAN, 1.0, 1.0),
                Range(TEXT, "a", "a"),
                Range(TEXT, "b", "b"),
            ],
        ),
        (F.a.in_(["x" * 128 + "a", "x" * 128]), [Range(TEXT, "x" * 128, "x" * 128)]),
        (F.a != 1, None),
        (F.a.contains("x"), None),
        (F.a.exists(), None),
    ],
)
def test_bounds_are_as_narrow_as_they_can_be(leaf: Leaf, expected: list[Range] | None) -> None:
    """One place for what equals, one range for what compares, and none for what may be anywhere."""
    assert bounds(leaf) == expected


@given(st.floats(-1e300, 1e300) | st.integers(-(2**63), 2**63 - 1))
def test_numbers_have_a_margin(number: float) -> None:
    """A database may read a number with an error; what equals it is found all the same."""
    ranges = bounds(F.a == number)
    assert ranges is not None
    low, high = ranges[0].low, ranges[0].high
    assert isinstance(low, float)
    assert isinstance(high, float)
    close = float(number)
    for _ in range(4):
        close = nextafter(close, inf)
    assert low < float(number) < close < high
    assert high - low <= abs(number) * 3e-13 + 3e-300


@pytest.mark.parametrize("count", [50, 51, 100_000])
def test_many_values_have_few_ranges(count: int) -> None:
    """One from the smallest to the largest of a type, if they are more than fifty."""
    ranges = bounds(In(("a",), (*range(count), "x", "y")))
    assert ranges is not None
    assert len(ranges) == 2
    assert [(one.rank, one.low, one.high) for one in ranges if one.rank == TEXT] == [
        (TEXT, "x", "y")
    ]
    assert len(bounds(In(("a",), tuple(range(50)))) or ()) == 50
