"""The database engines behind the adaptors' backs: their drivers, and their ways with databases."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

Query = Callable[..., Awaitable[list[tuple[Any, ...]]]]
"""Runs one statement, with values for its `?`, and returns the rows; names are in double quotes."""


class SQLEngine(Protocol):
    """What the tests' servers have to know of an engine.

    Attributes:
        driver: the package that connects to it.
        created_with: the end of `CREATE DATABASE`.
        locking: statements after which nobody else reads or writes the table `{table}` until the
            connection is closed.
    """

    driver: str
    created_with: str
    locking: tuple[str, ...]

    def connected(self, url: str) -> AbstractAsyncContextManager[Query]:
        """A connection without TLS, each statement a transaction; the URL's options are ignored."""
        ...

    async def sessions(self, query: Query, database: str) -> list[int]:
        """The connections to a database, this one left out."""
        ...

    async def drop(self, query: Query, database: str) -> None:
        """Drop a database if it is there; who uses it is thrown out."""
        ...

    async def empty(self, query: Query, database: str) -> None:
        """Make the database that this connection is to as if it were new, likewise."""
        ...


class PostgreSQL:
    """PostgreSQL, by asyncpg."""

    driver = "asyncpg"
    created_with = "ENCODING 'UTF8' TEMPLATE template0"
    locking: tuple[str, ...] = ("BEGIN", "LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")

    @asynccontextmanager
    async def connected(self, url: str) -> AsyncIterator[Query]:
        import asyncpg  # noqa: PLC0415  # may be missing

        user, password, host, port, database = parts(url)
        connection = await asyncpg.connect(
            host=host, port=port, user=user, password=password, database=database, ssl=False
        )

        async def query(statement: str, *values: object) -> list[tuple[Any, ...]]:
            if values:
                numbers = count(1)
                statement = re.sub(r"\?", lambda _: f"${next(numbers)}", statement)
            return [tuple(row) for row in await connection.fetch(statement, *values)]

        try:
            yield query
        finally:
            await connection.close()

    async def sessions(self, query: Query, database: str) -> list[int]:
        rows = await query(
            "SELECT pid FROM pg_stat_activity WHERE datname = ? AND pid <> pg_backend_pid()",
            database,
        )
        return [pid for (pid,) in rows]

    async def drop(self, query: Query, database: str) -> None:
        await query(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    async def empty(self, query: Query, database: str) -> None:
        for pid in await self.sessions(query, database):
            await query("SELECT pg_terminate_backend(?, 5000)", pid)
        await query("DROP SCHEMA public CASCADE")
        await query("CREATE SCHEMA public")


class MariaDB:
    """MariaDB and MySQL, by asyncmy."""

    driver = "asyncmy"
    created_with = ""
    locking: tuple[str, ...] = ("LOCK TABLES {table} WRITE",)

    @asynccontextmanager
    async def connected(self, url: str) -> AsyncIterator[Query]:
        import asyncmy  # noqa: PLC0415  # may be missing

        user, password, host, port, database = parts(url)
        connection = await asyncmy.connect(
            host=host,
            port=port,
            user=user,
            password=password,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            init_command="SET sql_mode = 'STRICT_ALL_TABLES,ANSI_QUOTES'",
        )

        async def query(statement: str, *values: object) -> list[tuple[Any, ...]]:
            async with connection.cursor() as cursor:
                if values:
                    statement = statement.replace("%", "%%").replace("?", "%s")
                await cursor.execute(statement, values or None)
                return list(await cursor.fetchall())

        try:
            yield query
        finally:
            await connection.ensure_closed()

    async def sessions(self, query: Query, database: str) -> list[int]:
        rows = await query(
            "SELECT id FROM information_schema.processlist WHERE db = ? AND id <> CONNECTION_ID()",
            database,
        )
        return [id_ for (id_,) in rows]

    async def drop(self, query: Query, database: str) -> None:
        await self._throw_out(query, database)
        await query(f"DROP DATABASE IF EXISTS {database}")

    async def empty(self, query: Query, database: str) -> None:
        await self.drop(query, database)
        await query(f"CREATE DATABASE {database}")

    async def _throw_out(self, query: Query, database: str) -> None:
        from asyncmy.errors import OperationalError  # noqa: PLC0415  # may be missing

        for session in await self.sessions(query, database):
            try:
                await query(f"KILL {session}")
            except OperationalError as error:
                if error.args[0] != NO_SUCH_THREAD:
                    raise


NO_SUCH_THREAD = 1094
"""Of MariaDB and MySQL: it has gone by itself."""

SQL_ENGINES: dict[str, SQLEngine] = {"postgresql": PostgreSQL(), "mariadb": MariaDB()}


def parts(url: str) -> tuple[str, str, str, int, str]:
    """User, password, host, port and database of a URL; all but the port must be there."""
    split = urlsplit(url)
    if not (split.username and split.password and split.hostname and split.path.strip("/")):
        raise ValueError(f"a server's URL is {split.scheme}://USER:PASSWORD@HOST:PORT/DATABASE")
    port = split.port or (5432 if split.scheme == "postgresql" else 3306)
    user, password, database = map(unquote, (split.username, split.password, split.path.strip("/")))
    return user, password, split.hostname, port, database
