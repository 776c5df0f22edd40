"""Connections to servers: their limits, their ends, and servers that go away and come back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta

import pytest
from database_servers import DatabaseServer
from local_processes import free_port
from servers import private_server, server
from sql_stores import (
    adaptor_of,
    bodies,
    busy,
    no_session,
    open_and_close,
    opened,
    place,
    put,
    throw_out,
    until,
)

from aiostore.adaptors.sql import MARIADB, MYSQL, POSTGRESQL, SQLAdaptor
from aiostore.adaptors.sql.urls import from_url
from aiostore.errors import ConfigurationError, StoreError, UnavailableError
from aiostore.protocols import Purge, Scan
from aiostore.urls import parse

SERVERS = ["postgresql", "mariadb"]


@pytest.fixture(params=SERVERS)
def name(request: pytest.FixtureRequest) -> str:
    """The name of an engine."""
    return str(request.param)


@pytest.fixture
def shared(name: str) -> DatabaseServer:
    """A server."""
    return server(name)


@pytest.fixture
def url(shared: DatabaseServer) -> str:
    """An empty database there."""
    return shared.fresh()


async def everything(adaptor: SQLAdaptor) -> None:
    """Every operation once."""
    keys = ["0", "1", "2"]
    await adaptor.write([put(key) for key in keys])
    await adaptor.write_atomic([put(key, '{"n":1}') for key in keys])
    assert None not in await bodies(adaptor, keys)
    async with aclosing(adaptor.scan(Scan("users", chunk=1))) as chunks:
        assert [chunk async for chunk in chunks]
    assert await adaptor.count("users") >= 3
    assert await adaptor.collections() == ["users"]
    await adaptor.purge(Purge("users", expired_before=1))


async def test_one_connection_is_enough(shared: DatabaseServer, url: str) -> None:
    """With a pool of 1 operations wait for each other, whatever they are and however many."""
    async with opened(url, pool_size=1) as adaptor:
        await asyncio.gather(*(everything(adaptor) for _ in range(8)))
        await adaptor.index("users", ("n",))
        assert await asyncio.to_thread(shared.sessions, url) == 1
    await no_session(shared, url)


async def test_there_are_no_more_connections_than_allowed(shared: DatabaseServer, url: str) -> None:
    """However much is asked for at the same time."""
    async with opened(url, pool_size=3) as adaptor:
        await asyncio.gather(*(everything(adaptor) for _ in range(10)))
        assert await asyncio.to_thread(shared.sessions, url) <= 3


async def test_no_free_connection_is_unavailable(url: str) -> None:
    """After `pool_timeout`, which the error names; when one is free again, all goes on."""
    async with opened(url, pool_size=2, pool_timeout=0.01) as adaptor:
        assert adaptor._opened is not None
        connections = adaptor._opened.connections
        async with connections.session(), connections.session():
            with pytest.raises(
                UnavailableError, match=r"all 2 connections .* pool_timeout, 0.01 s"
            ):
                await adaptor.count("users")
        assert await adaptor.count("users") == 0


@asynccontextmanager
async def held(shared: DatabaseServer, url: str, key: str) -> AsyncIterator[None]:
    """While somebody else has changed the record of a key and not said commit."""
    async with shared.engine.connected(url) as query:
        await query("BEGIN")
        await query(
            "UPDATE aiostore_documents SET mark = '' WHERE collection = ? AND \"key\" = ?",
            *place(key),
        )
        try:
            yield
        finally:
            await query("ROLLBACK")


async def test_a_statement_that_takes_too_long_is_unavailable(
    shared: DatabaseServer, url: str
) -> None:
    """After `statement_timeout`, which the error names; nothing of it goes on at the server.

    So what the transaction had locked before is free at once.
    """
    async with opened(url, statement_timeout=0.05) as adaptor:
        await adaptor.write([put("a"), put("b")])
        async with held(shared, url, "b"):
            for work in (adaptor.write([put("b")]), adaptor.write_atomic([put("a"), put("b")])):
                with pytest.raises(UnavailableError, match="longer than statement_timeout"):
                    await work
            async with shared.engine.connected(url) as query:
                one = 'collection = ? AND "key" = ? FOR UPDATE NOWAIT'
                await query(f"SELECT body FROM aiostore_documents WHERE {one}", *place("a"))  # noqa: S608  # our own text
            assert await bodies(adaptor, ["a", "b"]) == ["{}", "{}"]
        await adaptor.write([put("b", "2")])
        assert await bodies(adaptor, ["b"]) == ["2"]


async def test_a_server_that_hangs_is_unavailable(name: str) -> None:
    """Whether one connects, uses a connection or closes it, nobody waits beyond the limits."""
    with private_server(name, durable=False) as hanging:
        limits = {"connect_timeout": 0.3, "statement_timeout": 0.3, "reconnect_timeout": 0}
        async with opened(hanging.url, **limits) as adaptor:
            await adaptor.write([put("a")])
            await busy(adaptor, 3)
            with hanging.paused():
                with pytest.raises(UnavailableError, match="did not answer in time"):
                    await adaptor.count("users")
                with pytest.raises(UnavailableError, match="did not answer in time"):
                    await adaptor.count("users")
                with pytest.raises(UnavailableError, match="did not answer in time"):
                    await open_and_close(hanging.url, **limits)
            assert await adaptor.count("users") == 1
            await busy(adaptor, 3)
            with hanging.paused():
                await adaptor.aclose()
        await no_session(hanging, hanging.url)


async def test_a_cancelled_opening_does_not_wait_for_a_server_that_hangs(name: str) -> None:
    """Though it would be allowed to wait for long."""
    with private_server(name, durable=False) as hanging:
        adaptor = await asyncio.to_thread(adaptor_of, hanging.url, connect_timeout=3600)
        with hanging.paused():
            opening = asyncio.create_task(adaptor.open())

            async def begun() -> bool:
                return bool(adaptor._jobs)

            await until(begun)
            opening.cancel()
            await asyncio.wait([opening])
            await adaptor.aclose()
        assert opening.cancelled()
        await no_session(hanging, hanging.url)


async def test_all_sessions_thrown_out_at_once(shared: DatabaseServer, url: str) -> None:
    """What broke one connection has broken those beside it: they do not fail one after another."""
    async with opened(url) as adaptor:
        await adaptor.write([put("a")])
        await busy(adaptor, 8)
        assert await throw_out(shared, url) == 8
        failures = 0
        for _ in range(8):
            try:
                await adaptor.count("users")
            except UnavailableError:
                failures += 1
        assert failures <= 1
        await asyncio.gather(*(everything(adaptor) for _ in range(8)))
    await no_session(shared, url)


async def test_calls_wait_for_a_server_that_restarts(name: str) -> None:
    """For `reconnect_timeout`: a store whose server is stopped and started again goes on."""
    with private_server(name) as restarted:
        async with opened(restarted.url, reconnect_timeout=60) as adaptor:
            await adaptor.write([put("a")])
            await busy(adaptor, 8)
            await asyncio.to_thread(restarted.stop)
            calls = [asyncio.create_task(bodies(adaptor, ["a"])) for _ in range(16)]
            await asyncio.sleep(0.05)
            await asyncio.to_thread(restarted.restart)
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert answers.count(["{}"]) >= 8  # those that met no stale connection
            assert {type(one) for one in answers} <= {list, UnavailableError}
            assert await bodies(adaptor, ["a"]) == ["{}"]


async def test_the_first_of_two_hosts_does_not_answer() -> None:
    """PostgreSQL's URLs may name several hosts: the one that takes writes is used."""
    shared = server("postgresql")
    two = shared.fresh().replace("@", f"@127.0.0.1:{free_port()},")
    async with opened(two) as adaptor:
        await everything(adaptor)


async def test_the_host_that_takes_writes_is_used() -> None:
    """Of several hosts; where none does, the error says so."""
    shared = server("postgresql")
    url = shared.fresh()
    await open_and_close(url)
    with private_server("postgresql", durable=False) as replica:
        first = replica.url.rpartition("@")[2].partition("/")[0]
        database = url.rpartition("/")[2]
        replica.create_database(database)
        replica.query(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        async with opened(url.replace("@", f"@{first},")) as adaptor:
            await everything(adaptor)
            assert await asyncio.to_thread(shared.sessions, url) >= 1
        with pytest.raises(UnavailableError, match="cannot be reached"):
            await open_and_close(replica.url_of(database).replace("@", f"@{first},"))


def test_other_servers_have_one_host() -> None:
    """A URL with several is refused."""
    with pytest.raises(ConfigurationError, match="names one host"):
        from_url(parse("mariadb://u:p@one,two/db"))


@pytest.mark.parametrize("option", ["connect_timeout", "statement_timeout"])
def test_no_time_at_all_is_refused(option: str) -> None:
    """Since nothing would ever work."""
    with pytest.raises(ConfigurationError, match=option):
        from_url(parse(f"postgresql://u:p@h/db?{option}=0"))


async def test_an_opening_that_is_cancelled_leaves_no_session(
    shared: DatabaseServer, url: str
) -> None:
    """Wherever it is cancelled; the next opening completes what it had begun."""
    finished = False
    steps = 0
    while not finished:
        adaptor = await asyncio.to_thread(adaptor_of, url)
        opening = asyncio.create_task(adaptor.open())
        while not adaptor._jobs and not opening.done():  # noqa: ASYNC110  # step by step
            await asyncio.sleep(0)
        for _ in range(steps):
            await asyncio.sleep(0)
        finished = not opening.cancel()
        await asyncio.wait([opening])
        await adaptor.aclose()
        assert opening.cancelled() or opening.exception() is None
        steps += 1 + steps // 4
    await no_session(shared, url)
    await open_and_close(url)


async def test_an_opening_that_fails_leaves_no_session(shared: DatabaseServer, url: str) -> None:
    """Once it has been closed, though it had connected."""
    await asyncio.to_thread(
        lambda: shared.query("CREATE TABLE aiostore_documents (id INTEGER)", url=url)
    )
    with pytest.raises(ConfigurationError, match="not as this version"):
        await open_and_close(url)
    await no_session(shared, url)


WORK: dict[str, Callable[[SQLAdaptor], Awaitable[object]]] = {
    "read": lambda sql: sql.read([place("a")]),
    "write": lambda sql: sql.write([put("a"), put("b")]),
    "write_atomic": lambda sql: sql.write_atomic([put("a"), put("b")]),
    "scan": lambda sql: anext(sql.scan(Scan("users"))),
    "count": lambda sql: sql.count("users"),
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
async def test_cancellation_leaves_nothing(
    shared: DatabaseServer, url: str, work: Callable[[SQLAdaptor], Awaitable[object]]
) -> None:
    """Wherever work is cancelled, no transaction stays open and no connection is lost."""
    async with opened(url, pool_size=2, pool_timeout=10) as adaptor:
        await adaptor.write([put("a"), put("b")])
        for steps in range(40):
            job = asyncio.ensure_future(work(adaptor))
            for _ in range(steps):
                await asyncio.sleep(0)
            job.cancel()
            await asyncio.wait([job])
        while adaptor._jobs:
            await asyncio.wait(adaptor._jobs)
        assert adaptor._opened is not None
        connections = adaptor._opened.connections
        async with connections.session(), connections.session():
            pass
        async with shared.engine.connected(url) as query:
            await query("BEGIN")
            locked = await query('SELECT "key" FROM aiostore_documents FOR UPDATE NOWAIT')
            assert len(locked) == 2


async def test_a_read_that_is_cancelled_keeps_its_connection(name: str, url: str) -> None:
    """Wherever it is cancelled, if the driver can give a statement up; what comes next is right."""
    async with opened(url) as adaptor:
        await adaptor.write([put("a")])
        assert adaptor._opened is not None
        connections = adaptor._opened.connections
        await connections.forget()
        async with connections.session() as before:
            assert before.can_give_up == (name == "postgresql")
        if name != "postgresql":
            return  # its reads go on, see `test_cancellation_leaves_nothing`
        for steps in range(15):
            read = asyncio.create_task(adaptor.read([put("a").record.id]))
            for _ in range(steps):
                await asyncio.sleep(0)
            read.cancel()
            await asyncio.wait([read])
            [found] = await adaptor.read([put("a").record.id])
            assert found is not None
        async with connections.session() as after:
            assert after is before


async def test_a_loop_that_ends_in_the_midst_leaves_no_session(
    shared: DatabaseServer, url: str
) -> None:
    """Work that is itself cancelled, as `asyncio.run` does it, throws its connection away."""
    async with opened(url) as adaptor:
        await adaptor.write([put("a")])
        for steps in range(30):
            work = asyncio.create_task(adaptor.write_atomic([put("a"), put("b")]))
            for _ in range(steps):
                await asyncio.sleep(0)
            for job in adaptor._jobs:
                job.cancel()
            await asyncio.wait([work])
            await adaptor.write_atomic([put("a"), put("b")])
        assert await asyncio.to_thread(shared.sessions, url) <= 8
    await no_session(shared, url)


async def test_a_session_that_is_known_to_be_closed_is_not_used(
    shared: DatabaseServer, url: str
) -> None:
    """It is replaced before anything is sent."""
    async with opened(url) as adaptor:
        assert adaptor._opened is not None
        async with adaptor._opened.connections.session() as session:
            pass
        session.abort()
        assert await adaptor.count("users") == 0


async def test_a_connection_that_breaks_while_it_is_set_up_is_not_kept(
    shared: DatabaseServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is closed, whatever the server has against it."""
    async with opened(url) as adaptor:
        assert adaptor._opened is not None
        connections = adaptor._opened.connections
        await connections.forget()
        monkeypatch.setattr(connections, "_limits", ["SET what_nobody_knows = 1"])
        with pytest.raises(StoreError, match="the database refused"):
            await adaptor.count("users")
        await no_session(shared, url)
        monkeypatch.undo()
        assert await adaptor.count("users") == 0


def test_the_limits_as_a_server_gets_them() -> None:
    """In its own units; a limit that is too short to tell is the shortest, not none."""
    assert POSTGRESQL.limited(timedelta(seconds=1.5)) == ("SET statement_timeout = 1500",)
    assert POSTGRESQL.limited(timedelta(0)) == ("SET statement_timeout = 1",)
    assert MARIADB.limited(timedelta(seconds=1.5)) == (
        "SET SESSION max_statement_time = 1500 / 1000",
    )
    assert MYSQL.limited(timedelta(seconds=1.5)) == (
        "SET SESSION innodb_lock_wait_timeout = 2, max_execution_time = 1500",
    )
