"""Questions, and what documents answer them: a second opinion, to hold queries against.

Shares no code with `aiostore.filters` but the names that users write: a question is a plain tuple,
from which `filter_of` makes the filter and `holds` the answer.

| question | asks |
|---|---|
| `("==", path, value)`, likewise `!= < <= > >=` | for a comparison |
| `("in", path, values)` | for one of several values |
| `("prefix", path, text)` | for a text's beginning |
| `("contains", path, item)` | for a part of a text, or an element of an array |
| `("exists", path)` | whether something is there |
| `("text", text)` | for a text anywhere |
| `("and", q, q)`, `("or", q, q)`, `("not", q)` | for questions together |
"""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from aiostore.filters import F, Field, Filter

Question = tuple[Any, ...]
Path = tuple[str, ...]

_SORTED_TYPES = ["missing", "null", "boolean", "number", "text", "nested"]


def filter_of(question: Question) -> Filter:
    """The question as a user asks it."""
    made: Filter
    match question:
        case ("and", first, second):
            made = filter_of(first) & filter_of(second)
        case ("or", first, second):
            made = filter_of(first) | filter_of(second)
        case ("not", negated):
            made = ~filter_of(negated)
        case ("text", text):
            made = F.text(text)
        case ("exists", path):
            made = _field(path).exists()
        case (operator, path, value):
            made = _asks(operator, _field(path), value)
        case _:
            raise ValueError(f"{question!r} is no question")
    return made


def holds(question: Question, document: dict[str, Any]) -> bool:
    """Whether the document is part of the answer."""
    match question:
        case ("and", first, second):
            return holds(first, document) and holds(second, document)
        case ("or", first, second):
            return holds(first, document) or holds(second, document)
        case ("not", negated):
            return not holds(negated, document)
        case ("text", text):
            return any(text.casefold() in held.casefold() for held in _texts_in(document))
        case (operator, path, *rest):
            # Nothing, or the one value that stands there.
            return any(_answers(operator, value, *rest) for value in _values_at(document, path))
    raise ValueError(f"{question!r} is no question")


def ordered(documents: dict[str, dict[str, Any]], order: Sequence[tuple[Path, bool]]) -> list[str]:
    """The keys of the documents, by several fields (and whether each descends), then by key."""
    keys = sorted(documents, key=lambda key: key.encode())
    for path, descends in reversed(order):
        # A sort by the last field first: each keeps the order of the one before among equals.
        keys.sort(key=lambda key: _place(documents[key], path), reverse=descends)
    return keys


def _asks(operator: str, field: Field, value: Any) -> Filter:
    asks: dict[str, Callable[[Any], Filter]] = {
        "==": field.__eq__,
        "!=": field.__ne__,
        "<": field.__lt__,
        "<=": field.__le__,
        ">": field.__gt__,
        ">=": field.__ge__,
        "in": field.in_,
        "prefix": field.prefix,
        "contains": field.contains,
    }
    return asks[operator](value)


def _answers(operator: str, value: Any, wanted: Any = None) -> bool:  # noqa: PLR0911  # a table
    match operator:
        case "exists":
            return True
        case "in":
            return any(_equal(value, one) for one in wanted)
        case "prefix":
            return isinstance(value, str) and value[: len(wanted)] == wanted
        case "contains":
            if isinstance(value, list):
                return any(_equal(element, wanted) for element in value)
            return isinstance(value, str) and isinstance(wanted, str) and wanted in value
        case "==":
            return _equal(value, wanted)
        case "!=":
            comparable = _type(value) == _type(wanted) and _type(value) != "nested"
            return comparable and not _equal(value, wanted)
    if _type(value) != _type(wanted) or _type(value) not in ("number", "text"):
        return False
    less, equal = value < wanted, value == wanted
    answers = {"<": less, "<=": less or equal, ">": not (less or equal), ">=": not less}
    return bool(answers[operator])


def _equal(value: Any, wanted: Any) -> bool:
    return _type(value) == _type(wanted) != "nested" and bool(value == wanted)


def _type(value: Any) -> str:
    if value is None:
        return "null"
    if value is True or value is False:
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "nested"


def _values_at(document: dict[str, Any], path: Path) -> list[Any]:
    def step(found: list[Any], name: str) -> list[Any]:
        return [one[name] for one in found if isinstance(one, dict) and name in one]

    return reduce(step, path, [document])


def _texts_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value
    nested = inner if isinstance(value, dict | list) else ()
    return [text for one in nested for text in _texts_in(one)]


def _place(document: dict[str, Any], path: Path) -> tuple[int, Any]:
    for value in _values_at(document, path):
        type_ = _type(value)
        comparable = type_ in ("boolean", "number", "text")
        return _SORTED_TYPES.index(type_), value if comparable else 0
    return 0, 0


def _field(path: Path) -> Field:
    first, *rest = path
    return reduce(lambda field, name: field[name], rest, F[first])
