"""A table of documents in SQLite, and its statements, without the adaptor."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.sql.elements import ClauseElement

DIALECT = dialect()

TABLE = """
CREATE TABLE aiostore_documents (
    collection TEXT, key TEXT, body TEXT, PRIMARY KEY (collection, key)
)
"""


class SQLiteDocuments:
    """A database in memory, with the table."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self.run(TABLE)

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def run(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows that a statement returns."""
        return self._connection.execute(text, values).fetchall()

    def select(self, statement: ClauseElement) -> list[tuple[Any, ...]]:
        """The same of a statement of SQLAlchemy's."""
        return self._run("", statement)

    def plan(self, statement: ClauseElement) -> str:
        """How SQLite goes about it."""
        return "\n".join(row[3] for row in self._run("EXPLAIN QUERY PLAN ", statement))

    def insert(self, bodies: Sequence[str | None]) -> None:
        """Store records of the collection `users`, whose keys are their numbers, as 000123."""
        rows = [("users", f"{number:06}", body) for number, body in enumerate(bodies)]
        self._connection.executemany("INSERT INTO aiostore_documents VALUES (?, ?, ?)", rows)

    def clear(self) -> None:
        """Remove them."""
        self.run("DELETE FROM aiostore_documents")

    def analyze(self) -> None:
        """Let it count what there is."""
        self.run("ANALYZE")

    def _run(self, before: str, statement: ClauseElement) -> list[tuple[Any, ...]]:
        compiled: Any = statement.compile(dialect=DIALECT)
        values = [compiled.params[name] for name in compiled.positiontup]
        return self.run(f"{before}{compiled}", *values)
