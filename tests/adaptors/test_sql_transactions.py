"""Transactions of SQL databases beside others: no anomaly, no deadlock, nothing left behind."""

import asyncio
from collections.abc import Awaitable
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from asyncmy.errors import OperationalError
from asyncpg import DeadlockDetectedError
from database_servers import DatabaseServer
from servers import private_server, server
from sql_stores import bodies, opened, place, put, record, until

from aiostore.adaptors.sql import SQLAdaptor
from aiostore.adaptors.sql._changes import Changes, slices
from aiostore.adaptors.sql._drivers import AsyncpgSession
from aiostore.adaptors.sql._errors import OvertakenError
from aiostore.errors import StoreError, UnavailableError
from aiostore.protocols import Absent, Check, DocumentId, Exactly, Outcome, Purge, Write

SERVERS = ["postgresql", "mariadb"]
DEADLOCKS = (DeadlockDetectedError, OperationalError)


@pytest.fixture(params=["sqlite", *SERVERS])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store of each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'app.db'}"
    return server(request.param).fresh()


@pytest.fixture(params=SERVERS)
def shared(request: pytest.FixtureRequest) -> DatabaseServer:
    """A server."""
    return server(request.param)


def create(key: str, body: str = "{}") -> Write:
    """A write that is applied where nothing stands."""
    return Write(record(key, body), Absent())


def absent(key: str) -> Check:
    """A check that nothing stands there."""
    return Check(place(key), Absent())


def applied(outcomes: object) -> bool:
    """Whether an atomic write was."""
    assert isinstance(outcomes, list)
    return all(outcome.applied for outcome in outcomes)


async def test_two_that_each_check_the_others_absence(url: str) -> None:
    """Of two that create a document if the other's is absent, never both succeed; nor neither."""
    async with opened(url) as one, opened(url) as other:
        for number in range(60):
            left, right = f"left{number}", f"right{number}"
            results = await asyncio.gather(
                one.write_atomic([create(left), absent(right)]),
                other.write_atomic([create(right), absent(left)]),
            )
            found = await bodies(one, [left, right])
            assert sorted(map(applied, results)) == [False, True]
            assert sorted(body is None for body in found) == [False, True]
        assert await one.count("users") == 60


async def test_three_in_a_ring_of_absences(url: str) -> None:
    """Each creates its own if the next one's is absent: at least one does, and not all."""
    async with opened(url) as one, opened(url) as two, opened(url) as three:
        for number in range(30):
            keys = [f"{letter}{number}" for letter in "abc"]
            results = await asyncio.gather(
                *(
                    sql.write_atomic([create(keys[n]), absent(keys[(n + 1) % 3])])
                    for n, sql in enumerate((one, two, three))
                )
            )
            stood = [body is not None for body in await bodies(one, keys)]
            assert stood == [applied(result) for result in results]
            assert stood.count(True) in {1, 2} and True in stood  # noqa: PT018  # one thought
            # Two neighbours who both succeeded would each have seen that the other had not.
            assert stood != [True, True, True]


async def test_claims_leave_nothing_behind(url: str) -> None:
    """A check of absence leaves no row, whether its transaction is applied or refused."""
    async with opened(url) as adaptor:
        assert applied(await adaptor.write_atomic([absent("a"), absent("b")]))
        assert applied(await adaptor.write_atomic([create("c"), absent("a")]))
        assert not applied(await adaptor.write_atomic([create("c"), absent("a")]))
        assert not applied(await adaptor.write_atomic([put("d"), absent("c")]))
        assert await adaptor.count("users") == 1
        assert await bodies(adaptor, ["a", "b", "c", "d"]) == [None, None, "{}", None]


async def test_crossing_orders_of_locks(url: str) -> None:
    """Atomic writes on the same documents, in whichever order they are named, never fail."""
    orders = list(permutations(["a", "b", "c"]))
    async with opened(url) as one, opened(url) as other:
        for _ in range(5):
            results = await asyncio.gather(
                *(
                    sql.write_atomic([put(key) for key in order])
                    for order in orders
                    for sql in (one, other)
                )
            )
            # One with a version that is older by then is refused, as a whole.
            assert any(map(applied, results))
            found = await one.read([place(key) for key in "abc"])
            assert None not in found


async def test_single_and_atomic_writes_cross(url: str) -> None:
    """Batches of single writes, atomic ones, checks and purges get past each other."""
    keys = [f"{n}" for n in range(8)]
    async with opened(url) as one, opened(url) as other:
        work: list[Awaitable[object]] = []
        for n in range(12):
            rotated = keys[n % 8 :] + keys[: n % 8]
            sql = (one, other)[n % 2]
            work += [
                sql.write([put(key) for key in rotated]),
                sql.write_atomic([put(key) for key in rotated]),
                sql.write_atomic([*(absent(f"x{key}") for key in rotated), put(f"{n}")]),
                sql.purge(Purge("users", expired_before=1)),
            ]
        await asyncio.gather(*work)
        assert await one.count("users") == 12


async def test_a_deadlock_with_somebody_else_is_survived(shared: DatabaseServer) -> None:
    """A session of somebody else's locks in the wrong order: our transaction is done again."""
    url = shared.fresh()
    async with opened(url) as adaptor, shared.engine.connected(url) as query:
        await adaptor.write([put("a"), put("b")])
        await adaptor.write([put(f"{n}") for n in range(200)])
        update = (
            "UPDATE aiostore_documents SET mark = 'live' WHERE collection = 'users' AND \"key\" = ?"
        )
        survived = 0
        while not survived:
            await query("BEGIN")
            # Whoever has changed more is not the one whom MariaDB gives up.
            await query("UPDATE aiostore_documents SET created_at = 7 WHERE \"key\" < 'a'")
            await query(update, "b")
            ours = asyncio.create_task(adaptor.write_atomic([put("a"), put("b")]))
            await until(partial(_waits, shared))
            try:
                await query(update, "a")
            except DEADLOCKS:  # this time it was the other that was given up
                await query("ROLLBACK")
            else:
                await query("COMMIT")
                survived += 1
            assert applied(await ours)


async def _waits(shared: DatabaseServer) -> bool:
    """Whether a transaction waits for a lock."""
    statement = {
        "postgresql": "SELECT COUNT(*) FROM pg_locks WHERE NOT granted",
        "mariadb": "SELECT COUNT(*) FROM information_schema.innodb_trx "
        "WHERE trx_state = 'LOCK WAIT'",
    }[shared.name]
    [(waiting,)] = await asyncio.to_thread(shared.query, statement)
    return bool(waiting)


async def test_a_database_whose_transactions_are_serializable() -> None:
    """A stricter default of PostgreSQL's brings no errors to anybody."""
    shared = server("postgresql")
    url = shared.fresh()
    setting = f"ALTER DATABASE {url.rpartition('/')[2]} SET default_transaction_isolation"
    await asyncio.to_thread(shared.query, f"{setting} = serializable")
    try:
        await test_single_and_atomic_writes_cross(url)
        async with opened(url) as adaptor:
            assert adaptor._opened is not None
            async with adaptor._opened.connections.session() as session:
                assert isinstance(session, AsyncpgSession)
                level = await session._connection.fetchval("SHOW transaction_isolation")
        assert level == "read committed"
    finally:
        await asyncio.to_thread(shared.query, f"{setting} = 'read committed'")


async def test_a_batch_larger_than_a_packet() -> None:
    """What goes to MariaDB is cut, so that 16 MB, its usual limit, are no limit of a batch."""
    shared = server("mariadb")
    body = '"' + "x" * 1_000_000 + '"'
    async with opened(shared.fresh()) as adaptor:
        keys = [f"{n:02}" for n in range(24)]
        assert applied(await adaptor.write([put(key, body) for key in keys]))
        assert applied(await adaptor.write_atomic([put(key, body) for key in keys]))
        assert set(await bodies(adaptor, keys)) == {body}


async def test_a_record_larger_than_a_packet_is_told() -> None:
    """And costs only a connection; nothing of its transaction is there."""
    with private_server("mariadb", durable=False) as small:
        await asyncio.to_thread(small.query, "SET GLOBAL max_allowed_packet = 1048576")
        body = '"' + "x" * 2_000_000 + '"'
        async with opened(small.url) as adaptor:
            # If the server has closed the connection by then, the driver does not read why.
            with pytest.raises(StoreError, match=r"max_allowed_packet|went away"):
                await adaptor.write_atomic([put("a"), put("b", body)])
            assert await bodies(adaptor, ["a", "b"]) == [None, None]
            await adaptor.write([put("a")])


async def test_an_insert_that_is_overtaken_is_done_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is decided anew, on the connection that it had: nothing is broken."""
    async with opened(url) as adaptor, opened(url) as other:
        lock = SQLAdaptor._lock
        locked: list[Any] = []

        async def meanwhile(self: SQLAdaptor, session: Any, items: Any) -> Any:
            found = await lock(self, session, items)
            locked.append(session)
            # What another has put there is not seen: as if it came a moment later.
            return found if len(locked) > 1 else {}

        await other.write([put("a", "1")])
        monkeypatch.setattr(SQLAdaptor, "_lock", meanwhile)
        [outcome] = await adaptor.write_atomic([create("a", "2")])
        assert not outcome.applied
        assert outcome.record is not None
        assert outcome.record.body == "1"
        assert len(locked) == 2
        assert locked[0] is locked[1]


async def test_one_that_is_always_overtaken_is_unavailable(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some attempts, for the caller to decide; nothing was written."""
    async with opened(url) as adaptor:
        monkeypatch.setattr("aiostore.adaptors.sql.adaptor._FIRST_CONTENTION_PAUSE", 0)
        monkeypatch.setattr("aiostore.adaptors.sql.adaptor._LONGEST_CONTENTION_PAUSE", 0)

        async def overtaken(*_: object) -> None:
            raise OvertakenError

        monkeypatch.setattr(SQLAdaptor, "_change", overtaken)
        with pytest.raises(UnavailableError, match="other writers were faster each time"):
            await adaptor.write_atomic([create("a")])
        assert await bodies(adaptor, ["a"]) == [None]


def test_changes_of_a_transaction() -> None:
    """What is not applied changes nothing; a check that met a record needs no claim."""
    standing = record("standing")
    items: list[Write | Check] = [
        create("new"),
        absent("nothing"),
        Check(standing.id, Exactly(standing.version)),
        Write(record("refused"), Exactly("0")),
        Write(record("gone", None), Exactly("0"), erase=True),
    ]
    outcomes: dict[DocumentId, Outcome] = {
        place("new"): Outcome(applied=True, record=record("new")),
        place("nothing"): Outcome(applied=True, record=None),
        standing.id: Outcome(applied=True, record=standing),
        place("refused"): Outcome(applied=False, record=None),
        place("gone"): Outcome(applied=True, record=None),
    }
    changes = Changes(items, outcomes, {standing.id: standing})
    assert [one.id.key for one in changes.inserted] == ["new", "nothing"]
    assert set(changes.claims) == {place("nothing")}
    assert (changes.replaced, changes.erased, len(changes)) == ([], {}, 3)


SLICED: list[tuple[list[int], int | None, list[int]]] = [
    ([], None, []),
    ([], 10, []),
    ([5, 5], None, [2]),
    ([5, 5, 5], 10, [2, 1]),
    ([50, 5], 10, [1, 1]),
    ([5, 50], 10, [2]),
]


@pytest.mark.parametrize(("sizes", "most", "expected"), SLICED)
def test_slices(sizes: list[int], most: int | None, expected: list[int]) -> None:
    """Each ends with the change that makes it too large; none is empty; the order stays."""
    records = [record(f"{n}", "x" * size) for n, size in enumerate(sizes)]
    parts = list(slices(records, most))
    assert [len(part) for part in parts] == expected
    assert [one for part in parts for one in part] == records
