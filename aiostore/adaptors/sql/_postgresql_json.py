"""How PostgreSQL (16 and later) judges a document by a filter: its JSON functions over the body.

Bodies are as `aiostore.codecs` writes them: no name twice in an object, floats by the shortest
digits that read back the same, and with a point or an exponent.

All judgements are exact. The body is read as `json` and not as `jsonb`, for that keeps a number's
digits: only they tell a float from an integer, and `1.152921504606847e18` is the former, and equal
to 1152921504606846976. PostgreSQL reads a float as the closest double, as Python does. What a field
is compared with is therefore taken to the closest double below or above it for fields that are
floats, and to the closest integer for those that are integers. Texts are compared by their UTF-8,
which is by code point.

PostgreSQL evaluates the parts of an AND in any order, but a CASE as it is written: there stands
what is an error where another condition does not hold.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from math import ceil, floor, inf, nextafter
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Double,
    Numeric,
    Text,
    case,
    cast,
    collate,
    exists,
    false,
    func,
    literal,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.types import TypeEngine

from aiostore.adaptors.sql._comparisons import OPERATIONS
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
from aiostore.orders import LONGEST_TEXT

_RANKS = {
    "null": NULL,
    "boolean": BOOLEAN,
    "number": NUMBER,
    "string": TEXT,
    "array": OTHER,
    "object": OTHER,
}
_NAMES = {True: "true", False: "false"}

# What is no error to read as a decimal, and far more than the digits of any double or integer.
_NUMBER = "^-?[0-9]{1,40}([.][0-9]{1,40})?([eE][-+]?[0-9]{1,3})?$"
_LARGEST = sys.float_info.max
_MOST_DECIMALS = 320  # more are an error to read as a double, and far within its margin

_Value: TypeAlias = ColumnElement[Any]
_Ways: TypeAlias = Mapping[str, ColumnElement[Any]]
_Test: TypeAlias = Callable[[_Value], Condition]
_Number: TypeAlias = float | Decimal


class _Wanted(NamedTuple):
    """A number between its neighbours among the doubles or among the integers.

    Attributes:
        below: the largest that is not above it.
        above: the smallest that is not below it, and so the same if it is one of them.
        type: theirs in SQL.
    """

    below: _Number
    above: _Number
    type: TypeEngine[Any]


def is_readable() -> Condition:
    """Whether PostgreSQL reads the body as an object; if not, to judge or to place it is an error.

    Only where it looks for names that are there twice it looks into escapes, which may be wrong.
    What is nested some 5,000 levels deep, as no store writes it, is an error here too.
    """
    kind: _Value = literal_column("JSON OBJECT WITH UNIQUE KEYS")
    return _body.op("IS", is_comparison=True)(kind)


def judge(leaf: Leaf, /, *, wide: bool) -> Condition:
    """A leaf as a condition: exact, but for numbers that the portability contract excludes."""
    found = _at(leaf.path, lambda name: literal(name, Text()))
    # Behind an OFFSET the body is read once, and not wherever the value stands in the condition.
    row = select(found.label("value")).offset(literal_column("0"))
    value = row.subquery("field").c.value
    return exists(select(true()).where(_holds(value, leaf, wide=wide)))


def place(path: Path) -> Place:
    """The coarse place of a field."""
    value = _at(path, inline)
    digits = func.coalesce(func.regexp_substr(_as_text(value), inline(_NUMBER)), inline("0"))
    exact = func.trim_scale(func.round(cast(digits, Numeric), inline(_MOST_DECIMALS)))
    within = func.greatest(inline(-_LARGEST), func.least(inline(_LARGEST), exact))
    number = cast(within, Double)
    truth = case((inline("true"), inline(1.0)), value=_as_text(value), else_=inline(0.0))
    start = func.left(_as_text(value), inline(LONGEST_TEXT))
    nothing = collate(inline(""), "C")
    ranks = _by_type(value, {name: inline(rank) for name, rank in _RANKS.items()}, inline(MISSING))
    numbers = _by_type(value, {"boolean": truth, "number": number}, inline(0.0))
    texts = _by_type(value, {"string": start}, nothing)
    return Place(
        case(
            (_body.is_(None), inline(MISSING)),
            (is_readable(), ranks),
            else_=inline(UNREADABLE),
        ),
        case((is_readable(), numbers), else_=inline(0.0)),
        case((is_readable(), texts), else_=nothing),
    )


def _at(path: Path, named: Callable[[str], _Value]) -> _Value:
    """What stands at a path, NULL where nothing does."""
    value: _Value = cast(_body, JSON)
    for name in path:
        value = value.op("->", return_type=JSON())(named(name))
    return value


def _by_type(value: _Value, ways: _Ways, otherwise: _Value) -> _Value:
    """What there is for a value of each type."""
    whens = [(inline(type_), way) for type_, way in ways.items()]
    return case(*whens, value=func.json_typeof(value), else_=otherwise)


def _holds(value: _Value, leaf: Leaf, *, wide: bool) -> Condition:
    match leaf:
        case Compare(operator=operator, value=wanted):
            return _compares(value, operator, wanted, wide=wide)
        case In(values=values):
            return _is_one_of(value, values, wide=wide)
        case Prefix(text=text):
            starts = func.starts_with(_as_text(value), text)
            return _by_type(value, {"string": starts}, false())
        case Contains(item=item):
            return _contains(value, item, wide=wide)
        case _:
            return value.is_not(None)


def _compares(value: _Value, operator: Operator, wanted: Scalar, *, wide: bool) -> Condition:
    compare = OPERATIONS[operator]
    way: dict[str, Condition]
    match wanted:
        case None:
            way = {"null": true()}
        case bool():
            way = {"boolean": compare(_as_text(value), _NAMES[wanted])}
        case str():
            way = {"string": compare(_as_text(value), wanted)}
        case _:
            double, integer = _among_doubles(wanted), _among_integers(wanted)

            way = {
                "number": _as_number(
                    value,
                    lambda stored: _is_beside(stored, operator, double),
                    lambda stored: _is_beside(stored, operator, integer),
                    wide=wide,
                )
            }
    return _by_type(value, way, false())


def _is_one_of(value: _Value, wanted: Sequence[Scalar], *, wide: bool) -> Condition:
    names = {_NAMES[one] for one in wanted if isinstance(one, bool)}
    texts = [one for one in wanted if isinstance(one, str)]
    numbers = [one for one in wanted if isinstance(one, int | float) and not isinstance(one, bool)]
    ways: dict[str, Condition] = {}
    if None in wanted:
        ways["null"] = true()
    if names:
        ways["boolean"] = _is_among(_as_text(value), sorted(names), Text())
    if texts:
        ways["string"] = _is_among(_as_text(value), texts, Text())
    if numbers:
        ways["number"] = _as_number(
            value,
            lambda stored: _is_among(stored, _equal(map(_among_doubles, numbers)), Double()),
            lambda stored: _is_among(stored, _equal(map(_among_integers, numbers)), Numeric()),
            wide=wide,
        )
    return _by_type(value, ways, false()) if ways else false()


def _contains(value: _Value, item: Scalar, *, wide: bool) -> Condition:
    each = func.json_array_elements(value).table_valued("value")
    found = select(true()).where(_compares(each.c.value, "==", item, wide=wide))
    ways: dict[str, Condition] = {"array": exists(found.correlate_except(each))}
    if isinstance(item, str):
        ways["string"] = func.strpos(_as_text(value), item) > 0
    return _by_type(value, ways, false())


def _as_text(value: _Value) -> _Value:
    """A text itself; of a number its digits, of a boolean its name."""
    return collate(value.op("#>>", return_type=Text())(inline("{}")), "C")


def _as_number(value: _Value, double: _Test, integer: _Test, *, wide: bool) -> Condition:
    """What holds for a float, and what for an integer."""
    digits = _as_text(value)
    return case(
        (func.pg_input_is_valid(digits, inline("bigint")), integer(cast(digits, Numeric))),
        (func.pg_input_is_valid(digits, inline("float8")), double(cast(digits, Double))),
        else_=true() if wide else false(),
    )


def _is_beside(stored: _Value, operator: Operator, wanted: _Wanted) -> Condition:
    """A comparison with a number, as one with the neighbour that is of the stored one's kind."""
    below, above, type_ = wanted
    if operator in ("==", "!=") and below != above:
        return true() if operator == "!=" else false()
    neighbour = above if operator in ("<", ">=") else below
    return OPERATIONS[operator](stored, literal(neighbour, type_))


def _is_among(stored: _Value, values: Sequence[Any], type_: TypeEngine[Any]) -> Condition:
    """One of the values, which are one parameter."""
    # As it does not see how many they are, PostgreSQL looks them up by a hash, be it a large one.
    unseen = select(literal(values, ARRAY(type_))).scalar_subquery()
    return stored.in_(select(func.unnest(unseen)))


def _equal(wanted: Iterable[_Wanted]) -> list[_Number]:
    return [one.below for one in wanted if one.below == one.above]


def _among_doubles(number: float) -> _Wanted:
    close = float(number)
    below = close if close <= number else nextafter(close, -inf)
    above = close if close >= number else nextafter(close, inf)
    return _Wanted(below, above, Double())


def _among_integers(number: float) -> _Wanted:
    return _Wanted(Decimal(floor(number)), Decimal(ceil(number)), Numeric())
