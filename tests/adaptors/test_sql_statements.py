"""The statements as each database gets them; those of Oracle and SQL Server are never run here."""

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import make_url
from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect
from sqlalchemy.schema import CreateIndex, CreateTable

from aiostore.adaptors.sql._dialects import (
    MARIADB,
    MSSQL,
    MYSQL,
    ORACLE,
    POSTGRESQL,
    SQLITE,
)
from aiostore.adaptors.sql._prepared import Prepared
from aiostore.adaptors.sql._statements import Statements
from aiostore.adaptors.sql._tables import Tables, tables
from aiostore.adaptors.sql._walks import Walk
from aiostore.protocols import Absent, DocumentId, Exactly, Newer, Purge, Record, Write

DIALECTS = {
    "sqlite": SQLITE,
    "postgresql": POSTGRESQL,
    "mariadb": MARIADB,
    "mysql": MYSQL,
    "oracle": ORACLE,
    "mssql": MSSQL,
}


@pytest.fixture(params=DIALECTS)
def name(request: pytest.FixtureRequest) -> str:
    """The name of a database."""
    return str(request.param)


def sqlalchemy_dialect(name: str) -> SQLAlchemyDialect:
    """SQLAlchemy's, without the driver."""
    kind = make_url(f"{DIALECTS[name].driver}://").get_dialect()
    return kind()


def statements_of(name: str, of: Tables | None = None) -> Statements:
    """The statements of a store there."""
    return Statements(of or tables(), DIALECTS[name], sqlalchemy_dialect(name))


def every(name: str) -> Iterator[tuple[str, Prepared]]:
    """All statements of a store there, by name."""
    statements = statements_of(name)
    for each in ("read", "lock", "lock_shared", "insert", "replace", "erase"):
        yield each, getattr(statements, each)
    for each in ("next_collection", "count", "count_alive"):
        yield each, getattr(statements, each)
    if DIALECTS[name].returning:
        for kind in (Absent, Exactly, Newer):
            yield f"store {kind.__name__}", statements.store(kind, erase=False)
        for kind in (Exactly, Newer):
            yield f"erase {kind.__name__}", statements.store(kind, erase=True)
    walk = Walk(statements, None, "users", prefix="a")
    yield "page", walk.page("b", "c")
    yield "first page", walk.page(None, None)
    yield "stretch", walk.end_of_stretch("b")
    yield "purge", walk.purge("b", None, Purge("users", expired_before=1, deleted_before=2))


def test_every_statement_compiles(name: str) -> None:
    """With a place for each parameter, and values for all of them."""
    compiled = dict(every(name))
    assert len(compiled) >= 13
    for title, statement in compiled.items():
        assert "aiostore_documents" in statement.text, title


def test_the_tables_compile(name: str) -> None:
    """In the types of each database."""
    made, layout = tables()
    dialect = sqlalchemy_dialect(name)
    for table in (made, layout):
        assert str(CreateTable(table).compile(dialect=dialect))
    for index in made.indexes:
        assert str(CreateIndex(index).compile(dialect=dialect))


BINARY = {"mariadb": "VARBINARY(512)", "mysql": "VARBINARY(512)", "mssql": "VARBINARY(512)"}


def test_keys_are_compared_by_their_bytes(name: str) -> None:
    """By a collation or a type that neither folds nor sorts otherwise."""
    text = str(CreateTable(tables().documents).compile(dialect=sqlalchemy_dialect(name)))
    expected = {"postgresql": 'VARCHAR(512) COLLATE "C"', "oracle": "VARCHAR2(512 CHAR)"}
    wanted = (BINARY | expected).get(name, "VARCHAR(512)")
    assert re.search(rf'["`\[]?key["`\]]? {re.escape(wanted)}', text), text


def test_rows_are_locked_where_a_database_locks_rows(name: str) -> None:
    """So that what is decided upon stands until the transaction ends; SQLite locks itself."""
    locks = {"sqlite": "", "mssql": "WITH (UPDLOCK, ROWLOCK)"}
    assert locks.get(name, "FOR UPDATE") in statements_of(name).lock.text


def test_parameters_stand_in_their_places() -> None:
    """Those of the statement's own values too, and one that is there twice at both places."""
    statement = statements_of("sqlite").store(Newer, erase=False)
    record = Record(DocumentId("users", "a"), "{}", "0" * 32, 1, 1)
    values = statements_of("sqlite").written([Write(record, Newer())])
    arguments = statement.arguments(values)
    assert len(arguments) == statement.text.count("?")
    assert arguments.count(values["rows"]) == 1
    assert arguments[-2:] == (None, None)  # the mark that must stand there


@pytest.mark.parametrize(
    ("prefix", "table", "expected"),
    [
        ("aiostore_", None, ("aiostore_documents", "aiostore_schema")),
        ("app_", None, ("app_documents", "app_schema")),
        ("", "things", ("things", "things_schema")),
        ("app_", "things", ("app_things", "app_things_schema")),
    ],
)
def test_the_names_of_the_tables(prefix: str, table: str | None, expected: tuple[str, str]) -> None:
    """Of prefix and table, and used by every statement."""
    made = tables(prefix, table)
    assert (made.documents.name, made.layout.name) == expected
    assert expected[0] in statements_of("postgresql", made).read.text
