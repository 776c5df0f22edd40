"""Queries: exactly the documents that match; at the boundary, scans that leave others out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from aiostore.collection import Collection
from aiostore.errors import UnsupportedError
from aiostore.filters import (
    And,
    Compare,
    Contains,
    Exists,
    F,
    Filter,
    In,
    Not,
    Or,
    Order,
    Path,
    Prefix,
    Text,
    kinds_of,
    paths_of,
)
from aiostore.protocols import Adaptor, Record, Scan
from aiostore.testing.check import check
from aiostore.testing.expectations import (
    expect,
    expect_equal,
    expect_error,
    expect_in_time,
)
from aiostore.testing.harness import Harness
from aiostore.testing.questions import Question, filter_of, holds, ordered
from aiostore.testing.records import NOW, record, scanned, write_all

_ALICE = '{"v":"Alice","w":41,"in":{"v":"Rome"},"tags":["a","b"],"married":true}'
_BOB = '{"v":"Bob","w":7,"tags":["c"],"married":false,"nick":null}'

_ALICES: list[Filter] = [
    Compare(("v",), "==", "Alice"),
    Compare(("v",), "!=", "Bob"),
    Compare(("v",), "<", "B"),
    Compare(("w",), "==", 41),
    Compare(("w",), ">", 7),
    Compare(("w",), ">=", 41),
    Compare(("w",), "!=", 7),
    Compare(("married",), "==", value=True),
    Compare(("in", "v"), "==", "Rome"),
    In(("w",), (1, 41)),
    In(("v",), ("Alice", "Carol")),
    Prefix(("v",), "Al"),
    Contains(("v",), "lic"),
    Contains(("tags",), "b"),
    Text("rome"),
    And((Compare(("w",), ">", 1), Compare(("w",), ">", 40))),
    Or((Compare(("w",), "==", 41), Compare(("v",), "==", "Carol"))),
    Not(Compare(("w",), "==", 7)),
    Not(Exists(("nick",))),
    Exists(("in", "v")),
]
_BOBS: list[Filter] = [
    Compare(("v",), ">=", "Bob"),
    Compare(("v",), ">", "Alice"),
    Compare(("w",), "<", 41),
    Compare(("w",), "<=", 7),
    Compare(("nick",), "==", None),
    Exists(("nick",)),
    Not(Compare(("v",), "==", "Alice")),
]
"""Filters of every kind, each of which matches one of the two documents alone."""

_INDEXED: list[Path] = [("v",), ("w",), ("in", "v")]
"""The fields that checks make indexes for; a store whose indexes are fixed is to have these."""


@check()
async def check_scans_keep_what_matches(harness: Harness) -> None:
    """A scan with a filter yields all that matches, expired or not, in order and with its bounds.

    Filters whose kinds the capabilities do not name are not sent, unless they name none: then a
    scan need not heed its filter.
    """
    name = harness.collection()
    alices = [
        record(name, key, 1, body=_ALICE, expires_at=expires_at)
        for key, expires_at in [("a1", None), ("b1", NOW - 1), ("c1", 1), ("d1", NOW + 10**15)]
    ]
    bobs = [record(name, key, 1, body=_BOB) for key in ("a2", "b2", "c2", "d2")]
    tombstone = record(name, "b3", 1, body=None)
    async with harness.adaptor() as adaptor:
        await write_all(adaptor, [*alices, *bobs, tombstone])
        can = adaptor.capabilities
        for where, matching in _filters():
            if can.filters and not kinds_of(where) <= can.filters:
                continue
            expected = alices if matching == _ALICE else bobs
            for request, wanted in (
                (Scan(name, where=where), expected),
                (Scan(name, chunk=1, where=where), expected),
                (Scan(name, prefix="b", where=where), expected[1:2]),
                (Scan(name, start_after="b2", where=where), expected[2:]),
            ):
                ask = partial(_kept, adaptor, request, matching)
                promise = f"what matches in {request}"
                await expect_in_time(ask, wanted, promise, lags=can.indexes_lag)


@check(needs=("filters",))
async def check_scans_narrow_down(harness: Harness) -> None:
    """A scan leaves out what does not match, for every kind that the capabilities name.

    Where that needs an index, it is made before.
    """
    name = harness.collection()
    async with harness.adaptor() as adaptor:
        can = adaptor.capabilities
        for path in _INDEXED if can.filters_need_index else ():
            await adaptor.index(name, path)
        await write_all(adaptor, [record(name, "alice", 1, body=_ALICE)])
        await write_all(adaptor, [record(name, "bob", 1, body=_BOB)])
        tried: set[str] = set()
        for where, matching in _filters():
            indexed = paths_of(where) <= {*_INDEXED}
            if kinds_of(where) <= can.filters and (indexed or not can.filters_need_index):
                tried |= kinds_of(where)
                ask = partial(_bodies, adaptor, Scan(name, where=where))
                await expect_in_time(ask, [matching], f"what {where} leaves", lags=can.indexes_lag)
        alone = can.filters & {"and", "or", "not"}
        expect(tried | alone == can.filters, "every kind was tried")


async def _kept(adaptor: Adaptor, request: Scan, matching: str) -> list[Record]:
    return [one for one in await scanned(adaptor, request) if one.body == matching]


async def _bodies(adaptor: Adaptor, request: Scan) -> list[str | None]:
    return [one.body for one in await scanned(adaptor, request)]


def _filters() -> list[tuple[Filter, str]]:
    return [(where, _ALICE) for where in _ALICES] + [(where, _BOB) for where in _BOBS]


@check()
async def check_find_answers(harness: Harness) -> None:
    """`find` yields exactly the documents that match, for every operator and type of value."""
    await _check_answers(harness, _SIMPLE)


@check()
async def check_find_negated(harness: Harness) -> None:
    """`~` matches exactly what its filter does not, be something missing or of another type."""
    await _check_answers(harness, [("not", question) for question in _SIMPLE])


@check()
async def check_find_combined(harness: Harness) -> None:
    """`&`, `|` and `~` combine filters at any depth as logic does."""
    old, short = (">", ("v",), 0), ("<", ("v",), "b")
    odd, inner = ("==", ("group",), 1), ("exists", ("in", "v"))
    await _check_answers(
        harness,
        [
            ("and", old, odd),
            ("or", old, short),
            ("and", ("or", old, short), ("not", odd)),
            ("not", ("or", ("and", old, inner), ("not", ("or", odd, short)))),
            ("not", ("not", old)),
            ("and", old, short),
            ("or", ("not", old), old),
            ("and", ("text", "a"), ("or", ("in", ("v",), ["a", "b"]), ("prefix", ("v",), "A"))),
        ],
    )


@check()
async def check_find_text(harness: Harness) -> None:
    """Free text is found at any depth of the document, in whatever case its letters are."""
    texts = ["a", "A", "É", "é", "ss", "SS", "ß", "", "smith", "SMITH", "😀", "no such text"]
    await _check_answers(harness, [("text", text) for text in texts])


@check()
async def check_order(harness: Harness) -> None:
    """`order_by` sorts by type, then by value, both ways and by several fields; last by key."""
    async with _asked(harness) as documents:
        for order in (
            [(("v",), False)],
            [(("v",), True)],
            [(("group",), False), (("v",), True)],
            [(("group",), True), (("v",), False)],
            [(("in", "v"), True), (("group",), False)],
            [(("nowhere",), True)],
        ):
            order_by = [Order(path, descending) for path, descending in order]
            expected = ordered(_DOCUMENTS, order)
            found = [document.key async for document in documents.find(order_by=order_by)]
            expect_equal(found, expected, f"the order by {order}")
            where = F.group == 1
            found = [document.key async for document in documents.find(where, order_by=order_by)]
            expected = [key for key in expected if _DOCUMENTS[key]["group"] == 1]
            expect_equal(found, expected, f"the order by {order} of what matches")


@check()
async def check_limit_and_prefix(harness: Harness) -> None:
    """`limit` cuts the answer and nothing else, `prefix` keeps to its keys; an order stays."""
    async with _asked(harness) as documents:
        for prefix in ("", "k0", "k1", "no such key"):
            keys = sorted(key for key in _DOCUMENTS if key.startswith(prefix))
            matching = [key for key in keys if _DOCUMENTS[key]["group"] == 1]
            last = [key for key in reversed(keys) if _DOCUMENTS[key]["group"] == 1]
            for limit in (None, 0, 1, 3, len(matching), 1000):
                answers = {
                    "all": (keys, documents.find(prefix=prefix, limit=limit)),
                    "a filter": (
                        matching,
                        documents.find(F.group == 1, prefix=prefix, limit=limit),
                    ),
                    "an order": (
                        last,
                        documents.find(F.group == 1, prefix=prefix, order_by="-n", limit=limit),
                    ),
                }
                for what, (expected, answer) in answers.items():
                    found = [document.key async for document in answer]
                    told = f"{what}, of keys with {prefix!r}, at most {limit}"
                    expect_equal(found, expected[:limit], told)


@check()
async def check_count(harness: Harness) -> None:
    """`count` is the number of documents, of those that match, and of those with a prefix."""
    async with _asked(harness) as documents:
        await documents.create("deleted", {"v": 1, "group": 1})
        await documents.delete("deleted")
        expect_equal(await documents.count(), len(_DOCUMENTS), "the number of documents")
        for question in (("==", ("group",), 1), ("!=", ("v",), "a"), ("==", ("v",), "nothing")):
            expected = [key for key, value in _DOCUMENTS.items() if holds(question, value)]
            count = await documents.count(filter_of(question))
            expect_equal(count, len(expected), f"the number of {question}")
            count = await documents.count(filter_of(question), prefix="k0")
            expected = [key for key in expected if key.startswith("k0")]
            expect_equal(count, len(expected), f"the number of {question} of a prefix")


@check()
async def check_plans(harness: Harness) -> None:
    """`explain` tells what the engine is asked for, and it can; `allow_scan` refuses by it."""
    async with _asked(harness) as documents:
        declared = harness.make().capabilities.filters
        for question in (*_SIMPLE[::7], ("and", *_SIMPLE[:2]), ("not", _SIMPLE[3])):
            where = filter_of(question)
            plan = documents.explain(where)
            pushed = set() if plan.pushed_down is None else kinds_of(plan.pushed_down)
            expect(pushed <= declared, f"what is asked of the engine for {question} it can do")
            parts = [part for part in (plan.pushed_down, plan.evaluated_here) if part is not None]
            expect(parts != [], f"some part of {question} is evaluated")
            if plan.scans:
                with expect_error(UnsupportedError, f"{question} would scan"):
                    await anext(documents.find(where, allow_scan=False))
            else:
                answer = documents.find(where, allow_scan=False)
                found = [document.key async for document in answer]
                expected = [key for key, value in _DOCUMENTS.items() if holds(question, value)]
                expect_equal(found, expected, f"the answer to {question} without a scan")
        expect(not documents.explain().scans, "all documents are an answer without any other")
        keys = [document.key async for document in documents.find(allow_scan=False)]
        expect_equal(keys, sorted(_DOCUMENTS), "all documents, without a scan for others")


_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    1.0,
    -0.0,
    0.5,
    2**53,
    2**53 + 1,
    float(2**53),
    2**63 - 1,
    1e300,
    "",
    "1",
    "a",
    "A",
    "ab",
    "aB",
    "b",
    "é",
    "e\u0301",
    "É",
    "Straße",
    "a%b_c",
    "true",
    "null",
    "\uffff",
    "😀",
    [],
    [1],
    [1.0, "a", None],
    [True, [1]],
    ["ab", {"v": "Smith"}],
    {},
    {"v": 1},
    {"v": None, "name": "SMITH"},
]
_FIELDS = ['odd name"$.', "in"]
_DOCUMENTS: dict[str, dict[str, Any]] = {
    f"k{n:02}": {"v": value, "group": n % 3, "n": n, _FIELDS[n % 2]: {"v": value}}
    for n, value in enumerate(_VALUES)
} | {"k99": {"group": 1, "n": 99}}
"""Documents with a value of each type at `v`, again deeper down, or nothing there."""

_SCALARS: list[Any] = [
    *(None, True, False, 0, 1, -1, 1.0, 0.5, 2**53 + 1, float(2**53), 1e300),
    *("", "1", "a", "A", "b", "é", "É", "true", "😀"),
]
_WITH_ORDER = [value for value in _SCALARS if isinstance(value, str) or type(value) in (int, float)]

_SIMPLE: list[Question] = [
    *(("==", ("v",), value) for value in _SCALARS),
    *(("!=", ("v",), value) for value in _SCALARS if value is not None),
    *((operator, ("v",), value) for operator in ("<", "<=", ">", ">=") for value in _WITH_ORDER),
    *(("contains", ("v",), item) for item in _SCALARS),
    *(("prefix", ("v",), text) for text in ("", "a", "A", "É", "a%", "1", "no")),
    ("in", ("v",), []),
    ("in", ("v",), [1, "1"]),
    ("in", ("v",), [None, False, 0.5]),
    ("in", ("v",), ["a", "b", "nothing"]),
    *(("exists", path) for path in (("v",), ("in",), ("in", "v"), ("v", "v"), ("nowhere",))),
    *(("==", ("in", "v"), value) for value in (None, True, 1, "a")),
    *(("==", ("v", "v"), value) for value in (None, 1)),
    ("==", (_FIELDS[0], "v"), 1),
    ("exists", (_FIELDS[0],)),
    ("<", (_FIELDS[0], "v"), 1),
    ("==", ("v", "0"), 1),
]


@asynccontextmanager
async def _asked(harness: Harness) -> AsyncIterator[Collection[dict[str, Any]]]:
    """The documents in a collection."""
    async with harness.store() as store:
        documents = store.collection(harness.collection())
        await documents.put_many(_DOCUMENTS)
        yield documents


async def _check_answers(harness: Harness, questions: list[Question]) -> None:
    async with _asked(harness) as documents:
        for question in questions:
            found = [document.key async for document in documents.find(filter_of(question))]
            expected = [key for key, value in _DOCUMENTS.items() if holds(question, value)]
            expect_equal(found, expected, f"the answer to {question}")
