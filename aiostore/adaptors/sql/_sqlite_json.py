"""How SQLite (3.35 and later) judges a document by a filter: its JSON functions over the body.

Bodies are as `aiostore.codecs` writes them: no name twice in an object, floats by the shortest
digits that read back the same, and with a point or an exponent.

SQLite compares texts by their UTF-8, which is by code point, and numbers by value, exactly. What it
cannot be trusted with is to *read* a float. Up to 3.42 it scales the digits by a power of ten in
C's `long double`, which on some machines is no wider than a double: up to sixteen roundings, which
the largest floats overflow by. From 3.43 it scales pairs of doubles, and since 3.53 integers of 128
bits. Of 400,000 floats the worst was read wrong by 1e-15 of its value, on 3.35 with such a narrow
`long double`, and near zero by two of the smallest steps, on 3.50.

So a float is compared with an integer by its digits. With another float it is compared as SQLite
reads it, and what is closer than a margin, a hundred times that error, counts as unknown; so does
all where a bound has become infinite, as a float that is read so may have.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    ColumnElement,
    Double,
    Integer,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    or_,
    select,
    true,
)

from aiostore.adaptors.sql._comparisons import OPERATIONS, about
from aiostore.adaptors.sql._filters import Condition, Leaf
from aiostore.adaptors.sql._places import (
    BOOLEAN,
    MISSING,
    NULL,
    NUMBER,
    OTHER,
    TEXT,
    UNREADABLE,
    Place,
    inline,
)
from aiostore.adaptors.sql._tables import body as _body
from aiostore.filters import Compare, Contains, In, Operator, Path, Prefix, Scalar
from aiostore.keys import end_of_prefix
from aiostore.orders import LONGEST_TEXT

_encode = msgspec.json.Encoder().encode

_WHOLE = 2.0**53  # floats of this size have no fraction
_PAST_INTEGERS = 2.0**63
_RANKS = {
    "null": NULL,
    "false": BOOLEAN,
    "true": BOOLEAN,
    "integer": NUMBER,
    "real": NUMBER,
    "text": TEXT,
    "array": OTHER,
    "object": OTHER,
}
_NAMES = {None: "null", True: "true", False: "false"}


class _Value(NamedTuple):
    """A value in a document.

    Attributes:
        type: the name of its type, never NULL.
        value: in SQL's own type.
        written: for a number, it and itself in an array, by the digits that the body has.
    """

    type: ColumnElement[Any]
    value: ColumnElement[Any]
    written: ColumnElement[Any]


def is_readable() -> Condition:
    """Whether SQLite reads the body; where it does not, a judgement is an error."""
    return func.json_valid(_body) == inline(1)


def judge(leaf: Leaf, /, *, wide: bool) -> Condition:
    """A leaf as a condition: exact, but for a float compared with one that is no integer."""
    path = _json_path(leaf.path)
    value = _Value(
        func.coalesce(func.json_type(_body, path), "missing"),
        func.json_extract(_body, path),
        func.json_extract(_body, path, path),
    )
    match leaf:
        case Compare(operator=operator, value=wanted):
            return _compares(value, operator, wanted, wide=wide)
        case In(values=values):
            return _is_one_of(value, values, wide=wide)
        case Prefix(text=text):
            return _begins(value, text)
        case Contains(item=item):
            return _contains(value, path, item, wide=wide)
        case _:
            return value.type != "missing"


def place(path: Path) -> Place:
    """The coarse place of a field, a float as SQLite reads it."""
    at = inline(_json_path(path))
    value = func.json_extract(_body, at)
    number, truth = cast(value, Double), {"false": inline(0.0), "true": inline(1.0)}
    start = func.substr(value, inline(1), inline(LONGEST_TEXT))
    ranks = _by_type(at, {name: inline(rank) for name, rank in _RANKS.items()}, inline(MISSING))
    numbers = _by_type(at, {**truth, "integer": number, "real": number}, inline(0.0))
    texts = _by_type(at, {"text": start}, inline(""))
    return Place(
        case(
            (_body.is_(None), inline(MISSING)),
            (is_readable(), ranks),
            else_=inline(UNREADABLE),
        ),
        case((is_readable(), numbers), else_=inline(0.0)),
        case((is_readable(), texts), else_=inline("")),
    )


def _by_type(
    path: ColumnElement[str], ways: Mapping[str, ColumnElement[Any]], otherwise: ColumnElement[Any]
) -> ColumnElement[Any]:
    """What there is for a value of each type."""
    whens = ((inline(name), way) for name, way in ways.items())
    return case(*whens, value=func.json_type(_body, path), else_=otherwise)


def _json_path(path: Path) -> str:
    return "$" + "".join(f".{name}" for name in path)


def _compares(value: _Value, operator: Operator, wanted: Scalar, *, wide: bool) -> Condition:
    compare = OPERATIONS[operator]
    match wanted:
        case None:
            return value.type == "null"
        case bool():
            return value.type == _NAMES[wanted == (operator == "==")]
        case str():
            return and_(value.type == "text", compare(value.value, wanted))
        case _:
            integer = _as_integer(wanted)
            if integer is not None:
                return and_(_is_number(value), compare(_by_digits(value), integer))
            return or_(
                and_(value.type == "integer", compare(value.value, wanted)),
                and_(value.type == "real", about(value.value, operator, wanted, wide=wide)),
            )


def _is_one_of(value: _Value, wanted: Sequence[Scalar], *, wide: bool) -> Condition:
    names = {_NAMES[one] for one in wanted if one is None or isinstance(one, bool)}
    texts = [one for one in wanted if isinstance(one, str)]
    numbers = [one for one in wanted if isinstance(one, int | float) and not isinstance(one, bool)]
    integers = [one for one in map(_as_integer, numbers) if one is not None]
    floats = [one for one in numbers if _as_integer(one) is None]
    ways: list[Condition] = [value.type == name for name in sorted(names)]
    if texts:
        ways.append(and_(value.type == "text", value.value.in_(_unfolded(texts))))
    if integers:
        ways.append(and_(_is_number(value), _by_digits(value).in_(_unfolded(integers))))
    if floats and wide:
        between = about(value.value, ">=", min(floats), wide=True)
        between &= about(value.value, "<=", max(floats), wide=True)
        ways.append(and_(value.type == "real", between))
    return or_(false(), *ways)


def _begins(value: _Value, text: str) -> Condition:
    end = end_of_prefix(text)
    before = true() if end is None else value.value < end
    return and_(value.type == "text", value.value >= text, before)


def _contains(value: _Value, path: str, item: Scalar, *, wide: bool) -> Condition:
    each = func.json_each(_body, path).table_valued("value", "type", "fullkey")
    written = func.json_extract(_body, each.c.fullkey, each.c.fullkey)
    element = _Value(each.c.type, each.c.value, written)
    found = select(true()).select_from(each).where(_compares(element, "==", item, wide=wide))
    in_array = and_(value.type == "array", exists(found))
    if not isinstance(item, str):
        return in_array
    return or_(and_(value.type == "text", func.instr(value.value, item) > 0), in_array)


def _is_number(value: _Value) -> Condition:
    return or_(value.type == "integer", value.type == "real")


def _by_digits(value: _Value) -> ColumnElement[Any]:
    """The number, for a comparison with integers, to which any fraction is as good as a half."""
    whole_part = cast(func.substr(value.written, 2), Integer)  # reads as far as there are digits
    half = case((func.substr(value.written, 2, 1) == "-", -0.5), else_=0.5)
    return case(
        (value.type == "integer", value.value),
        # Read exactly, as only zeros need be added to its digits, up to the largest integer.
        (func.abs(value.value) >= _WHOLE, value.value),
        (func.instr(value.written, "e") > 0, half),
        (func.substr(func.rtrim(value.written, "0]"), -1) != ".", whole_part + half),
        else_=whole_part,
    )


def _as_integer(number: float) -> int | None:
    """The integer of 64 bits that the number equals, if there is one."""
    if number % 1 or not -_PAST_INTEGERS <= number < _PAST_INTEGERS:
        return None
    return int(number)


def _unfolded(values: Sequence[Any]) -> Any:
    """The values as a table of one column, of one parameter."""
    return select(func.json_each(_encode(values).decode()).table_valued("value").c.value)
