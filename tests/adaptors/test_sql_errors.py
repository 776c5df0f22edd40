"""What drivers raise, and what it means: the tables of codes."""

import sqlite3
from typing import Any

import asyncpg
import pytest
from asyncmy.errors import InternalError, MySQLError, OperationalError, ProgrammingError
from sqlalchemy.exc import DBAPIError

from aiostore.adaptors.sql._dialects import MARIADB, MYSQL, POSTGRESQL, SQLITE, Code, Dialect
from aiostore.adaptors.sql._errors import Errors, OvertakenError, code_of
from aiostore.errors import (
    ConfigurationError,
    CorruptRecordError,
    StoreError,
    UnavailableError,
)

AWAY, UNKNOWN = "cannot be reached, or went away", "the database refused"

POSTGRESQL_ERRORS: list[tuple[str, type[StoreError], str]] = [
    ("08000", UnavailableError, AWAY),
    ("08006", UnavailableError, AWAY),
    ("22P05", StoreError, UNKNOWN),
    ("25006", UnavailableError, "takes no writes"),
    ("25P03", UnavailableError, AWAY),
    ("28000", ConfigurationError, "refuses the login"),
    ("28P01", ConfigurationError, "refuses the login"),
    ("3D000", ConfigurationError, "no such database"),
    ("3F000", ConfigurationError, "no schema: grant it USAGE"),
    ("40001", UnavailableError, "other transactions were in the way"),
    ("40P01", UnavailableError, "other transactions were in the way"),
    ("42501", ConfigurationError, "grant it SELECT"),
    ("42601", StoreError, UNKNOWN),
    ("42703", ConfigurationError, "open the store anew"),
    ("42P01", ConfigurationError, "open the store anew"),
    ("53100", UnavailableError, "disk is full"),
    ("53200", UnavailableError, "too busy"),
    ("53300", UnavailableError, "too busy"),
    ("55P03", UnavailableError, "too busy"),
    ("57014", UnavailableError, "statement_timeout"),
    ("57P01", UnavailableError, AWAY),
    ("57P02", UnavailableError, AWAY),
    ("57P03", UnavailableError, AWAY),
    ("57P04", ConfigurationError, "no such database"),
    ("57P05", UnavailableError, AWAY),
    ("58030", UnavailableError, "disk failed"),
    ("XX000", StoreError, UNKNOWN),
    ("XX001", CorruptRecordError, "restore it from a backup"),
    ("XX002", CorruptRecordError, "restore it from a backup"),
]
MARIADB_ERRORS: list[tuple[int, type[StoreError], str]] = [
    (0, UnavailableError, AWAY),
    (1021, UnavailableError, "disk is full"),
    (1040, UnavailableError, "too busy"),
    (1044, ConfigurationError, "grant it SELECT"),
    (1045, ConfigurationError, "refuses the login"),
    (1049, ConfigurationError, "no such database"),
    (1053, UnavailableError, AWAY),
    (1054, ConfigurationError, "open the store anew"),
    (1064, StoreError, UNKNOWN),
    (1114, UnavailableError, "disk is full"),
    (1129, ConfigurationError, "refuses the login"),
    (1130, ConfigurationError, "refuses the login"),
    (1142, ConfigurationError, "grant it SELECT"),
    (1143, ConfigurationError, "grant it SELECT"),
    (1146, ConfigurationError, "open the store anew"),
    (1153, StoreError, "max_allowed_packet"),
    (1180, UnavailableError, "disk failed"),
    (1203, UnavailableError, "too busy"),
    (1205, UnavailableError, "held a record's lock"),
    (1213, UnavailableError, "other transactions were in the way"),
    (1226, UnavailableError, "too busy"),
    (1227, ConfigurationError, "grant it SELECT"),
    (1290, UnavailableError, "takes no writes"),
    (1317, UnavailableError, "statement_timeout"),
    (1698, ConfigurationError, "refuses the login"),
    (1712, CorruptRecordError, "restore it from a backup"),
    (1792, UnavailableError, "takes no writes"),
    (1836, UnavailableError, "takes no writes"),
    (1927, UnavailableError, AWAY),
    (1969, UnavailableError, "statement_timeout"),
    (2002, UnavailableError, AWAY),
    (2003, UnavailableError, AWAY),
    (2006, UnavailableError, AWAY),
    (2013, UnavailableError, AWAY),
    (3024, UnavailableError, "statement_timeout"),
    (4031, UnavailableError, AWAY),
]
SQLITE_ERRORS: list[tuple[int, type[StoreError], str]] = [
    (sqlite3.SQLITE_PERM, ConfigurationError, "no permission"),
    (sqlite3.SQLITE_BUSY_SNAPSHOT, UnavailableError, "holds the database's lock"),
    (sqlite3.SQLITE_LOCKED, UnavailableError, "locked"),
    (sqlite3.SQLITE_READONLY_DBMOVED, ConfigurationError, "read-only"),
    (sqlite3.SQLITE_IOERR_FSYNC, UnavailableError, "disk failed"),
    (sqlite3.SQLITE_CORRUPT, CorruptRecordError, "restore it from a backup"),
    (sqlite3.SQLITE_FULL, UnavailableError, "disk is full"),
    (sqlite3.SQLITE_CANTOPEN, ConfigurationError, "cannot be opened"),
    (sqlite3.SQLITE_NOTADB, ConfigurationError, "no SQLite database"),
    (sqlite3.SQLITE_MISUSE, StoreError, UNKNOWN),
]


def postgresql_error(code: str) -> Exception:
    """As asyncpg raises what the server sends."""
    made: Exception = asyncpg.PostgresError.new({"C": code, "M": "reason", "S": "ERROR"})
    return made


def mariadb_error(code: int) -> Exception:
    """As asyncmy raises it."""
    kind: type[MySQLError] = OperationalError if code >= 1000 else InternalError
    return kind(code, "reason")


def sqlite_error(code: int) -> Exception:
    """As sqlite3 raises it."""
    error = sqlite3.OperationalError("reason")
    error.sqlite_errorcode = code
    return error


CASES = [
    *((POSTGRESQL, postgresql_error(code), kind, said) for code, kind, said in POSTGRESQL_ERRORS),
    *((MARIADB, mariadb_error(code), kind, said) for code, kind, said in MARIADB_ERRORS),
    *((MYSQL, mariadb_error(code), kind, said) for code, kind, said in MARIADB_ERRORS),
    *((SQLITE, sqlite_error(code), kind, said) for code, kind, said in SQLITE_ERRORS),
]


def translated(dialect: Dialect, error: Exception, *, opening: bool = False) -> StoreError:
    """What becomes of a driver's error."""
    with (
        pytest.raises(StoreError) as caught,
        Errors(dialect, "it").translated(opening=opening),
    ):
        raise error
    assert caught.value.__cause__ is error
    assert caught.value.store == "it"
    return caught.value


@pytest.mark.parametrize(
    ("dialect", "error", "kind", "said"),
    CASES,
    ids=[f"{dialect.driver}-{code_of(error)}" for dialect, error, _, _ in CASES],
)
def test_what_a_code_means(
    dialect: Dialect, error: Exception, kind: type[StoreError], said: str
) -> None:
    """The class says what to expect, the text what to do, and the driver's own reason follows."""
    found = translated(dialect, error)
    assert type(found) is kind
    assert said in str(found)
    assert "reason" in str(found)
    wrapped = DBAPIError("SELECT 1", None, error)
    assert type(translated(dialect, wrapped)) is kind
    assert Errors(dialect, "it").is_lost(wrapped) is Errors(dialect, "it").is_lost(error)


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL, MARIADB], ids=lambda one: one.driver)
def test_every_code_of_the_table_is_tested(dialect: Dialect) -> None:
    """None that is listed is missing here."""
    tested: set[Code | None] = set()
    for one, error, _, _ in CASES:
        if one is dialect:
            code = code_of(error)
            tested |= {code, code[:2] if isinstance(code, str) else code}
    assert set(dialect.errors) <= tested


LOST: list[tuple[Dialect, Exception, bool]] = [
    *((POSTGRESQL, postgresql_error(code), True) for code in ("08006", "25006", "53300", "57P01")),
    *((POSTGRESQL, postgresql_error(code), False) for code in ("40001", "57014", "42P01", "XX000")),
    *((MARIADB, mariadb_error(code), True) for code in (0, 1040, 1153, 1290, 1927, 2006, 2013)),
    *((MARIADB, mariadb_error(code), False) for code in (1205, 1213, 1969, 1146)),
    *((SQLITE, sqlite_error(code), False) for code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL)),
    (POSTGRESQL, OSError(104, "reset"), True),
    (POSTGRESQL, TimeoutError(), True),
    (MARIADB, ProgrammingError("no code"), True),
    (MARIADB, RuntimeError("a driver's bug"), True),
    (MARIADB, OvertakenError(), False),
    (MARIADB, StoreError("ours"), False),
]


@pytest.mark.parametrize(("dialect", "error", "lost"), LOST)
def test_after_which_errors_a_connection_is_of_no_use(
    dialect: Dialect, error: Exception, *, lost: bool
) -> None:
    """After those that say so, and after those of which nobody knows."""
    assert Errors(dialect, "it").is_lost(error) is lost


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(111, "refused"), AWAY),
        (EOFError(), AWAY),
        (TimeoutError(), "did not answer in time"),
        (OvertakenError(), "other writers were faster"),
    ],
)
def test_what_has_no_code_is_unavailable(error: Exception, said: str) -> None:
    """For nobody said that nothing was done."""
    found = translated(POSTGRESQL, error)
    assert type(found) is UnavailableError
    assert said in str(found)


@pytest.mark.parametrize("error", [ValueError("x"), StoreError("x"), KeyError("x")])
def test_what_is_no_drivers_is_left_alone(error: Exception) -> None:
    """A bug stays what it is."""
    with pytest.raises(type(error)) as caught, Errors(MARIADB, "it").translated():
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("dialect", "error"),
    [(POSTGRESQL, postgresql_error("25006")), (MARIADB, mariadb_error(1290))],
)
def test_a_replica_at_the_opening_is_a_matter_of_configuration(
    dialect: Dialect, error: Any
) -> None:
    """Later it is a fail-over."""
    assert type(translated(dialect, error, opening=True)) is ConfigurationError
    assert type(translated(dialect, error)) is UnavailableError
