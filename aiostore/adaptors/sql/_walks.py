"""The statements of a walk through a collection, which goes by pages of keys.

A page of records that match may lie far behind the last one. So a walk that is narrowed down goes
by stretches of some 2,000 records, and no statement goes beyond its stretch: one whose caller has
gone is over soon.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    case,
    column,
    false,
    literal_column,
    not_,
    select,
    true,
)

from aiostore.adaptors.sql import _filters
from aiostore.adaptors.sql._dialects import Judging
from aiostore.adaptors.sql._prepared import Prepared
from aiostore.adaptors.sql._statements import Statements, columns_of
from aiostore.adaptors.sql._tables import body
from aiostore.filters import Filter
from aiostore.keys import end_of_prefix
from aiostore.protocols import Purge

_STRETCH = 2000
_ONE: ColumnElement[int] = literal_column("1", Integer)  # Oracle would have it rendered too early


class Walk:
    """One walk.

    Args:
        statements: the store's.
        judging: how the database judges documents; None if it does not, or need not.
        collection: through which collection.
        prefix: only keys that begin with it.
        where: only documents that may match, as the database judges them.
        stretch: how many records a stretch has at least.

    Attributes:
        is_narrowed: whether there are records that it passes over, so that it goes by stretches.
        where: the condition of the records that it does not pass over.
    """

    def __init__(
        self,
        statements: Statements,
        judging: Judging | None,
        collection: str,
        *,
        prefix: str = "",
        where: Filter | None = None,
        stretch: int = _STRETCH,
    ) -> None:
        self._statements = statements
        self._row = statements.documents.c
        self._prefix = prefix
        self._past = end_of_prefix(prefix)
        self.is_narrowed = where is not None and judging is not None
        self.where: ColumnElement[bool] = true()
        if where is not None and judging is not None:
            self.where = may_match(where, judging)
        self._fixed = {"collection": collection, "last": stretch - 1}
        # Walks that are not narrowed down have the same statements.
        self._prepared = {} if self.is_narrowed else statements.walks

    def values(self, after: str | None, end: str | None, size: int) -> dict[str, Any]:
        """The parameters of the statements for the same place."""
        return {
            **self._fixed,
            "low": self._prefix if self._is_at_start(after) else after,
            "high": self._past if end is None else end,
            "size": size,
        }

    def end_of_stretch(self, after: str | None) -> Prepared:
        """The key of the last record of the stretch behind a key; none if it is the last one."""
        key = self._row.key
        last = bindparam("last", type_=Integer)
        return self._once(
            "stretch",
            after,
            None,
            lambda bounds: select(key).where(*bounds).order_by(key).offset(last).limit(_ONE),
        )

    def page(self, after: str | None, end: str | None) -> Prepared:
        """The rows behind one key and up to another, where there is one: at most `size`."""
        columns = columns_of(self._statements.documents)
        size = bindparam("size", type_=Integer)
        return self._once(
            "page",
            after,
            end,
            lambda bounds: (
                select(*columns).where(*bounds, self.where).order_by(self._row.key).limit(size)
            ),
        )

    def purge(self, after: str | None, end: str | None, request: Purge) -> Prepared:
        """The removal of the rows between two keys that `request` dooms."""
        return self._statements.prepared(self._statements.purge(request, self.bounds(after, end)))

    def _once(
        self,
        name: str,
        after: str | None,
        end: str | None,
        build: Callable[[list[ColumnElement[bool]]], Select[Any]],
    ) -> Prepared:
        shape = (name, self._is_at_start(after), end is None, self._past is None)
        if shape not in self._prepared:
            self._prepared[shape] = self._statements.prepared(build(self.bounds(after, end)))
        return self._prepared[shape]

    def bounds(self, after: str | None, end: str | None) -> list[ColumnElement[bool]]:
        """What is between two keys: behind the one, and up to the other."""
        of_collection = self._row.collection == bindparam("collection", type_=String)
        return [of_collection, *self.key_bounds(after, end)]

    def key_bounds(self, after: str | None, end: str | None) -> list[ColumnElement[bool]]:
        """The same, but in whatever collection."""
        # One bound on either side: SQLite would walk from the first of two that it meets.
        key: ColumnElement[str] = column("key", self._row.key.type)
        low = bindparam("low", type_=String)
        high = bindparam("high", type_=String)
        bounds = [key >= low if self._is_at_start(after) else key > low]
        if end is not None:
            bounds.append(key <= high)
        elif self._past is not None:
            bounds.append(key < high)
        return bounds

    def _is_at_start(self, after: str | None) -> bool:
        return after is None or after < self._prefix


def may_match(where: Filter, judging: Judging) -> ColumnElement[bool]:
    """A document of which the database does not know that it does not match."""
    condition = _filters.condition(where, judging.judge)
    # What the database cannot read must come, so that the error names the document. As one of the
    # branches, and not as their result, the condition ends at the first of its parts that decides.
    comes = case((not_(judging.is_readable()), true()), (condition, true()), else_=false())
    return and_(body.is_not(None), comes)
