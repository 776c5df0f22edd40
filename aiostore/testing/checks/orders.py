"""Orders: at the boundary, scans by a field; above it, the first documents of an order."""

from collections.abc import Sequence
from typing import Any

import msgspec

from aiostore.filters import Compare, Exists, Filter, Order, Path, kinds_of, matches
from aiostore.orders import Coarse, coarse, coarse_at, is_beyond, loosened
from aiostore.protocols import Adaptor, Newer, Record, Scan, Sort, Write
from aiostore.testing.check import check
from aiostore.testing.expectations import expect, expect_equal
from aiostore.testing.harness import Harness
from aiostore.testing.questions import ordered
from aiostore.testing.records import record, scanned, write_all

_VALUES: list[Any] = [
    *(None, True, False, [], [1], {}, {"v": 1}),
    *(0, 1, 1.0, -1, -0.0, 0.5, 0.1, 0.1 + 0.2, 1e-9, -1e-9, 5e-324, 2e-300, 1e300, -1e300),
    *(2**53, 2**53 + 1, 2.0**53, 2**63 - 1, -(2**63), 2.0**63, 1 + 1e-12, 10, 9, 100, 1e16),
    *("", "a", "A", "aa", "a ", "a\t", "ab", "aB", "b", "B", "1", "10", "9", "true", "null"),
    *("é", "e\u0301", "É", "z", "ß", "ss", "\ud7ff", "\ue000", "\uffff", "\U00010000", "😀"),
    *("x" * 127, "x" * 128, "x" * 128 + "a", "x" * 200, "é" * 128 + "b", "é" * 128 + "a"),
]
"""Of every type; some alike, some such as engines take for alike, or sort otherwise."""

_PATHS: list[Path] = [("v",), ("in", "v")]


@check(needs=("orders",))
async def check_coarse(harness: Harness) -> None:
    """A scan with an order yields every document once, coarsely in its order, either way."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        written = await _write_values(adaptor, collection)
        for path in _PATHS:
            for descending in (False, True):
                for chunk in (1, 7, 1000):
                    sort = Sort(path, descending)
                    found = await scanned(adaptor, Scan(collection, chunk=chunk, order=sort))
                    _expect_all(found, written, f"{sort} in chunks of {chunk}")
                    _expect_order(found, sort)
        nothing = await scanned(adaptor, Scan(harness.collection(), order=Sort(("v",))))
        expect_equal(nothing, [], "a collection that never was, in order")


@check(needs=("orders",))
async def check_start(harness: Harness) -> None:
    """It begins at the place it is given: what is exactly there comes, what is before does not."""
    collection = harness.collection()
    starts = [*map(coarse, _VALUES), coarse(), *map(coarse, (-5, 1e5, "a%", "y"))]
    async with harness.adaptor() as adaptor:
        written = await _write_values(adaptor, collection)
        for descending in (False, True):
            for start in starts:
                sort = Sort(("v",), descending, start)
                found = await scanned(adaptor, Scan(collection, chunk=20, order=sort))
                places = [_place(one, sort.path) for one in found]
                # An engine whose doubles are not exact has to begin a little earlier.
                first = loosened(start, descending=descending)
                early = [one for one in places if is_beyond(first, one, descending=descending)]
                expect_equal(early, [], f"what comes from before the start of {sort}")
                _expect_all(found, _from(written, sort), f"{sort}")


@check(needs=("orders",))
async def check_prefix_and_where(harness: Harness) -> None:
    """With an order, too, a scan keeps to its prefix, and to its filter as far as it can."""
    collection = harness.collection()
    keys = ["a%", "a%b", "ab", "a", "A%", "b", "a%\U0010ffff", "é", "é1", "è"]
    written = [
        record(collection, key, number, body=f'{{"n":{number % 4},"v":{number}}}')
        for number, key in enumerate(keys, start=1)
    ]
    async with harness.adaptor() as adaptor:
        await write_all(adaptor, [*written, record(collection, "a%t", 1, body=None)])
        declared = adaptor.capabilities.filters
        filters: list[Filter] = [
            Compare(("v",), ">=", 3),
            Compare(("n",), "==", 1),
            Exists(("n",)),
        ]
        possible = [where for where in filters if kinds_of(where) <= declared]
        for where in (None, *possible):
            matching = [one for one in written if where is None or matches(where, _decoded(one))]
            for prefix in ("", "a%", "A", "é", "no such key"):
                wanted = [one for one in matching if one.id.key.startswith(prefix)]
                for sort in (Sort(("n",)), Sort(("v",), descending=True, start=coarse(8))):
                    request = Scan(collection, prefix, chunk=2, where=where, order=sort)
                    found = await scanned(adaptor, request)
                    _expect_all(found, _from(wanted, sort), f"{request}")
                    _expect_order(found, sort)
                    keys = [one.id.key for one in found]
                    inside = [key for key in keys if key.startswith(prefix)]
                    expect_equal(keys, inside, f"the keys of {request}")


@check(needs=("orders",))
async def check_writes_meanwhile(harness: Harness) -> None:
    """What is unchanged comes exactly once, though others move past the scan and back."""
    collection = harness.collection()
    steady = [
        record(collection, f"s{number:03}", number, body=f'{{"v":{number // 3}}}')
        for number in range(1, 90)
    ]
    moving = [f"m{number}" for number in range(9)]
    async with harness.adaptor() as adaptor:
        await write_all(adaptor, steady)
        for descending in (False, True):
            found: list[Record] = []
            sort = Sort(("v",), descending)
            async for chunk in adaptor.scan(Scan(collection, chunk=7, order=sort)):
                found += chunk
                place = (len(found) * 37) % 31
                number = (1000 if descending else 100) + len(found)
                moved = [record(collection, key, number, body=f'{{"v":{place}}}') for key in moving]
                await adaptor.write([Write(one, Newer()) for one in moved])
            unchanged = [one for one in found if one.id.key.startswith("s")]
            _expect_all(unchanged, steady, f"{sort} while others move")
            _expect_order(found, sort)


@check()
async def check_first(harness: Harness) -> None:
    """The first documents of an order, and its pages, are the reference's, many alike or none."""
    stored: dict[str, dict[str, Any]] = {
        f"k{number * 7919 % 700:03}": {"group": number % 2, "n": number, "mixed": mixed}
        for number, mixed in enumerate((_SHORT * 20)[:700])
    }
    orders: list[list[tuple[Path, bool]]] = [
        [(("group",), False)],
        [(("group",), True), (("mixed",), False)],
        [(("mixed",), False), (("n",), True)],
        [(("mixed",), True)],
        [(("n",), True)],
        [(("nowhere",), True), (("n",), False)],
    ]
    async with harness.store() as store:
        documents = store.collection(harness.collection())
        await documents.put_many(stored)
        for order in orders:
            order_by = [Order(path, descending) for path, descending in order]
            expected = ordered(stored, order)
            for limit in (1, 30, 600):
                answer = documents.find(order_by=order_by, limit=limit)
                found = [document.key async for document in answer]
                expect_equal(found, expected[:limit], f"the first {limit} by {order}")
            found, cursor = [], None
            while cursor is not None or not found:
                page = await documents.page(size=300, cursor=cursor, order_by=order_by)
                found += [document.key for document in page.documents]
                cursor = page.next_cursor
            expect_equal(found, expected, f"the pages by {order}")


_SHORT = [value for value in _VALUES if not isinstance(value, str) or value.isalnum()][:-4]


async def _write_values(adaptor: Adaptor, collection: str) -> list[Record]:
    """Documents with each of the values, or without any; and a tombstone, which is not returned."""
    documents: list[dict[str, Any]] = [{"v": value, "in": {"v": value}} for value in _VALUES]
    documents += [{}, {"v": None, "in": None}, {"in": [{"v": 1}]}, {"in": "v"}]
    written = [
        record(collection, f"k{number * 31 % 97:02}", number, body=_encoded(document))
        for number, document in enumerate(documents, start=1)
    ]
    await write_all(adaptor, [*written, record(collection, "tombstone", 1, body=None)])
    return written


def _expect_all(found: Sequence[Record], wanted: Sequence[Record], what: str) -> None:
    """Each of those wanted came once, and nothing at all came twice."""
    keys = sorted(one.id.key for one in found)
    expect_equal(keys, sorted(set(keys)), f"what comes twice by {what}")
    expected = sorted(one.id.key for one in wanted)
    expect_equal([key for key in keys if key in expected], expected, f"what comes by {what}")


def _expect_order(found: Sequence[Record], sort: Sort) -> None:
    places = [_place(one, sort.path) for one in found if one.body is not None]
    for position, place in enumerate(places):
        for earlier in places[:position]:
            wrong = is_beyond(earlier, place, descending=sort.descending)
            expect(not wrong, f"by {sort}, {earlier} does not come before {place}")


def _from(records: Sequence[Record], sort: Sort) -> list[Record]:
    """Those at the order's start or behind it."""
    places = [(one, _place(one, sort.path)) for one in records]
    if sort.start is None:
        return list(records)
    if sort.descending:
        return [one for one, place in places if place <= sort.start]
    return [one for one, place in places if place >= sort.start]


def _place(one: Record, path: Path) -> Coarse:
    return coarse_at(_decoded(one), path)


def _decoded(one: Record) -> dict[str, Any]:
    return msgspec.json.decode(one.body or "{}", type=dict[str, Any])


def _encoded(document: dict[str, Any]) -> str:
    return msgspec.json.encode(document).decode()
