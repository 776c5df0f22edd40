"""Steps that read: queries, scans half way, pages, and wrong cursors."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from aiostore import F, UnsupportedError
from aiostore.testing.expectations import expect, expect_equal
from aiostore.testing.machine.life import COLLECTION, KEY, Life, all_of, seen
from aiostore.testing.machine.model import Entry
from aiostore.testing.machine.moves import Documents
from aiostore.testing.machine.queries import Query, orderings, queries
from aiostore.testing.machine.readings import Paging, Walk

_AT_ONCE = 3  # readings of each kind that are under way
_PREFIX = st.one_of(
    st.just(""),
    st.just(""),
    st.just(""),
    st.builds(lambda key, length: key[:length], KEY, st.integers(1, 3)),
)
_QUERY = queries(_PREFIX)
_LIST = st.one_of(st.just(Query()), orderings(), _QUERY)
_READING = st.integers(0, _AT_ONCE - 1)


class Reads(Life):
    """The steps that read."""

    @rule(collection=COLLECTION, keys=st.lists(KEY, max_size=8))
    def get_many(self, collection: int, keys: list[str]) -> None:
        """Read many documents, maybe twice."""
        self.note("get many")
        documents = self.documents(collection)
        found = self.run(documents.get_many(keys))
        there = [self.model.get(documents.name, key) for key in dict.fromkeys(keys)]
        expected = [entry for entry in there if entry is not None]
        expect_equal(list(found), [entry.key for entry in expected], "the keys found, in order")
        expect_equal(list(map(seen, found.values())), expected, "the documents found")

    @rule(collection=COLLECTION, query=_QUERY, limit=st.none() | st.integers(0, 4))
    def find(self, collection: int, query: Query, limit: int | None) -> None:
        """Ask, and count."""
        documents = self.documents(collection)
        expected = query.answer(self.model.documents(documents.name))
        found = self.run(all_of(documents.find(**query.arguments, limit=limit)))
        expect_equal(found, expected[:limit], f"the answer to {query}, at most {limit}")
        count = documents.count(query.arguments["where"], prefix=query.prefix)
        expect_equal(self.run(count), len(expected), f"the number of answers to {query}")
        self._find_without_a_scan(documents, query, expected)
        self.note(f"find: {'something' if found else 'nothing'}")

    @rule(
        collection=COLLECTION,
        prefix=_PREFIX,
        start_after=st.none() | st.just("") | KEY | st.text("a~/\ue000", max_size=2),
    )
    def scan(self, collection: int, prefix: str, start_after: str | None) -> None:
        """Read a range of keys."""
        documents = self.documents(collection)
        expected = [
            entry
            for entry in self.model.documents(documents.name)
            if entry.key.startswith(prefix) and (start_after is None or entry.key > start_after)
        ]
        found = self.run(all_of(documents.scan(prefix=prefix, start_after=start_after)))
        expect_equal(found, expected, f"the keys from {prefix!r} after {start_after!r}")
        self.note(f"scan: {'something' if found else 'nothing'}")

    @precondition(lambda self: len(self.walks) < _AT_ONCE)
    @rule(
        collection=COLLECTION,
        query=_LIST,
        limit=st.none() | st.integers(1, 4),
        plain=st.booleans(),
    )
    def begin_walk(self, collection: int, query: Query, limit: int | None, *, plain: bool) -> None:
        """Begin to read an answer, or a plain scan, one document after the other."""
        documents = self.documents(collection)
        if plain:
            query, limit = Query(prefix=query.prefix), None
            generator = documents.scan(prefix=query.prefix)
        else:
            generator = documents.find(**query.arguments, limit=limit)
        self.walks.append(Walk(self.model, documents.name, query, limit, generator))
        self.run(self._walk_on(self.walks[-1], 1))

    @precondition(lambda self: self.walks)
    @rule(which=_READING, steps=st.integers(1, 6))
    def walk_on(self, which: int, steps: int) -> None:
        """Read on, whatever has been written meanwhile."""
        self.run(self._walk_on(self.walks[which % len(self.walks)], steps))

    @precondition(lambda self: self.walks)
    @rule(which=_READING)
    def leave_walk(self, which: int) -> None:
        """Stop half way."""
        self.note("walk: left")
        walk = self.walks.pop(which % len(self.walks))
        self.run(walk.documents.aclose())

    @precondition(lambda self: len(self.pagings) < _AT_ONCE)
    @rule(collection=COLLECTION, query=_LIST, size=st.integers(1, 2))
    def first_page(self, collection: int, query: Query, size: int) -> None:
        """Begin to page through an answer."""
        self.pagings.append(Paging(self.model, self.names[collection], query))
        self._turn(self.pagings[-1], size)

    @precondition(lambda self: self.pagings)
    @rule(which=_READING, size=st.integers(1, 2))
    def next_page(self, which: int, size: int) -> None:
        """Turn a page, whatever has been written meanwhile, be it in a store reopened."""
        self._turn(self.pagings[which % len(self.pagings)], size)

    @precondition(lambda self: self.pagings)
    @rule(
        which=_READING,
        wrong=st.sampled_from(["collection", "filter", "prefix", "order", "altered", "cut"]),
        at=st.integers(0, 30),
    )
    def wrong_cursor(self, which: int, wrong: str, at: int) -> None:
        """A cursor that was altered, or is another query's, is refused."""
        paging = self.pagings[which % len(self.pagings)]
        arguments, cursor = paging.query.arguments, str(paging.cursor)
        name = paging.collection
        match wrong:
            case "collection":
                [name] = [other for other in self.names if other != name]
            case "filter":
                where = arguments["where"]
                arguments["where"] = F.other.exists() if where is None else ~where
            case "prefix":
                arguments["prefix"] += "x"
            case "order":
                arguments["order_by"] = [*(by.spelled for by in paging.query.order), "other"]
            case "altered":
                another = "A" if cursor[at] != "A" else "B"
                cursor = cursor[:at] + another + cursor[at + 1 :]
            case _:
                cursor = cursor[:at]
        call = self.store.collection(name).page(**arguments, cursor=cursor)
        self.refuse(call, "InvalidValueError", f"a cursor ({wrong}) is refused")
        self.note("wrong cursor")

    async def _walk_on(self, walk: Walk, steps: int) -> None:
        for _ in range(steps):
            document: Any = await anext(walk.documents, None)
            if document is None:
                walk.end()
                self.walks.remove(walk)
                self.note("walk: ended")
                return
            walk.take(seen(document))

    def _turn(self, paging: Paging, size: int) -> None:
        documents = self.store.collection(paging.collection)
        arguments = paging.query.arguments
        page = self.run(documents.page(**arguments, size=size, cursor=paging.cursor))
        self.note(f"page: {'another' if page.next_cursor else 'last'}")
        if paging.take(list(map(seen, page.documents)), size, page.next_cursor):
            self.pagings.remove(paging)

    def _find_without_a_scan(
        self, documents: Documents, query: Query, expected: list[Entry]
    ) -> None:
        scans = documents.explain(**query.arguments).scans
        try:
            found = self.run(all_of(documents.find(**query.arguments, allow_scan=False)))
        except UnsupportedError:
            expect(scans, f"{query} scans, if it is refused for that")
        else:
            expect(not scans, f"{query} does not scan, if it is answered")
            expect_equal(found, expected, f"the answer to {query} without a scan")
