"""A batch as one table: its rows travel as few parameters, which the database unfolds.

So a statement is the same for a batch of any length; some databases take another for one row. The
columns of a row are named by `WRITTEN`; a batch holds some of them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import BigInteger, Boolean, String, Subquery, Text, bindparam, column, func, select
from sqlalchemy import text as sql_text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.selectable import FromClause
from sqlalchemy.types import TypeEngine

Rows = Sequence[Sequence[Any]]

_TEXT = String()
_TYPES: Mapping[str, TypeEngine[Any]] = {
    "collection": _TEXT,
    "key": _TEXT,
    "body": Text(),
    "version": _TEXT,
    "mark": _TEXT,
    "created_at": BigInteger(),
    "updated_at": BigInteger(),
    "expires_at": BigInteger(),
    "expected": _TEXT,
    "unexpired_at": BigInteger(),
    "keep_created_at": Boolean(),
}
_NAME = "batch"

_encode = msgspec.json.Encoder().encode


class Batching(Struct, frozen=True):
    """How batches travel to one kind of database.

    Attributes:
        unfolded: the batch as a table with these columns.
        folded: the parameters for these columns and rows.
    """

    unfolded: Callable[[Sequence[str]], FromClause]
    folded: Callable[[Sequence[str], Rows], dict[str, Any]]


def _as_json(_: Sequence[str], rows: Rows) -> dict[str, Any]:
    return {"rows": _encode(rows).decode()}


def _as_arrays(names: Sequence[str], rows: Rows) -> dict[str, Any]:
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    return {f"{_NAME}_{name}": list(values) for name, values in zip(names, columns, strict=True)}


def _as_values(names: Sequence[str], rows: Rows) -> dict[str, Any]:
    [row] = rows
    return {f"{_NAME}_{name}": value for name, value in zip(names, row, strict=True)}


def _row(names: Sequence[str]) -> Subquery:
    values = [bindparam(f"{_NAME}_{name}", type_=_TYPES[name]).label(name) for name in names]
    return select(*values).subquery(_NAME)


def _json_each(names: Sequence[str]) -> Subquery:
    each = func.json_each(bindparam("rows")).table_valued("value")
    return select(
        *(
            func.json_extract(each.c.value, f"$[{position}]").label(name)
            for position, name in enumerate(names)
        )
    ).subquery(_NAME)


def _unnest(names: Sequence[str]) -> FromClause:
    arrays = [bindparam(f"{_NAME}_{name}", type_=ARRAY(_TYPES[name])) for name in names]
    columns = [column(name, _TYPES[name]) for name in names]
    return func.unnest(*arrays).table_valued(*columns).render_derived(_NAME)


def _json_table(types: Mapping[str, str], quote: str) -> Callable[[Sequence[str]], Subquery]:
    """JSON_TABLE of the SQL standard, with a database's own types."""

    def unfolded(names: Sequence[str]) -> Subquery:
        columns = ", ".join(
            f"{quote}{name}{quote} {types[name]} PATH '$[{position}]'"
            for position, name in enumerate(names)
        )
        return _of_text(f"JSON_TABLE(:rows, '$[*]' COLUMNS ({columns})) unfolded", names)

    return unfolded


def _open_json(names: Sequence[str]) -> Subquery:
    columns = ", ".join(
        f"[{name}] {_MSSQL_TYPES[name]} '$[{position}]'" for position, name in enumerate(names)
    )
    return _of_text(f"OPENJSON(:rows) WITH ({columns}) AS unfolded", names)


def _of_text(table: str, names: Sequence[str]) -> Subquery:
    columns = [column(name, _TYPES[name]) for name in names]
    # Names and types of ours, no value of anybody's.
    return sql_text(f"SELECT * FROM {table}").columns(*columns).subquery(_NAME)  # noqa: S608  # likewise


def _types(key: str, body: str, word: str, number: str, flag: str) -> dict[str, str]:
    kinds = {"collection": key, "key": key, "body": body, "keep_created_at": flag}
    return {
        name: kinds.get(name, number if isinstance(type_, BigInteger) else word)
        for name, type_ in _TYPES.items()
    }


_MYSQL_TYPES = _types(
    key="VARCHAR(512) CHARACTER SET utf8mb4",
    body="LONGTEXT CHARACTER SET utf8mb4",
    word="VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin",
    number="BIGINT",
    flag="TINYINT",
)
_ORACLE_TYPES = _types("VARCHAR2(2048)", "CLOB", "VARCHAR2(32)", "NUMBER(19)", "NUMBER(1)")
_MSSQL_TYPES = _types("NVARCHAR(512)", "NVARCHAR(MAX)", "VARCHAR(32)", "BIGINT", "BIT")

ONE_ROW = Batching(_row, _as_values)
"""A batch of one, which planners see through: what is left is a lookup by key."""

JSON_EACH = Batching(_json_each, _as_json)
ARRAYS = Batching(_unnest, _as_arrays)
MYSQL_JSON_TABLE = Batching(_json_table(_MYSQL_TYPES, "`"), _as_json)
ORACLE_JSON_TABLE = Batching(_json_table(_ORACLE_TYPES, ""), _as_json)
OPEN_JSON = Batching(_open_json, _as_json)
