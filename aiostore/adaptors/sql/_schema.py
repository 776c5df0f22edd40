"""The tables of a store: made at the first use, checked at every other, and brought up to date."""

from collections.abc import Collection

from sqlalchemy import Connection, delete, insert, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aiostore.adaptors.sql._dialects import Dialect
from aiostore.adaptors.sql._tables import INDEX_COLUMN, LAYOUT_VERSION, Tables
from aiostore.errors import ConfigurationError, UnavailableError


async def prepare(
    connection: AsyncConnection,
    tables: Tables,
    dialect: Dialect,
    *,
    shared: bool,
) -> None:
    """Make what is missing, of several processes one at a time; nothing if all is there.

    Args:
        connection: in autocommit mode; of no more use after an error.
        tables: the store's.
        dialect: the database's.
        shared: make them beside other tables.

    Raises:
        ConfigurationError: the database belongs to something else, or to a later version. Nothing
            was changed.
        UnavailableError: another process did not come to an end with it.
    """
    if await connection.run_sync(_is_prepared, tables, shared=shared):
        return
    for statement in dialect.making[0]:
        result = await connection.exec_driver_sql(statement)
        if result.returns_rows and result.scalar() == 0:
            raise UnavailableError("another process has been making the tables for too long")
    if not await connection.run_sync(_is_prepared, tables, shared=True):
        await connection.run_sync(_make, tables)
    for statement in dialect.making[1]:
        await connection.exec_driver_sql(statement)


def _is_prepared(connection: Connection, tables: Tables, *, shared: bool) -> bool:
    inspector = inspect(connection)
    there = [table for table in tables if inspector.has_table(table.name)]
    if not there and not shared:
        others = inspector.get_table_names()
        if others:
            raise ConfigurationError(
                f"the database holds other tables ({min(others)!r}): choose another file, or "
                "add ?shared=true to keep the documents beside them"
            )
    for table in there:
        found = {column["name"] for column in inspector.get_columns(table.name)}
        if not found.issuperset(table.columns.keys()) or _is_foreign(found, table.columns.keys()):
            raise ConfigurationError(
                f"the table {table.name!r} is not as this version of aiostore makes it: choose "
                "another database or ?table=…, or update aiostore"
            )
    if tables.layout not in there:
        return False
    versions = list(connection.scalars(select(tables.layout.c.version)))
    if any(version > LAYOUT_VERSION for version in versions):
        raise ConfigurationError(
            f"the database has layout {max(versions)}, and this version of aiostore knows "
            f"layout {LAYOUT_VERSION}: update aiostore"
        )
    return versions == [LAYOUT_VERSION] and tables.documents in there


def _is_foreign(found: set[str], ours: Collection[str]) -> bool:
    """Whether there are columns that neither the layout nor a declared index has made."""
    return any(not name.startswith(INDEX_COLUMN) for name in found - set(ours))


def _make(connection: Connection, tables: Tables) -> None:
    """Whatever is missing, of a new database or of one with an earlier layout."""
    for table in tables:
        table.create(connection, checkfirst=True)
    for index in tables.documents.indexes:
        index.create(connection, checkfirst=True)
    connection.execute(delete(tables.layout))
    connection.execute(insert(tables.layout).values(version=LAYOUT_VERSION))
