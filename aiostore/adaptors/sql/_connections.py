"""Connections that are kept: made by SQLAlchemy, used by their drivers' own interface.

A connection belongs to one piece of work at a time and goes back to those that wait, with neither a
ping nor a reset in between; one that may be broken is thrown away instead, and with it all that are
older than the trouble. A server that restarts or fails over is waited for before anything is sent,
and one that takes connections and does not answer keeps nobody for longer than the limits say.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import AdaptedConnection
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from aiostore.adaptors.sql._databases import Pool
from aiostore.adaptors.sql._drivers import Rows, Session, Values
from aiostore.adaptors.sql._prepared import Prepared
from aiostore.errors import UnavailableError

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.5
_GOODBYE = 2.0  # seconds that a server may take to see a connection off


class Connections:
    """At most `pool.size` connections to one database.

    Args:
        engine: makes them; without a pool of its own.
        session: makes a session of a driver's connection.
        pool: the limits.
        setup: statements for every new one.
        limits: statements for every new one that a session is made of, besides.
        connect_timeout: how long one attempt to connect may take; None for any time.
        is_lost: whether an error means that the connection is of no more use.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        session: Callable[[Any], Session],
        pool: Pool,
        *,
        setup: Sequence[str],
        limits: Sequence[str],
        connect_timeout: timedelta | None,
        is_lost: Callable[[BaseException], bool],
    ) -> None:
        self._engine = engine
        self._session = session
        self._pool = pool
        self._setup = setup
        self._limits = limits
        self._connect_timeout = None if connect_timeout is None else connect_timeout.total_seconds()
        self._is_lost = is_lost
        self._free = asyncio.Semaphore(pool.size)
        self._idle: list[tuple[AsyncConnection, Session]] = []
        self._patience = timedelta(0)
        self._nascent: dict[asyncio.Task[Any] | None, Session | None] = {}
        event.listen(engine.sync_engine, "connect", self._note, insert=True)

    def be_patient(self) -> None:
        """Wait for a server that has been reached before."""
        self._patience = self._pool.reconnect_timeout

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[AsyncConnection]:
        """A connection for SQLAlchemy's own interface, closed at the end."""
        connection = await self._connect()
        try:
            yield connection
        finally:
            await self._see_off(connection)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A session, to be left with no transaction under way."""
        await self._enter()
        try:
            connection, session = await self._take()
            try:
                yield session
            except BaseException as error:
                await self._examine(connection, session, error)
                raise
            self._idle.append((connection, session))
        finally:
            self._free.release()

    async def fetch(self, statement: Prepared, values: Values) -> Rows:
        """The rows that a statement returns which changes nothing.

        It runs in the caller's own task, which may be cancelled: drivers that let a statement be
        given up (`Session.can_give_up`) keep their connection then.
        """
        await self._enter()
        try:
            connection, session = await self._take()
            try:
                rows = await session.fetch(statement, values)
            except asyncio.CancelledError as error:
                if session.can_give_up and not session.is_closed:
                    self._idle.append((connection, session))
                else:
                    await self._examine(connection, session, error)
                raise
            except BaseException as error:
                await self._examine(connection, session, error)
                raise
            self._idle.append((connection, session))
            return rows
        finally:
            self._free.release()

    async def forget(self) -> None:
        """Throw away those that are not in use: what broke one has broken them, too."""
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            await self._throw_away(connection)

    async def aclose(self) -> None:
        """Close them, none being in use."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(self._see_off(connection) for connection, _ in idle))
        await self._engine.dispose()

    async def _examine(
        self, connection: AsyncConnection, session: Session, error: BaseException
    ) -> None:
        """Keep a connection after an error, unless it may be broken."""
        if session.is_closed or not isinstance(error, Exception) or self._is_lost(error):
            await self._throw_away(connection)
            await self.forget()
        else:
            self._idle.append((connection, session))

    async def _enter(self) -> None:
        if not self._free.locked():  # there is room: no timer is needed
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout(self._pool.timeout.total_seconds()):
                await self._free.acquire()
        except TimeoutError:
            raise UnavailableError(
                f"all {self._pool.size} connections were in use for longer than pool_timeout, "
                f"{self._pool.timeout.total_seconds():g} s: ask for less at the same time, or "
                "raise pool_size"
            ) from None

    async def _take(self) -> tuple[AsyncConnection, Session]:
        while self._idle:
            connection, session = self._idle.pop()
            if not session.is_closed:
                return connection, session
            await self._throw_away(connection)
        connection = await self._connect()
        try:
            session = await self._session_of(connection)
            for statement in self._limits:
                await session.run(statement)
        except BaseException:
            await self._throw_away(connection)
            raise
        return connection, session

    async def _connect(self) -> AsyncConnection:
        """Nothing has been sent yet, so there is nothing that could happen twice."""
        clock = asyncio.get_running_loop()
        deadline = clock.time() + self._patience.total_seconds()
        pause = _FIRST_PAUSE
        while True:
            try:
                async with asyncio.timeout(self._connect_timeout):
                    return await self._connected()
            except Exception as error:
                if not self._is_lost(error) or clock.time() + pause > deadline:
                    raise
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  # no secret
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _connected(self) -> AsyncConnection:
        """A new connection, made in a task of its own.

        SQLAlchemy would lose sight of one that the driver has made when it is cancelled. So the
        task goes on when nobody waits any more, and what it has made is thrown away.
        """
        job = asyncio.create_task(self._make())
        self._nascent[job] = None
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.create_task(self._give_up(job)))
            raise
        finally:
            self._nascent.pop(job, None)

    async def _make(self) -> AsyncConnection:
        return await self._set_up(await self._engine.connect())

    def _note(self, adapted: DBAPIConnection, _: object) -> None:
        """The driver has connected, for the task that is running."""
        job = asyncio.current_task()
        if job in self._nascent and isinstance(adapted, AdaptedConnection):
            self._nascent[job] = self._session(adapted.driver_connection)

    async def _give_up(self, job: asyncio.Task[AsyncConnection]) -> None:
        session = self._nascent.get(job)
        if session is None and self._connect_timeout is not None:
            job.cancel()  # a driver closes what it has not made yet; but a file is opened soon
        if not (await asyncio.wait([job], timeout=_GOODBYE))[0]:
            if session is not None:
                session.abort()  # the server hangs
            job.cancel()
        [outcome] = await asyncio.gather(job, return_exceptions=True)
        if isinstance(outcome, AsyncConnection):
            await self._throw_away(outcome)

    async def _set_up(self, connection: AsyncConnection) -> AsyncConnection:
        try:
            for statement in self._setup:
                await connection.exec_driver_sql(statement)
        except BaseException:
            await self._throw_away(connection)
            raise
        return connection

    async def _session_of(self, connection: AsyncConnection) -> Session:
        raw = await connection.get_raw_connection()
        return self._session(raw.driver_connection)

    async def _see_off(self, connection: AsyncConnection) -> None:
        """Close it as the server likes it, if that answers."""
        await _to_the_end(self._take_leave(connection))

    async def _throw_away(self, connection: AsyncConnection) -> None:
        """Close it without asking the server."""
        await _to_the_end(self._drop(connection))

    async def _take_leave(self, connection: AsyncConnection) -> None:
        with suppress(Exception):  # it may be broken, and how it ends is no matter
            session = await self._session_of(connection)
            async with asyncio.timeout(_GOODBYE):
                await session.close()
        await self._drop(connection)

    async def _drop(self, connection: AsyncConnection) -> None:
        # Likewise; and a driver may be in the midst of a statement that was cancelled.
        with suppress(Exception, asyncio.CancelledError):
            (await self._session_of(connection)).abort()
            await connection.invalidate()
        await connection.close()


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Do `work` in a task of its own, and let a cancellation through when it has ended."""
    job = asyncio.create_task(work)
    try:
        await asyncio.shield(job)
    except asyncio.CancelledError:
        await asyncio.wait([job])
        raise
