from base64 import urlsafe_b64decode, urlsafe_b64encode
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiostore.cursors import Place, _checksum, fingerprint, to_cursor, to_place
from aiostore.errors import InvalidValueError
from aiostore.filters import MISSING, Scalar, rank_of
from aiostore.testing.strategies import scalars

QUERY = fingerprint("users", "by age")
PLACE = Place(((3, 42), (4, "Rome")), "alice")
CURSOR = to_cursor(PLACE, QUERY)

places_of_values = scalars().map(rank_of) | st.sampled_from([rank_of(MISSING), rank_of([])])


@given(st.lists(places_of_values), st.text())
def test_a_place_comes_back(values: list[tuple[int, Scalar]], key: str) -> None:
    """Every place comes back exactly, as text that a URL can hold."""
    place = Place(tuple(values), key)
    cursor = to_cursor(place, QUERY)
    assert repr(to_place(cursor, QUERY, len(values))) == repr(place)
    assert cursor.isascii()
    assert cursor.replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize("position", range(len(CURSOR)))
def test_an_altered_cursor_is_refused(position: int) -> None:
    """Whichever character is changed, or wherever it is cut."""
    other = "B" if CURSOR[position] == "A" else "A"
    altered = CURSOR[:position] + other + CURSOR[position + 1 :]
    if urlsafe_b64decode(altered + "==") != urlsafe_b64decode(CURSOR + "=="):  # else the same bytes
        with pytest.raises(InvalidValueError, match="is no cursor, or was altered"):
            to_place(altered, QUERY, 2)
    with pytest.raises(InvalidValueError, match="is no cursor, or was altered"):
        to_place(CURSOR[:position], QUERY, 2)


@pytest.mark.parametrize("cursor", ["", "é", "!", "A", "AAAA", "2" + CURSOR[1:], CURSOR + "AAAA"])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    """Any other text."""
    with pytest.raises(InvalidValueError, match="is no cursor, or was altered"):
        to_place(cursor, QUERY, 2)


@pytest.mark.parametrize("cursor", [None, 7, b"AAAA"])
def test_what_is_no_text_is_refused(cursor: object) -> None:
    """With its type named."""
    with pytest.raises(InvalidValueError, match=f"a cursor is a str.*{type(cursor).__name__}"):
        to_place(cursor, QUERY, 2)


def test_a_cursor_is_bound_to_its_query() -> None:
    """With another query's fingerprint it is refused, and told apart from a damaged one."""
    with pytest.raises(InvalidValueError, match="belongs to another query"):
        to_place(CURSOR, fingerprint("users", "by name"), 2)


@pytest.mark.parametrize("place", [b"\xc1", b"\x92\x90\x07", b"\x90"])
def test_a_forged_cursor_is_refused(place: bytes) -> None:
    """A right checksum over what is no place is of no use."""
    empty = urlsafe_b64decode(to_cursor(Place((), ""), QUERY) + "==")
    forged = _signed(empty[13:25] + place)
    with pytest.raises(InvalidValueError, match="is no cursor, or was altered"):
        to_place(forged, QUERY, 0)


@pytest.mark.parametrize(
    "ranked",
    [(3, nan), (3, inf), (3, 2**63), (3, "1"), (4, 1), (4, "\0"), (2, 1), (6, 0), (0, "a")],
)
def test_a_forged_value_is_refused(ranked: tuple[int, Scalar]) -> None:
    """No engine is sent what no document could hold."""
    with pytest.raises(InvalidValueError, match="is no cursor, or was altered"):
        to_place(to_cursor(Place((ranked,), "k"), QUERY), QUERY, 1)


def test_a_cursor_has_as_many_values_as_the_query_sorts_by() -> None:
    """Another number is refused, though it cannot come from a page."""
    with pytest.raises(InvalidValueError, match="is no cursor, or was altered"):
        to_place(CURSOR, QUERY, 3)


def _signed(payload: bytes) -> str:
    return urlsafe_b64encode(b"1" + _checksum(payload) + payload).decode().rstrip("=")
