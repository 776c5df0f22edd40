"""Filters as conditions of a statement: what all databases share.

A database judges some filters exactly and others not: those that it does not know, or where it
reads a number otherwise. So a filter is put into SQL in one of two ways: *wide*, a condition that
holds wherever the filter matches, or *narrow*, one that holds only where it does. A scan needs the
wide one; `~` turns the one into the other.

Every condition is true or false and never NULL, for `NOT NULL` would leave a document out.
"""

from typing import Protocol

from sqlalchemy import ColumnElement, and_, false, not_, or_, true

from aiostore.filters import And, Compare, Contains, Exists, Filter, In, Not, Or, Prefix, Text

Condition = ColumnElement[bool]
Leaf = Compare | In | Prefix | Contains | Exists

KINDS = frozenset({"equal", "compare", "in", "prefix", "contains", "exists", "and", "or", "not"})

# SQLite takes an expression of depth 1000 (https://www.sqlite.org/limits.html), and counts a chain
# of 1000 conditions as that; SQLAlchemy needs a millisecond or two to prepare a part.
_MOST_PARTS = 50


class Judge(Protocol):
    """How a database judges a document by a filter that is not made of others."""

    def __call__(self, leaf: Leaf, /, *, wide: bool) -> Condition: ...


def condition(where: Filter, judge: Judge) -> Condition:
    """A condition that holds for every document that matches, and for few others.

    It takes fifty parts of the filter into account; what is beyond narrows nothing down.
    """
    return _Translation(judge).of(where, wide=True)


class _Translation:
    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._parts_left = _MOST_PARTS

    def of(self, where: Filter, *, wide: bool) -> Condition:
        self._parts_left -= 1
        if self._parts_left < 0:
            return _unknown(wide=wide)
        match where:
            case And(parts=parts):
                return and_(true(), *(self.of(one, wide=wide) for one in parts))
            case Or(parts=parts):
                return or_(false(), *(self.of(one, wide=wide) for one in parts))
            case Not(part=part):
                return not_(self.of(part, wide=not wide))
            case Text():  # databases fold the case of letters in other ways
                return _unknown(wide=wide)
            case _:
                return self._judge(where, wide=wide)


def _unknown(*, wide: bool) -> Condition:
    return true() if wide else false()
