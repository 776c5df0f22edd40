import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec
import pytest
from asyncmy.errors import OperationalError
from mariadb_documents import MAKE, MariaDBDocuments, Warned, connected, insertion, run
from servers import server
from sqlalchemy import Select, and_, column, or_, select, table

from aiostore.adaptors.sql._mariadb_json import (
    ALREADY_THERE,
    index_ddl,
    index_hint,
    index_name,
    place,
)
from aiostore.adaptors.sql._places import UNREADABLE, bounds, within
from aiostore.filters import Compare, In, Prefix, Scalar
from aiostore.testing import hostile

TABLE = "aiostore_documents"
PATH = ("address", "city")
NAME = index_name(PATH)
MANY = 3000

_KEY: Any = column("key")
_COLLECTION: Any = column("collection")
_BODY: Any = column("body")
_FOUND = table(TABLE, _KEY, _COLLECTION, _BODY)
_PLACE = place(PATH, indexed=True)


def city(number: int) -> Any:
    """Values of all types, a tenth of them alike."""
    values = [number, f"c{number % 500}", number / 7, None, [number], number % 20 == 0, "Rome"]
    return values[number % len(values)]


def bodies(count: int = MANY) -> list[str]:
    """Documents with such cities."""
    values = ({"address": {"city": city(number)}} for number in range(count))
    return [msgspec.json.encode(value).decode() for value in values]


@pytest.fixture(scope="module")
def indexed() -> Iterator[MariaDBDocuments]:
    """Many documents, and an index."""
    lent = server("mariadb").lend()
    with closing(MariaDBDocuments(lent.url)) as database:
        database.insert(bodies())
        database.insert(bodies(), collection="others")
        for statement in index_ddl(TABLE, PATH):
            database.run(statement)
        database.run(f"ANALYZE TABLE {TABLE}")
        yield database


def users(*conditions: Any) -> Select[Any]:
    """The bodies of one collection where the conditions hold."""
    return select(_BODY).select_from(_FOUND).where(_COLLECTION == "users", *conditions)


def key_columns(database: MariaDBDocuments, statement: Select[Any]) -> int:
    """How many columns of the index it is searched by; with no sorting."""
    (step,) = database.explain(statement)
    assert step["key"] == NAME
    assert "filesort" not in step["extra"]
    lengths = [66, 68, 77, 592, 1106]  # as EXPLAIN has them, for each column that is used
    return lengths.index(int(step["key_len"])) + 1


@pytest.mark.parametrize("wanted", ["Rome", None, True])
def test_an_index_gives_one_place_in_the_order_of_keys(
    indexed: MariaDBDocuments, wanted: Scalar
) -> None:
    """So that a page of what equals a value costs no more than itself."""
    same = within(_PLACE, bounds(Compare(PATH, "==", wanted)) or [])
    found = users(same).order_by(_KEY).limit(10)
    assert key_columns(indexed, found) == 4
    assert len(indexed.select(found)) == 10
    further = users(same, _KEY > "002000").order_by(_KEY).limit(10)
    assert key_columns(indexed, further) == 5


@pytest.mark.parametrize("direction", ["ascending", "descending"])
@pytest.mark.parametrize(("at_rank", "at_number", "at_text"), [(3, 50.0, ""), (4, 0.0, "c49")])
def test_an_index_gives_the_order_of_places(
    indexed: MariaDBDocuments, direction: str, at_rank: int, at_number: float, at_text: str
) -> None:
    """Either way round, from the beginning or from a place on, at the cost of the page alone."""
    rank, number, text = _PLACE
    columns: tuple[Any, ...] = (*_PLACE, _KEY)
    if direction == "ascending":
        beyond = or_(rank > at_rank, and_(rank == at_rank, number >= at_number, text >= at_text))
    else:
        columns = tuple(column.desc() for column in columns)
        beyond = or_(rank < at_rank, and_(rank == at_rank, number <= at_number, text <= at_text))
    found = users().order_by(*columns).limit(10).with_hint(_FOUND, index_hint(PATH))
    assert key_columns(indexed, found) == 1
    sorted_by_force = users(beyond).order_by(*columns).limit(10)
    sorted_by_force = sorted_by_force.with_hint(_FOUND, f"IGNORE INDEX ({NAME})")
    further = users(beyond).order_by(*columns).limit(10).with_hint(_FOUND, index_hint(PATH))
    indexed.run("FLUSH STATUS")
    records = indexed.select(further)
    assert steps(indexed) <= 10
    assert key_columns(indexed, further) == 4
    assert len(records) == 10
    assert records == indexed.select(sorted_by_force)


def steps(database: MariaDBDocuments) -> int:
    """How many times the connection has gone on in an index or table since `FLUSH STATUS`."""
    names = ("Handler_read_next", "Handler_read_prev", "Handler_read_rnd_next")
    rows = database.run("SHOW SESSION STATUS WHERE variable_name IN (%s, %s, %s)", *names)
    return sum(int(count) for _, count in rows)


@pytest.mark.parametrize(
    "leaf",
    [
        Compare(PATH, ">", 2990),
        Compare(PATH, "<", "c2"),
        Compare(PATH, "==", 21),
        In(PATH, ("Rome", "Oslo", 7, None)),
        Prefix(PATH, "c49"),
    ],
)
def test_an_index_narrows_down_to_ranges(
    indexed: MariaDBDocuments, leaf: Compare | In | Prefix
) -> None:
    """And to the documents besides that could not be read."""
    asked = or_(within(_PLACE, bounds(leaf) or []), _PLACE.rank == UNREADABLE)
    found = users(asked).order_by(_KEY).limit(10).with_hint(_FOUND, index_hint(PATH))
    (step,) = indexed.explain(found)
    assert (step["key"], step["type"]) == (NAME, "range")
    by_keys = users(asked).order_by(_KEY).limit(10).with_hint(_FOUND, "FORCE INDEX (PRIMARY)")
    assert indexed.select(found) == indexed.select(by_keys) != []


def test_an_index_is_found_by_its_columns_alone(indexed: MariaDBDocuments) -> None:
    """And so they have to be named: MariaDB does not know the expression again."""
    expression = place(PATH)
    where = and_(expression.rank == 4, expression.number == 0.0, expression.text == "Rome")
    assert [step["key"] for step in indexed.explain(users(where).order_by(_KEY))] == ["PRIMARY"]


def test_the_columns_hold_what_the_expressions_give(indexed: MariaDBDocuments) -> None:
    """Whichever of them a query names."""
    named = select(_KEY, *place(PATH, indexed=True)).select_from(_FOUND).order_by(_KEY)
    given = select(_KEY, *place(PATH)).select_from(_FOUND).order_by(_KEY)
    assert indexed.select(named) == indexed.select(given)


def test_a_repeat_is_harmless(indexed: MariaDBDocuments) -> None:
    """It is refused by the errors that say that there is nothing left to do."""
    before = indexed.run(f"SHOW CREATE TABLE {TABLE}")
    codes = []
    for statement in index_ddl(TABLE, PATH):
        with pytest.raises(OperationalError) as caught:
            indexed.run(statement)
        codes.append(caught.value.args[0])
    assert set(codes) == ALREADY_THERE
    assert indexed.run(f"SHOW CREATE TABLE {TABLE}") == before


def test_indexes_of_other_paths_have_other_names() -> None:
    """None of which is longer than the engines take."""
    paths = [("a",), ("b",), ("A",), ("a", "b"), ("a_b",), ("x" * 64,) * 31]
    names = {column for path in paths for column in map(str, place(path, indexed=True))}
    assert len(names) == 3 * len(paths)
    assert max(map(len, names)) <= 64


def test_the_server_is_told_to_lock_nobody_out() -> None:
    """It refuses what it cannot do so, and the tests here show that it does not."""
    assert all(statement.endswith(", LOCK=NONE") for statement in index_ddl(TABLE, PATH))


def test_the_name_of_a_table_is_quoted() -> None:
    """Whatever it is."""
    for statement in index_ddl("my `table`", ("a",)):
        assert statement.startswith("ALTER TABLE `my ``table``` ADD ")


def test_a_damaged_document_is_written_and_indexed() -> None:
    """An index makes no write fail by what the server cannot read, or not as a number."""
    damaged = ['{"a":', "", "x", "[1", "{'a':1}", '{"a":1}}', '{"a":"\\ud800"}', "\\", "1", "null"]
    odd = ['{"a":1e999}', '{"a":-1e999}', '{"a":1e-999}', '{"a":99999999999999999999}']
    deep = msgspec.json.encode(hostile.nested(32)).decode()
    with closing(MariaDBDocuments(server("mariadb").fresh())) as database:
        for statement in index_ddl(TABLE, ("a",)):
            database.run(statement)
        database.run("SET SESSION sql_mode = 'TRADITIONAL'")
        database.insert([*damaged, *odd, deep, None])
        database.run("UPDATE aiostore_documents SET body = CONCAT('', body)")
        columns = place(("a",), indexed=True)
        rows = database.select(select(columns.rank).select_from(_FOUND).order_by(_KEY))
    ranks = [rank for (rank,) in rows]
    assert ranks == [*[UNREADABLE] * 8, 0, 0, *[3] * 4, UNREADABLE, 0]


def test_a_warning_would_have_been_told() -> None:
    """The tests' own table fails what warns, as it fails a write."""
    with (
        closing(MariaDBDocuments(server("mariadb").fresh())) as database,
        pytest.raises(Warned, match="1e999x"),
    ):
        database.run("SELECT '1e999x' + 0e0")


async def test_two_may_make_one_index_while_others_write() -> None:
    """Both find it complete when their statements are over, whoever was first."""
    url = server("mariadb").fresh()
    connections = [await connected(url) for _ in range(4)]
    first, second, *writers = connections
    making = 2

    async def make(connection: Any) -> int:
        """Make the index, as if nobody else did; how many documents are in it then."""
        nonlocal making
        for statement in index_ddl(TABLE, PATH):
            try:
                await run(connection, statement)
            except OperationalError as error:
                if error.args[0] not in ALREADY_THERE:
                    raise
        making -= 1
        return await in_index(connection)

    async def write(connection: Any, writer: str) -> int:
        """Store documents until both have made it; how many."""
        number = 0
        while making:
            body = bodies(number % 7 + 1)[-1]
            await run(connection, *insertion([body], collection=f"{writer} {number}"))
            number += 1
        return number

    async def in_index(connection: Any) -> int:
        found = f"{TABLE} {index_hint(PATH)} WHERE collection >= '' AND {NAME}_rank >= -1"
        ((count,),) = await run(connection, f"SELECT COUNT(*) FROM {found}")  # noqa: S608  # our own
        return int(count)

    try:
        await run(first, MAKE)
        await run(first, *insertion(bodies(20_000)))
        one, other, *written = await asyncio.gather(
            make(first), make(second), write(writers[0], "one"), write(writers[1], "other")
        )
        assert min(one, other) >= 20_000
        assert await in_index(first) == 20_000 + sum(written) >= max(one, other)
    finally:
        for connection in connections:
            await connection.ensure_closed()
