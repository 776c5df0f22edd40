"""Queries whose order an engine keeps, roughly: answers are the reference's, and little is read."""

import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import timedelta
from math import inf, nextafter
from typing import Any

import pytest
from engines import IndexingMemory
from hypothesis import given, settings
from hypothesis import strategies as st

from aiostore import F
from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.collection import Collection
from aiostore.errors import UnavailableError
from aiostore.filters import Order, place_of
from aiostore.orders import coarse, coarse_at
from aiostore.protocols import Record, Scan, Sort
from aiostore.sending import Retries
from aiostore.store import Store
from aiostore.testing import Faults, FaultyAdaptor, ManualClock
from aiostore.testing.strategies import scalars
from aiostore.versions import VersionClock

Documents = Collection[dict[str, Any]]
AT_ONCE = Retries(first_pause=timedelta(0), longest_pause=timedelta(0))
SECOND = 1_000_000
AGE = Order(("age",))


@pytest.fixture
def engine() -> IndexingMemory:
    """What lies below: memory, which keeps to the coarse order and to no more."""
    return IndexingMemory()


@pytest.fixture
def hands() -> ManualClock:
    """The time."""
    return ManualClock()


@pytest.fixture
async def documents(engine: IndexingMemory, hands: ManualClock) -> AsyncIterator[Documents]:
    """2000 documents, whose numbers go the other way than their keys."""
    async with Store(engine, clock=VersionClock(hands), retries=AT_ONCE) as store:
        collection = store.collection("c")
        await collection.put_many(
            {f"k{n:04}": {"n": 1999 - n, "half": n % 2, "odd name": n} for n in range(2000)}
        )
        yield collection


async def found(documents: Documents, *arguments: Any, **query: Any) -> list[str]:
    """The keys that a query finds."""
    return [document.key async for document in documents.find(*arguments, **query)]


async def test_the_engine_sorts_where_there_is_a_limit(
    documents: Documents, engine: IndexingMemory
) -> None:
    """By the first field; and no more is read than is needed to see that nothing better comes."""
    assert await found(documents, order_by=["n", "half"], limit=3) == ["k1999", "k1998", "k1997"]
    assert await found(documents, order_by="-n", limit=600) == [f"k{n:04}" for n in range(600)]
    page = await documents.page(F.half == 1, prefix="k1", order_by="n", size=2)
    assert [document.key for document in page.documents] == ["k1999", "k1997"]
    assert engine.scans == [
        Scan("c", chunk=19, order=Sort(("n",))),
        Scan("c", chunk=500, order=Sort(("n",), descending=True)),
        Scan("c", prefix="k1", chunk=19, where=F.half == 1, order=Sort(("n",))),
    ]
    assert engine.chunks == 1 + 2 + 1


async def test_a_page_begins_where_the_cursor_stands(
    documents: Documents, engine: IndexingMemory
) -> None:
    """By the coarse place of the first field."""
    page = await documents.page(order_by=["-n", "half"], size=3)
    await documents.page(order_by=["-n", "half"], size=3, cursor=page.next_cursor)
    order = engine.scans[-1].order
    assert order == Sort(("n",), descending=True, start=coarse(1997))
    assert engine.chunks == 2


async def test_what_the_engine_cannot_is_sorted_here(
    documents: Documents, engine: IndexingMemory
) -> None:
    """All of an answer, fields whose names are not plain, and orders of an engine without any."""
    assert len(await found(documents, order_by="n")) == 2000
    assert await found(documents, order_by=F["odd name"].desc(), limit=1) == ["k1999"]
    assert await found(documents, order_by=Order(()), limit=1) == ["k0000"]
    assert [scan.order for scan in engine.scans] == [None] * 3
    for order_by, limit, engines, here in (
        ("n", None, None, (Order(("n",)),)),
        (F["odd name"], 1, None, (Order(("odd name",)),)),
        (["n", F["odd name"]], 1, Order(("n",)), ()),
        (["n", "-half"], 0, Order(("n",)), ()),
        ((), 1, None, ()),
    ):
        plan = documents.explain(order_by=order_by, limit=limit)  # type: ignore[arg-type]  # a table
        assert (plan.ordered_by_engine, plan.sorted_here) == (engines, here)


async def test_a_part_that_is_evaluated_here_reads_large_chunks(
    documents: Documents, engine: IndexingMemory
) -> None:
    """As nobody knows how many of them match; the end is seen by those that do not, too."""
    assert await found(documents, ~(F.n > 1), order_by="n", limit=2) == ["k1999", "k1998"]
    assert [scan.chunk for scan in engine.scans] == [500]
    assert engine.chunks == 1


async def test_all_that_are_alike_are_read(documents: Documents, engine: IndexingMemory) -> None:
    """As the one that comes last of them may be the first of the answer."""
    assert await found(documents, order_by="half", limit=2) == ["k0000", "k0002"]
    assert await found(documents, order_by=["-half", "n"], limit=2) == ["k1999", "k1997"]
    assert await found(documents, order_by=["nowhere", "n"], limit=1) == ["k1999"]
    pages: list[str] = []
    cursor = None
    while cursor is not None or not pages:
        page = await documents.page(order_by="half", size=700, cursor=cursor)
        pages += [document.key for document in page.documents]
        cursor = page.next_cursor
    assert pages == [f"k{n:04}" for n in (*range(0, 2000, 2), *range(1, 2000, 2))]


async def test_documents_that_expire_are_made_up_for(
    documents: Documents, hands: ManualClock
) -> None:
    """By those behind them."""
    await documents.put_many({f"x{n}": {"n": 5000} for n in range(9)}, ttl=timedelta(seconds=1))
    answer = documents.find(order_by="-n", limit=3)
    assert (await anext(answer)).key == "x0"
    hands.now += SECOND
    assert [document.key async for document in answer] == ["k0000", "k0001"]
    assert await found(documents, order_by="-n", limit=2) == ["k0000", "k0001"]


class Moving(MemoryAdaptor):
    """Memory in which a document is written whenever an ordered scan has yielded a chunk."""

    move: Callable[[Record], Record] = staticmethod(lambda record: record)

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        moved = list[Record]()
        async with aclosing(super().scan(request)) as chunks:
            async for chunk in chunks:
                yield chunk
                moved += map(self.move, chunk[:1])
        yield moved


async def test_a_document_that_comes_twice_is_one() -> None:
    """As it was at first, so that it takes no other's place."""
    engine = Moving()
    engine.move = lambda record: Record(record.id, '{"n":2.5}', record.version, 1, 2)
    async with Store(engine) as store:
        documents = store.collection("c")
        await documents.put_many({f"k{n}": {"n": n} for n in range(4)})
        answer = [document async for document in documents.find(order_by="n", limit=9)]
        assert [document.value["n"] for document in answer] == [0, 1, 2, 3]


async def test_a_document_that_has_moved_on_is_given_once(hands: ManualClock) -> None:
    """Though the answer be read again from the middle, because others have expired."""
    async with Store(MemoryAdaptor(), clock=VersionClock(hands)) as store:
        documents = store.collection("c")
        await documents.put_many({f"k{n}": {"n": n} for n in range(3)})
        await documents.put("mortal", {"n": 0.5}, ttl=timedelta(seconds=1))
        answer = documents.find(order_by="n", limit=2)
        assert (await anext(answer)).key == "k0"
        await documents.put("k0", {"n": 0.7})
        hands.now += SECOND
        assert [document.key async for document in answer] == ["k1"]


async def test_an_answer_survives_breaks(engine: IndexingMemory) -> None:
    """An ordered scan that breaks off again and again is begun again, and answers the same."""
    values = [None, *range(300), *("a" * n for n in range(150)), *[7] * 300]
    stored = {f"k{n:03}": {"v": value} for n, value in enumerate(values)}
    expected = sorted(stored, key=lambda key: (place_of(stored[key], [Order(("v",))]), key))
    faulty = FaultyAdaptor(engine)
    async with Store(faulty, retries=Retries(attempts=9, first_pause=timedelta(0))) as store:
        documents = store.collection("c")
        await documents.put_many(stored)
        faulty.faults = Faults(choices=random.Random(1), failing=0.3, losing=0.3)
        for limit in (1, 5, 50, 700):
            keys = [doc.key async for doc in documents.find(order_by="v", limit=limit)]
            assert keys == expected[:limit]
        page = await documents.page(order_by="v", size=400)
        rest = await documents.page(order_by="v", size=400, cursor=page.next_cursor)
        keys = [document.key for document in (*page.documents, *rest.documents)]
        assert keys == expected
        faulty.down = True
        with pytest.raises(UnavailableError):
            await documents.page(order_by="v")


LONG = st.sampled_from(["x" * 127, "x" * 128]).flatmap(
    lambda text: st.text("axy", max_size=2).map(text.__add__)
)
CLOSE = st.sampled_from([1.0, -0.3, 2**53, 2**62, 1e300, 5e-324]).flatmap(
    lambda number: st.sampled_from(
        [number, nextafter(number, inf), nextafter(number, -inf), number + 1, -number]
    )
)
VALUES: st.SearchStrategy[list[Any]] = st.lists(
    scalars() | LONG | CLOSE | st.sampled_from([[], {}]), max_size=30
)


@settings(max_examples=150)
@given(VALUES, st.tuples(st.booleans(), st.booleans()), st.integers(1, 12))
async def test_what_the_engine_confuses_is_put_right(
    values: list[Any], descending: tuple[bool, bool], size: int
) -> None:
    """Numbers that are close and texts that begin alike: the same answer as by the reference."""
    stored = {f"k{number:02}": {"v": value, "w": number % 3} for number, value in enumerate(values)}
    order = [Order(("v",), descending[0]), Order(("w",), descending[1])]
    expected = list(stored)
    for one in reversed(order):
        expected.sort(key=lambda key: place_of(stored[key], [one]), reverse=one.descending)
    async with Store(MemoryAdaptor()) as store:
        documents = store.collection("c")
        await documents.put_many(stored)
        assert await found(documents, order_by=order, limit=size) == expected[:size]
        keys: list[str] = []
        cursor = None
        while cursor is not None or not keys:
            page = await documents.page(order_by=order, size=size, cursor=cursor)
            keys += [document.key for document in page.documents]
            cursor = page.next_cursor
            if not stored:
                break
        assert keys == expected


@pytest.mark.parametrize("number", [1.0, -1.0, 2.0**53])
async def test_an_answer_waits_until_the_scan_is_clearly_beyond_it(number: float) -> None:
    """A number that is a little smaller may still come behind one that is a little larger."""
    values = [nextafter(number, inf), number, nextafter(number, -inf)]
    async with Store(MemoryAdaptor()) as store:
        documents = store.collection("c")
        await documents.put_many({f"k{n}": {"v": value} for n, value in enumerate(values)})
        for limit in (1, 2):
            assert await found(documents, order_by="v", limit=limit) == ["k2", "k1"][:limit]
            assert await found(documents, order_by="-v", limit=limit) == ["k0", "k1"][:limit]


async def test_memory_keeps_to_the_coarse_order_alone() -> None:
    """Of what is alike there the first comes last, so that nobody can rely on more."""
    values = [1, nextafter(1, 2), 1 + 1e-12, "x" * 128 + "a", "x" * 128 + "b", None]
    engine = MemoryAdaptor()
    async with Store(engine) as store:
        await store.collection("c").put_many({f"k{n}": {"v": v} for n, v in enumerate(values)})
        for descending, expected in (
            (False, ["k5", "k1", "k0", "k2", "k4", "k3"]),
            (True, ["k4", "k3", "k2", "k0", "k1", "k5"]),
        ):
            scan = engine.scan(Scan("c", chunk=4, order=Sort(("v",), descending)))
            assert [one.id.key async for chunk in scan for one in chunk] == expected
        start = coarse_at({"v": 1}, ("v",))
        scan = engine.scan(Scan("c", order=Sort(("v",), start=start)))
        assert [one.id.key async for chunk in scan for one in chunk] == [
            "k1",
            "k0",
            "k2",
            "k4",
            "k3",
        ]
