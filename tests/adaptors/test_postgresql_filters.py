from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from operator import and_, or_
from typing import Any

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
from postgresql_documents import DIALECT, PostgreSQLDocuments
from servers import server
from sqlalchemy import Select, column, select, table

from aiostore.adaptors.sql._dialects import POSTGRESQL
from aiostore.adaptors.sql._filters import KINDS
from aiostore.adaptors.sql._walks import may_match
from aiostore.filters import F, Filter
from aiostore.testing.strategies import documents, filters

DOCUMENTS = table("aiostore_documents", column("key"), column("body"))


@pytest.fixture(scope="module")
def database() -> Iterator[PostgreSQLDocuments]:
    """An empty table of documents."""
    made = PostgreSQLDocuments(server("postgresql").url)
    yield made
    made.close()


@contextmanager
def holding(database: PostgreSQLDocuments, bodies: Sequence[str | None]) -> Iterator[None]:
    """With these records in the table, the keys being their numbers."""
    database.insert(bodies)
    try:
        yield
    finally:
        database.clear()


def asking(where: Filter) -> Select[Any]:
    """The statement for the keys of what matches, or cannot be read."""
    assert POSTGRESQL.judging is not None
    keys = select(DOCUMENTS.c.key).where(may_match(where, POSTGRESQL.judging))
    return keys.order_by(DOCUMENTS.c.key)


def kept(database: PostgreSQLDocuments, where: Filter) -> list[int]:
    """The numbers of the records that are left of all."""
    return [int(key) for (key,) in database.select(asking(where))]


def check(
    database: PostgreSQLDocuments, values: Sequence[Mapping[str, Any]], *asked: Filter
) -> None:
    """What matches is kept, and nothing else; of the opposite likewise."""
    for where in asked:
        assert kept(database, where) == matching(values, where), where
        assert kept(database, ~where) == matching(values, ~where), where


@settings(max_examples=50)
@given(
    st.lists(documents(), min_size=1, max_size=10).flatmap(
        lambda about: st.tuples(
            st.just(about),
            st.lists(filters(kinds=KINDS, about=about), min_size=1, max_size=10),
        )
    )
)
def test_what_matches_is_kept_and_nothing_else(
    database: PostgreSQLDocuments, case: tuple[list[dict[str, Any]], list[Filter]]
) -> None:
    """PostgreSQL judges exactly, fields of any name."""
    values, asked = case
    with holding(database, [*encoded(values), None]):
        check(database, values, *asked)


@settings(max_examples=50)
@given(st.sampled_from(HOSTILE), st.data())
def test_hostile_documents_are_judged(
    database: PostgreSQLDocuments, values: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Whatever their texts, names and numbers are."""
    asked = data.draw(st.lists(filters(kinds=KINDS, about=values), min_size=1, max_size=5))
    with holding(database, encoded(values)):
        check(database, values, *asked)


@settings(max_examples=50)
@given(NUMBERS, st.data())
def test_numbers_next_to_each_other_are_told_apart(
    database: PostgreSQLDocuments, number: float, data: st.DataObject
) -> None:
    """Integers and floats, compared by value."""
    numbers = around(number)
    values = documents_of(numbers)
    with holding(database, encoded(values)):
        check(database, values, *asked_of(data.draw(st.sampled_from(numbers)), numbers[0]))


def test_extreme_numbers_are_told_apart(database: PostgreSQLDocuments) -> None:
    """Where floats end, lose their fraction, or leave the range of integers."""
    numbers = sorted({(one, type(one)): one for each in EXTREMES for one in around(each)}.values())
    values = documents_of(numbers)
    with holding(database, encoded(values)):
        for number in EXTREMES:
            check(database, values, *asked_of(number, 0.5))


@pytest.mark.parametrize("where", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_filter_too_large_narrows_less(database: PostgreSQLDocuments, where: Filter) -> None:
    """It is no error: what would make the statement too long is left to the caller."""
    values = [{"a": number} for number in range(10)]
    with holding(database, encoded(values)):
        wanted, found = set(matching(values, where)), set(kept(database, where))
        assert wanted <= found
        assert set(range(10)) - wanted <= set(kept(database, ~where))


def test_many_values_are_one_parameter_and_looked_up(database: PostgreSQLDocuments) -> None:
    """Not gone through for every document, however many they are."""
    values: list[dict[str, Any]] = [{"a": f"{number}"} for number in range(1000)]
    statement = asking(F.a.in_([f"{number}" for number in range(999, 400_000)]))
    with holding(database, encoded(values)):
        assert database.select(statement) == [("000999",)]
        plan = database.plan(statement)
    assert "hashed SubPlan" in plan


def test_as_much_as_is_taken_into_account_is_within_the_limits(
    database: PostgreSQLDocuments,
) -> None:
    """Of the most costly parts, all together and each inside of the other."""
    values: list[dict[str, Any]] = [{"a": [1.5]}, {"a": 1}, {"a": 7}]
    parts: list[Filter] = [~F.a.in_([1.5, number, "x", None]) for number in range(3, 26)]
    with holding(database, encoded(values)):
        check(database, values, reduce(and_, parts), reduce(or_, parts))
        check(database, values, nested(parts[0], 8, parts[1]))
        deep = nested(parts[0], 60, parts[1])
        assert set(matching(values, deep)) <= set(kept(database, deep))


def test_tombstones_never_match(database: PostgreSQLDocuments) -> None:
    """Nor does the opposite of a filter."""
    with holding(database, [None, "{}"]):
        assert kept(database, ~F.a.exists()) == [1]
        assert kept(database, F.text("a")) == [1]


DAMAGED = [
    '{"a":',
    '{"a":1',
    "",
    "x",
    "[1]",
    "1",
    '{"a":"\\u0000"}',
    '{"a":1,"b":"\\ud800"}',
    '{"\\udc00\\ud800":1}',
    '{"a":1,"a":2}',
    '{"a":' * 3000 + "1",
]


@pytest.mark.parametrize("body", DAMAGED, ids=range(len(DAMAGED)))
def test_a_body_that_postgresql_cannot_read_comes(database: PostgreSQLDocuments, body: str) -> None:
    """Whoever asks is to learn of it, and of the others all the same."""
    with holding(database, [body, '{"a":1}', '{"a":"x"}']):
        assert kept(database, F.a == 1) == [0, 1]
        assert kept(database, ~(F.a == 1)) == [0, 2]
        assert kept(database, F.a.contains("x")) == [0, 2]


@pytest.mark.parametrize(
    "number", ["1e400", "-1e400", "1e-400", "1e200000", "1e-200000", "1" * 140_000]
)
def test_a_number_that_no_store_accepts_comes(database: PostgreSQLDocuments, number: str) -> None:
    """As it may be damage, unless it is clear from its type that it does not match."""
    with holding(database, [f'{{"a":{number}}}', f'{{"a":[{number}]}}', '{"a":1}']):
        assert kept(database, F.a == 0.5) == [0]
        assert kept(database, F.a.in_([0.5])) == [0]
        assert kept(database, ~(F.a == 0.5)) == [0, 1, 2]
        assert kept(database, F.a.contains(1)) == [1]
        assert kept(database, F.a == "x") == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (F.a == 1, F.b == -5),
        (F.a == 1.5, F.b == 0.1),
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
    texts = {str(asking(where).compile(dialect=DIALECT)) for where in (one, other)}
    assert len(texts) == 1
    first, second = (asking(where)._generate_cache_key() for where in (one, other))
    assert first is not None
    assert second is not None
    assert first.key == second.key
