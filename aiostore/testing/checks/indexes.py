"""Indexes: they make queries fast, and change no answer."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from aiostore.collection import Collection
from aiostore.errors import UnsupportedError
from aiostore.filters import F, Filter, Path, matches
from aiostore.protocols import Scan
from aiostore.testing.check import check
from aiostore.testing.expectations import (
    expect,
    expect_equal,
    expect_error,
    expect_in_time,
)
from aiostore.testing.harness import Harness
from aiostore.testing.questions import ordered
from aiostore.testing.records import record, scanned, write_all

_INDEXES = ["v", "in.v"]
_VALUES: list[Any] = [
    *(None, True, False, 0, 1, 1.0, -0.0, 0.5, 2**53, 2**53 + 1, 2**63 - 1, 1e300, [], {"v": 1}),
    *("", "a", "A", "a ", "ab", "é", "e\u0301", "\uffff", "😀", "x" * 128, "x" * 200),
    *("y" * 9000 + "a", "y" * 9000 + "b"),
]
_FILTERS: list[Filter] = [
    *(F.v == value for value in _VALUES if not isinstance(value, list | dict)),
    *(F["in"].v == value for value in (None, False, 1, "a", "x" * 200, "nothing")),
    *(F.v > 0, F.v <= 2**53, (F.v >= "a") & (F.v < "b"), F.v.in_([1, "a", None, "nothing"])),
    *(F.v.prefix("a"), F.v.prefix("x" * 150), F["in"].v.prefix(""), ~(F.v == 1), F.v != "a"),
]


@check(needs=("indexes",))
async def check_made(harness: Harness) -> None:
    """An index is made of whatever is there, twice and by several at once; then it is in use."""
    collection, empty = harness.collection(), harness.collection()
    async with AsyncExitStack() as opened:
        adaptor = await opened.enter_async_context(harness.adaptor())
        both = [adaptor]
        if adaptor.capabilities.shared:
            both.append(await opened.enter_async_context(harness.adaptor()))
        written = [
            record(collection, f"k{number}", 1, body=body)
            for number, body in enumerate(['{"v":1}', '{"v":"a"}', "{}", None, '{"v":[1]}'])
        ]
        await write_all(adaptor, written)
        await adaptor.index(empty, ("v",))
        await asyncio.gather(*(one.index(collection, ("v",)) for one in (*both, adaptor)))
        await adaptor.index(collection, ("v",))
        await asyncio.gather(
            adaptor.index(collection, ("in", "v")), adaptor.index(collection, ("w",))
        )
        expect_equal(await scanned(adaptor, Scan(collection)), written, "what is there")


@check(needs=("indexes",))
async def check_answers(harness: Harness) -> None:
    """What is found by an index is what matches, before and after documents are written.

    Where indexes lag it may take its time.
    """
    stored: dict[str, dict[str, Any]] = {
        f"k{number:02}": {"v": value, "in": {"v": value}} for number, value in enumerate(_VALUES)
    }
    stored |= {"k90": {}, "k91": {"v": 7, "in": 7}}
    async with harness.store() as store:
        lags = store.adaptor.capabilities.indexes_lag
        documents = store.collection(harness.collection(), indexes=_INDEXES)
        await documents.put_many(stored)
        await documents.ensure_indexes()
        await _expect_answers(documents, stored, lags=lags)
        keys = sorted(stored)
        for key, other in zip(keys, reversed(keys[::2]), strict=False):
            stored[key] = stored[other]
            await documents.put(key, stored[key])
        for key in keys[::5]:
            await documents.delete(key)
            del stored[key]
        await documents.put_many(added := {f"n{key}": stored[key] for key in sorted(stored)[:9]})
        stored |= added
        await documents.ensure_indexes()
        await _expect_answers(documents, stored, lags=lags)


@check(lacks=("indexes",))
async def check_lacking(harness: Harness) -> None:
    """Without the capability `index` raises `UnsupportedError`; declaring indexes does no harm."""
    name = harness.collection()
    async with harness.adaptor() as adaptor:
        with expect_error(UnsupportedError, "there are no indexes") as caught:
            await adaptor.index(name, ("v",))
        expect_equal(caught.error.store, adaptor.name, "the store that the error names")
    async with harness.store() as store:
        documents = store.collection(name, indexes=_INDEXES)
        await documents.put("k", {"v": 1})
        await documents.ensure_indexes()
        plan = documents.explain(F.v == 1)
        expect(plan.scans, "without indexes a filter scans")
        expect_equal(plan.missing_indexes, (("v",),), "the indexes that it misses")
        found = [document.key async for document in documents.find(F.v == 1)]
        expect_equal(found, ["k"], "the answer without indexes")


async def _expect_answers(
    documents: Collection[dict[str, Any]], stored: dict[str, dict[str, Any]], *, lags: bool
) -> None:
    for where in _FILTERS:
        expected = [key for key in sorted(stored) if matches(where, stored[key])]
        ask = partial(_found, documents, where)
        await expect_in_time(ask, expected, f"the answer to {where}", lags=lags)
        count = partial(documents.count, where)
        await expect_in_time(count, len(expected), f"the count of {where}", lags=lags)
    paths: list[Path] = [("v",), ("in", "v")]
    for path in paths:
        for descending in (False, True):
            expected = ordered(stored, [(path, descending)])
            order_by = "-" * descending + ".".join(path)
            for limit in (1, 5, 1000):
                ask = partial(_found, documents, order_by=order_by, limit=limit)
                promise = f"the first {limit} by {order_by}"
                await expect_in_time(ask, expected[:limit], promise, lags=lags)
            ask = partial(_found, documents, F.v >= 0, order_by=order_by, limit=5)
            expected = [key for key in expected if matches(F.v >= 0, stored[key])]
            promise = f"the first of a range by {order_by}"
            await expect_in_time(ask, expected[:5], promise, lags=lags)


async def _found(
    documents: Collection[dict[str, Any]], where: Filter | None = None, **query: Any
) -> list[str]:
    return [document.key async for document in documents.find(where, **query)]
