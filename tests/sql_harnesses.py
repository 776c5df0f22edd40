"""Harnesses over SQL servers, whose hooks look at the tables by the driver alone."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from served import Lent
from servers import server
from sql_engines import SQLEngine

from aiostore.opening import open_adaptor
from aiostore.protocols import Adaptor, DocumentId, Mark, Record
from aiostore.testing import Harness

TABLE = "aiostore_documents"
COLUMNS = 'collection, "key", body, version, created_at, updated_at, expires_at, mark'
ONE = 'WHERE collection = ? AND "key" = ?'


def sql_makes(name: str) -> Callable[[Path], Callable[[], Adaptor]]:
    """For an engine: what returns a new adaptor at every call, over an empty database each."""

    def make_for(_: Path) -> Callable[[], Adaptor]:
        return _make(server(name).lend())

    return make_for


def sql_harness(name: str, impatience: str) -> Harness:
    """A harness over an empty database of an engine's server.

    Args:
        name: of the engine.
        impatience: the options of a URL with which an adaptor soon gives up on a table that another
            session has locked.
    """
    shared = server(name)
    database = shared.lend()
    behind = Behind(shared.engine, database.url)
    return Harness(
        _make(database),
        peek=behind.peek,
        poke=behind.poke,
        damage=behind.damaged,
        unusable=lambda: open_adaptor(shared.url_of("missing")),
        outage=lambda: behind.locked(open_adaptor(f"{database.url}?{impatience}")),
    )


def _make(database: Lent) -> Callable[[], Adaptor]:
    # Who holds the function holds the database.
    return lambda: open_adaptor(database.url)


class Behind:
    """What stands in the table of documents, by the driver alone."""

    def __init__(self, engine: SQLEngine, url: str, table: str = TABLE) -> None:
        self._engine = engine
        self._url = url
        self._table = table

    async def peek(self, id_: DocumentId) -> Record | None:
        """The record that stands there."""
        async with self._engine.connected(self._url) as query:
            rows = await query(f"SELECT {COLUMNS} FROM {self._table} {ONE}", *id_)  # noqa: S608  # our own texts
        if not rows:
            return None
        [(_, _, body, version, created_at, updated_at, expires_at, mark)] = rows
        return Record(
            id_, body, _text(version), created_at, updated_at, expires_at, Mark(_text(mark))
        )

    async def poke(self, record: Record) -> None:
        """Put a record where none stands."""
        values = (
            *record.id,
            record.body,
            record.version,
            record.created_at,
            record.updated_at,
            record.expires_at,
            record.mark,
        )
        async with self._engine.connected(self._url) as query:
            await query(
                f"INSERT INTO {self._table} ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  # our own texts
                *values,
            )

    @asynccontextmanager
    async def damaged(self, id_: DocumentId) -> AsyncIterator[None]:
        """In this context the body of a record is no JSON."""
        await self._change(id_, "CONCAT('{', body)")
        try:
            yield
        finally:
            await self._change(id_, "SUBSTR(body, 2)")

    @asynccontextmanager
    async def locked(self, adaptor: Adaptor) -> AsyncIterator[Adaptor]:
        """An adaptor, opened, while another session keeps it from the table."""
        await adaptor.open()
        try:
            async with self._engine.connected(self._url) as query:
                for statement in self._engine.locking:
                    await query(statement.format(table=self._table))
                yield adaptor
        finally:
            await adaptor.aclose()

    async def _change(self, id_: DocumentId, body: str) -> None:
        async with self._engine.connected(self._url) as query:
            await query(f"UPDATE {self._table} SET body = {body} {ONE}", *id_)  # noqa: S608  # our own texts


def _text(value: Any) -> str:
    # MariaDB has binary columns, for an order by code points.
    return value.decode() if isinstance(value, bytes) else value
