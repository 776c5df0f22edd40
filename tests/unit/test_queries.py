from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any, TypedDict

import msgspec
import pytest

from aiostore import F
from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.collection import Collection
from aiostore.documents import Page
from aiostore.errors import (
    CorruptRecordError,
    InvalidKeyError,
    InvalidValueError,
    UnsupportedError,
)
from aiostore.filters import And, Compare, Filter, Order, Text
from aiostore.plans import OrderBy
from aiostore.protocols import Capabilities, DocumentId, Newer, Record, Scan, Write
from aiostore.store import Store
from aiostore.testing import ManualClock
from aiostore.versions import VersionClock

People = Collection[dict[str, Any]]
SECOND = 1_000_000

PEOPLE: dict[str, dict[str, Any]] = {
    "alice": {"age": 42, "city": "Rome", "tags": ["a", 1]},
    "bob": {"age": 17, "city": "Paris"},
    "carol": {"age": 42.0, "city": "Oslo", "tags": []},
    "dave": {"age": "42", "address": {"city": "Rome"}},
    "eve": {"city": None},
    "frank": {"age": 17, "city": "rome"},
}


class Engine(MemoryAdaptor):
    """Memory that says it narrows scans down, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: frozenset[str] = frozenset()
        self.asked: list[Scan] = []
        self.after_scan: Callable[[], None] = lambda: None

    @property
    def capabilities(self) -> Capabilities:
        return msgspec.structs.replace(super().capabilities, filters=self.kinds)

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        self.asked.append(request)
        try:
            async for chunk in super().scan(request):
                yield chunk
        finally:
            self.after_scan()


@pytest.fixture
def engine() -> Engine:
    """What lies below."""
    return Engine()


@pytest.fixture
def hands() -> ManualClock:
    """The time."""
    return ManualClock()


@pytest.fixture
async def people(engine: Engine, hands: ManualClock) -> AsyncIterator[People]:
    """A collection of people."""
    async with Store(engine, clock=VersionClock(hands)) as store:
        collection = store.collection("people")
        await collection.put_many(PEOPLE)
        yield collection


async def found(people: People, where: Filter | None = None, **arguments: Any) -> list[str]:
    """The keys that a query finds."""
    return [document.key async for document in people.find(where, **arguments)]


async def paged(people: People, size: int, where: Filter | None = None, **query: Any) -> list[str]:
    """The keys that a query finds, page by page."""
    keys: list[str] = []
    page: Page[dict[str, Any]] | None = None
    while page is None or page.next_cursor is not None:
        cursor = None if page is None else page.next_cursor
        page = await people.page(where, size=size, cursor=cursor, **query)
        assert len(page.documents) <= size
        keys += [document.key for document in page.documents]
    return keys


async def test_find_yields_what_matches_in_the_order_of_keys(people: People) -> None:
    """With everything that a document has."""
    documents = [document async for document in people.find(F.age >= 18)]
    assert documents == [await people.get("alice"), await people.get("carol")]
    assert await found(people) == sorted(PEOPLE)
    assert await found(people, (F.city == "Rome") | (F.address.city == "Rome")) == ["alice", "dave"]
    assert await found(people, F.text("ROME")) == ["alice", "dave", "frank"]
    assert await found(people, prefix="al") == ["alice"]
    assert await found(people, F.age == 42, prefix="c") == ["carol"]


@pytest.mark.parametrize(
    ("order_by", "keys"),
    [
        ("age", ["eve", "bob", "frank", "alice", "carol", "dave"]),
        ("-age", ["dave", "alice", "carol", "bob", "frank", "eve"]),
        (["age", "-city"], ["eve", "frank", "bob", "alice", "carol", "dave"]),
        ([F.age.desc(), F.city], ["dave", "carol", "alice", "bob", "frank", "eve"]),
        (F["address"].city.desc(), ["dave", "alice", "bob", "carol", "eve", "frank"]),
        ("address.city", ["alice", "bob", "carol", "eve", "frank", "dave"]),
        (Order(("city",)), ["dave", "eve", "carol", "bob", "alice", "frank"]),
        ("tags", ["bob", "dave", "eve", "frank", "alice", "carol"]),
        ((), ["alice", "bob", "carol", "dave", "eve", "frank"]),
    ],
)
async def test_an_order_sorts_by_fields_then_by_key(
    people: People, order_by: OrderBy, keys: list[str]
) -> None:
    """Missing, null, numbers, texts, arrays; either way; the same in pages of every size."""
    assert await found(people, order_by=order_by) == keys
    for limit in range(8):
        assert await found(people, order_by=order_by, limit=limit) == keys[:limit]
    for size in (1, 2, 3, 6, 7):
        assert await paged(people, size, order_by=order_by) == keys


async def test_a_page_ends_where_the_next_begins(people: People) -> None:
    """The last one has no cursor, also if it is full or empty."""
    page = await people.page(F.age == 17, size=1)
    assert [document.key for document in page.documents] == ["bob"]
    page = await people.page(F.age == 17, size=1, cursor=page.next_cursor)
    assert [document.key for document in page.documents] == ["frank"]
    assert page.next_cursor is None
    assert await people.page(F.age == 99) == Page([], None)


@pytest.mark.parametrize("order_by", [(), "age", "-age"])
async def test_a_page_minds_no_other_writes(people: People, order_by: OrderBy) -> None:
    """Documents that come and go, the one at the cursor too, move no other."""
    everything = await found(people, order_by=order_by)
    page = await people.page(size=3, order_by=order_by)
    first = [document.key for document in page.documents]
    for key in first:
        await people.delete(key)
    await people.put("aaron", {"age": 42 if order_by == "-age" else 0})
    page = await people.page(size=3, cursor=page.next_cursor, order_by=order_by)
    assert [document.key for document in page.documents] in (
        everything[3:],
        ["aaron", *everything[3:5]],
        [*everything[3:5], "aaron"],
    )
    assert first == everything[:3]


async def test_a_cursor_is_good_on_another_store(people: People) -> None:
    """With the same documents and the same query."""
    cursor = (await people.page(size=4, order_by="-age")).next_cursor
    async with Store(MemoryAdaptor()) as store:
        others = store.collection("people")
        await others.put_many(PEOPLE)
        page = await others.page(size=4, cursor=cursor, order_by="-age")
        assert [document.key for document in page.documents] == ["frank", "eve"]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"order_by": "age"},
        {"order_by": ["-age", "city"]},
        {"order_by": "-age", "prefix": "a"},
        {"order_by": "-age", "where": F.age == 17},
    ],
)
async def test_a_cursor_is_bound_to_its_query(people: People, query: dict[str, Any]) -> None:
    """Another filter, prefix, order or collection refuses it; another size does not."""
    cursor = (await people.page(size=2, order_by="-age")).next_cursor
    with pytest.raises(InvalidValueError, match="belongs to another query"):
        await people.page(cursor=cursor, **query)
    assert len((await people.page(size=1, cursor=cursor, order_by="-age")).documents) == 1


async def test_a_cursor_is_bound_to_its_collection(engine: Engine) -> None:
    """One collection's is of no use in another."""
    async with Store(engine) as store:
        cursor = None
        for name in ("one", "other"):
            await store.collection(name).put_many(PEOPLE)
        cursor = (await store.collection("one").page(size=2)).next_cursor
        with pytest.raises(InvalidValueError, match="belongs to another query"):
            await store.collection("other").page(cursor=cursor)


async def test_counts(people: People, hands: ManualClock) -> None:
    """All, those of a prefix, and those that match; no expired ones."""
    await people.put("gone", {"age": 17}, ttl=timedelta(seconds=1))
    await people.put("greg", {"age": 17}, ttl=timedelta(seconds=2))
    hands.now += SECOND
    assert await people.count() == 7
    assert await people.count(prefix="g") == 1
    assert await people.count(F.age == 17) == 3
    assert await people.count(F.age == 17, prefix="b") == 1
    with pytest.raises(UnsupportedError):
        await people.count(F.age == 17, allow_scan=False)
    assert await people.count(allow_scan=False) == 7


async def test_the_engine_is_asked_for_what_it_can(people: People, engine: Engine) -> None:
    """Conjuncts of its kinds with plain names go down; the answer is the same."""
    engine.kinds = frozenset({"equal", "compare", "or", "and"})
    where = (F.age == 42) & F.city.exists() & (F["odd name"] == 1) & ((F.age < 1) | (F.age > 2))
    plan = people.explain(where, prefix="a", order_by="-age")
    assert plan.pushed_down == And((F.age == 42, (F.age < 1) | (F.age > 2)))
    assert plan.evaluated_here == And((F.city.exists(), F["odd name"] == 1))
    assert plan.sorted_here == (Order(("age",), descending=True),)
    assert plan.scans
    assert str(plan) == (
        "scan of keys that begin with 'a', on memory://\n"
        "  the engine narrows down by ((F.age == 42) & ((F.age < 1) | (F.age > 2)))\n"
        "  evaluated here: (F.city.exists() & (F['odd name'] == 1))\n"
        "  sorted here, after the last has been read: F.age descending"
    )
    engine.asked.clear()
    assert await found(people, where) == []
    assert [scan.where for scan in engine.asked] == [plan.pushed_down]
    one = people.explain(F.age == 42)
    assert (one.pushed_down, one.evaluated_here) == (Compare(("age",), "==", 42), None)
    text = people.explain(F.text("x"))
    assert (text.pushed_down, text.evaluated_here) == (None, Text("x"))


async def test_the_engine_is_asked_for_no_conjunction_if_it_knows_none(
    people: People, engine: Engine
) -> None:
    """One part of its kinds goes down; what joins several is a kind of its own."""
    engine.kinds = frozenset({"compare"})
    plan = people.explain(F.city.exists() & (F.age > 1) & (F.age < 42))
    assert plan.pushed_down == (F.age > 1)
    assert plan.evaluated_here == And((F.city.exists(), F.age < 42))


async def test_a_query_by_key_does_not_scan(people: People) -> None:
    """So it needs no leave; all others do."""
    plan = people.explain(prefix="a")
    assert not plan.scans
    assert str(people.explain()) == "read of all keys, on memory://"
    assert await found(people, prefix="a", allow_scan=False) == ["alice"]
    assert len((await people.page(allow_scan=False)).documents) == 6
    with pytest.raises(UnsupportedError, match=r"allow_scan is false") as caught:
        people.find(F.age == 1, allow_scan=False)
    assert (caught.value.store, caught.value.collection) == ("memory://", "people")
    with pytest.raises(UnsupportedError):
        await people.page(order_by="age", allow_scan=False)


async def test_no_more_is_read_than_is_asked_for(people: People, engine: Engine) -> None:
    """Without a filter the scan's chunks are as small as the limit."""
    engine.asked.clear()
    await found(people, limit=2)
    await people.page(size=3)
    await found(people, F.age == 1, limit=2)
    assert [scan.chunk for scan in engine.asked] == [2, 4, 500]


async def test_a_document_that_expires_under_way_is_left_out(
    people: People, hands: ManualClock
) -> None:
    """And those behind it fill its place."""
    await people.put("adam", {"age": 99}, ttl=timedelta(seconds=1))
    answer = people.find(order_by="-age", limit=3)
    assert (await anext(answer)).key == "dave"
    hands.now += SECOND
    assert [document.key async for document in answer] == ["alice", "carol"]


async def test_a_page_is_full_though_documents_expire(
    people: People, engine: Engine, hands: ManualClock
) -> None:
    """Between their being read and their being handed out."""
    await people.put_many({f"x{n}": {"age": 100} for n in range(3)}, ttl=timedelta(seconds=1))

    def turn() -> None:
        hands.now += SECOND

    engine.after_scan = turn
    page = await people.page(F.age >= 0, size=2, order_by=["-age"])
    assert [document.key for document in page.documents] == ["alice", "carol"]
    assert page.next_cursor is not None


async def test_a_sorted_answer_needs_memory_for_its_limit_only(people: People) -> None:
    """Those beyond are dropped while the scan goes on."""
    await people.put_many({f"n{number:04}": {"n": number} for number in range(2000)})
    assert await found(people, order_by="-n", limit=3) == ["n1999", "n1998", "n1997"]
    assert await found(people, F.n >= 0, order_by="n", limit=3) == ["n0000", "n0001", "n0002"]


async def test_a_stored_document_that_is_damaged_is_told(people: People, engine: Engine) -> None:
    """With its place."""
    bad = Record(DocumentId("people", "bad"), "{", VersionClock().next(), 1, 1)
    await MemoryAdaptor.write(engine, [Write(bad, Newer())])
    with pytest.raises(CorruptRecordError, match="not JSON") as caught:
        await found(people, F.age == 1)
    assert caught.value.key == "bad"


async def test_typed_collections_are_asked_by_their_stored_names(engine: Engine) -> None:
    """Filters see the JSON; the documents have the type."""

    class Person(TypedDict):
        age: int

    async with Store(engine) as store:
        people = store.collection("typed", Person)
        await people.put("alice", {"age": 42})
        assert [document.value async for document in people.find(F.age > 1)] == [{"age": 42}]


@pytest.mark.parametrize("where", [True, "age > 3", F.age, {"age": 3}])
async def test_what_is_no_filter_is_refused(people: People, where: Any) -> None:
    """At the call, before anything is sent."""
    with pytest.raises(InvalidValueError, match=r"a filter is made of F"):
        people.find(where)


async def test_a_filter_has_64_levels_at_most(people: People) -> None:
    """A long chain of `&` is one level; deeper nesting is refused."""
    where: Filter = F.age >= 0
    for _ in range(63):
        where = ~where
    assert await people.count(where) == await people.count(~(F.age >= 0))
    with pytest.raises(InvalidValueError, match="deeper than 64 levels"):
        people.find(~where)
    chain: Filter = F.age >= 0
    for _ in range(200):
        chain &= F.age >= 0
    assert await found(people, chain) == await found(people, F.age >= 0)


@pytest.mark.parametrize("order_by", [7, None, "", "-", "a..b", "a.", [7], ["age", None], "a\0b"])
async def test_what_is_no_order_is_refused(people: People, order_by: Any) -> None:
    """At the call, before anything is sent."""
    with pytest.raises(InvalidValueError):
        people.find(order_by=order_by)


@pytest.mark.parametrize("number", [-1, 1.5, "3", True])
async def test_what_is_no_number_is_refused(people: People, number: Any) -> None:
    """Nor are 0 and 1001 the size of a page."""
    with pytest.raises(InvalidValueError, match="a limit is a whole number, 0 or more"):
        people.find(limit=number)
    for size in (number, 0, 1001):
        with pytest.raises(InvalidValueError, match="a page's size is a whole number, 1 to 1000"):
            await people.page(size=size)


async def test_what_is_no_prefix_is_refused(people: People) -> None:
    """It is held to what keys are held to."""
    with pytest.raises(InvalidKeyError):
        people.find(prefix="a\0")
    with pytest.raises(InvalidKeyError):
        people.explain(prefix=7)  # type: ignore[arg-type]  # that is the point
