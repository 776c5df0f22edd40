from math import inf, nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiostore.filters import Order, place_of
from aiostore.orders import Coarse, coarse, coarse_at, coarse_of, is_beyond, loosened
from aiostore.testing.strategies import scalars

IN_ORDER = [
    coarse(),
    coarse(None),
    coarse(value=False),
    coarse(value=True),
    coarse(-(2**63)),
    coarse(-1.5),
    coarse(-1e-299),
    coarse(0),
    coarse(2e-300),
    coarse(1),
    coarse(1 + 1e-12),
    coarse(2**63 - 1),
    coarse(1e300),
    coarse(""),
    coarse("A"),
    coarse("a"),
    coarse("a" * 128),
    coarse("é"),
    coarse("\uffff"),
    coarse("\U00010000"),
    coarse([]),
]
ALIKE = [
    ([1], {"a": 2}),
    (0, -0.0),
    (5e-324, -1e-301),
    (2**53, 2**53 + 1),
    (2**63 - 1, 2.0**63),
    (0.1 + 0.2, 0.3),
    (-1.0, nextafter(-1.0, inf)),
    (1.7976931348623157e308, nextafter(1.7976931348623157e308, 0)),
    ("a" * 128, "a" * 128 + "b"),
    ("😀" * 128, "😀" * 129),
]


def test_types_come_one_after_the_other() -> None:
    """By rank, then by number or text; both ways."""
    for position, place in enumerate(IN_ORDER):
        for earlier in IN_ORDER[:position]:
            assert is_beyond(place, earlier)
            assert not is_beyond(earlier, place)
            assert is_beyond(earlier, place, descending=True)
            assert not is_beyond(place, earlier, descending=True)
        assert not is_beyond(place, place)
        assert not is_beyond(place, place, descending=True)


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_what_an_engine_may_confuse_is_alike(one: object, other: object) -> None:
    """Numbers within the margin, texts of one beginning, arrays and objects."""
    for descending in (False, True):
        assert not is_beyond(coarse(one), coarse(other), descending=descending)
        assert not is_beyond(coarse(other), coarse(one), descending=descending)


def test_a_place_is_that_of_a_field() -> None:
    """Found by its path; the same by way of the rank that a cursor keeps."""
    document = {"a": {"b": -0.0, "c": "x" * 200, "d": {}, "e": None}}
    for name, place in {
        "b": Coarse(3, 0.0, ""),
        "c": Coarse(4, 0.0, "x" * 128),
        "d": Coarse(5, 0.0, ""),
        "e": Coarse(1, 0.0, ""),
        "f": Coarse(0, 0.0, ""),
    }.items():
        path = ("a", name)
        [ranked] = place_of(document, [Order(path)])
        assert coarse_at(document, path) == place == coarse_of(ranked)
    assert str(coarse(-0.0).number) == "0.0"


@given(scalars(), scalars(), scalars())
def test_what_is_clearly_passed_never_comes_again(
    one: object, passed: object, next_: object
) -> None:
    """If the scan is beyond one value, whatever it may yet yield comes after that value."""
    [(first,), (place,), (third,)] = (
        place_of({"v": value}, [Order(("v",))]) for value in (one, passed, next_)
    )
    for descending in (False, True):
        may_come = not is_beyond(coarse_of(place), coarse_of(third), descending=descending)
        if is_beyond(coarse_of(place), coarse_of(first), descending=descending) and may_come:
            assert (third < first) if descending else (first < third)


@given(scalars(), st.floats(allow_nan=False, allow_infinity=False))
def test_a_loosened_start_leaves_nothing_out(start: object, number: float) -> None:
    """Whatever is not clearly before the start is not before the loosened one, be it shifted."""
    for descending in (False, True):
        loose = loosened(coarse(start), descending=descending)
        assert not is_beyond(loose, coarse(start), descending=descending)
        for value in (start, number):
            if not is_beyond(coarse(start), coarse(value), descending=descending):
                assert (coarse(value) <= loose) if descending else (coarse(value) >= loose)
