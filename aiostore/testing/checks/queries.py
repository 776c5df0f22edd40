"""Queries: at the boundary, scans that leave out what does not match."""

from aiostore.filters import (
    And,
    Compare,
    Contains,
    Exists,
    Filter,
    In,
    Not,
    Or,
    Prefix,
    Text,
    kinds_of,
)
from aiostore.protocols import Scan
from aiostore.testing.check import check
from aiostore.testing.expectations import expect, expect_equal
from aiostore.testing.harness import Harness
from aiostore.testing.records import NOW, record, scanned, write_all

_ALICE = '{"name":"Alice","age":41,"home":{"city":"Rome"},"tags":["a","b"],"married":true}'
_BOB = '{"name":"Bob","age":7,"home":{"city":"Oslo"},"tags":["c"],"married":false,"nick":null}'

_ALICES: list[Filter] = [
    Compare(("name",), "==", "Alice"),
    Compare(("name",), "!=", "Bob"),
    Compare(("name",), "<", "B"),
    Compare(("age",), "==", 41),
    Compare(("age",), ">", 7),
    Compare(("age",), ">=", 41),
    Compare(("age",), "!=", 7),
    Compare(("married",), "==", value=True),
    Compare(("home", "city"), "==", "Rome"),
    In(("age",), (1, 41)),
    In(("name",), ("Alice", "Carol")),
    Prefix(("name",), "Al"),
    Contains(("name",), "lic"),
    Contains(("tags",), "b"),
    Text("rome"),
    And((Compare(("age",), ">", 1), Compare(("age",), ">", 40))),
    Or((Compare(("age",), "==", 41), Compare(("name",), "==", "Carol"))),
    Not(Compare(("age",), "==", 7)),
    Not(Exists(("nick",))),
]
_BOBS: list[Filter] = [
    Compare(("name",), ">=", "Bob"),
    Compare(("name",), ">", "Alice"),
    Compare(("age",), "<", 41),
    Compare(("age",), "<=", 7),
    Compare(("nick",), "==", None),
    Exists(("nick",)),
    Not(Compare(("home", "city"), "==", "Rome")),
]
"""Filters of every kind, each of which matches one of the two documents alone."""


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
        declared = adaptor.capabilities.filters
        for where, matching in _filters():
            if declared and not kinds_of(where) <= declared:
                continue
            expected = alices if matching == _ALICE else bobs
            for request, wanted in (
                (Scan(name, where=where), expected),
                (Scan(name, chunk=1, where=where), expected),
                (Scan(name, prefix="b", where=where), expected[1:2]),
                (Scan(name, start_after="b2", where=where), expected[2:]),
            ):
                found = await scanned(adaptor, request)
                kept = [one for one in found if one.body == matching]
                expect_equal(kept, wanted, f"what matches in {request}")


@check(needs=("filters",))
async def check_scans_narrow_down(harness: Harness) -> None:
    """A scan leaves out what does not match, for every kind that the capabilities name."""
    name = harness.collection()
    async with harness.adaptor() as adaptor:
        declared = adaptor.capabilities.filters
        await write_all(adaptor, [record(name, "alice", 1, body=_ALICE)])
        await write_all(adaptor, [record(name, "bob", 1, body=_BOB)])
        tried: set[str] = set()
        for where, matching in _filters():
            if kinds_of(where) <= declared:
                tried |= kinds_of(where)
                found = await scanned(adaptor, Scan(name, where=where))
                expect_equal([one.body for one in found], [matching], f"what {where} leaves")
        alone = declared & {"and", "or", "not"}
        expect(tried | alone == declared, "every kind was tried")


def _filters() -> list[tuple[Filter, str]]:
    return [(where, _ALICE) for where in _ALICES] + [(where, _BOB) for where in _BOBS]
