"""SQL stores of the tests: opened for a while, and watched from behind."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from urllib.parse import quote, urlsplit

from database_servers import DatabaseServer

from aiostore.adaptors.sql import SQLAdaptor
from aiostore.opening import open_adaptor
from aiostore.protocols import DocumentId, Newer, Record, Write
from aiostore.versions import VersionClock

CLOCK = VersionClock()


def adaptor_of(url: str, **options: object) -> SQLAdaptor:
    """The adaptor of a URL with options."""
    query = "&".join(f"{name}={value}" for name, value in options.items())
    adaptor = open_adaptor(f"{url}?{query}" if query else url)
    assert isinstance(adaptor, SQLAdaptor)
    return adaptor


@asynccontextmanager
async def opened(url: str, **options: object) -> AsyncIterator[SQLAdaptor]:
    """An adaptor while it is open."""
    adaptor = await asyncio.to_thread(adaptor_of, url, **options)
    try:
        await adaptor.open()
        yield adaptor
    finally:
        await adaptor.aclose()


async def open_and_close(url: str, **options: object) -> None:
    """Open a store, which may fail."""
    async with opened(url, **options):
        pass


def place(key: str) -> DocumentId:
    """Where a document of the tests stands."""
    return DocumentId("users", key)


def record(key: str, body: str | None = "{}") -> Record:
    """A record with a fresh version."""
    return Record(place(key), body, CLOCK.next(), 1, 2)


def put(key: str, body: str | None = "{}") -> Write:
    """A write that is applied whatever stands there."""
    return Write(record(key, body), Newer())


async def bodies(adaptor: SQLAdaptor, keys: Sequence[str]) -> list[str | None]:
    """What stands at these keys."""
    found = await adaptor.read([place(key) for key in keys])
    return [None if one is None else one.body for one in found]


async def busy(adaptor: SQLAdaptor, connections: int) -> None:
    """Use so many connections at once; the adaptor keeps them."""
    assert adaptor._opened is not None
    barrier = asyncio.Barrier(connections)

    async def use() -> None:
        assert adaptor._opened is not None
        async with adaptor._opened.connections.session():
            await barrier.wait()

    await asyncio.gather(*(use() for _ in range(connections)))


async def throw_out(server: DatabaseServer, url: str) -> int:
    """End all sessions of a database, as its administrator would; how many there were."""
    database = urlsplit(url).path[1:]
    async with server.engine.connected(server.url) as query:
        sessions = await server.engine.sessions(query, database)
        for session in sessions:
            if server.name == "postgresql":
                await query("SELECT pg_terminate_backend(?, 5000)", session)
            else:
                await query(f"KILL {session}")

        async def gone() -> bool:
            return not await server.engine.sessions(query, database)

        await until(gone)
    return len(sessions)


async def no_session(server: DatabaseServer, url: str) -> None:
    """Wait until the server has noticed that all have gone."""

    async def gone() -> bool:
        return not await asyncio.to_thread(server.sessions, url)

    await until(gone)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what a server tells nobody of."""
    while not await holds():  # noqa: ASYNC110  # it is another process's
        await asyncio.sleep(0.01)


def with_login(url: str, user: str, password: str) -> str:
    """The same database for another user."""
    split = urlsplit(url)
    host = split.netloc.rpartition("@")[2]
    return split._replace(netloc=f"{user}:{quote(password, safe='')}@{host}").geturl()
