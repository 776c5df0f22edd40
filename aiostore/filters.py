"""Filters: what a query asks of a document, and what that means.

`F` makes them: `F.age >= 18`, `F.address.city == "Rome"`, `F["odd name"].exists()`,
`(F.age < 18) | F.text("smith")`. `matches` is the reference: whatever an engine does to narrow a
scan down, the answer is the one that `matches` gives.

The meaning, the same on every store:

* A path of names leads into objects. Where a step is missing, or leads into something that is no
  object, nothing is there.
* A comparison holds between two values of one type alone: numbers (an integer and a float compare
  by value), texts (by code point), booleans (equality alone), null (`==` alone). What is missing or
  of another type never matches, not even `!=`; `~(F.age == 18)` matches those too.
* Arrays and objects are not compared; `contains` asks for an element of an array.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from keyword import iskeyword
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Literal, NoReturn, TypeAlias, TypeGuard

import msgspec

from aiostore.errors import InvalidValueError
from aiostore.limits import check_scalar

Scalar: TypeAlias = str | int | float | bool | None
Path: TypeAlias = tuple[str, ...]
Operator = Literal["==", "!=", "<", "<=", ">", ">="]

MISSING: Any = object()
"""Stands for the value of a field that is not there."""

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class _Node(msgspec.Struct, frozen=True):
    """What all filters share: `&`, `|` and `~` combine them."""

    def __and__(self, other: "Filter") -> "And":
        return And((*_parts_of(And, self), *_parts_of(And, other)))

    def __or__(self, other: "Filter") -> "Or":
        return Or((*_parts_of(Or, self), *_parts_of(Or, other)))

    def __invert__(self) -> "Not":
        return Not(self)  # type: ignore[arg-type]  # every node is one of the union

    def __bool__(self) -> NoReturn:
        raise InvalidValueError(
            "a filter has no truth of its own: combine filters by & | ~ in parentheses, not by "
            "and, or, not, nor by a chain of comparisons"
        )


class Compare(_Node, frozen=True, tag="compare"):
    """The field is of the value's type, and compares so to it."""

    path: Path
    operator: Operator
    value: Scalar

    def __post_init__(self) -> None:
        _check_path(self.path)
        check_scalar(self.value)
        if self.value is None and self.operator == "!=":
            raise InvalidValueError(
                "no null differs from null, so != None matches nothing: write ~(field == None), "
                "or field.exists() & ~(field == None)"
            )
        has_order = self.value is not None and not isinstance(self.value, bool)
        if not has_order and self.operator not in ("==", "!="):
            raise InvalidValueError(f"{self.value} has no order: compare by == alone")


class In(_Node, frozen=True, tag="in"):
    """The field equals one of the values."""

    path: Path
    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        _check_path(self.path)
        for value in self.values:
            check_scalar(value)


class Prefix(_Node, frozen=True, tag="prefix"):
    """The field is a text that begins so."""

    path: Path
    text: str

    def __post_init__(self) -> None:
        _check_path(self.path)
        _check_text(self.text)


class Contains(_Node, frozen=True, tag="contains"):
    """The field is a text that holds this one, or an array with an element that equals it."""

    path: Path
    item: Scalar

    def __post_init__(self) -> None:
        _check_path(self.path)
        check_scalar(self.item)


class Exists(_Node, frozen=True, tag="exists"):
    """The field is there, be it null."""

    path: Path

    def __post_init__(self) -> None:
        _check_path(self.path)


class Text(_Node, frozen=True, tag="text"):
    """Some text in the document, at any depth, holds this one, whatever the case of its letters."""

    text: str

    def __post_init__(self) -> None:
        _check_text(self.text)


class And(_Node, frozen=True, tag="and"):
    """All of them match."""

    parts: "tuple[Filter, ...]"


class Or(_Node, frozen=True, tag="or"):
    """One of them matches, or more."""

    parts: "tuple[Filter, ...]"


class Not(_Node, frozen=True, tag="not"):
    """It does not match."""

    part: "Filter"


Filter: TypeAlias = Compare | In | Prefix | Contains | Exists | Text | And | Or | Not


class Order(msgspec.Struct, frozen=True):
    """One field to sort by.

    Documents sort by the field's type first: missing, null, booleans, numbers, texts, then arrays
    and objects, which are all alike; within a type by value, texts by code point.
    """

    path: Path
    descending: bool = False


class Field:
    """A field of a document, by its path; its operators and methods make filters.

    A name that is one of its methods, or no name of Python's, is written in brackets.
    """

    __slots__ = ("_path",)
    __hash__ = None  # type: ignore[assignment]  # `==` makes a filter, so it can be no key

    def __init__(self, path: Path) -> None:
        self._path = path

    def __getattr__(self, name: str) -> "Field":
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> "Field":
        path = (*self._path, name)
        _check_path(path)
        return Field(path)

    def __eq__(self, value: object) -> Compare:  # type: ignore[override]  # that is the language
        return self._compare("==", value)

    def __ne__(self, value: object) -> Compare:  # type: ignore[override]  # likewise
        return self._compare("!=", value)

    def __lt__(self, value: str | float) -> Compare:
        return self._compare("<", value)

    def __le__(self, value: str | float) -> Compare:
        return self._compare("<=", value)

    def __gt__(self, value: str | float) -> Compare:
        return self._compare(">", value)

    def __ge__(self, value: str | float) -> Compare:
        return self._compare(">=", value)

    def in_(self, values: Iterable[Scalar]) -> In:
        """It equals one of these."""
        if isinstance(values, str):
            raise InvalidValueError("in_ takes several values, as a list: for one write ==")
        return In(self._path, tuple(values))

    def prefix(self, text: str) -> Prefix:
        """It is a text that begins with this one."""
        return Prefix(self._path, text)

    def contains(self, item: Scalar) -> Contains:
        """It is a text that holds this one, or an array with an element that equals it."""
        return Contains(self._path, item)

    def exists(self) -> Exists:
        """It is there, be it null."""
        return Exists(self._path)

    def asc(self) -> Order:
        """Sort by it, smallest first."""
        return Order(self._path)

    def desc(self) -> Order:
        """Sort by it, largest first."""
        return Order(self._path, descending=True)

    def __repr__(self) -> str:
        return f"F{''.join(f'[{name!r}]' for name in self._path)}"

    def __bool__(self) -> NoReturn:
        raise InvalidValueError(f"{self!r} is a field and no filter: compare it, or ask exists()")

    def _compare(self, operator: Operator, value: object) -> Compare:
        return Compare(self._path, operator, value)  # type: ignore[arg-type]  # checked there


class _Fields:
    """The document itself; see `F`."""

    def __getattr__(self, name: str) -> Field:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Field:
        return Field(())[name]

    def text(self, text: str) -> Text:
        """Some text in the document, at any depth, holds this one, case ignored."""
        return Text(text)

    def __repr__(self) -> str:
        return "F"


F = _Fields()
"""The document: `F.age`, `F.address.city`, `F["text"]`; `F.text("smith")` searches all of it."""


def matches(where: Filter, document: Mapping[str, Any]) -> bool:
    """Whether a document, decoded from JSON, matches."""
    match where:
        case And(parts=parts):
            return all(matches(part, document) for part in parts)
        case Or(parts=parts):
            return any(matches(part, document) for part in parts)
        case Not(part=part):
            return not matches(part, document)
        case Text(text=text):
            wanted = text.casefold()
            return any(wanted in found.casefold() for found in _texts(document))
        case _:
            return _holds(where, value_at(document, where.path))


def place_of(document: Mapping[str, Any], order: Iterable[Order]) -> list[tuple[int, Any]]:
    """Where a document sorts, for each field of `order`: the rank of its type and its value."""
    return [rank_of(value_at(document, one.path)) for one in order]


def rank_of(value: Any) -> tuple[int, Any]:
    """Where a value, or `MISSING`, sorts: its rank, and itself where its type has an order."""
    rank = _type_of(value)
    return (rank, value) if rank in (2, 3, 4) else (rank, 0)


def value_at(document: Mapping[str, Any], path: Path) -> Any:
    """What stands at a path, or `MISSING`."""
    value: Any = document
    for name in path:
        if not isinstance(value, dict):
            return MISSING
        value = value.get(name, MISSING)
    return value


def path_of(field: Field) -> Path:
    """The path of a field."""
    return field._path  # noqa: SLF001  # its own attributes are a document's names


def is_filter(one: object) -> TypeGuard[Filter]:
    """Whether it is a filter, and not a field or anything else."""
    return isinstance(one, _Node)


def kinds_of(where: Filter) -> set[str]:
    """The kinds of the filters that it is made of: `equal`, `compare`, `in`, …, `and`, `not`.

    `==` is `equal`, the other operators are `compare`; all else is called as in JSON.
    """
    kind: Any = where.__struct_config__.tag
    match where:
        case And(parts=parts) | Or(parts=parts):
            return {kind}.union(*map(kinds_of, parts))
        case Not(part=part):
            return {kind, *kinds_of(part)}
        case Compare(operator="=="):
            return {"equal"}
        case _:
            return {kind}


def paths_of(where: Filter) -> set[Path]:
    """The fields that it asks after; free text asks after none."""
    match where:
        case And() | Or() | Not():
            return set().union(*map(paths_of, _parts_within(where)))
        case Text():
            return set()
        case _:
            return {where.path}


def levels_of(where: Filter) -> int:
    """How deep it is nested; a comparison alone is one level."""
    levels, level = 0, [where]
    while level:
        levels += 1
        level = [part for node in level for part in _parts_within(node)]
    return levels


def is_plain(where: Filter) -> bool:
    """Whether it names fields by letters, digits and `_` alone, at most 64, no digit first.

    Engines' own paths differ in all else.
    """
    match where:
        case And(parts=parts) | Or(parts=parts):
            return all(map(is_plain, parts))
        case Not(part=part):
            return is_plain(part)
        case Text():
            return True
        case _:
            return is_plain_path(where.path)


def is_plain_path(path: Path) -> bool:
    """Whether there is a name, and all are so."""
    return bool(path) and all(_PLAIN_NAME.fullmatch(name) for name in path)


def described(where: Filter) -> str:  # noqa: PLR0911  # one for each kind
    """A filter as a person would write it."""
    match where:
        case And(parts=parts):
            return f"({' & '.join(map(described, parts))})"
        case Or(parts=parts):
            return f"({' | '.join(map(described, parts))})"
        case Not(part=part):
            return f"~{described(part)}"
        case Text(text=text):
            return f"F.text({text!r})"
        case Compare(operator=operator, value=value):
            return f"({name_of(where.path)} {operator} {value!r})"
        case In(values=values):
            return f"{name_of(where.path)}.in_({list(values)!r})"
        case Prefix(text=text):
            return f"{name_of(where.path)}.prefix({text!r})"
        case Contains(item=item):
            return f"{name_of(where.path)}.contains({item!r})"
        case _:
            return f"{name_of(where.path)}.exists()"


def name_of(path: Path) -> str:
    """A field as a person would write it."""
    return "F" + "".join(f".{name}" if _is_attribute(name) else f"[{name!r}]" for name in path)


def _holds(where: Compare | In | Prefix | Contains | Exists, value: Any) -> bool:
    match where:
        case Compare(operator=operator, value=wanted):
            return _compares(value, operator, wanted)
        case In(values=values):
            return any(_compares(value, "==", wanted) for wanted in values)
        case Prefix(text=text):
            return isinstance(value, str) and value.startswith(text)
        case Contains(item=item):
            if isinstance(value, list):
                return any(_compares(element, "==", item) for element in value)
            return isinstance(value, str) and isinstance(item, str) and item in value
        case _:
            return value is not MISSING


def _compares(value: Any, operator: Operator, wanted: Any) -> bool:
    return _type_of(value) == _type_of(wanted) and bool(_OPERATIONS[operator](value, wanted))


_OPERATIONS: dict[Operator, Callable[[Any, Any], Any]] = {
    "==": eq,
    "!=": ne,
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
}
_TYPES: dict[type, int] = {type(None): 1, bool: 2, int: 3, float: 3, str: 4, list: 5, dict: 5}


def _type_of(value: Any) -> int:
    return _TYPES.get(type(value), 0)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _parts_within(node: Filter) -> "tuple[Filter, ...]":
    match node:
        case And(parts=parts) | Or(parts=parts):
            return parts
        case Not(part=part):
            return (part,)
        case _:
            return ()


def _parts_of(kind: "type[And | Or]", node: Any) -> "tuple[Filter, ...]":
    if not isinstance(node, _Node):
        raise InvalidValueError(f"{node!r:.80} is no filter: compare a field of F")
    return node.parts if isinstance(node, kind) else (node,)  # type: ignore[return-value]  # ditto


def _check_path(path: Path) -> None:
    for name in path:
        _check_text(name, "a field's name is a str")


def _check_text(text: object, wanted: str = "a text is asked for") -> None:
    if type(text) is not str:
        raise InvalidValueError(f"{wanted}, not {type(text).__name__}")
    check_scalar(text)


def _is_attribute(name: str) -> bool:
    """Whether it can be written behind a point, and is not taken for something else there."""
    return (
        _PLAIN_NAME.fullmatch(name) is not None
        and not name.startswith("__")
        and not iskeyword(name)
        and name not in _METHODS
    )


_METHODS = {*dir(Field), *dir(F)}
