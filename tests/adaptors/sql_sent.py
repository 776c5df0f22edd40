"""What an SQL adaptor sends to its database, and how that goes about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.dialects import postgresql

from aiostore.adaptors.sql import SQLAdaptor
from aiostore.adaptors.sql._drivers import Rows
from aiostore.adaptors.sql._prepared import Prepared


class Sent(NamedTuple):
    """A statement of a scan, with its values and what it returned."""

    statement: Prepared
    values: dict[str, Any]
    rows: Rows


@contextmanager
def sent_by(adaptor: SQLAdaptor) -> Iterator[list[Sent]]:
    """The statements of the adaptor's scans as long as this context lasts, in their order."""
    sent: list[Sent] = []
    fetch = adaptor._fetch

    async def recorded(statement: Prepared, values: dict[str, Any]) -> Rows:
        rows = await fetch(statement, values)
        sent.append(Sent(statement, values, rows))
        return rows

    adaptor._fetch = recorded  # type: ignore[method-assign]  # of this adaptor alone
    try:
        yield sent
    finally:
        del adaptor._fetch


async def plan_of(adaptor: SQLAdaptor, one: Sent) -> str:
    """How the database would run a statement again, with the same values, in its own words."""
    driver = adaptor._dialect.driver
    if driver == "postgresql+asyncpg":
        return await _postgresql_plan_of(adaptor, one.statement)
    explained = copy(one.statement)
    if driver == "sqlite+aiosqlite":
        explained.text = f"EXPLAIN QUERY PLAN {explained.text}"
        return _told(await adaptor._fetch(explained, one.values))
    explained.text = f"EXPLAIN {explained.text}"
    rows = await adaptor._fetch(explained, one.values)
    return _told([(*row[:4], *row[5:]) for row in rows])  # without the keys that it does not use


async def _postgresql_plan_of(adaptor: SQLAdaptor, statement: Prepared) -> str:
    """As the adaptor's sessions have it planned, which is for whatever values."""
    assert adaptor._opened is not None
    async with adaptor._opened.connections.session() as session:
        await session.run(f"PREPARE asked AS {statement.text}")
        values = ", ".join(["NULL"] * len(statement._names))
        explain = Prepared(text(f"EXPLAIN EXECUTE asked ({values})"), postgresql.dialect())  # type: ignore[no-untyped-call]  # SQLAlchemy's
        try:
            return _told(await session.fetch(explain))
        finally:
            await session.run("DEALLOCATE asked")


def _told(rows: Rows) -> str:
    return "\n".join(" ".join(map(str, row)) for row in rows)
