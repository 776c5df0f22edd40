"""A table of documents in PostgreSQL, and its statements; for tests that are sync."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.sql.elements import ClauseElement

DIALECT = dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy has no types there

TABLE = """
CREATE TEMPORARY TABLE aiostore_documents (
    collection VARCHAR(64) COLLATE "C" NOT NULL,
    key VARCHAR(512) COLLATE "C" NOT NULL,
    body TEXT,
    PRIMARY KEY (collection, key)
)
"""


class PostgreSQLDocuments:
    """A connection, and the table that it has for itself.

    Args:
        url: of a database.
    """

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._connection = self._runner.run(asyncpg.connect(url, ssl=False))
        self.run(TABLE)

    def close(self) -> None:
        """Close the connection."""
        self._runner.run(self._connection.close())
        self._runner.close()

    def run(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows that a statement returns."""
        rows = self._runner.run(self._connection.fetch(text, *values))
        return [tuple(row) for row in rows]

    def select(self, statement: ClauseElement) -> list[tuple[Any, ...]]:
        """The same of a statement of SQLAlchemy's."""
        return self._run("", statement)

    def plan(self, statement: ClauseElement) -> str:
        """How PostgreSQL goes about it."""
        return "\n".join(line for (line,) in self._run("EXPLAIN ", statement))

    def analyze(self) -> None:
        """Let it count what there is."""
        self.run("ANALYZE aiostore_documents")

    def _run(self, before: str, statement: ClauseElement) -> list[tuple[Any, ...]]:
        compiled: Any = statement.compile(dialect=DIALECT)
        values = [compiled.params[name] for name in compiled.positiontup]
        return self.run(f"{before}{compiled}", *values)

    def insert(self, bodies: Sequence[str | None]) -> None:
        """Store records of the collection `users`, whose keys are their numbers, as 000123."""
        self.run(
            "INSERT INTO aiostore_documents SELECT 'users', to_char(number - 1, 'FM000000'), body "
            "FROM unnest($1::text[]) WITH ORDINALITY AS each(body, number)",
            bodies,
        )

    def clear(self) -> None:
        """Remove them."""
        self.run("TRUNCATE aiostore_documents")
