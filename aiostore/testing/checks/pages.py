"""Pages: parts of an answer, each begun where the one before has ended."""

from typing import Any

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.collection import Collection
from aiostore.documents import Page
from aiostore.errors import InvalidValueError
from aiostore.filters import F
from aiostore.store import Store
from aiostore.testing.check import check
from aiostore.testing.expectations import expect, expect_equal, expect_error
from aiostore.testing.harness import Harness

_DOCUMENTS: dict[str, dict[str, Any]] = {
    f"{'ab'[n % 2]}/{n:02}": {"n": n, "group": n % 3, "mixed": [n, str(n), None, n / 2][n % 4]}
    for n in range(23)
}
_QUERIES: list[dict[str, Any]] = [
    {},
    {"prefix": "a/"},
    {"order_by": "-n"},
    {"order_by": ["group", "-n"]},
    {"order_by": "mixed"},
    {"order_by": "-mixed", "prefix": "b/"},
    {"order_by": "nowhere"},
    {"where": F.group == 1},
    {"where": F.group >= 1, "order_by": "group"},
    {"where": F.group == 9},
]


@check()
async def check_together(harness: Harness) -> None:
    """The pages of any size together are what `find` answers, each document once."""
    async with harness.store() as store:
        documents = store.collection(harness.collection())
        await documents.put_many(_DOCUMENTS)
        for query in _QUERIES:
            answer = [document async for document in documents.find(**query)]
            for size in (1, 5, max(1, len(answer)), 1000):
                pages = await _pages(documents, size, query)
                found = [document for page in pages for document in page.documents]
                expect_equal(found, answer, f"the pages of {size} of {query}")
                full = [len(page.documents) for page in pages[:-1]]
                expect_equal(full, [size] * len(full), "the sizes of all but the last")
                last = len(pages[-1].documents)
                expect(last > 0 or not answer, "no page is empty, but that of an empty answer")


@check()
async def check_inserts_and_deletes(harness: Harness) -> None:
    """What is created or deleted between two pages moves no other document to another page."""
    async with harness.store() as store:
        for query in ({}, {"order_by": "-n"}, {"where": F.n >= 0, "order_by": "group"}):
            documents = store.collection(harness.collection())
            await documents.put_many(_DOCUMENTS)
            answer = [document.key async for document in documents.find(**query)]
            found: list[str] = []
            page = await documents.page(size=4, **query)
            while True:
                found += [document.key for document in page.documents]
                if page.next_cursor is None:
                    break
                # The place of the cursor is gone, and there are more before it.
                await documents.delete(page.documents[-1].key)
                first = page.documents[0]
                await documents.put_many({f"{first.key}{n}": first.value for n in range(3)})
                page = await documents.page(size=4, cursor=page.next_cursor, **query)
            expect_equal([key for key in found if key in _DOCUMENTS], answer, f"pages of {query}")


@check()
async def check_other_store(harness: Harness) -> None:
    """A cursor is good on another store with the same documents, and with another size."""
    name = harness.collection()
    async with harness.store() as store, Store(MemoryAdaptor()) as other:
        here, there = store.collection(name), other.collection(name)
        for documents in (here, there):
            await documents.put_many(_DOCUMENTS)
        for query in _QUERIES:
            answer = [document.key async for document in here.find(**query)]
            for one, another in ((here, there), (there, here)):
                page = await one.page(size=3, **query)
                found = [document.key for document in page.documents]
                if page.next_cursor is not None:
                    page = await another.page(size=1000, cursor=page.next_cursor, **query)
                    found += [document.key for document in page.documents]
                expect_equal(found, answer, f"pages of {query} from two stores")


@check()
async def check_cursors_are_bound(harness: Harness) -> None:
    """A cursor of another query, of another collection, altered or cut is refused."""
    async with harness.store() as store:
        documents, others = (store.collection(harness.collection()) for _ in range(2))
        for collection in (documents, others):
            await collection.put_many(_DOCUMENTS)
        query: dict[str, Any] = {"where": F.group >= 1, "order_by": "n", "prefix": "a/"}
        cursor = (await documents.page(size=2, **query)).next_cursor
        expect(cursor is not None, "there is a second page")
        cursor = str(cursor)
        for change in (
            {"where": F.group > 1},
            {"where": None},
            {"order_by": "-n"},
            {"order_by": ()},
            {"prefix": ""},
        ):
            with expect_error(InvalidValueError, f"the cursor is not that of {change}"):
                await documents.page(cursor=cursor, **{**query, **change})
        with expect_error(InvalidValueError, "the cursor is another collection's"):
            await others.page(cursor=cursor, **query)
        middle = len(cursor) // 2
        swapped = "A" if cursor[middle] != "A" else "B"
        for altered in (
            "",
            "x",
            "é",
            cursor[:-4],
            cursor[4:],
            cursor + "AAAA",
            cursor[:middle] + swapped + cursor[middle + 1 :],
        ):
            with expect_error(InvalidValueError, f"{altered!r} is no cursor"):
                await documents.page(cursor=altered, **query)
        page = await documents.page(cursor=cursor, size=1000, **query)
        expect(len(page.documents) > 0, "the cursor itself is good")


@check()
async def check_sizes(harness: Harness) -> None:
    """A page has 1 to 1000 documents; another size is refused."""
    async with harness.store() as store:
        documents = store.collection(harness.collection())
        bad: list[Any] = [0, -1, 1001, None, 2.0, "5", True]
        for size in bad:
            with expect_error(InvalidValueError, f"a size of {size!r} is refused"):
                await documents.page(size=size)
        empty = await documents.page()
        expect_equal(empty, Page([], None), "the page of a collection that never was")


async def _pages(
    documents: Collection[dict[str, Any]], size: int, query: dict[str, Any]
) -> list[Page[dict[str, Any]]]:
    """All pages of a query."""
    pages = [await documents.page(size=size, **query)]
    while pages[-1].next_cursor is not None:
        pages.append(await documents.page(size=size, cursor=pages[-1].next_cursor, **query))
        expect(len(pages) <= len(_DOCUMENTS), "pages come to an end")
    return pages
