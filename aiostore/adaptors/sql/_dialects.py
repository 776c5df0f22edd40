"""What differs between the databases, as data."""

import sqlite3
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Select, Table
from sqlalchemy.dialects.mysql import Insert as MySQLInsert
from sqlalchemy.dialects.postgresql import Insert as PostgreSQLInsert
from sqlalchemy.dialects.sqlite import Insert as SQLiteInsert

from aiostore.adaptors.sql import _mariadb_json, _postgresql_json, _sqlite_json
from aiostore.adaptors.sql._batches import (
    ARRAYS,
    JSON_EACH,
    MYSQL_JSON_TABLE,
    ONE_ROW,
    OPEN_JSON,
    ORACLE_JSON_TABLE,
    Batching,
)
from aiostore.adaptors.sql._filters import Condition, Judge
from aiostore.adaptors.sql._indexes import (
    MakeIndex,
    hint_in_sqlite,
    make_in_mysql,
    make_in_postgresql,
    make_in_sqlite,
)
from aiostore.adaptors.sql._places import Place
from aiostore.errors import ConfigurationError, CorruptRecordError, StoreError, UnavailableError
from aiostore.filters import Path

Code = int | str
Meaning = tuple[type[StoreError], str]
Insert = type[SQLiteInsert] | type[PostgreSQLInsert] | type[MySQLInsert]


class Judging(Struct, frozen=True):
    """How a kind of database judges documents, by its JSON functions.

    Attributes:
        judge: by a filter that is not made of others.
        is_readable: the condition that it can, as the body is JSON to it.
        place: the columns of a field's place.
        indexed_place: the same, as an index has them.
        make_index: makes an index of a field.
        index_hint: of a table, a collection and a path what makes it go by that index, behind the
            table's name; None if it does by itself.
        has_strays: there are documents that it cannot read though others can. They have the rank
            `UNREADABLE`.
        row_values: see `stretches`.
        since: the first version that has the functions.
    """

    judge: Judge
    is_readable: Callable[[], Condition]
    place: Callable[[Path], Place]
    indexed_place: Callable[[Path], Place]
    make_index: MakeIndex
    index_hint: Callable[[str, str, Path], str] | None = None
    has_strays: bool = False
    row_values: bool = False
    since: tuple[int, ...] = ()


class Dialect(Struct, frozen=True):
    """One kind of database.

    Attributes:
        driver: SQLAlchemy's name of the dialect and its asyncio driver.
        batching: how a batch travels.
        single: how a batch of one does, where that is cheaper.
        can_give_up: the driver's `Session.can_give_up`.
        insert: the INSERT that knows conflicts, or None.
        returning: statements return the rows that they have touched, so that one statement is
            enough for conditional writes (`Statements.store`).
        begin: the statement that begins a writing transaction.
        setup: statements for every new connection.
        limits: statements after which the server gives a statement up that takes longer than
            `{milliseconds}`, or `{seconds}`, a whole number.
        one_writer: writers do not lock rows but the database, so they wait for each other here
            rather than there.
        making: the statements that begin the making of tables, by one process at a time, and those
            that end it. One that returns 0 did not get the lock in time.
        shared: that a database holds other tables is nothing unusual.
        joins_in_changes: an UPDATE may join.
        joins_in_deletions: a DELETE may.
        by_key: gives a SELECT of documents at a batch of ids what the database needs to go by key.
        locking: gives one that locks its rows what that needs besides FOR UPDATE.
        judging: how it judges documents by filters; None if it does not.
        errors: the driver's error codes, and what each means here; for SQLSTATE a code's first two
            characters stand for its class.
        contention: the codes after which the same transaction is tried again at once.
        lost: the codes after which the connection is of no more use.
        read_only: those that tell that it takes no writes.
        most_bytes: how large a batch of writes may be in one statement.
    """

    driver: str
    batching: Batching
    begin: str
    single: Batching | None = None
    can_give_up: bool = False
    insert: Insert | None = None
    returning: bool = False
    setup: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    one_writer: bool = False
    making: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    shared: bool = True
    joins_in_changes: bool = True
    joins_in_deletions: bool = True
    by_key: Callable[[Select[Any], Table], Select[Any]] = lambda rows, _: rows
    locking: Callable[[Select[Any], Table], Select[Any]] = lambda rows, _: rows
    judging: Judging | None = None
    errors: Mapping[Code, Meaning] = {}
    contention: frozenset[Code] = frozenset()
    lost: frozenset[Code] = frozenset()
    read_only: frozenset[Code] = frozenset()
    most_bytes: int | None = None

    def limited(self, limit: timedelta) -> tuple[str, ...]:
        """The statements after which the server gives up one that takes longer."""
        milliseconds = max(1, limit // timedelta(milliseconds=1))
        seconds = -(-milliseconds // 1000)
        return tuple(
            statement.format(milliseconds=milliseconds, seconds=seconds)
            for statement in self.limits
        )


def _by_primary_key(rows: Select[Any], documents: Table) -> Select[Any]:
    """From the batch to the rows, one after another, so that no others are locked."""
    for name in ("mysql", "mariadb"):
        rows = rows.prefix_with("STRAIGHT_JOIN", dialect=name)
        rows = rows.with_hint(documents, "FORCE INDEX (PRIMARY)", name)
    return rows


def _with_update_locks(rows: Select[Any], documents: Table) -> Select[Any]:
    return rows.with_hint(documents, "WITH (UPDLOCK, ROWLOCK)", "mssql")


def _judging_by_mysql(judge: Judge) -> Judging:
    return Judging(
        judge,
        _mariadb_json.is_readable,
        _mariadb_json.place,
        partial(_mariadb_json.place, indexed=True),
        make_in_mysql,
        lambda _table, _collection, path: _mariadb_json.index_hint(path),
        has_strays=True,
    )


SQLITE = Dialect(
    driver="sqlite+aiosqlite",
    batching=JSON_EACH,
    single=ONE_ROW,
    can_give_up=True,
    begin="BEGIN IMMEDIATE",
    insert=SQLiteInsert,
    returning=True,
    one_writer=True,
    making=(("PRAGMA journal_mode = WAL", "BEGIN IMMEDIATE"), ("COMMIT",)),
    shared=False,
    joins_in_deletions=False,
    judging=Judging(
        _sqlite_json.judge,
        _sqlite_json.is_readable,
        _sqlite_json.place,
        _sqlite_json.place,
        make_in_sqlite,
        hint_in_sqlite,
    ),
    # https://www.sqlite.org/rescode.html, the primary codes
    errors={
        sqlite3.SQLITE_PERM: (ConfigurationError, "no permission: give this user write access"),
        sqlite3.SQLITE_BUSY: (UnavailableError, "another process holds the database's lock"),
        sqlite3.SQLITE_LOCKED: (UnavailableError, "a table of the database is locked"),
        sqlite3.SQLITE_READONLY: (
            ConfigurationError,
            "the database is read-only: give this user write access to the file and its folder",
        ),
        sqlite3.SQLITE_IOERR: (UnavailableError, "the disk failed: look at the system's log"),
        sqlite3.SQLITE_CORRUPT: (
            CorruptRecordError,
            "the database is damaged: restore it from a backup",
        ),
        sqlite3.SQLITE_FULL: (UnavailableError, "the disk is full: free some space"),
        sqlite3.SQLITE_CANTOPEN: (
            ConfigurationError,
            "the database file cannot be opened: its folder must exist and be writable",
        ),
        sqlite3.SQLITE_NOTADB: (
            ConfigurationError,
            "the file is no SQLite database: choose another file",
        ),
    },
)

_REFUSED_LOGIN: Meaning = (
    ConfigurationError,
    "the server refuses the login: check the user and the password in the URL",
)
_NO_DATABASE: Meaning = (ConfigurationError, "the server has no such database: create it")
_NO_PERMISSION: Meaning = (
    ConfigurationError,
    "the user may not do this: grant it SELECT, INSERT, UPDATE, DELETE, and CREATE at first",
)
_NO_TABLE: Meaning = (
    ConfigurationError,
    "a table is missing or is not as it was made: open the store anew to make it",
)
_BUSY: Meaning = (UnavailableError, "the server is too busy to answer")
_AWAY: Meaning = (UnavailableError, "the server cannot be reached, or went away")
_CANCELLED: Meaning = (
    UnavailableError,
    "the server gave the statement up: it took longer than statement_timeout, or was ended by hand",
)
_CONTENDED: Meaning = (UnavailableError, "other transactions were in the way each time")
_FULL: Meaning = (UnavailableError, "the server's disk is full: free some space")
_READ_ONLY: Meaning = (
    UnavailableError,
    "the server takes no writes: it is a replica, or read-only",
)
_DAMAGED: Meaning = (CorruptRecordError, "the database is damaged: restore it from a backup")

_LOCK = 0x61696F73746F7265  # "aiostore"

POSTGRESQL = Dialect(
    driver="postgresql+asyncpg",
    batching=ARRAYS,
    single=ONE_ROW,
    can_give_up=True,
    begin="BEGIN",
    insert=PostgreSQLInsert,
    returning=True,
    # Otherwise it plans anew for each batch, and by what it guesses of it: on a table that has not
    # been analyzed yet 128 conditional writes took 550 ms instead of 29. And a stricter isolation,
    # which some databases have by default, would refuse what is decided row by row here.
    setup=(
        "SET plan_cache_mode = force_generic_plan",
        "SET default_transaction_isolation = 'read committed'",
    ),
    limits=("SET statement_timeout = {milliseconds}",),
    judging=Judging(
        _postgresql_json.judge,
        _postgresql_json.is_readable,
        _postgresql_json.place,
        _postgresql_json.place,
        make_in_postgresql,
        row_values=True,
        since=(16,),
    ),
    making=(("BEGIN", f"SELECT pg_advisory_xact_lock({_LOCK})"), ("COMMIT",)),
    # https://www.postgresql.org/docs/current/errcodes-appendix.html
    errors={
        "08": _AWAY,
        "25006": _READ_ONLY,
        "25P03": _AWAY,
        "28": _REFUSED_LOGIN,
        "3D000": _NO_DATABASE,
        "3F000": (
            ConfigurationError,
            "the user has no schema: grant it USAGE on one of its search_path, and CREATE at first",
        ),
        "40": _CONTENDED,
        "42501": _NO_PERMISSION,
        "42P01": _NO_TABLE,
        "42703": _NO_TABLE,
        "53": _BUSY,
        "53100": _FULL,
        "55P03": _BUSY,
        "57014": _CANCELLED,
        "57P01": _AWAY,
        "57P02": _AWAY,
        "57P03": _AWAY,
        "57P04": _NO_DATABASE,
        "57P05": _AWAY,
        "58": (UnavailableError, "the server's disk failed: look at its log"),
        "XX001": _DAMAGED,
        "XX002": _DAMAGED,
    },
    contention=frozenset({"40001", "40P01"}),
    read_only=frozenset({"25006"}),
    lost=frozenset({"08", "25006", "25P03", "53300", "57P01", "57P02", "57P03", "57P04", "57P05"}),
)

MYSQL = Dialect(
    driver="mysql+asyncmy",
    batching=MYSQL_JSON_TABLE,
    begin="START TRANSACTION",
    insert=MySQLInsert,
    setup=(
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        # A text is refused rather than cut; no escape means something else.
        "SET SESSION sql_mode = 'TRADITIONAL'",
        # A note on each body that MariaDB cannot read would cost a call, and a line in the log.
        "SET SESSION sql_notes = 0",
    ),
    # What changes something it ends only while it waits for a lock.
    limits=(
        "SET SESSION innodb_lock_wait_timeout = {seconds}, max_execution_time = {milliseconds}",
    ),
    making=(("SELECT GET_LOCK('aiostore', 60)",), ("SELECT RELEASE_LOCK('aiostore')",)),
    by_key=_by_primary_key,
    judging=_judging_by_mysql(_mariadb_json.judge),
    # https://mariadb.com/docs/server/reference/error-codes/mariadb-error-code-reference
    # https://dev.mysql.com/doc/mysql-errors/8.4/en/
    errors={
        0: _AWAY,
        1021: _FULL,
        1040: _BUSY,
        1044: _NO_PERMISSION,
        1045: _REFUSED_LOGIN,
        1049: _NO_DATABASE,
        1053: _AWAY,
        1054: _NO_TABLE,
        1114: _FULL,
        1129: _REFUSED_LOGIN,
        1130: _REFUSED_LOGIN,
        1142: _NO_PERMISSION,
        1143: _NO_PERMISSION,
        1146: _NO_TABLE,
        1153: (StoreError, "the batch is larger than the server's max_allowed_packet: raise that"),
        1180: (UnavailableError, "the server's disk failed: look at its log"),
        1203: _BUSY,
        1205: (UnavailableError, "other transactions held a record's lock for too long"),
        1213: _CONTENDED,
        1226: _BUSY,
        1227: _NO_PERMISSION,
        1290: _READ_ONLY,
        1317: _CANCELLED,
        1698: _REFUSED_LOGIN,
        1712: _DAMAGED,
        1792: _READ_ONLY,
        1836: _READ_ONLY,
        1927: _AWAY,
        1969: _CANCELLED,
        2002: _AWAY,
        2003: _AWAY,
        2006: _AWAY,
        2013: _AWAY,
        3024: _CANCELLED,
        4031: _AWAY,
    },
    contention=frozenset({1020, 1213}),
    read_only=frozenset({1290, 1792, 1836}),
    lost=frozenset(
        {0, 1040, 1053, 1153, 1203, 1290, 1792, 1836, 1927, 2002, 2003, 2006, 2013, 4031}
    ),
    most_bytes=4 * 1024 * 1024,
)

MARIADB = msgspec.structs.replace(
    MYSQL,
    driver="mariadb+asyncmy",
    limits=("SET SESSION max_statement_time = {milliseconds} / 1000",),
    judging=_judging_by_mysql(_mariadb_json.judge_by_mariadb),
)

# Their statements are compiled in a test, and have never been run.
ORACLE = Dialect(
    driver="oracle+oracledb_async",
    batching=ORACLE_JSON_TABLE,
    begin="SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    joins_in_changes=False,
    joins_in_deletions=False,
)
MSSQL = Dialect(
    driver="mssql+aioodbc",
    batching=OPEN_JSON,
    begin="BEGIN TRANSACTION",
    locking=_with_update_locks,
)
