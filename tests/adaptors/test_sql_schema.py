"""The tables of a store: made at the first use, checked, and brought up to date."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from processes import child
from servers import server
from sql_stores import adaptor_of, bodies, open_and_close, opened, put

from aiostore.adaptors.sql import MARIADB, ServerDatabase, SQLAdaptor
from aiostore.errors import ConfigurationError, UnavailableError

ENGINES = ["sqlite", "postgresql", "mariadb"]


@dataclass
class Place:
    """An empty database, and what stands in it behind the library's back.

    Attributes:
        engine: its name.
        url: where it is.
        query: runs one statement, with names in double quotes.
    """

    engine: str
    url: str
    query: Callable[..., list[Any]]

    def run(self, *statements: str) -> None:
        """Change it."""
        for statement in statements:
            self.query(statement)

    def tables(self) -> list[str]:
        """The names of its tables."""
        rows = self.query(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
            if self.engine == "sqlite"
            else "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema IN ('public', ?)",
            *self._schema(),
        )
        return sorted(name for (name,) in rows)

    def columns(self, table: str = "aiostore_documents") -> list[str]:
        """The names of a table's columns."""
        rows = self.query(
            "SELECT name FROM pragma_table_info(?)"
            if self.engine == "sqlite"
            else "SELECT column_name FROM information_schema.columns "
            "WHERE table_name = ? AND table_schema IN ('public', ?)",
            table,
            *self._schema(),
        )
        return sorted(name for (name,) in rows)

    def has_expiry_index(self) -> bool:
        """Whether there is the index by expiry, under its name."""
        wanted = "aiostore_documents_expiry"
        source = {
            "sqlite": "sqlite_master WHERE name = ?",
            "postgresql": "pg_indexes WHERE indexname = ? AND schemaname = 'public'",
            "mariadb": "information_schema.statistics WHERE index_name = ? "
            "AND table_schema = DATABASE()",
        }[self.engine]
        return self.query(f"SELECT COUNT(*) FROM {source}", wanted) != [(0,)]  # noqa: S608  # ours

    def _schema(self) -> list[str]:
        """As MariaDB calls the database."""
        return [] if self.engine == "sqlite" else [self.url.rpartition("/")[2]]

    def versions(self) -> list[int]:
        """What the table of the layout says."""
        return [version for (version,) in self.query("SELECT version FROM aiostore_schema")]


@pytest.fixture(params=ENGINES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty database of each engine."""
    engine = str(request.param)
    if engine == "sqlite":
        path = tmp_path / "app.db"

        def query(statement: str, *values: object) -> list[Any]:
            with closing(sqlite3.connect(path)) as connection, connection:
                return connection.execute(statement, values).fetchall()

        return Place(engine, f"sqlite:///{path}", query)
    shared = server(engine)
    url = shared.fresh()
    return Place(engine, url, lambda statement, *values: shared.query(statement, *values, url=url))


def fill(url: str, **options: object) -> None:
    """Put one document into a store."""

    async def run() -> None:
        async with opened(url, **options) as adaptor:
            await adaptor.write([put("alice")])

    asyncio.run(run())


def keys(url: str, **options: object) -> int:
    """How many documents a store holds."""

    async def run() -> int:
        async with opened(url, **options) as adaptor:
            return await adaptor.count("users")

    return asyncio.run(run())


FIRST_LAYOUT = """
CREATE TABLE aiostore_documents (
    collection VARCHAR(64) NOT NULL, key VARCHAR(512) NOT NULL, body TEXT,
    version VARCHAR(32) NOT NULL, mark VARCHAR(16) NOT NULL, created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL, expires_at BIGINT, PRIMARY KEY (collection, key));
CREATE TABLE aiostore_schema (version INTEGER NOT NULL, PRIMARY KEY (version));
INSERT INTO aiostore_schema VALUES (1);
INSERT INTO aiostore_documents VALUES
    ('users', 'alice', '{}', '00000000000000000000000000000001', 'live', 1, 2, NULL)
"""
"""As the first release made them in SQLite."""

SINCE = {
    "postgresql": "DROP INDEX aiostore_documents_expiry",
    "mariadb": "DROP INDEX aiostore_documents_expiry ON aiostore_documents",
}


def make_first_layout(database: Place) -> None:
    """The tables as the first layout has them, with one document."""
    if database.engine == "sqlite":
        database.run(*FIRST_LAYOUT.split(";"))
    else:
        fill(database.url)
        database.run(SINCE[database.engine], "UPDATE aiostore_schema SET version = 1")
    assert not database.has_expiry_index()


def test_an_earlier_layout_is_brought_up_to_date(database: Place) -> None:
    """In place, with its documents."""
    make_first_layout(database)
    assert keys(database.url) == 1
    assert database.has_expiry_index()
    assert database.versions() == [2]
    assert asyncio.run(read_alice(database.url)) == ["{}"]


async def read_alice(url: str) -> list[str | None]:
    """What stands at alice's key."""
    async with opened(url) as adaptor:
        return await bodies(adaptor, ["alice"])


PUT_ONE = """
import asyncio, sys, aiostore

async def main(url, key):
    async with aiostore.open_store(url) as store:
        await store.collection("users").put(key, {})

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("make", [None, make_first_layout])
def test_several_processes_may_start_at_once(
    database: Place, make: Callable[[Place], None] | None
) -> None:
    """The tables are made or brought up to date once, by whichever comes first; none fails."""
    if make is not None:
        make(database)
    processes = [child(PUT_ONE, database.url, f"bob{number}") for number in range(6)]
    for process in processes:
        with process:
            process.communicate()
    assert [process.returncode for process in processes] == [0] * 6
    assert keys(database.url) == (6 if make is None else 7)
    assert database.versions() == [2]
    assert database.has_expiry_index()


@pytest.mark.parametrize("make", [None, make_first_layout])
def test_several_adaptors_may_start_at_once(
    database: Place, make: Callable[[Place], None] | None
) -> None:
    """In one process, too."""
    if make is not None:
        make(database)

    async def run() -> None:
        await asyncio.gather(*(open_and_close(database.url) for _ in range(5)))

    asyncio.run(run())
    assert database.versions() == [2]
    assert database.has_expiry_index()


UNDONE = [
    "DELETE FROM aiostore_schema",
    "DROP TABLE aiostore_documents",
    "DROP TABLE aiostore_schema",
    "the index",
]


@pytest.mark.parametrize("undone", UNDONE)
def test_a_half_made_layout_is_completed(database: Place, undone: str) -> None:
    """Whatever part of it is missing."""
    fill(database.url)
    if undone == "the index":
        index = {**SINCE, "sqlite": "DROP INDEX aiostore_documents_expiry"}[database.engine]
        database.run(index, "DELETE FROM aiostore_schema")
    else:
        database.run(undone)
    fill(database.url)
    assert keys(database.url) == 1
    assert database.versions() == [2]
    assert database.has_expiry_index()


def other_columns(database: Place) -> None:
    """A table with our name and not our columns."""
    database.run("CREATE TABLE aiostore_documents (id INTEGER)")


def other_layout_table(database: Place) -> None:
    """A table with the name of ours that holds the layout's version."""
    database.run("CREATE TABLE aiostore_schema (id INTEGER)")


def missing_column(database: Place) -> None:
    """Our table without one of its columns."""
    fill(database.url)
    database.run("ALTER TABLE aiostore_documents DROP COLUMN mark")


def newer_column(database: Place) -> None:
    """Our table as a later version has it."""
    fill(database.url)
    database.run("ALTER TABLE aiostore_documents ADD COLUMN colour INTEGER")


def newer_layout(database: Place) -> None:
    """The tables of a later version."""
    fill(database.url)
    database.run("UPDATE aiostore_schema SET version = 3")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (other_columns, r"'aiostore_documents' is not as this version.*\?table="),
        (other_layout_table, "'aiostore_schema' is not as this version"),
        (missing_column, "'aiostore_documents' is not as this version"),
        (newer_column, "'aiostore_documents' is not as this version.*update aiostore"),
        (newer_layout, "layout 3, .*knows layout 2: update aiostore"),
    ],
)
def test_tables_that_are_not_ours_are_refused(
    database: Place, make: Callable[[Place], None], reason: str
) -> None:
    """`ConfigurationError` says what it is, and nothing has changed."""
    make(database)
    before = database.tables(), database.columns()
    with pytest.raises(ConfigurationError, match=reason):
        fill(database.url)
    assert (database.tables(), database.columns()) == before


def test_tables_of_others_are_left_alone(database: Place) -> None:
    """On a server they are nothing unusual; in a file of SQLite's it has to be said."""
    database.run("CREATE TABLE accounts (id INTEGER)", "INSERT INTO accounts VALUES (1)")
    options = {"shared": "true"} if database.engine == "sqlite" else {}
    fill(database.url, **options)
    assert database.tables() == ["accounts", "aiostore_documents", "aiostore_schema"]
    assert database.query("SELECT id FROM accounts") == [(1,)]


@pytest.mark.parametrize(
    ("options", "tables"),
    [
        ({"table": "things"}, ["things", "things_schema"]),
        ({"prefix": "app_"}, ["app_documents", "app_schema"]),
        ({"prefix": "App_", "table": "Order"}, ["App_Order", "App_Order_schema"]),
        ({"prefix": "", "table": "select"}, ["select", "select_schema"]),
    ],
)
def test_stores_with_other_tables_do_not_meet(
    database: Place, options: dict[str, str], tables: list[str]
) -> None:
    """Two stores in one database have nothing in common, whatever their tables are called."""
    shared = {"shared": "true"} if database.engine == "sqlite" else {}
    fill(database.url, **shared)
    assert keys(database.url, **options, **shared) == 0
    fill(database.url, **options, **shared)
    fill(database.url, **options, **shared)
    assert keys(database.url, **options) == keys(database.url) == 1
    assert database.tables() == sorted(["aiostore_documents", "aiostore_schema", *tables])


@pytest.mark.parametrize("value", ["a-b", "a b", "1a", "a%22b", "x" * 33, ""])
@pytest.mark.parametrize("engine", ENGINES)
def test_names_that_are_none_are_refused(engine: str, value: str) -> None:
    """By the URL, before anything is connected to."""
    url = "sqlite:///x" if engine == "sqlite" else f"{engine}://u:p@h/d"
    with pytest.raises(ConfigurationError, match="table"):
        asyncio.run(open_and_close(url, table=value))


async def test_a_process_that_makes_tables_for_ever_is_told() -> None:
    """Whoever cannot get the lock in time does not make them beside it."""
    shared = server("mariadb")
    url = shared.fresh()
    patient = (await asyncio.to_thread(adaptor_of, url))._database
    impatient = replace(MARIADB, making=(("SELECT GET_LOCK('aiostore', 0)",), ()))
    assert isinstance(patient, ServerDatabase)
    adaptor = SQLAdaptor(replace(patient, dialect=impatient))
    async with shared.engine.connected(url) as query:
        await query("SELECT GET_LOCK('aiostore', 0)")
        with pytest.raises(UnavailableError, match="has been making the tables for too long"):
            await adaptor.open()
        await adaptor.aclose()
        assert await query("SHOW TABLES") == []
