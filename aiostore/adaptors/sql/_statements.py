"""The statements of one store, each for a batch of any length.

Two ways lead to a conditional write. Where a statement can return the rows that it touched, one
statement decides the conditions and stores (`store`). Elsewhere, and wherever several records stand
or fall together, the standing rows are locked first (`lock`), and what is then written is bound to
the versions that were found (`insert`, `replace`, `erase`).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    String,
    Table,
    and_,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    insert,
    not_,
    or_,
    select,
    text,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.mysql import Insert as MySQLInsert
from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.selectable import FromClause

from aiostore.adaptors.sql._batches import Batching
from aiostore.adaptors.sql._dialects import Dialect
from aiostore.adaptors.sql._prepared import Prepared
from aiostore.adaptors.sql._tables import Tables
from aiostore.errors import CorruptRecordError
from aiostore.protocols import (
    Absent,
    Condition,
    DocumentId,
    Exactly,
    Mark,
    Purge,
    Record,
    Write,
)

_STORED = (
    "collection",
    "key",
    "body",
    "version",
    "mark",
    "created_at",
    "updated_at",
    "expires_at",
)
_IDS = ("collection", "key")
_ERASED = ("collection", "key", "expected")
_REPLACED = (*_STORED, "expected")
_WRITTEN = (*_STORED, "expected", "unexpired_at", "keep_created_at")


class Statements:
    """The statements, each compiled at its first use, and what goes with them.

    Args:
        tables: the store's.
        dialect: the database's.
        sqlalchemy_dialect: SQLAlchemy's.
        batching: how a batch travels; as the database's do by default.

    Attributes:
        documents: the table.
        walks: what `Walk` keeps here, for all of its kind.
    """

    def __init__(
        self,
        tables: Tables,
        dialect: Dialect,
        sqlalchemy_dialect: SQLAlchemyDialect,
        batching: Batching | None = None,
    ) -> None:
        self.documents = tables.documents
        self._dialect = dialect
        self._batching = dialect.batching if batching is None else batching
        self._sqlalchemy_dialect = sqlalchemy_dialect
        self._stores: dict[tuple[type[Condition], bool], Prepared] = {}
        self.walks: dict[tuple[str, bool, bool, bool], Prepared] = {}

    def prepared(self, statement: ClauseElement) -> Prepared:
        """A statement of somebody else's, compiled."""
        return Prepared(statement, self._sqlalchemy_dialect)

    def by_index(self, rows: Select[Any], hint: str | None) -> Prepared:
        """A SELECT of documents, of columns without a table, that goes by an index.

        Args:
            rows: the SELECT, with no FROM.
            hint: what names the index behind the table's name; None if none does.
        """
        table = self._sqlalchemy_dialect.identifier_preparer.format_table(self.documents)
        return self.prepared(rows.select_from(text(f"{table} {hint or ''}")))

    @cached_property
    def read(self) -> Prepared:
        """The rows at a batch of ids (`ids`)."""
        return self.prepared(self._standing())

    @cached_property
    def lock(self) -> Prepared:
        """The same, kept from changing until the transaction ends, in the order of their ids."""
        return self.prepared(self._locked().with_for_update())

    @cached_property
    def lock_shared(self) -> Prepared:
        """The same, but others may do so too."""
        return self.prepared(self._locked().with_for_update(read=True))

    @cached_property
    def insert(self) -> Prepared:
        """Store a batch (`inserted`) where nothing stands; the number of changes is theirs."""
        return self.prepared(self._insert())

    @cached_property
    def replace(self) -> Prepared:
        """Store a batch (`replaced`) where the versions expected stand."""
        row = self.documents.c
        batch = self._batch(_REPLACED)
        holds = and_(_same_key(row, batch), row.version == batch.c.expected)
        statement = update(self.documents)
        if self._dialect.joins_in_changes:
            values: Any = {name: batch.c[name] for name in _STORED[2:]}
            return self.prepared(statement.values(values).where(holds))
        values = {
            name: select(batch.c[name]).where(_same_key(row, batch)).scalar_subquery()
            for name in _STORED[2:]
        }
        found = exists(select(true()).select_from(batch).where(holds))
        return self.prepared(statement.values(values).where(found))

    @cached_property
    def erase(self) -> Prepared:
        """Remove a batch (`erased`) where the versions expected stand."""
        row = self.documents.c
        batch = self._batch(_ERASED)
        statement = delete(self.documents)
        if self._dialect.joins_in_changes and self._dialect.joins_in_deletions:
            statement = statement.where(_same_key(row, batch), row.version == batch.c.expected)
        else:
            statement = statement.where(
                tuple_(row.collection, row.key, row.version).in_(
                    select(batch.c.collection, batch.c.key, batch.c.expected)
                )
            )
        return self.prepared(statement)

    def store(self, kind: type[Condition], *, erase: bool) -> Prepared:
        """Store or erase a batch (`written`) under one kind of condition.

        Returns the collection, the key and `created_at` of each that was applied.
        """
        if (kind, erase) not in self._stores:
            if erase:
                statement = self._erase_where(kind)
            elif kind is Exactly:
                statement = self._replace_where()
            else:
                statement = self._upsert(kind)
            self._stores[kind, erase] = self.prepared(statement)
        return self._stores[kind, erase]

    @cached_property
    def next_collection(self) -> Prepared:
        """The first collection behind `after`."""
        name = self.documents.c.collection
        return self.prepared(select(func.min(name)).where(name > bindparam("after", type_=String)))

    @cached_property
    def count(self) -> Prepared:
        """The number of rows of `collection`."""
        return self.prepared(self._count())

    @cached_property
    def count_alive(self) -> Prepared:
        """The number of documents of `collection` that are there at `alive_at`."""
        row = self.documents.c
        moment = bindparam("alive_at", type_=BigInteger)
        alive = or_(row.expires_at.is_(None), row.expires_at > moment)
        return self.prepared(self._count().where(row.body.is_not(None), alive))

    def ids(self, ids: Sequence[DocumentId]) -> dict[str, Any]:
        """The parameters of `read` and `lock`."""
        return self._batching.folded(_IDS, ids)

    def inserted(self, records: Sequence[Record]) -> dict[str, Any]:
        """The parameters of `insert`."""
        rows = [_stored(record) for record in sorted(records, key=_id_of)]
        return self._batching.folded(_STORED, rows)

    def replaced(self, records: Sequence[tuple[Record, str]]) -> dict[str, Any]:
        """The parameters of `replace`: records, and the versions that stand there."""
        in_order = sorted(records, key=lambda pair: pair[0].id)
        rows = [(*_stored(record), expected) for record, expected in in_order]
        return self._batching.folded(_REPLACED, rows)

    def erased(self, versions: Mapping[DocumentId, str]) -> dict[str, Any]:
        """The parameters of `erase`: by id the version that stands there."""
        rows = [(*id_, version) for id_, version in sorted(versions.items())]
        return self._batching.folded(_ERASED, rows)

    def written(self, writes: Sequence[Write]) -> dict[str, Any]:
        """The parameters of `store`: writes of one kind of condition, which share a mark."""
        rows = []
        for write in sorted(writes, key=lambda write: write.record.id):
            condition = write.condition
            exactly = condition if isinstance(condition, Exactly) else None
            rows.append(
                (
                    *_stored(write.record),
                    None if exactly is None else exactly.version,
                    None if exactly is None else exactly.unexpired_at,
                    write.keep_created_at,
                )
            )
        parameters = self._batching.folded(_WRITTEN, rows)
        parameters["standing_mark"] = writes[0].mark
        return parameters

    def purge(self, request: Purge, bounds: Sequence[ColumnElement[bool]]) -> ClauseElement:
        """The removal of the rows within some bounds that `request` dooms."""
        row = self.documents.c
        doomed: list[ColumnElement[bool]] = []
        if request.deleted_before is not None:
            doomed.append(and_(row.body.is_(None), row.updated_at < request.deleted_before))
        if request.expired_before is not None:
            doomed.append(and_(row.body.is_not(None), row.expires_at < request.expired_before))
        statement = delete(self.documents).where(*bounds)
        return statement if request.everything else statement.where(or_(false(), *doomed))

    def _batch(self, names: Sequence[str]) -> FromClause:
        return self._batching.unfolded(names)

    def _standing(self) -> Select[Any]:
        batch = self._batch(_IDS)
        rows = select(*self._columns()).join_from(
            batch, self.documents, _same_key(self.documents.c, batch)
        )
        return self._dialect.by_key(rows, self.documents)

    def _locked(self) -> Select[Any]:
        row = self.documents.c
        rows = self._standing().order_by(row.collection, row.key)
        return self._dialect.locking(rows, self.documents)

    def _columns(self) -> list[ColumnElement[Any]]:
        return [self.documents.c[name] for name in _STORED]

    def _count(self) -> Select[Any]:
        wanted = bindparam("collection", type_=String)
        of_collection = self.documents.c.collection == wanted
        return select(func.count()).select_from(self.documents).where(of_collection)

    def _insert(self) -> ClauseElement:
        row = self.documents.c
        batch = self._batch(_STORED)
        rows = select(*(batch.c[name] for name in _STORED))
        conditional: Any = self._dialect.insert
        if conditional is None:
            rows = rows.where(not_(exists(select(row.key).where(_same_key(row, batch)))))
            return insert(self.documents).from_select(list(_STORED), rows)
        if conditional is MySQLInsert:
            # IGNORE would pass over other errors, too.
            inserted = MySQLInsert(self.documents).from_select(list(_STORED), rows)
            return inserted.on_duplicate_key_update(key=row.key)
        upsert = conditional(self.documents).from_select(list(_STORED), rows.where(true()))
        nothing: ClauseElement = upsert.on_conflict_do_nothing(index_elements=_IDS)
        return nothing

    def _upsert(self, kind: type[Condition]) -> ClauseElement:
        row = self.documents.c
        batch = self._batch(_WRITTEN)
        rows = select(*(batch.c[name] for name in _STORED)).where(true())
        conditional: Any = self._dialect.insert
        upsert = conditional(self.documents).from_select(list(_STORED), rows)
        if kind is Absent:
            upsert = upsert.on_conflict_do_nothing(index_elements=_IDS)
        else:
            upsert = upsert.on_conflict_do_update(
                index_elements=_IDS,
                set_={name: upsert.excluded[name] for name in _STORED[2:]},
                where=and_(row.version < upsert.excluded.version, self._has_mark()),
            )
        return upsert.returning(*self._applied())  # type: ignore[no-any-return]  # a union's

    def _replace_where(self) -> ClauseElement:
        row = self.documents.c
        batch = self._batch(_WRITTEN)
        values: dict[str, ColumnElement[Any]] = {name: batch.c[name] for name in _STORED[2:]}
        values["created_at"] = case(
            (batch.c.keep_created_at == true(), row.created_at), else_=batch.c.created_at
        )
        return (
            update(self.documents)
            .values(values)
            .where(_same_key(row, batch), _is_exactly(row, batch), self._has_mark())
            .returning(*self._applied())
        )

    def _erase_where(self, kind: type[Condition]) -> ClauseElement:
        row = self.documents.c
        batch = self._batch(_WRITTEN)
        decide: Callable[[Any, FromClause], ColumnElement[bool]]
        decide = _is_exactly if kind is Exactly else _is_older
        statement = delete(self.documents).where(self._has_mark()).returning(*self._applied())
        if self._dialect.joins_in_deletions:
            # On the row itself: one that another has changed meanwhile is judged anew.
            return statement.where(_same_key(row, batch), decide(row, batch))
        standing = self.documents.alias("standing")
        gone = (
            select(standing.c.collection, standing.c.key)
            .join_from(batch, standing, _same_key(standing.c, batch))
            .where(decide(standing.c, batch))
        )
        return statement.where(tuple_(row.collection, row.key).in_(gone))

    def _applied(self) -> list[ColumnElement[Any]]:
        row = self.documents.c
        return [row.collection, row.key, row.created_at]

    def _has_mark(self) -> ColumnElement[bool]:
        mark = bindparam("standing_mark", type_=String)
        return or_(mark.is_(None), self.documents.c.mark == mark)


def record_of(row: Sequence[Any]) -> Record:
    """The record of a row of documents."""
    collection, key, body, version, mark, created_at, updated_at, expires_at = row
    if type(key) is bytes:
        collection, key = collection.decode(), key.decode()
    id_ = DocumentId(collection, key)
    try:
        return Record(id_, body, version, created_at, updated_at, expires_at, Mark(mark))
    except ValueError as error:
        raise CorruptRecordError(
            f"the row is damaged, or of a later version: its mark is {mark!r:.40}",
            collection=collection,
            key=key,
        ) from error


def id_of(row: Sequence[Any]) -> DocumentId:
    """The id that a row begins with."""
    collection, key, *_ = row
    if type(key) is bytes:
        return DocumentId(collection.decode(), key.decode())
    return DocumentId(collection, key)


def text_of(value: Any) -> Any:
    """A text that a database with binary keys returns as bytes; others as they are."""
    return value.decode() if type(value) is bytes else value


def columns_of(documents: Table) -> list[ColumnElement[Any]]:
    """The columns of a record's row, in the order that `record_of` expects."""
    return [documents.c[name] for name in _STORED]


def _stored(record: Record) -> tuple[Any, ...]:
    return (
        *record.id,
        record.body,
        record.version,
        record.mark,
        record.created_at,
        record.updated_at,
        record.expires_at,
    )


def _id_of(record: Record) -> DocumentId:
    return record.id


def _same_key(row: Any, batch: FromClause) -> ColumnElement[bool]:
    return and_(row.collection == batch.c.collection, row.key == batch.c.key)


def _is_older(row: Any, batch: FromClause) -> ColumnElement[bool]:
    older: ColumnElement[bool] = row.version < batch.c.version
    return older


def _is_exactly(row: Any, batch: FromClause) -> ColumnElement[bool]:
    return and_(
        row.version == batch.c.expected,
        or_(
            batch.c.unexpired_at.is_(None),
            row.expires_at.is_(None),
            row.expires_at > batch.c.unexpired_at,
        ),
    )
