"""Scans of SQL databases: what they send, that it goes by the indexes, and what they answer."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sql_sent import plan_of, sent_by
from sql_stores import adaptor_of
from sql_urls import ENGINES, url_of

from aiostore import Store
from aiostore.adaptors.sql import SQLAdaptor, _scans
from aiostore.collection import Collection
from aiostore.errors import UnsupportedError
from aiostore.filters import F, Filter, Order, matches
from aiostore.protocols import DocumentId, Newer, Record, Scan, Sort, Write
from aiostore.testing import hostile
from aiostore.testing.questions import ordered
from aiostore.testing.strategies import PLAIN_NAMES, documents, filters

MANY = 4000

Documents = dict[str, dict[str, Any]]


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each of the engines."""
    return url_of(request.param, tmp_path)


@pytest.fixture
async def adaptor(url: str) -> AsyncIterator[SQLAdaptor]:
    """An adaptor, which the test opens, and which is closed at the end."""
    made = await asyncio.to_thread(adaptor_of, url)
    yield made
    await made.aclose()


def values(number: int) -> dict[str, Any]:
    """A document with fields of many values, of few, and of all types."""
    mixed = [number % 1500, f"t{number % 300:03}", number / 7, None, number % 20 == 0, [number]]
    return {"mixed": mixed[number % len(mixed)], "few": "ab"[number % 50 == 0], "unique": number}


MIXED: Documents = {f"k{number:05}": values(number) for number in range(MANY)}

ANALYSE = {
    "sqlite+aiosqlite": "ANALYZE",
    "postgresql+asyncpg": "ANALYZE aiostore_documents",
    "mariadb+asyncmy": "ANALYZE TABLE aiostore_documents",
}


async def analyse(adaptor: SQLAdaptor) -> None:
    """Tell the database what its tables hold."""
    assert adaptor._opened is not None
    async with adaptor._opened.connections.session() as session:
        await session.run(ANALYSE[adaptor._dialect.driver])


QUERIES: dict[str, tuple[Filter | None, str]] = {
    "equals a text": (F.mixed == "t007", ""),
    "equals what many do": (F.few == "a", ""),
    "equals what few do": (F.few == "b", ""),
    "equals a number": (F.mixed == 42, ""),
    "equals null": (F.mixed == None, ""),  # noqa: E711  # it makes a filter
    "equals a truth": (F.mixed == True, ""),  # noqa: E712  # likewise
    "is one of several": (F.mixed.in_([6, "t007", None, 1.0]), ""),
    "is above": (F.mixed >= 1490, ""),
    "is below": (F.mixed < "t003", ""),
    "begins": (F.mixed.prefix("t01"), ""),
    "is one thing and above another": ((F.unique == 7) & (F.mixed > "t"), ""),
    "in order": (None, "mixed"),
    "in the other order": (None, "-mixed"),
    "in the order of what is alike": (None, "few"),
    "a part in order": (F.mixed >= 1000, "mixed"),
    "several parts in order": (F.mixed.in_([6, "t007", None, 1.0]), "mixed"),
    "a part in the other order": (F.mixed < "t2", "-mixed"),
    "few in the order of another field": (F.unique == 77, "mixed"),
    "few in the order of a field without an index": (F.unique == 77, "other"),
}


@pytest.mark.parametrize("analysed", [False, True], ids=["new", "analysed"])
async def test_every_statement_of_a_query_goes_by_the_index(
    adaptor: SQLAdaptor, *, analysed: bool
) -> None:
    """Whether the database knows what its tables hold or not; none sorts, nor walks further."""
    async with Store(adaptor) as store:
        users = store.collection("users", indexes=["mixed", "few", "unique"])
        await users.put_many(MIXED)
        await store.collection("others").put_many(MIXED)
        await users.ensure_indexes()
        if analysed:
            await analyse(adaptor)
        wanted = reference(MIXED, F.few == "a")  # more than one chunk
        assert [one.key async for one in users.find(F.few == "a")] == wanted
        for name, (where, order) in QUERIES.items():
            with sent_by(adaptor) as sent:
                found = await users.page(where, order_by=order or (), size=7)
                if found.next_cursor is not None:
                    cursor = found.next_cursor
                    await users.page(where, order_by=order or (), size=7, cursor=cursor)
                found_all = [one async for one in users.find(where, order_by=order or (), limit=30)]
            assert found.documents == found_all[:7]
            assert found.documents, name
            assert "aiostore_i_" in await plan_of(adaptor, sent[0]), name
            for text, one in {each.statement.text: each for each in sent}.items():
                plan = await plan_of(adaptor, one)
                if "aiostore_i_" not in plan:  # by the keys that it has found there
                    assert is_by_ids(plan), (name, text, plan)
                for word in (
                    "Sort",
                    "Seq Scan",
                    "B-TREE",
                    "SCAN aiostore",
                    "filesort",
                    "temporary",
                ):
                    assert word not in plan, (name, text, plan)


def is_by_ids(plan: str) -> bool:
    """Whether it is the plan of a read."""
    return any(
        words in plan
        for words in ("(collection=? AND key=?)", "Function Scan on batch", "unfolded.key")
    )


async def test_no_statement_of_a_query_returns_more_than_it_may(
    adaptor: SQLAdaptor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where more match than are held the scan goes by key, and answers as before."""
    monkeypatch.setattr(_scans, "_MOST_FOUND", 100)
    monkeypatch.setattr(_scans, "_MOST_SORTED", 20)
    async with Store(adaptor) as store:
        users = store.collection("users", indexes=["mixed", "unique"])
        await users.put_many(MIXED)
        await users.ensure_indexes()
        for where in (F.unique >= 40, F.unique < 90, F.unique.in_(range(0, 300, 2)), F.mixed >= 0):
            for order in ("", "mixed", "-mixed", "other"):
                with sent_by(adaptor) as sent:
                    asked = users.find(where, order_by=order or (), limit=150)
                    found = [one.key async for one in asked]
                assert found == reference(MIXED, where, order)[:150]
                assert max(len(one.rows) for one in sent) <= 500


def reference(stored: Documents, where: Filter | None, *orders: str) -> list[str]:
    """The keys of the documents that match, in order."""
    matching = {key: one for key, one in stored.items() if where is None or matches(where, one)}
    fields = [((order.removeprefix("-"),), order.startswith("-")) for order in orders if order]
    return ordered(matching, fields)


NARROWED = [
    None,
    F.v == "t3",
    F.v == 1,
    F.v == None,  # noqa: E711  # it makes a filter
    F.v == False,  # noqa: E712  # likewise
    F.v == "b" * 200,
    F.v != 1,
    F.v >= 40,
    F.v < "t",
    F.v.in_([]),
    F.v.in_([1, 2.0, "t3", None, True]),
    F.v.in_(list(range(100))),
    F.v.prefix("t1"),
    F.v.prefix("b" * 130),
    (F.v == "t3") & (F.n < 150),
    (F.v > 3) & (F.n == 12),
    (F.v == 1) | (F.n == 12),
    ~(F.v == 1),
]
VALUES: list[Any] = [
    *(None, True, False, 0, -0.0, 1, 1.0, -5, 2**60, 2**60 + 1, 2.0**60, 1.5, 1e16, 5e-324, 1e308),
    *("", "a", "é", "😀", "b" * 128, "b" * 200, "b" * 200 + "x", [1], {"x": 1}),
]


def numbered(number: int) -> dict[str, Any]:
    """A document with a value of any type, or none."""
    if number % 7 == 0:
        return {"n": number}
    common = [number % 50, f"t{number % 20}"]
    return {"n": number, "v": [*VALUES, *common, *common][number % (len(VALUES) + 4)]}


async def check_answers(users: Collection[dict[str, Any]], stored: Documents) -> None:
    """All queries, from any page on, in either order, and with a prefix."""
    for where in NARROWED:
        for orders in ((), ("v",), ("-v",), ("-v", "n"), ("n",)):
            wanted = reference(stored, where, *orders)
            found = [one.key async for one in users.find(where, order_by=orders)]
            assert found == wanted, (where, orders)
            limited = [one.key async for one in users.find(where, order_by=orders, limit=60)]
            assert limited == wanted[:60], (where, orders)
            page = await users.page(where, order_by=orders, size=30)
            keys = [one.key for one in page.documents]
            if page.next_cursor is not None:
                cursor = page.next_cursor
                page = await users.page(where, order_by=orders, size=30, cursor=cursor)
                keys += [one.key for one in page.documents]
            assert keys == wanted[:60], (where, orders)
            some = users.find(where, order_by=orders, prefix="k00", limit=50)
            of_prefix = [key for key in wanted if key.startswith("k00")][:50]
            assert [one.key async for one in some] == of_prefix, (where, orders)


@pytest.mark.parametrize("deep", [False, True], ids=["plain", "deep"])
async def test_queries_answer_the_same_with_and_without_an_index(
    adaptor: SQLAdaptor, *, deep: bool
) -> None:
    """The reference's answer; documents are found, and sorted, that MariaDB cannot read."""
    stored = {f"k{number:04}": numbered(number) for number in range(210)}
    if deep:
        for number, value in enumerate(["t3", 1, None, "zz", -7]):
            stored[f"k009{number}x"] = {"n": number, "v": value, "deep": hostile.nested(31)}
    async with Store(adaptor) as store:
        users = store.collection("users", indexes=["v"])
        await users.put_many(stored)
        await store.collection("others").put_many(stored)
        await users.delete("k0017")
        del stored["k0017"]
        assert adaptor._opened is not None
        await check_answers(store.collection("users"), stored)
        await users.ensure_indexes()
        assert adaptor._opened.indexes == {("users", ("v",))}
        await check_answers(users, stored)


async def test_deep_documents_are_looked_for_by_the_index(adaptor: SQLAdaptor) -> None:
    """One that MariaDB cannot read does not make every query walk through all documents."""
    async with Store(adaptor) as store:
        users = store.collection("users", indexes=["mixed"])
        await users.put_many(MIXED | {"k01000x": {"mixed": "t002", "deep": hostile.nested(31)}})
        await users.ensure_indexes()
        for where in (F.mixed == "t002", F.mixed.prefix("t002")):
            with sent_by(adaptor) as sent:
                keys = [one.key async for one in users.find(where)]
            assert "k01000x" in keys
            assert sum(len(one.rows) for one in sent) < 100


async def test_a_server_that_is_too_old_to_judge_answers_every_query(
    adaptor: SQLAdaptor,
) -> None:
    """From all documents, and it has no indexes."""
    stored = {f"k{number:04}": numbered(number) for number in range(210)}
    async with Store(adaptor) as store:
        assert adaptor._opened is not None
        adaptor._opened.judging = None
        users = store.collection("users")
        await users.put_many(stored)
        tombstone = Record(DocumentId("users", "gone"), None, "0" * 32, 1, 2)
        await adaptor.write([Write(tombstone, Newer())])
        await check_answers(users, stored)
        with pytest.raises(UnsupportedError, match="this version of the database") as caught:
            await adaptor.index("users", ("v",))
        assert (caught.value.store, caught.value.collection) == (adaptor.name, "users")


PATHS = st.lists(st.sampled_from(PLAIN_NAMES), min_size=1, max_size=2).map(tuple)


def test_any_query_answers_the_same_with_and_without_an_index(url: str) -> None:
    """The reference's answer, whatever the documents are and whichever of two fields is indexed."""

    @settings(max_examples=200 if url.startswith("sqlite") else 40)
    @given(st.data())
    def hold(data: st.DataObject) -> None:
        values = data.draw(st.lists(documents(), max_size=8))
        where = data.draw(st.none() | filters(about=values, plain=True))
        order = data.draw(st.lists(st.builds(Order, PATHS, st.booleans()), max_size=2))
        size = data.draw(st.integers(1, 9))
        stored = {f"k{number}": value for number, value in enumerate(values)}
        for name in ("plain", "indexed"):
            runner.run(_hold(store.collection(name, indexes=indexed), stored, where, order, size))

    indexed = ["a", "b.a", "b", "value"]
    adaptor = adaptor_of(url)
    # The loop of its own is not made the thread's, so that pytest's stays what it was.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        store = runner.run(Store(adaptor).__aenter__())
        try:
            assert adaptor._opened is not None
            runner.run(store.collection("indexed", indexes=indexed).ensure_indexes())
            hold()
            # Queries begin to make those of the other one in the background.
            assert ("indexed", ("b", "a")) in adaptor._opened.indexes
        finally:
            runner.run(store.aclose())


async def _hold(
    users: Collection[dict[str, Any]],
    stored: Documents,
    where: Filter | None,
    order: list[Order],
    size: int,
) -> None:
    await users.put_many(stored)
    matching = {key: one for key, one in stored.items() if where is None or matches(where, one)}
    wanted = ordered(matching, [(one.path, one.descending) for one in order])
    assert [one.key async for one in users.find(where, order_by=order)] == wanted
    limited = users.find(where, order_by=order, limit=size)
    assert [one.key async for one in limited] == wanted[:size]
    keys: list[str] = []
    cursor: str | None = None
    while True:
        page = await users.page(where, order_by=order, size=size, cursor=cursor)
        keys += [one.key for one in page.documents]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert keys == wanted
    await users.clear()


@pytest.mark.parametrize("indexed", [False, True], ids=["by key", "by index"])
async def test_a_scan_of_many_documents_holds_few(adaptor: SQLAdaptor, *, indexed: bool) -> None:
    """However many there are; by key, and along an index."""
    peaks = {}
    async with Store(adaptor) as store:
        for count in (3000, 12_000):
            users = store.collection(f"users{count}", indexes=["n"] if indexed else [])
            await users.put_many({f"k{n:06}": {"n": n, "text": "x" * 1000} for n in range(count)})
            await users.ensure_indexes()
            order = Sort(("n",)) if indexed else None
            request = Scan(users.name, chunk=100, order=order)
            seen = 0
            tracemalloc.start()
            try:
                async with aclosing(adaptor.scan(request)) as chunks:
                    async for chunk in chunks:
                        seen += len(chunk)
                peaks[count] = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert seen == count
    assert peaks[12_000] < 1.5 * peaks[3000]
    assert peaks[12_000] < 4_000_000  # and all of them are three times as much
