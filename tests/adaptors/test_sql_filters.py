import asyncio
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing, closing, contextmanager
from functools import reduce
from operator import and_, or_
from pathlib import Path
from typing import Any

import msgspec
import pytest
from filter_cases import (
    EXTREMES,
    HOSTILE,
    NUMBERS,
    TOO_LARGE,
    around,
    asked_of,
    documents_of,
    encoded,
    matching,
    nested,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, insert, select, true
from sqlalchemy.dialects import sqlite
from sqlalchemy.pool import StaticPool

from aiostore.adaptors.sql import SQLAdaptor, SQLiteDatabase
from aiostore.adaptors.sql._dialects import SQLITE
from aiostore.adaptors.sql._drivers import AiosqliteSession
from aiostore.adaptors.sql._filters import KINDS
from aiostore.adaptors.sql._tables import tables
from aiostore.adaptors.sql._walks import may_match
from aiostore.errors import CorruptRecordError
from aiostore.filters import And, Compare, Contains, F, Filter, In, Not, Or, matches
from aiostore.keys import segment_of
from aiostore.protocols import DocumentId, Newer, Record, Scan, Write
from aiostore.store import Store
from aiostore.testing.strategies import documents, filters
from aiostore.versions import VersionClock

CLOCK = VersionClock()
TABLES = tables()
table = TABLES.documents


@pytest.fixture(scope="module")
def database() -> Iterator[Connection]:
    """An empty database in memory, with our tables: for the statements alone."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.connect() as connection:
        table.create(connection)
        yield connection
    engine.dispose()


@contextmanager
def holding(database: Connection, bodies: Sequence[str | None]) -> Iterator[None]:
    """With these records in the collection, the keys being their numbers."""
    fields = {"collection": "users", "version": "0", "mark": "live", "created_at": 0}
    rows = [
        {**fields, "key": f"{number:06}", "body": body, "updated_at": 0}
        for number, body in enumerate(bodies)
    ]
    database.execute(insert(table), rows)
    try:
        yield
    finally:
        database.rollback()


def page(where: Filter | None, after: str | None = None, chunk: int = 1_000_000) -> Any:
    """The statement of a page of a scan."""
    assert SQLITE.judging is not None
    narrowed = true() if where is None else may_match(where, SQLITE.judging)
    behind = table.c.key >= "" if after is None else table.c.key > after
    rows = select(table).where(table.c.collection == "users", behind, narrowed)
    return rows.order_by(table.c.key).limit(chunk)


def kept(database: Connection, where: Filter) -> list[int]:
    """The numbers of the records that are left of all."""
    return [int(row.key) for row in database.execute(page(where))]


def holds_a_float(where: Filter) -> bool:
    """Whether a value that it compares with is one."""
    match where:
        case And(parts=parts) | Or(parts=parts):
            return any(map(holds_a_float, parts))
        case Not(part=part):
            return holds_a_float(part)
        case Compare(value=value) | Contains(item=value):
            return isinstance(value, float)
        case In(values=values):
            return any(isinstance(value, float) for value in values)
        case _:
            return False


def check(database: Connection, values: Sequence[Mapping[str, Any]], where: Filter) -> None:
    """All that match are kept; and with no float in the filter, no others are."""
    found, wanted = kept(database, where), matching(values, where)
    assert set(wanted) <= set(found), where
    if not holds_a_float(where):
        assert found == wanted, where


CASES = st.lists(documents(), max_size=6).flatmap(
    lambda about: st.tuples(st.just(about), filters(kinds=KINDS, plain=True, about=about))
)


@settings(deadline=None)
@given(CASES)
def test_what_matches_is_kept(
    database: Connection, case: tuple[list[dict[str, Any]], Filter]
) -> None:
    """No document that matches is left out; with no float in the filter, all others are."""
    values, where = case
    with holding(database, [*encoded(values), None]):
        check(database, values, where)


@settings(deadline=None)
@given(st.sampled_from(HOSTILE), st.data())
def test_hostile_documents_are_judged(
    database: Connection, values: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Whatever their texts, names and numbers are."""
    where = data.draw(filters(kinds=KINDS, plain=True, about=values))
    with holding(database, encoded(values)):
        check(database, values, where)


def check_numbers(
    database: Connection, numbers: Sequence[int | float], literals: Sequence[int | float]
) -> None:
    """Each of the literals is compared with all the numbers, in every way."""
    values = documents_of(numbers)
    with holding(database, encoded(values)):
        for number in literals:
            for where in asked_of(number, numbers[0]):
                check(database, values, where)
                check(database, values, ~where)


@settings(deadline=None, max_examples=30)
@given(NUMBERS, st.data())
def test_numbers_next_to_each_other_are_told_apart(
    database: Connection, number: float, data: st.DataObject
) -> None:
    """Exactly where an integer is asked for; where it is a float, those in doubt are kept."""
    numbers = around(number)
    check_numbers(database, numbers, [data.draw(st.sampled_from(numbers))])


@pytest.mark.parametrize("number", EXTREMES)
def test_extreme_numbers_are_told_apart(database: Connection, number: float) -> None:
    """Where floats end, lose their fraction, or leave the range of integers."""
    numbers = around(number)
    check_numbers(database, numbers, numbers[:2] + numbers[-4:-3])


@pytest.mark.parametrize(
    "where",
    [
        F.a == 0.3,
        F.a != 0.3,
        F.a < 5.05,
        F.a <= 5.05,
        F.a > 5.05,
        F.a >= 5.05,
        F.a.in_([0.3, 0.4, 7]),
        F.a == 7.0,
        F.a >= 7.0,
        ~(F.a < 5.05),
        ~(F.a >= 5.05),
    ],
)
def test_floats_narrow_down(database: Connection, where: Filter) -> None:
    """What is clearly different from the float is left out."""
    values: list[dict[str, Any]] = [{"a": number / 10} for number in range(100)]
    values += [{"a": 7}, {"a": "7"}, {}]
    with holding(database, encoded(values)):
        assert len(kept(database, where)) - len(matching(values, where)) <= (where == (F.a != 0.3))


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("and", 5),
        ("or", 10),
        ("not", 10),
        ("not and", 10),
        ("in", 10),
        ("in again", 1),
        ("contains", 0),
    ],
)
def test_a_filter_too_large_narrows_less(database: Connection, name: str, most: int) -> None:
    """It is no error: what the database would not take is left to the caller."""
    where = TOO_LARGE[name]
    values = [{"a": number} for number in range(10)]
    with holding(database, encoded(values)):
        found = kept(database, where)
        assert set(matching(values, where)) <= set(found)
        assert len(found) == most
        kept(database, ~where)


def test_as_much_as_is_taken_into_account_is_within_the_limits(database: Connection) -> None:
    """Of the most costly parts, all together and each inside of the other."""
    values: list[dict[str, Any]] = [{"a": [1.5]}, {"a": 1}]
    parts: list[Filter] = [~F.a.in_([1.5, number, "x", None]) for number in range(3, 60)]
    deep = nested(parts[0], 60, parts[1])
    with holding(database, encoded(values)):
        for where in (reduce(and_, parts), reduce(or_, parts), deep):
            check(database, values, where)


def test_free_text_is_not_declared_and_narrows_nothing(database: Connection) -> None:
    """SQLite folds the case of ASCII's letters alone."""
    assert "text" not in KINDS
    values = [{"a": "STRASSE"}, {"a": "x"}]
    with holding(database, encoded(values)):
        assert kept(database, F.text("straße")) == kept(database, ~F.text("straße")) == [0, 1]
        assert kept(database, F.text("straße") & (F.a == "x")) == [1]


def test_tombstones_never_match(database: Connection) -> None:
    """Nor does the opposite of a filter."""
    with holding(database, [None, "{}"]):
        assert kept(database, ~F.a.exists()) == [1]
        assert kept(database, F.text("a")) == [1]


def test_a_body_that_sqlite_cannot_read_comes(database: Connection) -> None:
    """Whoever asks is to learn of it, and of the others all the same."""
    with holding(database, ['{"a":', '{"a":1}', '{"a":2}', '{"a":' * 5000 + "1" + "}" * 5000]):
        assert kept(database, F.a == 1) == [0, 1, 3]
        assert kept(database, ~(F.a == 1)) == [0, 2, 3]
        assert kept(database, F.a.contains(1)) == [0, 3]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (F.a == 1, F.b.c == -5),
        (F.a < "a", F.b < "b"),
        (F.a == True, F.b == False),  # noqa: E712  # they make filters
        (F.a.in_([1]), F.b.in_(range(1000))),
        (F.a.in_(["a", "b"]), F.b.in_(["c"])),
        (F.a.contains("a"), F.b.contains("b")),
        (F.a.prefix("a"), F.b.prefix("bcd")),
    ],
)
def test_values_and_names_are_parameters(one: Filter, other: Filter) -> None:
    """Two filters of one form are one statement, prepared once."""
    texts = {str(page(where).compile(dialect=sqlite.dialect())) for where in (one, other)}
    assert len(texts) == 1
    first, second = (page(where)._generate_cache_key() for where in (one, other))
    assert first.key == second.key


def steps(path: Path, statement: Any) -> int:
    """How many thousands of its machine's steps SQLite takes for it."""
    made = statement.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    taken = 0

    def count() -> None:
        nonlocal taken
        taken += 1

    with closing(sqlite3.connect(path)) as connection:
        connection.set_progress_handler(count, 1000)
        connection.execute(str(made)).fetchall()
    return taken


def fill(path: Path, count: int) -> None:
    """Store documents `{"n": 0}`, `{"n": 1}` …, their keys in that order."""

    async def put() -> None:
        async with Store(SQLAdaptor(SQLiteDatabase(str(path), synchronous="off"))) as store:
            await store.collection("users").put_many(
                {f"{number:06}": {"n": number} for number in range(count)}
            )

    asyncio.run(put())


def test_a_page_costs_the_same_wherever_it_begins(tmp_path: Path) -> None:
    """It is found in the index, not by walking there."""
    path = tmp_path / "app.db"
    fill(path, 20_000)
    for where in (None, F.n >= 0):
        first = steps(path, page(where, chunk=100))
        last = steps(path, page(where, after="019000", chunk=100))
        assert last <= first + 1


def record(key: str, body: str | None) -> Record:
    """A record with a fresh version."""
    return Record(DocumentId("users", key), body, CLOCK.next(), 1, 2)


@pytest.mark.parametrize("chunk", [1, 7, 1000, 5000])
@pytest.mark.parametrize("start_after", [None, "a/0100", "b", "b/2000", "c"])
async def test_a_narrowed_scan_is_the_scan_of_what_matches(
    tmp_path: Path, chunk: int, start_after: str | None
) -> None:
    """In order, of this prefix and segment, behind this key, in chunks; each record once."""
    keys = [f"{folder}/{number:04}" for folder in "abc" for number in range(2100)]
    records = [
        record(key, None if number % 11 == 0 else f'{{"n":{number}}}')
        for number, key in enumerate(keys)
    ]
    where = F.n.in_([0, 1, *range(2090, 2120), *range(4190, 4210), 6299])
    wanted = [
        one.id.key
        for one in records
        if one.id.key.startswith("b/")
        and (start_after is None or one.id.key > start_after)
        and segment_of(one.id.key, 2) == 1
        and one.body is not None
        and matches(where, msgspec.json.decode(one.body))
    ]
    adaptor = SQLAdaptor(SQLiteDatabase(str(tmp_path / "app.db"), synchronous="off"))
    await adaptor.open()
    try:
        for begin in range(0, len(records), 1000):
            batch = records[begin : begin + 1000]
            await adaptor.write([Write(one, Newer()) for one in batch])
        request = Scan(
            "users",
            prefix="b/",
            start_after=start_after,
            segment=1,
            segments=2,
            chunk=chunk,
            where=where,
        )
        async with aclosing(adaptor.scan(request)) as chunks:
            found = [[one.id.key for one in records] async for records in chunks]
    finally:
        await adaptor.aclose()
    assert [key for keys in found for key in keys] == wanted
    assert all(0 < len(keys) <= chunk for keys in found)


async def test_a_scan_that_finds_nothing_can_be_left(tmp_path: Path) -> None:
    """It goes by stretches: behind the one that it is at, nothing is done for who has gone."""
    path = tmp_path / "app.db"
    await asyncio.to_thread(fill, path, 9_000)
    adaptor = SQLAdaptor(SQLiteDatabase(str(path)))
    await adaptor.open()
    loop = asyncio.get_running_loop()
    statements: list[str] = []
    begun = asyncio.Event()

    def listen(statement: str) -> None:
        statements.append(statement)
        loop.call_soon_threadsafe(begun.set)

    assert adaptor._opened is not None
    async with adaptor._opened.connections.session() as session:
        assert isinstance(session, AiosqliteSession)
        await session._connection.set_trace_callback(listen)

    async def walk() -> list[Sequence[Record]]:
        async with aclosing(adaptor.scan(Scan("users", where=F.n == -1))) as chunks:
            return [chunk async for chunk in chunks]

    assert await walk() == []
    whole = len(statements)
    begun.clear()
    walking = asyncio.create_task(walk())
    await begun.wait()
    walking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await walking
    await adaptor.aclose()
    assert len(statements) - whole <= 2
    assert whole == 10


async def test_damage_is_told_by_a_query_that_is_narrowed_down(tmp_path: Path) -> None:
    """As by any other: the error names the document."""
    path = tmp_path / "app.db"
    await asyncio.to_thread(fill, path, 3)
    async with Store(SQLAdaptor(SQLiteDatabase(str(path)))) as store:
        users = store.collection("users")
        assert [document.key async for document in users.find(F.n == 2)] == ["000002"]

        def damage() -> None:
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("UPDATE aiostore_documents SET body = '{' WHERE key = '000001'")

        await asyncio.to_thread(damage)
        with pytest.raises(CorruptRecordError, match="000001"):
            [document async for document in users.find(F.n == 2)]
