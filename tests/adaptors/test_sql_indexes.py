"""Declared indexes of SQL databases: made once, however often they are asked for, and used."""

import asyncio
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, closing, nullcontext
from pathlib import Path as FilePath
from typing import Any

import pytest
from processes import child
from servers import server
from sql_engines import SQL_ENGINES
from sql_sent import plan_of, sent_by
from sql_stores import adaptor_of, opened
from sql_urls import ENGINES, engine_of, url_of
from sqlalchemy.exc import OperationalError

from aiostore import Store
from aiostore.adaptors.sql import SQLAdaptor, _indexes, _mariadb_json
from aiostore.adaptors.sql._indexes import index_name
from aiostore.errors import StoreError
from aiostore.filters import F
from aiostore.filters import Path as FieldPath
from aiostore.protocols import DocumentId, Newer, Record, Scan, Write

FIELDS = [("a",), ("b",), ("address", "city")]
TABLE = "aiostore_documents"


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: FilePath) -> str:
    """An empty database of each of the engines."""
    return url_of(request.param, tmp_path)


@pytest.fixture(params=["postgresql", "mariadb"])
def server_url(request: pytest.FixtureRequest, tmp_path: FilePath) -> str:
    """An empty database of each of the engines that serve several at once."""
    return url_of(request.param, tmp_path)


async def fill(url: str, count: int = 2000) -> None:
    """Put documents into two collections."""
    async with Store(await asyncio.to_thread(adaptor_of, url)) as store:
        for name in ("users", "others"):
            await store.collection(name).put_many(
                {
                    f"k{n:06}": {"a": n, "b": f"t{n % 10}", "address": {"city": n}}
                    for n in range(count)
                }
            )


LISTING = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'aiostore_i_%'",
    "postgresql": "SELECT relname FROM pg_class JOIN pg_index ON indexrelid = pg_class.oid "
    "WHERE relname LIKE 'aiostore_i_%' AND indisvalid",
    "mariadb": "SELECT DISTINCT index_name FROM information_schema.statistics "
    "WHERE table_schema = DATABASE() AND index_name LIKE 'aiostore_i_%'",
}


def query(url: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run a statement behind the adaptor's back."""
    engine = engine_of(url)
    if engine == "sqlite":
        path = url.removeprefix("sqlite:///").partition("?")[0]
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute(statement, values).fetchall()
    return server(engine).query(statement, *values, url=url)


async def names_at(url: str) -> set[str]:
    """The declared indexes that are there and complete."""
    rows = await asyncio.to_thread(query, url, LISTING[engine_of(url)])
    return {name for (name,) in rows}


def expected_at(url: str, *paths: FieldPath) -> set[str]:
    """The names of the indexes of the users."""
    if engine_of(url) == "mariadb":
        return {_mariadb_json.index_name(path) for path in paths}
    return {index_name(TABLE, "users", path) for path in paths}


async def check_is_used(adaptor: SQLAdaptor) -> None:
    """A scan goes by the index of `a`, and finds what it should."""
    with sent_by(adaptor) as sent:
        async with aclosing(adaptor.scan(Scan("users", where=F.a == 7))) as chunks:
            found = [record.id.key async for chunk in chunks for record in chunk]
    assert found == ["k000007"]
    assert "aiostore_i_" in await plan_of(adaptor, sent[0])


async def test_an_index_is_made_once_however_often_it_is_asked_for(url: str) -> None:
    """By several adaptors at once, for several fields; all find them made when they return."""
    await fill(url)
    async with opened(url) as one, opened(url) as other:
        for _ in range(2):
            await asyncio.gather(
                *(each.index("users", path) for each in (one, other) for path in FIELDS)
            )
            assert await names_at(url) == expected_at(url, *FIELDS)
        for each in (one, other):
            await check_is_used(each)


async def test_indexes_of_two_collections_are_two(url: str) -> None:
    """Or one for both, in MariaDB; queries of either use it once it is declared."""
    await fill(url)
    async with opened(url) as adaptor:
        await adaptor.index("others", ("a",))
        with sent_by(adaptor) as sent:
            async with aclosing(adaptor.scan(Scan("users", where=F.a == 7))) as chunks:
                assert [len(chunk) async for chunk in chunks] == [1]
        assert "aiostore_i_" not in "".join(one.statement.text for one in sent)
        await adaptor.index("users", ("a",))
        await check_is_used(adaptor)
    assert len(await names_at(url)) == (1 if engine_of(url) == "mariadb" else 2)


async def test_others_write_while_an_index_is_made(server_url: str) -> None:
    """Every write is answered before it is made, however long that takes."""
    await fill(server_url)
    async with opened(server_url) as maker, opened(server_url) as writer:
        async with held_up(server_url):
            making = asyncio.create_task(maker.index("users", ("a",)))
            for number in range(10):
                await writer.write([write(number)])
                await asyncio.sleep(0.05)
            assert not making.done()
        await making
        await check_is_used(maker)
        assert await writer.count("users") == 2000


async def test_writers_wait_while_sqlite_makes_an_index(tmp_path: FilePath) -> None:
    """This process's writers wait for it, and none of them in vain."""
    url = f"{url_of('sqlite', tmp_path)}&busy_timeout=0"
    await fill(url, 20_000)
    async with opened(url) as adaptor:
        making = asyncio.create_task(adaptor.index("users", ("a",)))
        for number in range(20):
            [outcome] = await adaptor.write([write(number)])
            assert outcome.applied
        await making
        await check_is_used(adaptor)


async def test_closing_ends_the_making_of_an_index(url: str) -> None:
    """No connection is left, nor a statement that goes on; a later call makes it."""
    await fill(url, 20_000 if engine_of(url) == "sqlite" else 2000)
    adaptor = await asyncio.to_thread(adaptor_of, url)
    await adaptor.open()
    engine = engine_of(url)
    async with nullcontext() if engine == "sqlite" else held_up(url):
        making = asyncio.create_task(adaptor.index("users", ("a",)))
        await begun(url)
        await adaptor.aclose()
        await asyncio.wait([making])
        assert making.cancelled()
        if engine != "sqlite":
            left = await asyncio.to_thread(server(engine).sessions, url)
            assert left <= 1  # that which holds it up
    assert await names_at(url) == set()
    await adaptor.open()
    await adaptor.index("users", ("a",))
    assert await names_at(url) == expected_at(url, ("a",))
    await check_is_used(adaptor)
    await adaptor.aclose()


async def test_an_index_that_was_not_made_to_the_end_is_made_anew(tmp_path: FilePath) -> None:
    """As PostgreSQL leaves one when the process that made it is killed."""
    url = url_of("postgresql", tmp_path)
    await fill(url)
    async with held_up(url):
        maker = await asyncio.to_thread(child, MAKE_INDEX, url)
        await asyncio.to_thread(wait_for, lambda: query(url, INVALID) == [(1,)])
        await asyncio.to_thread(end, maker)
        # The server does not look whether anybody waits.
        await asyncio.to_thread(query, url, TERMINATE)
    assert await asyncio.to_thread(query, url, INVALID) == [(1,)]
    async with opened(url) as adaptor:
        await adaptor.index("users", ("a",))
        await check_is_used(adaptor)
    assert await names_at(url) == expected_at(url, ("a",))
    assert await asyncio.to_thread(query, url, INVALID) == [(0,)]


async def test_another_process_uses_an_index_that_is_there(url: str) -> None:
    """Once it is declared there."""
    await fill(url)
    async with opened(url) as adaptor:
        await adaptor.index("users", ("a",))
    other = await asyncio.to_thread(child, USE_INDEX, url, FilePath(__file__).parent)
    output, _ = await asyncio.to_thread(other.communicate)
    assert output.split() == ["['k000007']", "True"]


async def test_what_makes_no_index_is_told(url: str) -> None:
    """As an error of the store, and it is tried again by the next call."""
    async with opened(url) as adaptor:
        await asyncio.to_thread(query, url, f"ALTER TABLE {TABLE} RENAME TO elsewhere")
        with pytest.raises(StoreError) as caught:
            await adaptor.index("users", ("a",))
        assert caught.value.store == adaptor.name
        await asyncio.to_thread(query, url, f"ALTER TABLE elsewhere RENAME TO {TABLE}")
        await adaptor.index("users", ("a",))
    assert await names_at(url) == expected_at(url, ("a",))


async def test_a_statement_is_given_up_with_its_server() -> None:
    """One that cannot be interrupted, since there is no server, is not waited for."""

    async def unreachable() -> None:
        raise OperationalError("KILL", {}, Exception("gone"))

    making = asyncio.create_task(_indexes._interruptible(asyncio.sleep(3600), unreachable))
    await asyncio.sleep(0)
    making.cancel()
    await asyncio.wait([making])
    assert making.cancelled()


INVALID = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
TERMINATE = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
    "WHERE datname = current_database() AND query LIKE 'CREATE INDEX%' AND pid <> pg_backend_pid()"
)
MAKE_INDEX = """
import asyncio, sys
from aiostore.opening import open_adaptor

async def main(adaptor):
    await adaptor.open()
    await adaptor.index("users", ("a",))

asyncio.run(main(open_adaptor(sys.argv[1])))
"""
USE_INDEX = """
import asyncio, sys
sys.path.append(sys.argv[2])
from sql_sent import plan_of, sent_by
from aiostore import Store
from aiostore.filters import F
from aiostore.opening import open_adaptor

async def main(adaptor):
    async with Store(adaptor) as store:
        users = store.collection("users", indexes=["a"])
        await users.ensure_indexes()
        with sent_by(adaptor) as sent:
            print([one.key async for one in users.find(F.a == 7)])
        print("aiostore_i_" in await plan_of(adaptor, sent[0]))

asyncio.run(main(open_adaptor(sys.argv[1])))
"""


@asynccontextmanager
async def held_up(url: str) -> AsyncIterator[None]:
    """In this context a transaction is open that the making of an index waits for."""
    async with SQL_ENGINES[engine_of(url)].connected(url) as other:
        await other("BEGIN")
        await other(f"UPDATE {TABLE} SET mark = mark WHERE collection = 'nobody'")  # noqa: S608  # our own
        await other(f"SELECT count(*) FROM {TABLE}")  # noqa: S608  # likewise
        try:
            yield
        finally:
            await other("ROLLBACK")


MAKING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%' "
    "AND state = 'active' AND datname = current_database() AND pid <> pg_backend_pid()",
    "mariadb": "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'ALTER TABLE%' "
    "AND db = DATABASE()",
}


async def begun(url: str) -> None:
    """The server has begun to make an index; SQLite is likely to have."""
    if engine_of(url) == "sqlite":
        await asyncio.sleep(0.01)
    else:
        await asyncio.to_thread(wait_for, lambda: query(url, MAKING[engine_of(url)])[0][0] > 0)


def wait_for(is_so: Callable[[], bool]) -> None:
    """Return when something is so; it must be within a minute."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def end(process: subprocess.Popen[str]) -> None:
    """Kill a process and wait for its end."""
    process.kill()
    process.communicate()


def write(number: int) -> Write:
    """The write of a document of the users that is there already."""
    key = f"k{1000 + number:06}"
    version = f"f{number:031x}"
    return Write(Record(DocumentId("users", key), '{"a":-1}', version, 1, 2), Newer())
