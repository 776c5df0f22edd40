"""The statements: built once with SQLAlchemy, each for a batch of any length.

A batch travels as one parameter, a JSON array of rows that the database unfolds into a table.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    Subquery,
    and_,
    bindparam,
    case,
    delete,
    false,
    func,
    not_,
    or_,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.sql.dml import ReturningDelete, ReturningInsert, ReturningUpdate

from aiostore.adaptors.sql import _filters
from aiostore.adaptors.sql._dialects import Dialect
from aiostore.adaptors.sql._tables import documents
from aiostore.filters import Filter
from aiostore.keys import end_of_prefix
from aiostore.protocols import Absent, Condition, DocumentId, Exactly, Mark, Record, Scan, Write

_row = documents.c
_KEY = (_row.collection, _row.key)
_STORED = tuple(documents.columns.keys())
_WRITTEN = (*_STORED, "expected", "unexpired_at", "keep_created_at")

_STRETCH = 2000

_encode = msgspec.json.Encoder().encode


def parameters(writes: Sequence[Write]) -> dict[str, Any]:
    """The parameters of a statement for `writes`, which share a condition's kind and a mark."""
    rows = []
    for write in writes:
        record, condition = write.record, write.condition
        exactly = condition if isinstance(condition, Exactly) else None
        rows.append(
            (
                *record.id,
                record.body,
                record.version,
                record.mark,
                record.created_at,
                record.updated_at,
                record.expires_at,
                None if exactly is None else exactly.version,
                None if exactly is None else exactly.unexpired_at,
                write.keep_created_at,
            )
        )
    return {"rows": _encode(rows).decode(), "mark": writes[0].mark}


def identities(ids: Sequence[DocumentId]) -> dict[str, Any]:
    """The parameters of `read`."""
    return {"rows": _encode(ids).decode()}


def read() -> Select[Any]:
    """The rows at a batch of ids."""
    batch = _unfolded(("collection", "key"))
    return select(*documents.columns).where(
        tuple_(*_KEY).in_(select(batch.c.collection, batch.c.key))
    )


def store(dialect: Dialect, kind: type[Condition]) -> ReturningInsert[Any] | ReturningUpdate[Any]:
    """Store a batch under one kind of condition; returns the keys and creation of those applied."""
    if kind is Exactly:
        return _replace()
    batch = _unfolded(_WRITTEN)
    rows = select(*(batch.c[name] for name in _STORED)).where(true())
    insert = dialect.insert(documents).from_select(list(_STORED), rows)
    if kind is Absent:
        insert = insert.on_conflict_do_nothing(index_elements=_KEY)
    else:
        insert = insert.on_conflict_do_update(
            index_elements=_KEY,
            set_={name: insert.excluded[name] for name in _STORED[2:]},
            where=and_(_row.version < insert.excluded.version, _has_mark()),
        )
    return insert.returning(*_KEY, _row.created_at)


def erase(kind: type[Condition]) -> ReturningDelete[Any]:
    """Remove a batch under `Exactly` or `Newer`; returns the keys of those that are gone."""
    batch = _unfolded(_WRITTEN)
    standing = documents.alias("standing")
    holds = (
        _is_exactly(standing.c, batch) if kind is Exactly else standing.c.version < batch.c.version
    )
    gone = (
        select(standing.c.collection, standing.c.key)
        .join_from(batch, standing, _same_key(standing.c, batch))
        .where(holds)
    )
    return (
        delete(documents)
        .where(tuple_(*_KEY).in_(gone), _has_mark())
        .returning(*_KEY, _row.created_at)
    )


class Walk:
    """The statements of one scan, which goes by pages.

    A page of records that match may lie far behind the last one. So a scan that is narrowed down
    goes by stretches of some 2,000 records, and no statement goes beyond its stretch: one whose
    caller has gone is over soon.
    """

    def __init__(self, request: Scan, dialect: Dialect) -> None:
        self._request = request
        self._condition = true() if request.where is None else _may_match(request.where, dialect)

    def end_of_stretch(self, after: str | None) -> Select[Any]:
        """The key of the last record of the stretch behind a key; none if it is the last one."""
        last = max(_STRETCH, self._request.chunk) - 1
        return (
            (select(_row.key).where(*self._bounds(after, None)).order_by(_row.key))
            .offset(last)
            .limit(1)
        )

    def page(self, after: str | None, end: str | None) -> Select[Any]:
        """The rows behind one key and up to another, where there is one: at most `chunk`."""
        bounds = self._bounds(after, end)
        rows = select(*documents.columns).where(*bounds, self._condition)
        return rows.order_by(_row.key).limit(self._request.chunk)

    def _bounds(self, after: str | None, end: str | None) -> list[ColumnElement[bool]]:
        """One bound on either side: SQLite would walk from the first of two that it meets."""
        prefix = self._request.prefix
        bounds = [
            _row.collection == self._request.collection,
            _row.key >= prefix if after is None or after < prefix else _row.key > after,
        ]
        past = end_of_prefix(prefix)
        if end is not None:
            bounds.append(_row.key <= end)
        elif past is not None:
            bounds.append(_row.key < past)
        return bounds


def record_of(row: Any) -> Record:
    """The record of a row of `documents`."""
    collection, key, body, version, mark, created_at, updated_at, expires_at = row
    id_ = DocumentId(collection, key)
    return Record(id_, body, version, created_at, updated_at, expires_at, Mark(mark))


def _may_match(where: Filter, dialect: Dialect) -> ColumnElement[bool]:
    """A document of which the database does not know that it does not match."""
    condition = _filters.condition(where, dialect.judge)
    # What the database cannot read must come, so that the error names the document. As one of the
    # branches, and not as their result, the condition ends at the first of its parts that decides.
    comes = case((not_(dialect.is_readable()), true()), (condition, true()), else_=false())
    return and_(_row.body.is_not(None), comes)


def _replace() -> ReturningUpdate[Any]:
    batch = _unfolded(_WRITTEN)
    values: dict[str, ColumnElement[Any]] = {name: batch.c[name] for name in _STORED[2:]}
    values["created_at"] = case(
        (batch.c.keep_created_at == true(), _row.created_at), else_=batch.c.created_at
    )
    return (
        update(documents)
        .values(values)
        .where(_same_key(_row, batch), _is_exactly(_row, batch), _has_mark())
        .returning(*_KEY, _row.created_at)
    )


def _unfolded(names: Sequence[str]) -> Subquery:
    """The batch as a table with these columns, in their order in each JSON row."""
    each = func.json_each(bindparam("rows")).table_valued("value")
    return select(
        *(
            func.json_extract(each.c.value, f"$[{position}]").label(name)
            for position, name in enumerate(names)
        )
    ).subquery("batch")


def _same_key(row: Any, batch: Subquery) -> ColumnElement[bool]:
    return and_(row.collection == batch.c.collection, row.key == batch.c.key)


def _is_exactly(row: Any, batch: Subquery) -> ColumnElement[bool]:
    return and_(
        row.version == batch.c.expected,
        or_(
            batch.c.unexpired_at.is_(None),
            row.expires_at.is_(None),
            row.expires_at > batch.c.unexpired_at,
        ),
    )


def _has_mark() -> ColumnElement[bool]:
    mark: BindParameter[Any] = bindparam("mark")
    return or_(mark.is_(None), _row.mark == mark)
