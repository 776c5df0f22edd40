"""What an adaptor says of itself is constant, consistent, and true."""

from typing import get_args

from aiostore.errors import UnsupportedError
from aiostore.filters import Filter
from aiostore.protocols import Absent, Check, Scan, Write
from aiostore.testing.check import check
from aiostore.testing.expectations import expect, expect_equal, expect_error
from aiostore.testing.harness import Harness
from aiostore.testing.records import record, scanned

_KINDS = frozenset({"equal", *(kind.__struct_config__.tag for kind in get_args(Filter))})


@check()
async def check_constant(harness: Harness) -> None:
    """The name and the capabilities are there before the opening, and stay as they are."""
    adaptor = harness.make()
    before = (adaptor.name, adaptor.capabilities)
    await adaptor.open()
    try:
        expect_equal((adaptor.name, adaptor.capabilities), before, "name and capabilities")
    finally:
        await adaptor.aclose()
    expect_equal((adaptor.name, adaptor.capabilities), before, "and after the closing")


@check()
async def check_consistent(harness: Harness) -> None:
    """The capabilities fit together, and name nothing that there is not."""
    declared = harness.make().capabilities
    expect(declared.max_batch >= 1, "a batch holds at least one item")
    if declared.atomic_writes:
        expect(declared.max_atomic >= 2, "an atomic write holds at least two items")
    else:
        expect_equal(declared.max_atomic, 0, "max_atomic without atomic_writes")
    expect(declared.read_lanes >= 1, "at least one read is under way at once")
    expect(declared.write_lanes >= 1, "at least one write is under way at once")
    for flag in ("filters_need_index", "indexes_lag"):
        expect(declared.indexes or not getattr(declared, flag), f"{flag} with indexes alone")
    expect_equal(declared.filters - _KINDS, frozenset(), "kinds of filters that there are not")


@check(lacks=("atomic_writes",))
async def check_no_atomic_writes(harness: Harness) -> None:
    """Without the capability `write_atomic` raises `UnsupportedError` and stores nothing."""
    collection = harness.collection()
    written = record(collection, "k", 1)
    async with harness.adaptor() as adaptor:
        for items in ([Write(written, Absent())], [Check(written.id, Absent())]):
            with expect_error(UnsupportedError, "there are no atomic writes") as caught:
                await adaptor.write_atomic(items)
            expect_equal(caught.error.store, adaptor.name, "the store that the error names")
        expect_equal(await scanned(adaptor, Scan(collection)), [], "nothing is stored")
