"""Values come back exactly as they went, or are refused."""

from typing import Any

from aiostore.errors import InvalidValueError, TooLargeError
from aiostore.limits import PORTABLE
from aiostore.protocols import Scan
from aiostore.testing.check import check
from aiostore.testing.expectations import exact, expect_equal, expect_error
from aiostore.testing.harness import Harness
from aiostore.testing.hostile import VALUES, nested
from aiostore.testing.records import record, scanned, write_all

_BODIES = [
    "{}",
    '{"b":1.0,"a":-0.0,"c":"\\u0001é😀","d":1e16}',
    '{"a":1e5,"b":100000.0,"c":1E+2,"d":0.10}',
    '{"z":1,"a":{"y":[],"b":[null,true,false]},"m":""}',
    '{"max":9223372036854775807,"min":-9223372036854775808}',
    '{"escaped":"\\u00e9\\/\\t","plain":"é/"}',
]
"""Bodies as texts: each is to come back as this very text, not as another with the same meaning."""


@check()
async def check_round_trip(harness: Harness) -> None:
    """Every value that the contract allows comes back exactly, types, signs and order included."""
    name = harness.collection()
    async with harness.adaptor() as adaptor:
        written = [record(name, f"k{n}", 1, body=body) for n, body in enumerate(_BODIES)]
        await write_all(adaptor, written)
        found = list(await adaptor.read([one.id for one in written]))
        expect_equal([one and one.body for one in found], _BODIES, "the bodies, to the letter")
        expect_equal(await scanned(adaptor, Scan(name)), written, "the records that a scan yields")
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        values = [*VALUES, nested(PORTABLE.nesting or 0)]
        for number, value in enumerate(values):
            stored = await collection.put(f"k{number}", value)
            expect_equal(exact(stored.value), exact(value), "the value that put returns")
            got = await collection.get(f"k{number}")
            expect_equal(exact(got.value), exact(value), "the value that get returns")
            expect_equal(got, stored, "the document that get returns")
        yielded = {document.key: exact(document.value) async for document in collection.scan()}
        expected = {f"k{number}": exact(value) for number, value in enumerate(values)}
        expect_equal(yielded, expected, "the values that scan yields")


@check()
async def check_largest(harness: Harness) -> None:
    """A document of just the largest size is stored; one byte more is refused."""
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        room = (PORTABLE.body_bytes or 0) - len('{"a":""}')
        for filling in ("x" * room, "é" * (room // 2)):
            await collection.put("k", {"a": filling})
            expect_equal((await collection.get("k")).value, {"a": filling}, "the largest value")
        with expect_error(TooLargeError, "a byte more is refused"):
            await collection.put("k", {"a": "x" * (room + 1)})
        expect_equal((await collection.get("k")).value, {"a": filling}, "what stood there")


@check()
async def check_bad_values(harness: Harness) -> None:
    """A value that would not come back as it went is refused before anything is sent."""
    itself: dict[str, Any] = {}
    itself["a"] = itself
    bad: list[Any] = [
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": [-float("inf")]},
        {"a": 2**63},
        {"a": -(2**63) - 1},
        {"a": "a\0b"},
        {"a\0b": 1},
        {"a": "\ud800"},
        {"\udfff": 1},
        {1: 1},
        {"a": {None: 1}},
        {"a": (1, 2)},
        {"a": {1, 2}},
        {"a": b"x"},
        {"a": object()},
        nested((PORTABLE.nesting or 0) + 1),
        itself,
        [],
        None,
        "text",
        7,
    ]
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        standing = await collection.put("k", {"a": 1})
        for value in bad:
            for verb, key in ((collection.put, "k"), (collection.create, "new")):
                with expect_error(InvalidValueError, f"{value!r:.60} is refused"):
                    await verb(key, value)
        left = [document async for document in collection.scan()]
        expect_equal(left, [standing], "nothing was stored")
