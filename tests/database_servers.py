"""A database server as the tests use it: databases that are empty, at little cost."""

import asyncio
import secrets
import weakref
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, TypeVar
from urllib.parse import urlsplit

from served import Lent, Server
from sql_engines import SQL_ENGINES, parts

T = TypeVar("T")


class DatabaseServer(Server):
    """A server that runs, by the URL of a user of it who may create databases.

    What it lends are databases.
    """

    def __init__(self, name: str, url: str) -> None:
        super().__init__(name, url)
        self.engine = SQL_ENGINES[name]
        self._names = (f"test_{secrets.token_hex(4)}_{number}" for number in count())
        self._made: list[str] = []
        self._free: list[str] = []

    def url_of(self, database: str) -> str:
        """The URL of a database, whether there is one of this name or not."""
        return urlsplit(self.url)._replace(path=f"/{database}").geturl()

    def create_database(self, name: str) -> str:
        """Create a database, which must not be there yet, and return its URL."""
        self.query(f"CREATE DATABASE {name} {self.engine.created_with}")
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        """Drop a database if it is there; who uses it is thrown out."""
        _run(self._drop(name))

    def lend(self) -> Lent:
        """An empty database that is nobody else's as long as the object that is returned lives.

        Then it is lent again, emptied: the thousandth costs some milliseconds as the first does,
        and the disk holds no more of them than were needed at one time.
        """
        if self._free:
            name = self._free.pop()
            _run(self._empty(name))
        else:
            name = next(self._names)
            self.create_database(name)
            self._made.append(name)
        database = Lent(self.url_of(name))
        weakref.finalize(database, self._free.append, name)
        return database

    def query(
        self, statement: str, *values: object, url: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Run one statement over a connection of its own, and return the rows.

        Args:
            statement: with `?` for each value.
            values: in their order.
            url: of the database, when it is not the one that is always there.
        """
        return _run(self._query(url or self.url, statement, *values))

    def sessions(self, url: str) -> int:
        """How many connections to a database there are; one that is closed may take a moment."""
        return _run(self._sessions(parts(url)[-1]))

    def close(self) -> None:
        """Drop the databases that were lent."""
        super().close()
        while self._made:
            self.drop_database(self._made.pop())
        self._free.clear()

    async def _query(self, url: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
        async with self.engine.connected(url) as query:
            return await query(statement, *values)

    async def _sessions(self, database: str) -> int:
        async with self.engine.connected(self.url) as query:
            return len(await self.engine.sessions(query, database))

    async def _drop(self, name: str) -> None:
        async with self.engine.connected(self.url) as query:
            await self.engine.drop(query, name)

    async def _empty(self, name: str) -> None:
        async with self.engine.connected(self.url_of(name)) as query:
            await self.engine.empty(query, name)


def _run(task: Coroutine[Any, Any, T]) -> T:
    # On a loop of its own, in a thread of its own: one may be running here.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, task).result()
