import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aiostore.keys import end_of_prefix, segment_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@given(prefix=TEXTS, text=TEXTS)
def test_the_range_of_a_prefix_is_exact(prefix: str, text: str) -> None:
    """From the prefix up to its end lie the texts that begin with it, and no others."""
    end = end_of_prefix(prefix)
    within = prefix <= text and (end is None or text < end)
    assert within == text.startswith(prefix)


@given(prefix=TEXTS, rest=TEXTS)
def test_nothing_that_begins_with_a_prefix_is_left_out(prefix: str, rest: str) -> None:
    """The end is greater than all that begins with the prefix, in UTF-8's order too."""
    end = end_of_prefix(prefix)
    assume(end is not None)
    assert end is not None
    assert (prefix + rest).encode() < end.encode()


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("", None),
        ("a", "b"),
        ("eu/", "eu0"),
        ("a\ud7ff", "a\ue000"),
        ("a\U0010ffff", "b"),
        ("\U0010ffff", None),
        ("\U0010ffff\U0010ffff", None),
        ("\U0010fffe\U0010ffff", "\U0010ffff"),
    ],
)
def test_the_end_of_a_prefix(prefix: str, end: str | None) -> None:
    """The last character is counted up, past the surrogates; at the last code point the one before.

    Nothing is past a prefix of last code points.
    """
    assert end_of_prefix(prefix) == end


@given(key=TEXTS, segments=st.integers(min_value=1, max_value=100))
def test_every_key_has_one_segment(key: str, segments: int) -> None:
    """The segment is a number from 0 to one less than there are segments."""
    assert 0 <= segment_of(key, segments) < segments


@pytest.mark.parametrize(("key", "segment"), [("a", 3), ("b", 9), ("ä", 3), ("", 0)])
def test_the_segment_of_a_key_is_the_same_for_ever(key: str, segment: int) -> None:
    """It depends on nothing but key and number, since migrations' checkpoints rest on it."""
    assert segment_of(key, 16) == segment


def test_segments_are_evenly_filled() -> None:
    """No segment of 8 has more than a tenth above or below its share of 8000 numbered keys."""
    filled = [0] * 8
    for number in range(8000):
        filled[segment_of(f"user-{number}", 8)] += 1
    assert min(filled) >= 900
    assert max(filled) <= 1100
