"""Hypothesis strategies: documents, and filters that often match them.

Everything is drawn from small pools of names and awkward values, so that a path is there and a
comparison is close; `filters(about=documents)` asks after what stands in those documents, or next
to it. Needs hypothesis, which `aiostore.testing` itself does without.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import reduce
from math import inf, isfinite, nextafter
from operator import and_, or_
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from aiostore.filters import (
    Compare,
    Contains,
    Exists,
    Filter,
    In,
    Not,
    Operator,
    Path,
    Prefix,
    Scalar,
    Text,
)
from aiostore.testing import hostile

PLAIN_NAMES = ("a", "b", "c", "A", "_1", "value")
"""Names of fields that every engine takes as they are (`aiostore.filters.is_plain`)."""

ODD_NAMES = ("", "a.b", "a b", "$", '"', "'", "\\", "[0]", "0", "é", "e\u0301", "😀", "text")
"""Names that an engine's own paths may stumble over."""

_LEAVES = frozenset({"equal", "compare", "in", "prefix", "contains", "exists", "text"})
KINDS = _LEAVES | {"and", "or", "not"}
"""All the kinds of filters (`aiostore.filters.kinds_of`)."""

_SMALLEST, _LARGEST = -(2**63), 2**63 - 1
_INTEGERS = (0, 1, -1, 2, 10, 18, 2**53, 2**53 + 1, -(2**53) - 1, _LARGEST, _SMALLEST)
_FLOATS = (
    *(0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 18.0, 0.1, 0.1 + 0.2, 0.3, 1 / 3, 1e15, 1e16, 1e22),
    *(2.0**53, 2.0**53 + 2, 2.0**63, -(2.0**63), nextafter(2.0**63, 0), 123456789012345680.0),
    *(5e-324, -5e-324, 2.2250738585072014e-308, 1e-5, 1e-7, 1e308, 1.7976931348623157e308),
)
_LONGEST = 40
_TEXTS = (
    *(key for key in hostile.KEYS if len(key) <= _LONGEST),
    *(text for value in hostile.VALUES[8:10] for text in value.values()),
    *("", "b", "ab", "ba", "abc", "Straße", "STRASSE", "strasse", "ǅ", "\u212a", "k", "\u017f"),
)
_OPERATORS: tuple[Operator, ...] = ("!=", "<", "<=", ">", ">=")


def _one_of(*strategies: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """One of them, by equal chances; `|` would choose among the choices inside them."""
    return st.sampled_from(strategies).flatmap(lambda strategy: strategy)


_ANY_TEXT = st.one_of(
    st.sampled_from(_TEXTS),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
    st.text("ab", max_size=3),
)
_ANY_NUMBER = st.one_of(
    st.sampled_from(_INTEGERS),
    st.sampled_from(_FLOATS),
    st.integers(_SMALLEST, _LARGEST),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(_INTEGERS + _FLOATS).flatmap(lambda number: st.sampled_from(_around(number))),
)
_ANY_OTHER = st.sampled_from((True, False, None))
_ANY_SCALAR: SearchStrategy[Scalar] = _one_of(_ANY_TEXT, _ANY_NUMBER, _ANY_NUMBER, _ANY_OTHER)
_FITTING: dict[str, Any] = {
    "equal": Scalar,
    "compare": str | int | float,
    "in": Scalar,
    "prefix": str,
    "contains": str | list,
    "exists": object,
    "text": str,
}
_LIKENESS = st.sampled_from(("same", "same", "close", "close", "any"))
_WHERE = st.sampled_from(("there", "there", "there", "elsewhere", "anywhere"))


def scalars() -> SearchStrategy[Scalar]:
    """Texts, numbers, booleans and null; awkward ones more often than others."""
    return _ANY_SCALAR


def documents(*, plain: bool = False) -> SearchStrategy[dict[str, Any]]:
    """Documents that the portability contract allows, small and a few levels deep.

    Args:
        plain: give all fields plain names.
    """
    names = _names(plain=plain)
    return st.dictionaries(names, _values(names, levels=3), max_size=5)


@st.composite
def filters(
    draw: DrawFn,
    *,
    kinds: Collection[str] = KINDS,
    plain: bool = False,
    about: Sequence[Mapping[str, Any]] = (),
    levels: int = 3,
) -> Filter:
    """Filters as `F` makes them.

    Args:
        draw: hypothesis's own.
        kinds: the kinds that they are made of; at least one besides `and`, `or` and `not`.
        plain: ask only after fields with plain names.
        about: documents to ask after: their fields, and values that stand there or nearly.
        levels: how deep `and`, `or` and `not` go.
    """
    found = [
        field
        for document in about
        for field in _fields((), document)
        if not plain or all(name in PLAIN_NAMES for name in field[0])
    ]
    paths = st.lists(_names(plain=plain), min_size=1, max_size=3).map(tuple)

    def one(levels: int) -> Filter:
        kind = draw(st.sampled_from(sorted(_LEAVES.intersection(kinds) if not levels else kinds)))
        match kind:
            case "and" | "or":
                parts = [one(levels - 1) for _ in range(draw(st.integers(2, 3)))]
                return reduce(and_ if kind == "and" else or_, parts)
            case "not":
                return Not(one(levels - 1))
            case _:
                return _leaf(draw, kind, *place(kind))

    def place(kind: str) -> tuple[Path, Any]:
        """A path, and what may be there."""
        fitting = [field for field in found if isinstance(field[1], _FITTING[kind])]
        where = draw(_WHERE) if fitting else "anywhere"
        path, value = draw(st.sampled_from(fitting)) if fitting else ((), None)
        if where != "there":
            value = draw(_ANY_SCALAR)
        return (draw(paths) if where == "anywhere" else path), value

    return one(levels)


def _leaf(draw: DrawFn, kind: str, path: Path, value: Any) -> Filter:
    match kind:
        case "equal" | "compare":
            return _comparison(draw, path, _near(draw, value), equal=kind == "equal")
        case "in":
            return In(path, tuple(_near(draw, value) for _ in range(draw(st.integers(0, 4)))))
        case "prefix":
            return Prefix(path, _part(draw, value, most=0))
        case "contains":
            item = draw(st.sampled_from(value)) if isinstance(value, list) and value else value
            return Contains(
                path, _part(draw, item) if isinstance(value, str) else _near(draw, item)
            )
        case "exists":
            return Exists(path)
        case _:
            text = _part(draw, value)
            return Text(text.swapcase() if draw(st.booleans()) else text)


def _comparison(draw: DrawFn, path: Path, wanted: Scalar, *, equal: bool) -> Compare:
    if equal:
        return Compare(path, "==", wanted)
    if wanted is None:  # it compares by nothing but `==`
        wanted = draw(_ANY_TEXT)
    most = 1 if isinstance(wanted, bool) else len(_OPERATORS)
    return Compare(path, draw(st.sampled_from(_OPERATORS[:most])), wanted)


def _near(draw: DrawFn, value: Any) -> Scalar:
    """The value, if it is a scalar, or one close to it; sometimes any."""
    likeness = draw(_LIKENESS)
    if likeness == "any" or not isinstance(value, Scalar):
        return draw(_ANY_SCALAR)
    if likeness == "same":
        return value
    if isinstance(value, str):
        return draw(st.sampled_from((value[:-1], value + "a", value.swapcase())))
    if isinstance(value, bool) or value is None:
        return draw(st.sampled_from((True, False, None, 0, 1)))
    return draw(st.sampled_from(_around(value)))


def _around(number: float) -> list[int | float]:
    """The neighbours of a number, as integers and as floats."""
    integers = [round(number) + step for step in (-1, 0, 1)]
    floats = [nextafter(number, -inf), float(number), nextafter(number, inf), -float(number)]
    portable = [one for one in integers if _SMALLEST <= one <= _LARGEST]
    return [*portable, *filter(isfinite, floats)]


def _part(draw: DrawFn, value: Any, most: int | None = None) -> str:
    """A part of the text, if it is one, that begins at `most` at the latest; sometimes any."""
    if not isinstance(value, str) or draw(_LIKENESS) == "any":
        return draw(_ANY_TEXT)
    start = draw(st.integers(0, len(value) if most is None else most))
    return value[start : draw(st.integers(start, len(value)))]


def _values(names: SearchStrategy[str], levels: int) -> SearchStrategy[Any]:
    if not levels:
        return _ANY_SCALAR
    inner = _values(names, levels - 1)
    arrays = st.lists(inner, max_size=3)
    objects = st.dictionaries(names, inner, max_size=3)
    return _one_of(_ANY_SCALAR, _ANY_SCALAR, _ANY_SCALAR, arrays, objects)


def _names(*, plain: bool) -> SearchStrategy[str]:
    return st.sampled_from(PLAIN_NAMES if plain else PLAIN_NAMES + ODD_NAMES)


def _fields(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    """All fields and what they hold, at any depth of objects."""
    if path:
        yield path, value
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _fields((*path, name), item)
