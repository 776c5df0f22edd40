"""The drivers' own connections, all spoken to in the same way."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from aiostore.adaptors.sql._prepared import Prepared

Values = Mapping[str, Any]
Rows = Sequence[Sequence[Any]]

_NONE: Values = {}


class Session(Protocol):
    """A connection to a database, for one piece of work at a time.

    It raises what its driver raises, or `TimeoutError`.

    Attributes:
        can_give_up: who waits for a `fetch` that changes nothing may be cancelled, and the
            connection is as good as before.
    """

    can_give_up: bool

    @property
    def is_closed(self) -> bool:
        """Whether it is known to be of no more use."""
        ...

    async def fetch(self, statement: Prepared, values: Values = _NONE, /) -> Rows:
        """The rows that a statement returns."""
        ...

    async def change(self, statement: Prepared, values: Values = _NONE, /) -> int:
        """The number of rows that a statement has changed."""
        ...

    async def run(self, text: str, /) -> None:
        """Execute a statement that has neither parameters nor rows."""
        ...

    async def roll_back(self) -> None:
        """End the transaction that is under way, if the database has not done so after an error."""
        ...

    async def close(self) -> None:
        """Give up what is under way, and take leave of the server."""
        ...

    def abort(self) -> None:
        """Close what connects to a server, without a word to it."""
        ...


class AiosqliteSession:
    """SQLite's, which has a thread of its own. It needs no limit: it waits for locks only.

    What nobody waits for any more goes on there, and what is asked next comes after it.
    """

    can_give_up = True

    def __init__(self, connection: Any, timeout: float | None) -> None:
        del timeout
        self._connection = connection

    @property
    def is_closed(self) -> bool:
        return False

    async def fetch(self, statement: Prepared, values: Values = _NONE, /) -> Rows:
        # In one visit to the thread; a commit has succeeded before the rows come.
        rows: Rows = await self._connection.execute_fetchall(
            statement.text, statement.arguments(values)
        )
        return rows

    async def change(self, statement: Prepared, values: Values = _NONE, /) -> int:
        async with self._connection.execute(statement.text, statement.arguments(values)) as cursor:
            return int(cursor.rowcount)

    async def run(self, text: str, /) -> None:
        await self._connection.execute_fetchall(text)

    async def roll_back(self) -> None:
        if self._connection.in_transaction:
            await self.run("ROLLBACK")

    async def close(self) -> None:
        await self._connection.close()

    def abort(self) -> None:
        pass


class AsyncpgSession:
    """PostgreSQL's; it keeps what it has prepared.

    It tells the server to give up what nobody waits for any more, and lets what is asked next wait
    for that.
    """

    can_give_up = True

    def __init__(self, connection: Any, timeout: float | None) -> None:
        self._connection = connection
        self._timeout = timeout

    @property
    def is_closed(self) -> bool:
        return bool(self._connection.is_closed())

    async def fetch(self, statement: Prepared, values: Values = _NONE, /) -> Rows:
        rows: Rows = await self._connection.fetch(
            statement.text, *statement.arguments(values), timeout=self._timeout
        )
        return rows

    async def change(self, statement: Prepared, values: Values = _NONE, /) -> int:
        status: str = await self._connection.execute(
            statement.text, *statement.arguments(values), timeout=self._timeout
        )
        return int(status.rpartition(" ")[2])  # as in "UPDATE 3" and "INSERT 0 3"

    async def run(self, text: str, /) -> None:
        await self._connection.execute(text, timeout=self._timeout)

    async def roll_back(self) -> None:
        await self.run("ROLLBACK")

    async def close(self) -> None:
        await self._connection.close()

    def abort(self) -> None:
        self._connection.terminate()


class AsyncmySession:
    """MariaDB's and MySQL's."""

    can_give_up = False

    def __init__(self, connection: Any, timeout: float | None) -> None:
        self._connection = connection
        self._timeout = timeout

    @property
    def is_closed(self) -> bool:
        return not self._connection.connected

    async def fetch(self, statement: Prepared, values: Values = _NONE, /) -> Rows:
        async with asyncio.timeout(self._timeout), self._connection.cursor() as cursor:
            await cursor.execute(statement.text, statement.arguments(values))
            rows: Rows = await cursor.fetchall()
            return rows

    async def change(self, statement: Prepared, values: Values = _NONE, /) -> int:
        async with asyncio.timeout(self._timeout), self._connection.cursor() as cursor:
            return int(await cursor.execute(statement.text, statement.arguments(values)))

    async def run(self, text: str, /) -> None:
        async with asyncio.timeout(self._timeout), self._connection.cursor() as cursor:
            await cursor.execute(text)

    async def roll_back(self) -> None:
        await self.run("ROLLBACK")

    async def close(self) -> None:
        await self._connection.ensure_closed()

    def abort(self) -> None:
        self._connection.close()


SESSIONS: Mapping[str, Callable[[Any, float | None], Session]] = {
    "sqlite+aiosqlite": AiosqliteSession,
    "postgresql+asyncpg": AsyncpgSession,
    "mariadb+asyncmy": AsyncmySession,
    "mysql+asyncmy": AsyncmySession,
}
"""By SQLAlchemy's name of the dialect and the driver: of a driver's connection and the most seconds
that a statement may take, a session."""
