"""What differs between the databases, as data."""

import sqlite3
from collections.abc import Callable, Mapping

from msgspec import Struct
from sqlalchemy.dialects.sqlite import Insert as SQLiteInsert

from aiostore.adaptors.sql import _sqlite_json
from aiostore.adaptors.sql._filters import KINDS, Condition, Judge
from aiostore.errors import ConfigurationError, CorruptRecordError, StoreError, UnavailableError

Translation = Mapping[int, tuple[type[StoreError], str]]


class Dialect(Struct, frozen=True):
    """One database engine.

    Attributes:
        driver: SQLAlchemy's name of the dialect and its asyncio driver.
        insert: the dialect's INSERT, which knows conflicts.
        begin: the statement that begins a writing transaction.
        filters: the kinds of filters that it judges documents by.
        judge: how it does.
        is_readable: the condition that it can, as the body is JSON to it.
        errors: the driver's error codes, and what each means here.
    """

    driver: str
    insert: type[SQLiteInsert]
    begin: str
    filters: frozenset[str]
    judge: Judge
    is_readable: Callable[[], Condition]
    errors: Translation


SQLITE = Dialect(
    driver="sqlite+aiosqlite",
    insert=SQLiteInsert,
    begin="BEGIN IMMEDIATE",
    filters=KINDS,
    judge=_sqlite_json.judge,
    is_readable=_sqlite_json.is_readable,
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


def error_code(error: BaseException | None) -> int:
    """The code that the driver's error carries: SQLite's primary result code, or 0 for none."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF
