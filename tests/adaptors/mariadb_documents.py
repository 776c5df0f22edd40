"""A table of documents in MariaDB, and statements about it from tests that are not async."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncmy
import msgspec
from sql_engines import parts
from sqlalchemy.dialects.mysql.asyncmy import dialect
from sqlalchemy.sql.elements import ClauseElement

MAKE = """
CREATE TABLE IF NOT EXISTS aiostore_documents (
    collection VARBINARY(64) NOT NULL,
    `key` VARBINARY(512) NOT NULL,
    body LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    PRIMARY KEY (collection, `key`)
) ENGINE = InnoDB
"""
"""The statement that makes the table."""

_PLAN = (
    *("id", "select_type", "table", "type", "possible_keys", "key", "key_len", "ref", "rows"),
    "extra",
)
_DIALECT = dialect()
_INSERT = """
INSERT INTO aiostore_documents (collection, `key`, body)
SELECT %s, `key`, body FROM JSON_TABLE(%s, '$[*]' COLUMNS (
    `key` VARCHAR(6) PATH '$[0]',
    body LONGTEXT CHARACTER SET utf8mb4 PATH '$[1]'
)) AS batch
"""


class Warned(Exception):  # noqa: N818  # it is no error of the server's
    """A statement has warned, which a write would have failed by."""


async def connected(url: str) -> Any:
    """A connection of asyncmy's to a database, each statement a transaction.

    Notes, of bodies that are no JSON, are turned off: the driver would log them.
    """
    user, password, host, port, database = parts(url)
    return await asyncmy.connect(
        host=host,
        port=port,
        user=user,
        password=password,
        database=database,
        charset="utf8mb4",
        autocommit=True,
        init_command="SET sql_notes = 0",
    )


async def run(connection: Any, text: str, *values: Any) -> list[tuple[Any, ...]]:
    """The rows of a statement.

    Raises:
        Warned: it warned.
    """
    async with connection.cursor() as cursor:
        await cursor.execute(text, values or None)
        rows = list(await cursor.fetchall())
        await cursor.execute("SHOW WARNINGS")
        if warnings := await cursor.fetchall():
            raise Warned(warnings)
        return rows


class MariaDBDocuments:
    """A connection to a database, in whose table the documents are; it makes the table.

    Args:
        url: of the database.
    """

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._connection = self._runner.run(connected(url))
        self.run(MAKE)

    def close(self) -> None:
        """Close the connection."""
        self._runner.run(self._connection.ensure_closed())
        self._runner.close()

    def run(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement, as `run`."""
        return self._runner.run(run(self._connection, text, *values))

    def select(self, statement: ClauseElement) -> list[tuple[Any, ...]]:
        """The rows of one of SQLAlchemy's."""
        return self.run(*_compiled(statement))

    def explain(self, statement: ClauseElement) -> list[dict[str, Any]]:
        """The steps of the plan for it."""
        text, *values = _compiled(statement)
        rows = self.run(f"EXPLAIN {text}", *values)
        return [dict(zip(_PLAN, row, strict=True)) for row in rows]

    def insert(self, bodies: Sequence[str | None], collection: str = "users") -> None:
        """Store records, whose keys are their numbers, `000000` and on."""
        self.run(*insertion(bodies, collection))


def insertion(bodies: Sequence[str | None], collection: str = "users") -> tuple[str, str, str]:
    """The statement that stores such records, and its values."""
    rows = [[f"{number:06}", body] for number, body in enumerate(bodies)]
    return _INSERT, collection, msgspec.json.encode(rows).decode()


def _compiled(statement: ClauseElement) -> list[Any]:
    compiled = statement.compile(dialect=_DIALECT)
    names = compiled.positiontup  # type: ignore[attr-defined]  # a SQLCompiler's
    return [str(compiled), *(compiled.params[name] for name in names)]
