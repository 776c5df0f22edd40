from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import reduce
from itertools import pairwise
from math import inf, isfinite, nextafter
from operator import and_
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mariadb_documents import MariaDBDocuments
from servers import server
from sqlalchemy import case, column, false, not_, select, table

from aiostore.adaptors.sql._filters import KINDS, Condition, Judge, condition
from aiostore.adaptors.sql._mariadb_json import (
    is_readable,
    judge,
    judge_by_mariadb,
    place,
)
from aiostore.adaptors.sql._places import NUMBER, UNREADABLE, bounds, within
from aiostore.filters import Compare, F, Filter, In, Operator, Order, Prefix, matches, place_of
from aiostore.orders import LONGEST_TEXT, RELATIVE_MARGIN, coarse_at
from aiostore.testing import hostile
from aiostore.testing.strategies import documents, filters

OPERATORS: tuple[Operator, ...] = ("==", "!=", "<", "<=", ">", ">=")
LEVELS = 31
"""So many of objects and arrays MariaDB reads."""

_KEY: Any = column("key")
_FOUND = table("aiostore_documents", _KEY)


@pytest.fixture(scope="module")
def database() -> Iterator[MariaDBDocuments]:
    """An empty table."""
    lent = server("mariadb").lend()
    with closing(MariaDBDocuments(lent.url)) as database:
        yield database


@contextmanager
def holding(database: MariaDBDocuments, bodies: Sequence[str | None]) -> Iterator[None]:
    """With these records, the keys being their numbers."""
    database.run("START TRANSACTION")
    database.insert(bodies)
    try:
        yield
    finally:
        database.run("ROLLBACK")


def encoded(values: Sequence[Mapping[str, Any]]) -> list[str]:
    """As the codecs write them."""
    return [msgspec.json.encode(value).decode() for value in values]


class Judged(NamedTuple):
    """The numbers of the records that a filter's conditions keep."""

    wide: list[int]
    narrow: list[int]


def readable(asked: Condition) -> Condition:
    """The condition, asked of nothing but what the database can read."""
    return case((is_readable(), asked), else_=false())


def kept(database: MariaDBDocuments, where: Filter, by: Judge = judge_by_mariadb) -> Judged:
    """What the wide condition keeps, and what the narrow one does; neither is ever NULL."""
    wide = readable(condition(where, by))
    narrow = readable(not_(condition(~where, by)))
    rows = database.select(select(_KEY, wide, narrow).select_from(_FOUND).order_by(_KEY))
    assert {value for row in rows for value in row[1:]} <= {0, 1}
    return Judged(*([int(row[0]) for row in rows if row[which]] for which in (1, 2)))


def matching(values: Sequence[Mapping[str, Any]], where: Filter) -> list[int]:
    """The numbers of those that match."""
    return [number for number, value in enumerate(values) if matches(where, value)]


def check(database: MariaDBDocuments, values: Sequence[Mapping[str, Any]], where: Filter) -> None:
    """What matches is kept, and where floats are read exactly nothing else is."""
    wanted = matching(values, where)
    assert kept(database, where) == Judged(wanted, wanted), where
    wide, narrow = kept(database, where, judge)
    assert set(narrow) <= set(wanted) <= set(wide), where


def many(about: Sequence[Mapping[str, Any]], most: int) -> st.SearchStrategy[list[Filter]]:
    """Filters that often match these documents."""
    return st.lists(filters(kinds=KINDS, plain=True, about=about), min_size=1, max_size=most)


CASES = st.lists(documents(), min_size=1, max_size=8).flatmap(
    lambda about: st.tuples(st.just(about), many(about, 5))
)


@settings(max_examples=50)
@given(CASES)
def test_documents_are_judged_as_by_the_reference(
    database: MariaDBDocuments, drawn: tuple[list[dict[str, Any]], list[Filter]]
) -> None:
    """Exactly by MariaDB; and never wrongly where floats are read with an error."""
    values, asked = drawn
    with holding(database, [*encoded(values), None]):
        for where in asked:
            check(database, values, where)


@settings(max_examples=12)
@given(st.data())
def test_hostile_documents_are_judged(database: MariaDBDocuments, data: st.DataObject) -> None:
    """Whatever their texts, names and numbers are."""
    values: list[dict[str, Any]] = []
    for value in hostile.VALUES:
        inside = list(value.values())
        values += [{"a": value}, {"a": inside}, *({"a": one} for one in inside[:20])]
    asked = data.draw(many(values, 4))
    with holding(database, encoded(values)):
        for where in asked:
            check(database, values, where)


NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-20, 20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.builds(float, st.integers(-(2**63), 2**63 - 1)),
    st.builds(
        lambda digits, power: float(f"{digits}e{power}"),
        st.integers(-(10**17), 10**17),
        st.integers(-340, 291),
    ),
)
EXTREMES = [
    *(0, 1, -1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 0.1, -0.1, 0.5, 1e15, 1e16, 1e22, -1e16),
    *(2.0**52, 2.0**53, -(2.0**53), 2.0**63, -(2.0**63), 2.0**64, 1e-4, 1e-5, 1e-300, -1e-300),
    *(5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308),
]


def around(number: float) -> list[int | float]:
    """The number as it is and as a float, what is next to it, and the integers around."""
    close = [float(number)]
    for _ in range(3):
        close = [nextafter(close[0], -inf), *close, nextafter(close[-1], inf)]
    integers = [round(number) + step for step in range(-2, 3)]
    portable = [one for one in integers if -(2**63) <= one < 2**63]
    return [number, *portable, *filter(isfinite, close), -number / 2, 0, -0.0]


def check_numbers(
    database: MariaDBDocuments, numbers: Sequence[int | float], literals: Sequence[int | float]
) -> None:
    """Each of the literals is compared with all the numbers, in every way."""
    values: list[dict[str, Any]] = [{"a": one} for one in numbers]
    values += [{"a": [one]} for one in numbers]
    with holding(database, encoded(values)):
        for number in literals:
            asked: list[Filter] = [Compare(("a",), operator, number) for operator in OPERATORS]
            asked += [F.a.in_((number, numbers[0])), F.a.contains(number)]
            for where in asked:
                check(database, values, where)


@settings(max_examples=10)
@given(NUMBERS, st.data())
def test_numbers_next_to_each_other_are_told_apart(
    database: MariaDBDocuments, number: float, data: st.DataObject
) -> None:
    """Exactly, integers and floats alike."""
    numbers = around(number)
    check_numbers(database, numbers, [data.draw(st.sampled_from(numbers))])


@pytest.mark.parametrize("number", EXTREMES)
def test_extreme_numbers_are_told_apart(database: MariaDBDocuments, number: float) -> None:
    """Where floats end, lose their fraction, or leave the range of integers."""
    numbers = around(number)
    check_numbers(database, numbers, numbers[:1])


@pytest.mark.parametrize(
    "where",
    [
        *(Compare(("a",), operator, 5.05) for operator in OPERATORS if operator != "!="),
        F.a.in_([0.3, 0.4, "7"]),
        F.a == 7.0,
        F.a >= 7.0,
        ~(F.a < 5.05),
        ~(F.a >= 5.05),
    ],
)
def test_floats_narrow_down_where_they_are_read_with_an_error(
    database: MariaDBDocuments, where: Filter
) -> None:
    """What is clearly different from the float is left out."""
    values: list[dict[str, Any]] = [{"a": number / 10} for number in range(100)]
    values += [{"a": 7}, {"a": "7"}, {}]
    with holding(database, encoded(values)):
        wide, narrow = kept(database, where, judge)
        wanted = matching(values, where)
        assert len(wide) - len(wanted) <= 1
        assert len(wanted) - len(narrow) <= 2


@pytest.mark.parametrize("number", [0.3, 7, -1e300, 5e-324, 0.0, 1.7976931348623157e308])
def test_floats_that_may_be_read_wrong_are_unknown(
    database: MariaDBDocuments, number: float
) -> None:
    """Those next to the one asked for, by a few of the smallest steps."""
    near = [float(number)]
    for _ in range(5):
        near = [nextafter(near[0], -inf), *near, nextafter(near[-1], inf)]
    near = list(filter(isfinite, near))
    far: list[float] = [number - abs(number) * 1e-12 - 1e-299, number - abs(number) / 2 - 1]
    numbers = [*near, *filter(isfinite, far)]
    values: list[dict[str, Any]] = [{"a": one} for one in numbers]
    close, everything = list(range(len(near))), list(range(len(numbers)))
    with holding(database, encoded(values)):
        for operator in OPERATORS:
            wide, narrow = kept(database, Compare(("a",), operator, number), judge)
            if operator in ("==", ">", ">="):
                assert (wide, narrow) == (close, [])
            else:
                assert (wide, narrow) == (everything, everything[len(near) :])


def test_a_path_goes_through_objects_alone(database: MariaDBDocuments) -> None:
    """Not into an array's only element, and by no name in other letters."""
    values: list[dict[str, Any]] = [
        *({"a": inside} for inside in ([{"b": 1}], [1], {"b": [1]}, {"B": 1}, {"b": {"b": 1}})),
        *({"a": inside} for inside in (1, "b", None, True, {"b": 1})),
        *({"A": {"b": 1}}, {"b": 1}, {"a.b": 1}, {"x": {"a": {"b": 1}}}),
    ]
    with holding(database, encoded(values)):
        for where in (F.a.b == 1, F.a.b.exists(), F.a.contains(1), F.a.exists(), F.a.b.b == 1):
            check(database, values, where)


def test_a_prefix_ends_where_it_ends(database: MariaDBDocuments) -> None:
    """With the next letter, and beyond the last there is."""
    texts = ["", "a", "a\x7f", "aé", "a\U0010ffff", "b", "B", "A", "\U0010ffff", "\U0010ffffx"]
    with holding(database, encoded([{"a": text} for text in texts])):
        for text in ("a", "", "\U0010ffff", "a\U0010ffff", "\ud7ff", "aé"):
            check(database, [{"a": text} for text in texts], F.a.prefix(text))


@pytest.mark.parametrize("mode", ["", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "ANSI", "TRADITIONAL"])
def test_the_mode_of_the_session_is_no_matter(database: MariaDBDocuments, mode: str) -> None:
    """Nor are what its texts are compared by and what the database's are written in."""
    texts = ["a", "A", "a ", "", "'", '"', "\\", "\\n", "%", "ä", "a\u0308", "😀", "\\'", "%s"]
    values: list[dict[str, Any]] = [{"a": text} for text in texts]
    values += [{"a": [text]} for text in texts]
    with holding(database, encoded(values)):
        database.run("SET SESSION sql_mode = %s", mode)
        database.run("SET SESSION collation_connection = utf8mb4_general_ci")
        try:
            for text in texts:
                for where in (F.a == text, F.a < text, F.a.in_([text, 1]), F.a.contains(text)):
                    check(database, values, where)
                check(database, values, F.a.prefix(text))
        finally:
            database.run("SET SESSION sql_mode = DEFAULT")


LONG = "x" * 150_000


@pytest.mark.parametrize(
    ("where", "most"),
    [
        (F.a.in_(range(100_000)), 10),
        (F.a.in_([*range(-100_000, 0), 1]), 2),
        (F.a.in_([number / 7 for number in range(100_000)]), 10),
        (F.a.in_([*(f"y{number}" for number in range(5_000)), "a"]), 1),
        (F.a.in_([*range(3_000), *(f"y{number}" for number in range(1_500))]), 10),
        (F.a == LONG, 12),
        (F.a.in_([LONG, "y"]), 1),
        (F.a.prefix(LONG), 12),
        (F.a.prefix("é" * 100_000), 12),
        (F.a.contains(LONG), 12),
        (F.a.contains("z" * 100_000), 0),
    ],
)
def test_a_filter_too_large_narrows_less(
    database: MariaDBDocuments, where: Filter, most: int
) -> None:
    """It is no error: what would make the statement too long is left to the caller."""
    values: list[dict[str, Any]] = [*({"a": number} for number in range(10)), {"a": "y"}, {}]
    with holding(database, encoded(values)):
        for by in (judge_by_mariadb, judge):
            wide, narrow = kept(database, where, by)
            assert set(narrow) <= set(matching(values, where)) <= set(wide)
            assert len(wide) == most


def test_fifty_parts_of_the_largest_fit_in_a_statement(database: MariaDBDocuments) -> None:
    """As long as they may be, of characters that take twice the room."""
    where = reduce(and_, [~F.a.prefix('"' * (128 * 1024 - number)) for number in range(1, 30)])
    with holding(database, encoded([{"a": 1}])):
        assert kept(database, where).wide == [0]


def test_many_values_are_looked_up_and_not_walked_through(database: MariaDBDocuments) -> None:
    """MariaDB makes a table of them, once for all documents."""
    where = readable(condition(F.a.in_([1, 1.5, "x"]), judge_by_mariadb))
    with holding(database, encoded([{"a": number} for number in range(100)])):
        plan = database.explain(select(_KEY).select_from(_FOUND).where(where))
    assert [step["select_type"] for step in plan] == ["PRIMARY", *["MATERIALIZED"] * 3]


def test_what_cannot_be_read_is_known(database: MariaDBDocuments) -> None:
    """Be it damaged, or nested deeper than the server goes."""
    bodies = ['{"a":', '{"a":1}', "", "\\", '{"a":1}}', "{'a':1}", nested(LEVELS), nested(33)]
    with holding(database, bodies):
        rows = database.select(select(_KEY).select_from(_FOUND).where(is_readable()))
        assert sorted(int(key) for (key,) in rows) == [1, 6]
        assert kept(database, F.a.exists()).wide == [1, 6]


def nested(levels: int) -> str:
    """A document of so many levels."""
    return msgspec.json.encode(hostile.nested(levels)).decode()


DAMAGED = ['{"a":', "", "[1", "{'a':1}", '{"a":1}}', '{"a":"\\ud800"}', nested(LEVELS + 1)]


def check_places(database: MariaDBDocuments, values: Sequence[Mapping[str, Any]]) -> None:
    """The columns hold the coarse place, and the database sorts by them as Python does."""
    columns = place(("a",))
    with holding(database, encoded(values)):
        rows = database.select(select(_KEY, *columns).select_from(_FOUND).order_by(*columns, _KEY))
    wanted = [coarse_at(value, ("a",)) for value in values]
    found = {int(key): (rank, number, text.decode()) for key, rank, number, text in rows}
    assert found == dict(enumerate(wanted))
    assert [int(key) for key, *_ in rows] == sorted(
        range(len(values)), key=lambda number: (wanted[number], number)
    )


@settings(max_examples=40)
@given(st.lists(documents(plain=True), min_size=1, max_size=10))
def test_places_are_the_coarse_ones(
    database: MariaDBDocuments, values: list[dict[str, Any]]
) -> None:
    """Exactly, as MariaDB reads floats so."""
    check_places(database, [*values, *({"a": value} for value in values)])


def test_places_of_hostile_values_are_the_coarse_ones(database: MariaDBDocuments) -> None:
    """Of texts longer than is sorted by, of numbers next to each other, of what is in between."""
    values: list[dict[str, Any]] = [
        {"a": one} for value in hostile.VALUES for one in value.values()
    ]
    values += [{"a": key} for key in hostile.KEYS]
    values += [{"a": char * length} for char in "xé😀" for length in (127, 128, 129, 5000)]
    values += [{"a": number} for extreme in EXTREMES for number in around(extreme)]
    values += [{}, {"a": None}, {"a": []}, {"a": {}}, {"a": [1]}, {"a": True}, {"a": False}]
    check_places(database, values)


def test_the_order_of_places_is_the_reference_order(database: MariaDBDocuments) -> None:
    """But for numbers that are closer than the margin, and for the ends of long texts."""
    numbers = [each for extreme in EXTREMES for each in (extreme, -float(extreme), extreme * 1.5)]
    values: list[dict[str, Any]] = [{"a": each} for each in numbers if isfinite(each)]
    values += [{"a": text} for text in hostile.KEYS]
    values += [{}, {"a": None}, {"a": []}, {"a": {}}, {"a": True}, {"a": False}]
    columns = place(("a",))
    with holding(database, encoded(values)):
        rows = database.select(select(_KEY).select_from(_FOUND).order_by(*columns))
    places = [place_of(values[int(key)], [Order(("a",))])[0] for (key,) in rows]
    for (rank, one), (following, other) in pairwise(places):
        assert rank <= following
        if rank == following == NUMBER:
            assert one - other <= abs(one) * RELATIVE_MARGIN
        elif rank == following:
            assert shortened(one) <= shortened(other)


def shortened(value: Any) -> Any:
    """What of a value is sorted by."""
    return value[:LONGEST_TEXT] if isinstance(value, str) else value


def test_what_cannot_be_read_has_a_place_of_its_own(database: MariaDBDocuments) -> None:
    """So that it can be found: MariaDB cannot read all that is portable."""
    bodies = [*DAMAGED, None, "{}", "1", "[]", '{"a":1e999}', '{"a":99999999999999999999}']
    with holding(database, bodies):
        rows = database.select(select(_KEY, *place(("a",))).select_from(_FOUND).order_by(_KEY))
    ranks = [rank for _, rank, _, _ in rows]
    assert ranks == [UNREADABLE] * len(DAMAGED) + [0, 0, 0, 0, 3, 3]


@settings(max_examples=40)
@given(CASES)
def test_what_matches_is_within_the_bounds(
    database: MariaDBDocuments, drawn: tuple[list[dict[str, Any]], list[Filter]]
) -> None:
    """Of places, by which an index is searched."""
    values, asked = drawn
    with holding(database, encoded(values)):
        for where in asked:
            if not isinstance(where, Compare | In | Prefix):
                continue
            ranges = bounds(where)
            if ranges is None:
                continue
            inside = within(place(where.path), ranges)
            rows = database.select(select(_KEY).select_from(_FOUND).where(inside))
            assert set(matching(values, where)) <= {int(key) for (key,) in rows}
