"""The tables: the same columns in every database, in the types that keep them exact there.

Keys are compared by their bytes, which is by code point: PostgreSQL has a collation for that; those
of MariaDB, MySQL and SQL Server fold cases or trailing spaces, so there keys are binary.
"""

from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    column,
)
from sqlalchemy.dialects import mssql, mysql
from sqlalchemy.types import TypeEngine

LAYOUT_VERSION = 2
"""1: the two tables. 2: with the index by expiry."""

INDEX_COLUMN = "aiostore_i_"
"""How the columns begin that a declared index adds, where it needs some."""

_MYSQL = ("mysql", "mariadb")
_MSSQL_UTF8 = "Latin1_General_100_BIN2_UTF8"

body = column("body", Text)
"""The documents' column of that name, whatever their table is called."""


class Tables(NamedTuple):
    """The tables of one store.

    Attributes:
        documents: the records.
        layout: one row, with the version of the layout.
    """

    documents: Table
    layout: Table


def tables(prefix: str = "aiostore_", table: str | None = None) -> Tables:
    """The tables of these names: `{prefix}documents`, or `{prefix}{table}`."""
    documents = f"{prefix}{table or 'documents'}"
    layout = f"{prefix}schema" if table is None else f"{documents}_schema"
    metadata = MetaData()
    # Upper-case letters and MySQL's reserved words are quoted by SQLAlchemy.
    made = Table(
        documents,
        metadata,
        Column("collection", _key(64), primary_key=True),
        Column("key", _key(512), primary_key=True),
        Column("body", _text()),
        Column("version", _ascii(32), nullable=False),
        Column("mark", _ascii(16), nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("updated_at", BigInteger, nullable=False),
        Column("expires_at", BigInteger),
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
        mysql_default_charset="utf8mb4",
        mariadb_default_charset="utf8mb4",
    )
    expiring = made.c.expires_at.is_not(None)
    Index(
        f"{documents}_expiry",
        made.c.collection,
        made.c.expires_at,
        postgresql_where=expiring,
        sqlite_where=expiring,
        mssql_where=expiring,
    )
    version = Column("version", Integer, primary_key=True, autoincrement=False)
    return Tables(made, Table(layout, metadata, version))


def _key(length: int) -> TypeEngine[str]:
    return (
        String(length)
        .with_variant(String(length, collation="C"), "postgresql")
        .with_variant(mysql.VARBINARY(length), *_MYSQL)
        .with_variant(mssql.VARBINARY(length), "mssql")  # type: ignore[no-untyped-call]  # SQLAlchemy's
    )


def _text() -> TypeEngine[str]:
    return (
        Text()
        .with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), *_MYSQL)
        .with_variant(mssql.VARCHAR(None, collation=_MSSQL_UTF8), "mssql")
    )


def _ascii(length: int) -> TypeEngine[str]:
    return (
        String(length)
        .with_variant(String(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"), *_MYSQL)
        .with_variant(mssql.VARCHAR(length, collation=_MSSQL_UTF8), "mssql")
    )
