import asyncio
import os
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, closing
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from processes import FILL_DISK, child, unprivileged
from sqlalchemy import text
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite

import aiostore
from aiostore.adaptors.sql import Pool, SQLAdaptor, SQLiteDatabase
from aiostore.adaptors.sql._drivers import AiosqliteSession
from aiostore.adaptors.sql._prepared import Prepared
from aiostore.documents import Document
from aiostore.errors import (
    AlreadyExistsError,
    ConfigurationError,
    CorruptRecordError,
    StoreError,
    UnavailableError,
)
from aiostore.protocols import (
    Absent,
    Condition,
    DocumentId,
    Exactly,
    Mark,
    Newer,
    Outcome,
    Purge,
    Record,
    Scan,
    Write,
)
from aiostore.store import Store
from aiostore.versions import VersionClock

CLOCK = VersionClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is to be."""
    return tmp_path / "app.db"


def peek(path: Path, statement: str, *parameters: object) -> list[Any]:
    """Rows, read past the library."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement, parameters).fetchall()


def poke(path: Path, *statements: str) -> None:
    """Change the database past the library."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def prepare(path: Path) -> None:
    """Make a store there, with one document in it."""

    async def put() -> None:
        async with Store(SQLAdaptor(SQLiteDatabase(str(path)))) as store:
            await store.collection("users").put("alice", {"age": 1})

    asyncio.run(put())


def everything(folder: Path) -> dict[str, bytes]:
    """The whole content of a folder."""
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}


def open_and_close(path: Path, **options: Any) -> None:
    """Open a store, which may fail, and close it."""

    async def run() -> None:
        async with Store(SQLAdaptor(SQLiteDatabase(str(path), **options))):
            pass

    asyncio.run(run())


def record(key: str, body: str | None = "{}", **fields: Any) -> Record:
    """A record with a fresh version."""
    return Record(DocumentId("users", key), body, CLOCK.next(), 1, 2, **fields)


def test_the_layout(path: Path) -> None:
    """One table for all collections, keyed by collection and key, bodies as text."""

    async def put() -> Document[dict[str, Any]]:
        async with Store(SQLAdaptor(SQLiteDatabase(str(path)))) as store:
            return await store.collection("users").put("ä/1", {"age": 1.0, "name": "ä"})

    document = asyncio.run(put())
    columns = peek(path, "SELECT name, type, pk FROM pragma_table_info('aiostore_documents')")
    assert columns == [
        ("collection", "VARCHAR(64)", 1),
        ("key", "VARCHAR(512)", 2),
        ("body", "TEXT", 0),
        ("version", "VARCHAR(32)", 0),
        ("mark", "VARCHAR(16)", 0),
        ("created_at", "BIGINT", 0),
        ("updated_at", "BIGINT", 0),
        ("expires_at", "BIGINT", 0),
    ]
    moment = round(document.created_at.timestamp() * 1_000_000)
    body = '{"age":1.0,"name":"ä"}'
    assert peek(path, "SELECT * FROM aiostore_documents") == [
        ("users", "ä/1", body, document.version, "live", moment, moment, None)
    ]
    assert peek(path, "SELECT version FROM aiostore_schema") == [(2,)]


def test_a_database_is_opened_again(path: Path) -> None:
    """What was stored is there, and opening changes nothing in the file."""
    prepare(path)
    before = everything(path.parent)

    async def get() -> Document[dict[str, Any]]:
        async with aiostore.open_store(f"sqlite:///{path}") as store:
            return await store.collection("users").get("alice")

    assert asyncio.run(get()).value == {"age": 1}
    assert everything(path.parent) == before


def other_tables(path: Path) -> None:
    """Make a database of something else."""
    poke(path, "CREATE TABLE accounts (id INTEGER)", "INSERT INTO accounts VALUES (1)")


def other_columns(path: Path) -> None:
    """Make a table with our name and not our columns."""
    poke(path, "CREATE TABLE aiostore_documents (id INTEGER)")


def newer_layout(path: Path) -> None:
    """Make a database of a later version of the library."""
    prepare(path)
    poke(path, "UPDATE aiostore_schema SET version = 3")


def newer_columns(path: Path) -> None:
    """Make a database of a later version of the library that knows more columns."""
    prepare(path)
    poke(path, "ALTER TABLE aiostore_documents ADD COLUMN colour TEXT")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (other_tables, r"other tables \('accounts'\).*shared=true"),
        (other_columns, "'aiostore_documents' is not as this version"),
        (newer_layout, r"layout 3, .*update aiostore"),
        (newer_columns, "'aiostore_documents' is not as this version.*update aiostore"),
        (lambda path: path.write_text("hello"), "no SQLite database"),
        (lambda path: path.write_bytes(b"hello" * 1000), "no SQLite database"),
        (lambda path: path.mkdir(), "cannot be opened"),
    ],
)
def test_a_database_that_is_not_ours_is_refused(
    path: Path, make: Callable[[Path], object], reason: str
) -> None:
    """`ConfigurationError` says what it is, and not a byte has changed."""
    make(path)
    before = everything(path.parent)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        open_and_close(path)
    assert str(path) in str(caught.value)
    assert everything(path.parent) == before


def test_documents_beside_other_tables(path: Path) -> None:
    """With `?shared=true` ours are made beside them; from then on it need not be said."""
    other_tables(path)

    async def put() -> None:
        async with aiostore.open_store(f"sqlite:///{path}?shared=true") as store:
            await store.collection("users").put("alice", {})

    asyncio.run(put())
    open_and_close(path)
    assert peek(path, "SELECT count(*) FROM aiostore_documents") == [(1,)]
    assert peek(path, "SELECT id FROM accounts") == [(1,)]


@pytest.mark.parametrize(
    "undone",
    ["DELETE FROM aiostore_schema", "DROP TABLE aiostore_documents", "DROP TABLE aiostore_schema"],
)
def test_a_half_made_layout_is_completed(path: Path, undone: str) -> None:
    """Whatever part of it is missing."""
    prepare(path)
    poke(path, undone)
    prepare(path)
    assert peek(path, "SELECT version FROM aiostore_schema") == [(2,)]
    assert peek(path, "SELECT key FROM aiostore_documents") == [("alice",)]


def test_an_empty_file_becomes_a_database(path: Path) -> None:
    """As SQLite itself has it."""
    path.touch()
    prepare(path)
    assert peek(path, "SELECT key FROM aiostore_documents") == [("alice",)]


def test_a_missing_folder_is_not_made(tmp_path: Path) -> None:
    """`ConfigurationError`, and nothing is left."""
    with pytest.raises(ConfigurationError, match="its folder must exist"):
        open_and_close(tmp_path / "no" / "app.db")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def public_path() -> Iterator[Path]:
    """A place that every user may go to, unlike pytest's own."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder / "app.db"


def test_a_database_that_may_only_be_read_is_refused(public_path: Path) -> None:
    """At the opening, not at the first write; the file is unchanged."""
    prepare(public_path)
    public_path.chmod(0o444)
    before = everything(public_path.parent)
    with unprivileged(), pytest.raises(ConfigurationError, match="the database is read-only"):
        open_and_close(public_path)
    assert everything(public_path.parent) == before


def test_a_folder_that_may_only_be_read_is_refused(public_path: Path) -> None:
    """A new database cannot be made there."""
    public_path.parent.chmod(0o555)
    with unprivileged(), pytest.raises(ConfigurationError, match="cannot be opened"):
        open_and_close(public_path)
    assert everything(public_path.parent) == {}


def test_an_old_sqlite_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has no RETURNING is told before a file is made."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(ConfigurationError, match=r"too old, 3\.35 is needed"):
        open_and_close(path)
    assert everything(path.parent) == {}


def test_an_unknown_setting_is_refused(path: Path) -> None:
    """SQLite itself would pass over it."""
    with pytest.raises(ConfigurationError, match="one of full, normal, off, not 'extra'"):
        SQLiteDatabase(str(path), synchronous="extra")  # type: ignore[arg-type]  # that is the test


async def test_an_adaptor_that_is_not_open_says_so(path: Path) -> None:
    """Rather than opening a connection that nobody closes."""
    with pytest.raises(StoreError, match="not open"):
        await SQLAdaptor(SQLiteDatabase(str(path))).collections()


def pragma(setting: str) -> Prepared:
    """A statement that asks for or makes a setting."""
    return Prepared(text(f"PRAGMA {setting}"), SQLiteDialect_aiosqlite())


@pytest.mark.parametrize(
    ("options", "synchronous"),
    [
        ({}, 2),
        ({"synchronous": "full"}, 2),
        ({"synchronous": "normal"}, 1),
        ({"synchronous": "off"}, 0),
    ],
)
async def test_durability(path: Path, options: dict[str, str], synchronous: int) -> None:
    """Every connection uses the write-ahead log and, unless told otherwise, syncs every commit."""
    database = SQLiteDatabase(str(path), **options)  # type: ignore[arg-type]  # texts
    adaptor = SQLAdaptor(database)
    async with Store(adaptor):
        assert adaptor._opened is not None
        connections = adaptor._opened.connections
        async with connections.session() as one, connections.session() as other:
            for session in (one, other):
                found = [
                    (await session.fetch(pragma(name)))[0][0]
                    for name in ("journal_mode", "synchronous", "busy_timeout")
                ]
                assert found == ["wal", synchronous, 5000]


HOLD_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""


async def test_a_locked_database_is_unavailable(path: Path) -> None:
    """While another process writes, reads go on and writes fail after the time allowed."""
    async with aiostore.open_store(f"sqlite:///{path}?busy_timeout=0.01") as store:
        users = store.collection("users")
        document = await users.put("alice", {"n": 1})
        with child(HOLD_LOCK, path) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "locked\n"
            with pytest.raises(UnavailableError, match="another process holds the database's lock"):
                await users.put("alice", {"n": 2})
            assert await users.get("alice") == document
            other.communicate("go\n")
        assert (await users.put("alice", {"n": 3})).version > document.version


async def test_one_of_many_adaptors_wins(path: Path) -> None:
    """Of creates that race on one key over several adaptors, exactly one succeeds each time."""
    async with (
        aiostore.open_store(f"sqlite:///{path}") as one,
        aiostore.open_store(f"sqlite:///{path}") as other,
    ):
        for key in "abcdefgh":
            results = await asyncio.gather(
                *(store.collection("users").create(key, {}) for store in (one, other) * 3),
                return_exceptions=True,
            )
            assert sum(isinstance(result, Document) for result in results) == 1
            assert sum(isinstance(result, AlreadyExistsError) for result in results) == 5


async def test_many_may_open_a_new_database_at_once(path: Path) -> None:
    """Whoever comes second finds the layout made, or waits until it is."""
    adaptors = [SQLAdaptor(SQLiteDatabase(str(path))) for _ in range(5)]
    await asyncio.gather(*(adaptor.open() for adaptor in adaptors))
    await asyncio.gather(*(adaptor.aclose() for adaptor in adaptors))
    assert peek(path, "SELECT version FROM aiostore_schema") == [(2,)]


INCREMENT = """
import asyncio, sys, aiostore

async def main():
    sys.stdin.readline()
    async with aiostore.open_store(f"sqlite:///{sys.argv[1]}?busy_timeout=60") as store:
        users = store.collection("users")
        try:
            await users.create("first", {"pid": 1})
            print("won")
        except aiostore.AlreadyExistsError:
            print("lost")
        for _ in range(20):
            await users.update("count", lambda value: {"n": value["n"] + 1})

asyncio.run(main())
"""


async def test_one_of_many_processes_wins(path: Path) -> None:
    """Of processes that create one document one succeeds, and no update of any is lost."""
    async with aiostore.open_store(f"sqlite:///{path}") as store:
        count = store.collection("users")
        await count.put("count", {"n": 0})
        others = [child(INCREMENT, path) for _ in range(3)]
        for other in others:
            assert other.stdin is not None
            other.stdin.write("go\n")
            other.stdin.flush()
        assert sorted(other.communicate()[0] for other in others) == ["lost\n", "lost\n", "won\n"]
        assert (await count.get("count")).value == {"n": 60}


async def test_cancellation_leaves_no_transaction(path: Path) -> None:
    """Wherever a write is cancelled, the document is whole and the next write works."""
    async with Store(SQLAdaptor(SQLiteDatabase(str(path)))) as store:
        users = store.collection("users")
        standing = await users.put("alice", {"n": 0})
        for steps in range(40):
            put = asyncio.create_task(users.put("alice", {"n": steps}))
            for _ in range(steps):
                await asyncio.sleep(0)
            put.cancel()
            await asyncio.wait([put])
            current = await users.get("alice")
            assert current == standing or current.value == {"n": steps}
            standing = await users.put("alice", {"n": -1})
        with closing(sqlite3.connect(path, timeout=0)) as connection:
            connection.execute("BEGIN IMMEDIATE")


async def test_closing_leaves_no_thread(path: Path) -> None:
    """Nor a connection: the write-ahead log is gone with the last."""
    before = set(threading.enumerate())
    async with Store(SQLAdaptor(SQLiteDatabase(str(path)))) as store:
        await asyncio.gather(*(store.collection("users").put(key, {}) for key in "abcdef"))
        await asyncio.gather(*(store.collection("users").get(key) for key in "abcdef"))
    for thread in set(threading.enumerate()) - before:
        if not thread.name.startswith("asyncio_"):
            thread.join(timeout=5)  # it has been told, and may be about to end
            assert not thread.is_alive()
    assert [entry.name for entry in path.parent.iterdir()] == ["app.db"]


async def test_closing_waits_for_the_cancelled(path: Path) -> None:
    """What a cancelled caller left under way ends before the connections are closed."""
    adaptor = SQLAdaptor(SQLiteDatabase(str(path)))
    await adaptor.open()
    write = asyncio.create_task(adaptor.write([Write(record("alice"), Newer())]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    write.cancel()
    await asyncio.wait([write])
    await adaptor.aclose()
    await adaptor.aclose()
    assert write.cancelled()
    assert peek(path, "SELECT key FROM aiostore_documents") == [("alice",)]


async def test_a_loop_that_ends_cancels_everything(path: Path) -> None:
    """`asyncio.run` cancels every task at its end: the caller's count, and the work behind it."""
    adaptor = SQLAdaptor(SQLiteDatabase(str(path)))
    await adaptor.open()
    count = asyncio.create_task(adaptor.count("users"))
    await asyncio.sleep(0)
    assert [job.cancel() for job in adaptor._jobs] == [True]
    await asyncio.wait([count])
    assert count.cancelled()
    await adaptor.aclose()


async def test_an_adaptor_may_be_opened_again(path: Path) -> None:
    """After `aclose`; its documents are there."""
    adaptor = SQLAdaptor(SQLiteDatabase(str(path)))
    for expected in (0, 1):
        await adaptor.open()
        assert await adaptor.count("users") == expected
        await adaptor.write([Write(record("alice"), Newer())])
        await adaptor.aclose()


OPERATIONS: dict[str, Callable[[SQLAdaptor], Awaitable[object]]] = {
    "read": lambda sql: sql.read([DocumentId("users", "a"), DocumentId("users", "b")]),
    "create": lambda sql: sql.write([Write(record("c"), Absent())]),
    "put": lambda sql: sql.write([Write(record("a"), Newer()), Write(record("c"), Newer())]),
    "replace": lambda sql: sql.write([Write(record("a"), Exactly("1", unexpired_at=1))]),
    "erase": lambda sql: sql.write([Write(record("a", None), Newer(), erase=True)]),
    "erase exactly": lambda sql: sql.write([Write(record("a", None), Exactly("1"), erase=True)]),
    "scan": lambda sql: anext(sql.scan(Scan("users", prefix="a", start_after="A"))),
    "count": lambda sql: sql.count("users"),
    "purge": lambda sql: sql.purge(Purge("users", expired_before=1, deleted_before=1)),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
async def test_statements_use_the_index(
    path: Path, operation: Callable[[SQLAdaptor], Awaitable[object]]
) -> None:
    """No operation on keys or on one collection walks through the whole table."""
    adaptor = SQLAdaptor(SQLiteDatabase(str(path)))
    sent: list[str] = []
    await adaptor.open()
    try:
        await adaptor.write([Write(record("a"), Newer())])
        assert adaptor._opened is not None
        async with adaptor._opened.connections.session() as session:
            assert isinstance(session, AiosqliteSession)
            await session._connection.set_trace_callback(sent.append)
        await operation(adaptor)
    finally:
        await adaptor.aclose()
    sent = [statement for statement in sent if "aiostore_documents" in statement]
    assert sent
    with closing(sqlite3.connect(path)) as connection:
        for statement in sent:
            steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
            assert [step for step in steps if step.startswith("SCAN aiostore_doc")] == []
            assert [step for step in steps if step == "SCAN standing"] == []
            assert [step for step in steps if "ORDER BY" in step] == []


WRITE_FOR_EVER = """
import asyncio, itertools, sys, aiostore

async def main():
    async with aiostore.open_store(f"sqlite:///{sys.argv[1]}") as store:
        users = store.collection("users")
        for number in itertools.count():
            document = await users.put(f"{number % 7}", {"n": number, "text": "x" * 5000})
            print(document.key, document.version, number, flush=True)

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_a_kill(path: Path) -> None:
    """After `kill -9` in the midst of writing every acknowledged write is there, or a later one."""
    with child(WRITE_FOR_EVER, path) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(60)]
        writer.kill()
        lines += writer.stdout.read().splitlines(keepends=True)
    acknowledged = {
        key: (version, int(number))
        for key, version, number in (line.split() for line in lines if line.endswith("\n"))
    }
    async with aiostore.open_store(f"sqlite:///{path}") as store:
        users = store.collection("users")
        for key, (version, number) in acknowledged.items():
            document = await users.get(key)
            assert document.version >= version
            assert document.value["n"] >= number
            assert document.value["text"] == "x" * 5000
        await users.put("0", {})
    assert peek(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_file_that_cannot_grow_is_unavailable(path: Path) -> None:
    """The document stays as it was, and once there is room again the next write works.

    The room is taken away by a limit on the size of files, not by a full disk.
    """
    with child(FILL_DISK, f"sqlite:///{path}", 200_000) as process:
        output, _ = process.communicate()
    unavailable, *rest = output.splitlines()
    assert unavailable.startswith("unavailable the disk")
    assert rest == ["{'n': 1}", "{'n': 2}"]


async def test_a_full_database_is_unavailable(path: Path) -> None:
    """SQLite's own limit on pages stands for a full disk: nothing is half written."""
    adaptor = SQLAdaptor(SQLiteDatabase(str(path)))
    async with Store(adaptor) as store:
        users = store.collection("users")
        await users.put("alice", {"n": 1})
        assert adaptor._opened is not None
        async with adaptor._opened.connections.session() as session:
            await session.fetch(pragma("max_page_count = 6"))
        with pytest.raises(UnavailableError, match="the disk is full"):
            await users.put("alice", {"text": "x" * 100_000})
        assert (await users.get("alice")).value == {"n": 1}
        assert (await users.put("alice", {"n": 2})).value == {"n": 2}


def damage(path: Path) -> None:
    """Overwrite all pages but the first."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))


async def test_a_damaged_database_is_told(path: Path) -> None:
    """As a `CorruptRecordError` that says what to do."""
    async with Store(SQLAdaptor(SQLiteDatabase(str(path)))) as store:
        await store.collection("users").put_many({f"{n}": {"text": "x" * 500} for n in range(100)})
    damage(path)
    adaptor = SQLAdaptor(SQLiteDatabase(str(path)))
    with pytest.raises(CorruptRecordError, match="restore it from a backup"):
        async with Store(adaptor) as store:
            await store.collection("users").get("1")


async def test_a_mark_that_nobody_knows_is_told(path: Path) -> None:
    """As a `CorruptRecordError` that names the document; a later version may know it."""
    async with Store(SQLAdaptor(SQLiteDatabase(str(path)))) as store:
        await store.collection("users").put("alice", {})
        poke(path, "UPDATE aiostore_documents SET mark = 'gone'")
        with pytest.raises(CorruptRecordError, match="its mark is 'gone'") as caught:
            await store.collection("users").get("alice")
    assert (caught.value.collection, caught.value.key) == ("users", "alice")


async def test_an_unknown_error_keeps_its_cause(path: Path) -> None:
    """What the table of errors does not know is a plain `StoreError`."""
    async with Store(SQLAdaptor(SQLiteDatabase(str(path)))) as store:
        poke(path, "DROP TABLE aiostore_documents")
        with pytest.raises(StoreError, match="the database refused: no such table") as caught:
            await store.collection("users").get("alice")
    assert type(caught.value) is StoreError
    assert caught.value.__cause__ is not None
    assert caught.value.store == f"sqlite:///{path}"


HOSTILE = [
    "'", '"', "\\", "%", "_", "$[0]", "[1]", "\x01", "\x7f", "\n", "\u2028", "\ufffe", "\uffff",
    "ä", "a\u0308", "\U0001f600", "\U0010ffff", " a", "a ", "A", "a", "null", "1", "1e3", "x" * 512,
]  # fmt: skip


async def test_hostile_keys_and_texts(path: Path) -> None:
    """What travels in JSON inside SQL comes back as it went, each key for itself."""
    values = {key: {"key": key, key: [key]} for key in HOSTILE}
    async with Store(SQLAdaptor(SQLiteDatabase(str(path)))) as store:
        texts = store.collection("texts")
        stored = await texts.put_many(values)
        assert {key: document.value for key, document in stored.items()} == values
        assert await texts.get_many(HOSTILE) == stored
        assert [document.key async for document in texts.scan()] == sorted(HOSTILE)
        for key in HOSTILE:
            async with aclosing(texts.scan(prefix=key)) as found:
                assert (await anext(found)).value == values[key]
    assert peek(path, "SELECT count(*) FROM aiostore_documents") == [(len(HOSTILE),)]


@pytest.mark.parametrize("condition", [Absent(), Newer(), Exactly("0")])
@pytest.mark.parametrize("standing", [True, False])
async def test_erasing(path: Path, condition: Condition, *, standing: bool) -> None:
    """Under each condition an erasure leaves nothing, or the record that refused it."""
    adaptor = SQLAdaptor(SQLiteDatabase(str(path)))
    await adaptor.open()
    try:
        there = record("alice") if standing else None
        if there is not None:
            await adaptor.write([Write(there, Absent())])
        if there is not None and isinstance(condition, Exactly):
            condition = Exactly(there.version)
        outcome = await adaptor.write([Write(record("alice", None), condition, erase=True)])
        applied = standing is not isinstance(condition, Absent)
        applied = applied if not isinstance(condition, Newer) else True
        assert outcome == [Outcome(applied, None if applied else there)]
        assert await adaptor.read([DocumentId("users", "alice")]) == [None if applied else there]
    finally:
        await adaptor.aclose()


async def test_a_mixed_batch(path: Path) -> None:
    """Writes of different kinds, conditions and marks in one batch have each their own outcome."""
    adaptor = SQLAdaptor(SQLiteDatabase(str(path)))
    await adaptor.open()
    try:
        a, b, moved = record("a"), record("b"), record("m", mark=Mark.MOVED)
        await adaptor.write([Write(there, Newer()) for there in (a, b, moved)])
        writes = [
            Write(record("a"), Absent()),
            Write(record("b", '{"n":1}'), Exactly(b.version), keep_created_at=True),
            Write(record("c", None), Newer(), erase=True),
            Write(record("m"), Newer(), Mark.LIVE),
            Write(record("d", expires_at=7), Absent()),
        ]
        outcomes = await adaptor.write(writes)
        assert outcomes == [
            Outcome(applied=False, record=a),
            Outcome(applied=True, record=writes[1].record),
            Outcome(applied=True, record=None),
            Outcome(applied=False, record=moved),
            Outcome(applied=True, record=writes[4].record),
        ]
        refused = await adaptor.write_atomic([Write(record("e"), Absent()), writes[0]])
        assert [outcome.applied for outcome in refused] == [True, False]
        assert await adaptor.count("users") == 4
        assert await adaptor.purge(Purge("users", expired_before=8)) == 1
        await adaptor.write_atomic([Write(record("e"), Absent()), Write(record("f"), Newer())])
        assert await adaptor.collections() == ["users"]
        segments = [Scan("users", segment=segment, segments=3, chunk=2) for segment in range(3)]
        chunks = [chunk for request in segments async for chunk in adaptor.scan(request)]
        assert sorted(found.id.key for chunk in chunks for found in chunk) == list("abefm")
        assert await adaptor.purge(Purge("users", everything=True)) == 5
    finally:
        await adaptor.aclose()


async def test_no_free_connection_is_unavailable(path: Path) -> None:
    """An operation that gets no connection in time says so, and the next one works."""
    pool = Pool(size=2, timeout=timedelta(milliseconds=10))
    adaptor = SQLAdaptor(SQLiteDatabase(str(path), pool=pool))
    await adaptor.open()
    assert adaptor._opened is not None
    connections = adaptor._opened.connections
    async with connections.session(), connections.session():
        with pytest.raises(UnavailableError, match="all 2 connections were in use"):
            await adaptor.count("users")
    assert await adaptor.count("users") == 0
    await adaptor.aclose()


PUT_ONE = """
import asyncio, sys, aiostore

async def main():
    async with aiostore.open_store(f"sqlite:///{sys.argv[1]}") as store:
        await store.collection("users").put(sys.argv[2], {})

asyncio.run(main())
"""


def test_several_processes_may_start_at_once(path: Path) -> None:
    """A database that is not there yet is made once, by whichever comes first; none fails."""
    processes = [child(PUT_ONE, path, number) for number in range(6)]
    for process in processes:
        with process:
            process.communicate()
    assert [process.returncode for process in processes] == [0] * 6
    assert peek(path, "SELECT count(*) FROM aiostore_documents") == [(6,)]
    assert peek(path, "SELECT version FROM aiostore_schema") == [(2,)]
