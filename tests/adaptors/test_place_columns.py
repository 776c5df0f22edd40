from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from operator import gt, lt
from typing import Any, NamedTuple

import pytest
from filter_cases import EXTREMES, HOSTILE, around, encoded
from hypothesis import given, settings
from hypothesis import strategies as st
from place_ranges import is_within
from postgresql_documents import DIALECT as POSTGRESQL
from postgresql_documents import PostgreSQLDocuments
from servers import server
from sqlalchemy import ColumnElement, case, column, literal_column, select, table
from sqlalchemy.engine import Dialect
from sqlite_documents import DIALECT as SQLITE
from sqlite_documents import SQLiteDocuments

from aiostore.adaptors.sql import _postgresql_json, _sqlite_json
from aiostore.adaptors.sql._places import (
    MISSING,
    UNREADABLE,
    Place,
    Range,
    bounds,
    stretches,
    within,
)
from aiostore.filters import F, Path, matches
from aiostore.orders import Coarse, coarse_at, is_beyond
from aiostore.testing import strategies
from aiostore.testing.strategies import PLAIN_NAMES, filters

DOCUMENTS = table("aiostore_documents", column("collection"), column("key"), column("body"))
KEY = DOCUMENTS.c.key
USERS = DOCUMENTS.c.collection == literal_column("'users'")


class Database(NamedTuple):
    """An empty table of documents in a database, and how that places them.

    Attributes:
        documents: the table.
        place: the columns of a field.
        dialect: SQLAlchemy's.
        row_values: as `stretches` asks for it.
    """

    documents: SQLiteDocuments | PostgreSQLDocuments
    place: Callable[[Path], Place]
    dialect: Dialect
    row_values: bool

    @contextmanager
    def holding(self, bodies: Sequence[str | None]) -> Iterator[None]:
        """With these records in the table, the keys being their numbers."""
        self.documents.insert(bodies)
        try:
            yield
        finally:
            self.documents.clear()

    def placed(self, path: Path) -> list[Coarse]:
        """The places of a field of all of them."""
        found = select(*self.place(path)).select_from(DOCUMENTS).order_by(KEY)
        return [Coarse(*row) for row in self.documents.select(found)]

    def ordered(self, path: Path, *, descending: bool = False) -> list[int]:
        """The numbers of all of them, in the order of their places."""
        columns: list[ColumnElement[Any]] = [*self.place(path), KEY]
        by = [column.desc() for column in columns] if descending else columns
        return [int(key) for (key,) in self.documents.select(select(KEY).order_by(*by))]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Each of the databases."""
    documents: SQLiteDocuments | PostgreSQLDocuments
    if request.param == "sqlite":
        documents = SQLiteDocuments()
        made = Database(documents, _sqlite_json.place, SQLITE, row_values=False)
    else:
        documents = PostgreSQLDocuments(server(request.param).url)
        made = Database(documents, _postgresql_json.place, POSTGRESQL, row_values=True)
    yield made
    documents.close()


def check_places(database: Database, values: Sequence[dict[str, Any]], path: Path) -> None:
    """Every document stands where it should, and so does each of any two."""
    expected = [coarse_at(value, path) for value in values]
    for found, wanted in zip(database.placed(path), expected, strict=True):
        assert (found.rank, found.text) == (wanted.rank, wanted.text)
        assert abs(found.number - wanted.number) <= abs(wanted.number) * 1e-14 + 1e-310
    for descending in (False, True):
        order = database.ordered(path, descending=descending)
        assert sorted(order) == list(range(len(values)))
        for first, later in combinations(order, 2):
            assert not is_beyond(expected[first], expected[later], descending=descending)


PATHS = st.lists(st.sampled_from(PLAIN_NAMES), min_size=1, max_size=3).map(tuple)


@settings(max_examples=50)
@given(st.lists(strategies.documents(), min_size=1, max_size=20), PATHS)
def test_documents_stand_in_the_coarse_order(
    database: Database, values: list[dict[str, Any]], path: Path
) -> None:
    """By the type of the field, then by its value."""
    with database.holding(encoded(values)):
        check_places(database, values, path)


def test_awkward_values_stand_in_the_coarse_order(database: Database) -> None:
    """The hostile ones, numbers of all sizes, and texts that are longer than their place."""
    values = [value for values in HOSTILE for value in values]
    values += [{"a": number} for extreme in EXTREMES for number in around(extreme)]
    values += [
        {"a": text * count} for text in ("é", "😀", "a", "\U0010ffff") for count in (127, 129)
    ]
    values += [{"a": "x" * 128 + end} for end in "ab"]
    with database.holding(encoded(values)):
        check_places(database, values, ("a",))


@settings(max_examples=50)
@given(
    st.lists(strategies.documents(), min_size=1, max_size=10).flatmap(
        lambda about: st.tuples(
            st.just(about),
            st.lists(
                filters(
                    kinds={"equal", "compare", "in", "prefix"}, plain=True, about=about, levels=0
                ),
                max_size=10,
            ),
        )
    )
)
def test_what_matches_stands_within_the_bounds(
    database: Database, case: tuple[list[dict[str, Any]], list[Any]]
) -> None:
    """So that a scan may look there alone."""
    values, leaves = case
    with database.holding(encoded(values)):
        for leaf in leaves:
            ranges = bounds(leaf)
            if ranges is not None:
                asked = select(KEY).where(within(database.place(leaf.path), ranges))
                found = {int(key) for (key,) in database.documents.select(asked)}
                assert {n for n, one in enumerate(values) if matches(leaf, one)} <= found, leaf


@pytest.mark.parametrize(
    ("low", "high"),
    [("a", "b"), (None, "b"), ("a", None)],
)
def test_bounds_leave_out_what_is_beyond_them(
    database: Database, low: str | None, high: str | None
) -> None:
    """On either side, where there is a bound."""
    texts = ["A", "a", "ab", "b", "ba"]
    others: list[Any] = [1, None, True, [], {}]
    expected = [n for n, one in enumerate(texts) if (low or "") <= one <= (high or "c")]
    values = [{"a": one} for one in (*texts, *others)]
    with database.holding([*encoded(values), "{}", None]):
        asked = select(KEY).where(within(database.place(("a",)), [Range(4, low, high)]))
        found = database.documents.select(asked.order_by(KEY))
        assert [int(key) for (key,) in found] == expected
        none = select(KEY).where(within(database.place(("a",)), []))
        assert database.documents.select(none) == []


DAMAGED = [
    *(None, "", "{", "x", '{"a":', '{"a":1', '{"a":"\\ud800"', "{" * 3000, "[1]", "1"),
    *('{"a":1e400}', '{"a":-1e400}', '{"a":1e-400}', '{"a":1e999999}', '{"a":1e-999999}'),
    *(f'{{"a":{"1" * 140_000}}}', f'{{"a":0.{"0" * 140_000}1}}', f'{{"a":{2**64}}}'),
    *('{"a":"\\u0000"}', '{"a":"\\ud800"}', '{"b":"\\udc00\\ud800","a":1}', '{"a":1,"a":2}'),
]


def test_damage_stands_somewhere(database: Database) -> None:
    """It is no error, for a statement about others nor for an index; no column is NULL."""
    place = database.place(("a",))
    null = [case((column.is_(None), literal_column("1")), else_=0) for column in place]
    with database.holding(DAMAGED):
        found = select(place.rank, *null).select_from(DOCUMENTS).order_by(KEY)
        placed = database.documents.select(found)
        made = index(database, ("a",))
        database.documents.run(f"DROP INDEX {made}")
    assert [rank for rank, *_ in placed[:8]] == [MISSING, *[UNREADABLE] * 7]
    assert {tuple(rest) for _, *rest in placed} == {(0, 0, 0)}


def literally(database: Database, one: ColumnElement[Any]) -> str:
    """The text that stands for it in a statement that takes no parameters."""
    compiled = one.compile(dialect=database.dialect)
    assert compiled.params == {}
    return str(compiled)


def index(database: Database, path: Path) -> str:
    """Make an index of a field, and give its name."""
    columns = ", ".join(f"({literally(database, column)})" for column in database.place(path))
    name = f"by_{'_'.join(path)}"
    database.documents.run(
        f"CREATE INDEX {name} ON aiostore_documents ({columns}, key) WHERE collection = 'users'"
    )
    return name


@pytest.fixture
def indexed(database: Database) -> Iterator[Database]:
    """With many documents, and an index of the field `a.b`."""
    values: list[Any] = [*range(1500), *(f"x{number:04}" for number in range(1500))]
    values += [True, False] * 200 + [None] * 200
    with database.holding(encoded([{"a": {"b": one}} for one in values])):
        name = index(database, ("a", "b"))
        try:
            database.documents.analyze()
            yield database
        finally:
            database.documents.run(f"DROP INDEX {name}")


def check_goes_by_the_index(database: Database, statement: Any) -> None:
    """It neither sorts nor goes through all documents."""
    plan = database.documents.plan(statement)
    assert "by_a_b" in plan, plan
    assert "sort" not in plan.lower(), plan
    assert "B-TREE" not in plan, plan


RANGES = [
    F.a.b == "x0007",
    F.a.b == None,  # noqa: E711  # it makes a filter
    F.a.b == True,  # noqa: E712  # likewise
    F.a.b >= 7,
    F.a.b < "x0007",
    F.a.b.prefix("x001"),
    F.a.b.in_([5, 1400, "x0003", "x1000"]),
]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("leaf", [None, *RANGES], ids=str)
def test_stretches_come_from_an_index(indexed: Database, leaf: Any, *, descending: bool) -> None:
    """All of them, or those within bounds, from either end and from any place in between."""
    place = indexed.place(("a", "b"))
    ranges = None if leaf is None else bounds(leaf)
    starts: list[tuple[Coarse | None, str | None]] = [(None, None)]
    for start in (Coarse(1, 0.0, ""), Coarse(2, 1.0, ""), Coarse(3, 700.0, "")):
        starts += [(start, None), (start, "000500")]
    for text in ("x0007", "x0015"):
        starts += [(Coarse(4, 0.0, text), None), (Coarse(4, 0.0, text), "001600")]
    for place_, key in starts:
        for one in stretches(
            place,
            KEY,
            ranges,
            start=place_,
            start_after=key,
            descending=descending,
            row_values=indexed.row_values,
        ):
            asked = select(KEY).where(USERS, one.where).order_by(*one.order)
            plan = indexed.documents.plan(asked.limit(literal_column("10")))
            assert "by_a_b" in plan, plan
            assert "Sort" not in plan, plan  # PostgreSQL's word
            assert "B-TREE" not in plan, plan  # SQLite's
            assert "SCAN" not in plan, plan


@pytest.mark.parametrize("leaf", RANGES[:-1], ids=str)
def test_documents_within_bounds_come_from_an_index(indexed: Database, leaf: Any) -> None:
    """Where they are one range; several ones have to be gone through one by one in SQLite."""
    where = within(indexed.place(("a", "b")), bounds(leaf) or ())
    plan = indexed.documents.plan(select(KEY).where(USERS, where))
    assert "by_a_b" in plan, plan
    assert "SCAN" not in plan, plan


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("leaf", [F.a.b == "x0007", RANGES[1], RANGES[2]], ids=str)
def test_documents_of_one_place_come_from_an_index_by_key(
    indexed: Database, leaf: Any, *, descending: bool
) -> None:
    """They are found, and need no sorting, however few of them are taken."""
    where = within(indexed.place(("a", "b")), bounds(leaf) or ())
    asked = select(KEY).where(USERS, where).order_by(KEY.desc() if descending else KEY)
    plan = indexed.documents.plan(asked.limit(literal_column("10")))
    assert "by_a_b" in plan, plan
    assert "Sort" not in plan, plan
    assert "B-TREE" not in plan, plan


ANYTHING: list[Any] = [None, True, False, 1, 1.5, "a", "b", "x" * 130, []]
RANGES_OF = {
    "everywhere": None,
    "values": bounds(F.a.in_([None, False, 1.5, "b", "x" * 130])),
    "parts of two types": [Range(3, None, 1.25), Range(4, "aa", None)],
    "two types": [Range(2), Range(4, None, "b")],
    "what cannot be read": [Range(UNREADABLE), Range(4, "b", "b")],
    "nowhere": [],
}


@pytest.mark.parametrize("row_values", [False, True])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("ranges", RANGES_OF.values(), ids=RANGES_OF)
def test_stretches_are_the_order_from_any_place_on(
    database: Database, ranges: list[Range] | None, *, descending: bool, row_values: bool
) -> None:
    """Each document once, those within bounds if there are some."""
    place = database.place(("a",))
    with database.holding(["{", None, "{}", *encoded([{"a": one} for one in ANYTHING])]):
        placed = database.placed(("a",))
        order = sorted(range(len(placed)), key=lambda n: (placed[n], n), reverse=descending)
        if ranges is not None:
            order = [n for n in order if any(is_within(placed[n], one) for one in ranges)]

        def walked(start: Coarse | None, start_after: str | None) -> list[int]:
            parts = stretches(
                place,
                KEY,
                ranges,
                start=start,
                start_after=start_after,
                descending=descending,
                row_values=row_values,
            )
            statements = [select(KEY).where(one.where).order_by(*one.order) for one in parts]
            return [int(key) for each in statements for (key,) in database.documents.select(each)]

        assert walked(None, None) == order
        ahead = lt if descending else gt
        for at, start in enumerate(placed):
            beginning = [n for n in order if placed[n] == start or ahead(placed[n], start)]
            assert walked(start, None) == beginning
            behind = [n for n in order if ahead((placed[n], n), (start, at))]
            assert walked(start, f"{at:06}") == behind
