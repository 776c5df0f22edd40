"""The statements of a scan in the coarse order of a field (`aiostore.orders`)."""

from collections.abc import Sequence
from operator import gt, lt
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Double,
    Integer,
    String,
    and_,
    bindparam,
    not_,
    or_,
    select,
    true,
)

from aiostore.adaptors.sql._places import Place
from aiostore.adaptors.sql._prepared import Prepared
from aiostore.adaptors.sql._statements import Statements, columns_of, record_of, text_of
from aiostore.orders import Coarse
from aiostore.protocols import Record

Values = dict[str, Any]


class Position(NamedTuple):
    """A place in an order, and a key there.

    Attributes:
        place: the place.
        key: None for before all keys of that place, in either direction.
    """

    place: Coarse
    key: str | None


class Placed(NamedTuple):
    """A record, and where the database places it."""

    position: Position
    record: Record


class Sorting:
    """Statements that sort by a place, then by key.

    Args:
        statements: the store's.
        place: the field's columns.
        descending: the other way round, the keys too.
    """

    def __init__(self, statements: Statements, place: Place, *, descending: bool) -> None:
        self._statements = statements
        self._place = place
        self._descending = descending
        self._beyond: Any = lt if descending else gt

    def first_of(self, *conditions: ColumnElement[bool]) -> Prepared:
        """The first rows of those for which the conditions hold, at most `size`."""
        documents = self._statements.documents
        rows = select(*columns_of(documents), *labels(self._place)).where(*conditions)
        order = (*self._place, documents.c.key)
        rows = rows.order_by(*(one.desc() if self._descending else one for one in order))
        return self._statements.prepared(rows.limit(bindparam("size", type_=Integer)))

    def is_behind(self, position: Position, name: str) -> ColumnElement[bool]:
        """Whether a row comes after a position, whose values are `at(position, name)`."""
        rank, number, text = self._place
        beyond = self._beyond
        at_rank = bindparam(f"{name}_rank", type_=Integer)
        at_number = bindparam(f"{name}_number", type_=Double)
        at_text = bindparam(f"{name}_text", type_=String)
        by_text = or_(beyond(text, at_text), and_(text == at_text, self._is_next(position, name)))
        by_number = or_(beyond(number, at_number), and_(number == at_number, by_text))
        return or_(beyond(rank, at_rank), and_(rank == at_rank, by_number))

    def is_up_to(self, position: Position, name: str) -> ColumnElement[bool]:
        """Whether a row comes at or before a position, likewise."""
        return not_(self.is_behind(position, name))

    def _is_next(self, position: Position, name: str) -> ColumnElement[bool]:
        if position.key is None:
            return true()
        key = self._statements.documents.c.key
        is_next: ColumnElement[bool] = self._beyond(key, bindparam(f"{name}_key", type_=String))
        return is_next


def labels(place: Place) -> list[ColumnElement[Any]]:
    """The columns that `placed` expects behind those of the record."""
    return [column.label(f"place_{name}") for name, column in place._asdict().items()]


def at(position: Position | None, name: str) -> Values:
    """The parameters for a position."""
    if position is None:
        return {}
    (rank, number, text), key = position
    return {
        f"{name}_rank": rank,
        f"{name}_number": number,
        f"{name}_text": text,
        f"{name}_key": key,
    }


def placed(row: Sequence[Any]) -> Placed:
    """A record and where it is, of a row of `Sorting.first_of`."""
    *columns, rank, number, text = row
    record = record_of(columns)
    return Placed(Position(Coarse(rank, number, text_of(text)), record.id.key), record)
