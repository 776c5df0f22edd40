import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from engines import IndexingMemory, SparseIndexes, turns
from msgspec.structs import replace

from aiostore import F
from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.collection import Collection
from aiostore.errors import (
    ClosedError,
    InvalidValueError,
    StoreError,
    UnavailableError,
    UnsupportedError,
)
from aiostore.filters import Field, Filter, Path
from aiostore.sending import Retries
from aiostore.store import Store

AT_ONCE = Retries(first_pause=timedelta(0), longest_pause=timedelta(0))
EMAIL: Path = ("email",)
CITY: Path = ("address", "city")
PEOPLE: dict[str, dict[str, Any]] = {
    "alice": {"email": "a@b.c", "age": 42, "address": {"city": "Rome"}},
    "bob": {"email": "b@b.c", "age": 17, "address": {"city": "Oslo"}},
    "carol": {"email": "c@b.c", "age": 30},
}


@pytest.fixture
def engine() -> IndexingMemory:
    """What lies below."""
    return IndexingMemory()


@pytest.fixture
async def store(engine: IndexingMemory) -> AsyncIterator[Store]:
    """A store over it."""
    async with Store(engine, retries=AT_ONCE) as opened:
        yield opened
        engine.gate.set()


@pytest.fixture
async def people(store: Store, engine: IndexingMemory) -> Collection[dict[str, Any]]:
    """People, with two indexes."""
    collection = store.collection("people", indexes=["email", F.address.city])
    await collection.put_many(PEOPLE)
    return collection


async def test_declaring_sends_nothing(people: Collection[dict[str, Any]]) -> None:
    """Nor do writes and reads by key, nor what is asked without a filter or an order."""
    engine = IndexingMemory()
    async with Store(engine) as store:
        declared = store.collection("people", indexes=["email"])
        await declared.put("a", {"email": "x"})
        assert [document.key async for document in declared.scan()] == ["a"]
        assert [document.key async for document in declared.find(prefix="a")] == ["a"]
        assert await declared.count() == await declared.count(prefix="a") == 1
        assert (await declared.page()).next_cursor is None
        declared.explain(F.email == "x")
        await turns()
    assert engine.begun == []


@pytest.mark.parametrize("query", ["find", "page", "count", "order"])
async def test_the_first_query_begins_them_and_waits_for_none(
    people: Collection[dict[str, Any]], store: Store, engine: IndexingMemory, query: str
) -> None:
    """One at a time, each once, whoever asks."""
    engine.gate.clear()
    for _ in range(3):
        if query == "find":
            assert [document.key async for document in people.find(F.age > 18)] == [
                "alice",
                "carol",
            ]
        elif query == "page":
            assert len((await people.page(F.age > 18)).documents) == 2
        elif query == "count":
            assert await people.count(F.age > 18) == 2
        else:
            in_order = [document.key async for document in people.find(order_by="age")]
            assert in_order == ["bob", "carol", "alice"]
        await turns()
        assert engine.begun == [("people", EMAIL)]
    again = store.collection("people", indexes=["age", "email"])
    assert await again.count(F.email == "a@b.c") == 1
    engine.gate.set()
    await turns()
    assert engine.made == [("people", EMAIL), ("people", CITY), ("people", ("age",))]


async def test_ensuring_waits_for_them(
    people: Collection[dict[str, Any]], engine: IndexingMemory
) -> None:
    """It joins what is under way, makes what nobody has begun, and then has nothing to do."""
    engine.gate.clear()
    assert await people.count(F.age > 18) == 2
    waiting = [asyncio.ensure_future(people.ensure_indexes()) for _ in range(2)]
    await turns()
    assert not any(task.done() for task in waiting)
    engine.gate.set()
    await asyncio.gather(*waiting)
    await people.ensure_indexes()
    assert await people.count(F.age > 18) == 2
    assert engine.begun == engine.made == [("people", EMAIL), ("people", CITY)]


async def test_who_stops_waiting_stops_nothing(
    people: Collection[dict[str, Any]], engine: IndexingMemory
) -> None:
    """The index is made all the same."""
    engine.gate.clear()
    waiting = asyncio.ensure_future(people.ensure_indexes())
    await turns()
    waiting.cancel()
    await asyncio.wait([waiting])
    engine.gate.set()
    await turns()
    assert waiting.cancelled()
    assert engine.made == [("people", EMAIL)]


async def test_a_failure_is_logged_and_fails_no_query(
    people: Collection[dict[str, Any]], engine: IndexingMemory, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, by the logger `aiostore`; queries do not try again, `ensure_indexes` does."""
    engine.errors = [StoreError("no room"), None, ZeroDivisionError()]
    with caplog.at_level(logging.WARNING, "aiostore"):
        for _ in range(3):
            assert await people.count(F.age > 18) == 2
            await turns()
    assert engine.made == [("people", CITY)]
    [told] = [record.getMessage() for record in caplog.records]
    assert told.startswith("no index on F.email of people, so queries by it are slow: ")
    assert "no room" in told
    with pytest.raises(ZeroDivisionError):
        await people.ensure_indexes()
    await people.ensure_indexes()
    assert engine.made == [("people", CITY), ("people", EMAIL)]


async def test_a_failure_is_raised_to_who_waits(
    people: Collection[dict[str, Any]], engine: IndexingMemory
) -> None:
    """With the store's name, and to each an error of their own."""
    engine.gate.clear()
    engine.errors = [StoreError("no room")]
    waiting = [asyncio.ensure_future(people.ensure_indexes()) for _ in range(2)]
    await turns()
    engine.gate.set()
    first, second = await asyncio.gather(*waiting, return_exceptions=True)
    assert str(first) == str(second) == "no room (store 'indexing://')"
    assert first is not second


async def test_an_engine_that_does_not_answer_is_asked_again(
    people: Collection[dict[str, Any]], engine: IndexingMemory
) -> None:
    """As every other call."""
    engine.errors = [UnavailableError("away")] * 3
    await people.ensure_indexes()
    assert engine.begun == [("people", EMAIL)] * 4 + [("people", CITY)]


async def test_closing_ends_what_nobody_waits_for() -> None:
    """And waits for who does."""
    engine = IndexingMemory()
    store = await Store(engine).open()
    people = store.collection("people", indexes=["email", "age"])
    engine.gate.clear()
    assert await people.count(F.age > 18) == 0
    await turns()
    await store.aclose()
    assert (engine.begun, engine.made) == ([("people", EMAIL)], [])
    with pytest.raises(ClosedError):
        await people.ensure_indexes()
    with pytest.raises(ClosedError):
        await people.count(F.age > 18)

    store = await Store(engine).open()
    waiting = asyncio.ensure_future(store.collection("people", indexes=["age"]).ensure_indexes())
    await turns()
    closing = asyncio.ensure_future(store.aclose())
    await turns()
    assert not closing.done()
    engine.gate.set()
    await asyncio.gather(waiting, closing)
    assert engine.made == [("people", ("age",))]


async def test_a_store_without_indexes_makes_none() -> None:
    """Declaring them is allowed, and the plan says that they are missing."""
    async with Store(MemoryAdaptor()) as store:
        people = store.collection("people", indexes=["email"])
        await people.put_many(PEOPLE)
        await people.ensure_indexes()
        assert await people.count(F.email == "a@b.c") == 1
        plan = people.explain(F.email == "a@b.c", order_by="email", limit=1)
        assert (plan.indexes, plan.missing_indexes, plan.scans) == ((), (EMAIL,), True)
        assert "\n  without the index on F.email: this store has none\n" in str(plan)
        assert people.explain(F.age == 1).missing_indexes == ()
        with pytest.raises(UnsupportedError, match=r"without the index on F\.email"):
            people.find(F.email == "a@b.c", allow_scan=False)
        with pytest.raises(UnsupportedError, match="no indexes"):
            await store.adaptor.index("people", EMAIL)


@pytest.mark.parametrize(
    ("where", "query", "indexes", "scans"),
    [
        (F.email == "a", {}, [EMAIL], False),
        (F.email.in_(["a", "b"]), {}, [EMAIL], False),
        (F.email.prefix("a"), {}, [EMAIL], False),
        ((F.email >= "a") & (F.email < "b"), {}, [EMAIL], False),
        (F.address.city == "Rome", {}, [CITY], False),
        (F.email == None, {}, [EMAIL], False),  # noqa: E711  # that is the language
        (F.email != "a", {}, [], True),
        (~(F.email == "a"), {}, [], True),
        (F.email.contains("a"), {}, [], True),
        (F.email.exists(), {}, [], True),
        (F.age == 1, {}, [], True),
        (F.text("a"), {}, [], True),
        ((F.email == "a") & (F.age == 1), {}, [EMAIL], True),
        ((F.email == "a") & (F.address.city == "Rome"), {}, [EMAIL, CITY], True),
        ((F.email == "a") | (F.email == "b"), {}, [], True),
        ((F.email == "a") & F.text("b"), {}, [EMAIL], True),
        (F.email == "a", {"prefix": "k"}, [EMAIL], True),
        (None, {"order_by": "email"}, [], True),
        (None, {"order_by": "email", "limit": 1}, [EMAIL], False),
        (None, {"order_by": ["-email", "age"], "limit": 1}, [EMAIL], False),
        (None, {"order_by": ["age", "email"], "limit": 1}, [], True),
        (None, {"order_by": "email", "limit": 1, "prefix": "k"}, [EMAIL], True),
        (F.email > "a", {"order_by": "email", "limit": 1}, [EMAIL], False),
        (F.email > "a", {"order_by": "email"}, [EMAIL], False),
        (F.email > "a", {"order_by": "age"}, [EMAIL], False),
        (F.email > "a", {"order_by": "age", "limit": 1}, [EMAIL], True),
        (F.email > "a", {"order_by": F["odd name"], "limit": 1}, [EMAIL], True),
        (F.email > "a", {"order_by": "address.city", "limit": 1}, [EMAIL, CITY], True),
        (None, {"prefix": "k"}, [], False),
    ],
)
async def test_a_plan_tells_which_indexes_are_of_use(
    people: Collection[dict[str, Any]],
    where: Filter | None,
    query: dict[str, Any],
    indexes: list[Path],
    scans: bool,  # noqa: FBT001  # of a table
) -> None:
    """And whether they are enough; where they are not, `allow_scan=False` refuses."""
    plan = people.explain(where, **query)
    assert (list(plan.indexes), plan.scans, plan.missing_indexes) == (indexes, scans, ())
    if scans:
        with pytest.raises(UnsupportedError):
            people.find(where, **query, allow_scan=False)
    else:
        answer = people.find(where, **query, allow_scan=False)
        assert [document.key async for document in answer] == [
            document.key async for document in people.find(where, **query)
        ]


async def test_a_page_is_planned_with_its_size(
    people: Collection[dict[str, Any]], engine: IndexingMemory
) -> None:
    """So an order by an indexed field needs no leave, and a count by one neither."""
    page = await people.page(order_by="-email", size=2, allow_scan=False)
    assert [document.key for document in page.documents] == ["carol", "bob"]
    assert await people.count(F.email >= "b", allow_scan=False) == 2
    with pytest.raises(UnsupportedError):
        await people.page(order_by="age", allow_scan=False)


async def test_a_plan_is_told_to_a_person(people: Collection[dict[str, Any]]) -> None:
    """With what the engine goes by."""
    assert str(people.explain(F.email > "a", order_by=["-email", "age"], limit=9)) == (
        "read of all keys, on indexing://\n"
        "  by the index on F.email\n"
        "  the engine narrows down by (F.email > 'a')\n"
        "  the engine sorts by F.email descending; sorted here: what is alike there"
    )
    with pytest.raises(InvalidValueError, match="a limit is a whole number"):
        people.explain(limit=-1)


@pytest.mark.parametrize(
    ("indexes", "message"),
    [
        ("email", "are a list of fields"),
        (F.email, "are a list of fields"),
        (None, "are a list of fields"),
        (7, "are a list of fields"),
        ([7], "is on a field"),
        ([None], "is on a field"),
        ([F.email == "a"], "is on a field"),
        ([F.email.desc()], "is on a field"),
        ([""], r"F\[''\] can have no index"),
        (["-email"], r"F\['-email'\] can have no index"),
        (["a..b"], "can have no index"),
        (["1st"], "can have no index"),
        (["é"], "can have no index"),
        (["a" * 65], "can have no index"),
        ([F["odd name"]], "can have no index"),
        ([f"f{number}" for number in range(17)], "17 indexes are declared"),
    ],
)
async def test_what_is_no_index_is_refused(store: Store, indexes: Any, message: str) -> None:
    """Where it is declared, with the names of the store and the collection."""
    with pytest.raises(InvalidValueError, match=message) as caught:
        store.collection("people", indexes=indexes)
    assert (caught.value.store, caught.value.collection) == ("indexing://", "people")


async def test_an_index_is_declared_once(store: Store, engine: IndexingMemory) -> None:
    """However often and in whatever way it is named; typed collections have them, too."""
    indexes: list[str | Field] = ["email", F.email, "address.city", F.address.city] * 9
    people = store.collection("people", dict, indexes=indexes)
    await people.ensure_indexes()
    assert engine.made == [("people", EMAIL), ("people", CITY)]


W: Path = ("w",)
INNER: Path = ("in", "v")


@pytest.fixture
async def things() -> AsyncIterator[Collection[dict[str, Any]]]:
    """Things in a store whose indexes are fixed, serve equality alone, and lag."""
    async with Store(SparseIndexes()) as opened:
        collection = opened.collection("things", indexes=["w", "in.v", "x"])
        await collection.put_many({f"k{n}": {"w": n % 2, "x": n, "in": {"v": n}} for n in range(4)})
        assert await collection.count(F.w == 9) == await collection.count(F["in"].v == 9) == 0
        yield collection


@pytest.mark.parametrize(
    ("where", "query", "planned"),
    [
        (F.w == 1, {}, (F.w == 1, [W], False)),
        (F.w.in_([1, 2]), {}, (F.w.in_([1, 2]), [W], False)),
        (F["in"].v == 1, {}, (F["in"].v == 1, [INNER], False)),
        (F.w == 1, {"order_by": "-w"}, (F.w == 1, [W], False)),
        (F.w == 1, {"order_by": "w", "limit": 1}, (F.w == 1, [W], True)),
        (F.w == 1, {"prefix": "k"}, (F.w == 1, [W], True)),
        ((F.w == 1) & (F["in"].v == 1), {}, (F.w == 1, [W], True)),
        ((F.v == 1) & (F["in"].v == 1), {}, (F["in"].v == 1, [INNER], True)),
        ((F.w > 0) & (F["in"].v == 1), {}, (F["in"].v == 1, [INNER], True)),
        (F.v == 1, {}, (None, [], True)),
        (F["in"] == 1, {}, (None, [], True)),
        (F["in"].v.w == 1, {}, (None, [], True)),
        (F.w > 0, {}, (None, [], True)),
        (F.w != 1, {}, (None, [], True)),
        (F.w.prefix("a"), {}, (None, [], True)),
        ((F.w == 1) | (F.w == 2), {}, (None, [], True)),
        (~(F.w == 1), {}, (None, [], True)),
        (F.text("a"), {}, (None, [], True)),
        (None, {"order_by": "w", "limit": 1}, (None, [], True)),
        (None, {"prefix": "k"}, (None, [], False)),
    ],
)
async def test_an_index_may_serve_some_filters_only(
    things: Collection[dict[str, Any]],
    where: Filter | None,
    query: dict[str, Any],
    planned: tuple[Filter | None, list[Path], bool],
) -> None:
    """A part is pushed down if it is of those kinds and lies on a declared index, and no other."""
    pushed, indexes, scans = planned
    plan = things.explain(where, **query)
    assert plan.pushed_down == pushed
    assert (list(plan.indexes), plan.scans, plan.missing_indexes) == (indexes, scans, ())
    assert plan.may_lag == bool(indexes)
    if scans:
        with pytest.raises(UnsupportedError):
            things.find(where, **query, allow_scan=False)
    else:
        answer = [one.key async for one in things.find(where, **query, allow_scan=False)]
        assert len(answer) == (4 if where is None else await things.count(where))


async def test_several_parts_on_indexes_are_pushed_together_where_the_engine_joins_them() -> None:
    """Each on an index of its own; what lies on none, or on none but in part, is left."""
    engine = SparseIndexes()
    kinds = engine.capabilities.filters | {"and", "or", "text"}
    engine._can = replace(engine.capabilities, filters=kinds)
    async with Store(engine) as store:
        things = store.collection("things", indexes=["v", "w"])
        on_both, in_part = (F.v == 1) | (F.w == 1), (F.v == 1) | (F.x == 1)
        plan = things.explain((F.v == 1) & on_both & in_part & F.text("a") & (F.x == 1))
        assert plan.pushed_down == (F.v == 1) & on_both
        assert plan.evaluated_here == in_part & F.text("a") & (F.x == 1)


async def test_a_plan_tells_that_an_index_lags(things: Collection[dict[str, Any]]) -> None:
    """Where it may go by one; the answer lags as far as that."""
    assert str(things.explain((F.w == 1) & (F.x > 2))) == (
        "scan of all keys, on sparse://\n"
        "  by the index on F.w\n"
        "  the index may miss what was written in the last moments\n"
        "  the engine narrows down by (F.w == 1)\n"
        "  evaluated here: (F.x > 2)"
    )
    assert str(things.explain(F.x > 2)) == (
        "scan of all keys, on sparse://\n  evaluated here: (F.x > 2)"
    )
    await things.put("new", {"w": 1})
    await things.put("k1", {"w": 0})
    assert [one.key async for one in things.find(F.w == 1)] == ["k3"]
    assert [one.key async for one in things.find(F.w == 1)] == ["k3", "new"]


async def test_an_index_that_the_store_cannot_have_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Queries by it scan, and are answered as well; `ensure_indexes` raises."""
    async with Store(SparseIndexes()) as store:
        things = store.collection("things", indexes=["x", "w"])
        await things.put("k", {"x": 2})
        with caplog.at_level(logging.WARNING, "aiostore"):
            for _ in range(3):
                assert [one.key async for one in things.find(F.x == 2)] == ["k"]
                await turns()
        [told] = [record.getMessage() for record in caplog.records]
        assert told.startswith("no index on F.x of things, so queries by it are slow: ")
        with pytest.raises(UnsupportedError, match="these are fixed"):
            await things.ensure_indexes()
