"""Opening, closing, opening again; alone or beside others."""

from aiostore.errors import ClosedError, ConfigurationError
from aiostore.protocols import Absent, Newer, Write
from aiostore.store import Store
from aiostore.testing.check import check
from aiostore.testing.expectations import expect, expect_equal, expect_error
from aiostore.testing.harness import Harness, record


@check()
async def check_closes_twice(harness: Harness) -> None:
    """`aclose` is idempotent, before an opening too, and the adaptor can be opened again."""
    adaptor = harness.make()
    await adaptor.aclose()
    for _ in range(2):
        await adaptor.open()
        await adaptor.collections()
        await adaptor.aclose()
        await adaptor.aclose()


@check()
async def check_capabilities_are_constant(harness: Harness) -> None:
    """The name and the capabilities are there before the opening, and stay as they are."""
    adaptor = harness.make()
    before = (adaptor.name, adaptor.capabilities)
    expect(adaptor.capabilities.max_batch >= 1, "a batch holds at least one item")
    await adaptor.open()
    try:
        expect_equal((adaptor.name, adaptor.capabilities), before, "name and capabilities")
    finally:
        await adaptor.aclose()


@check(needs=("persistent",))
async def check_outlives_the_adaptor(harness: Harness) -> None:
    """What was acknowledged is there when another adaptor opens the same place."""
    written = [record(harness.collection(), "k", 1), record(harness.collection(), "k", 2)]
    async with harness.adaptor() as adaptor:
        await adaptor.write([Write(one, Absent()) for one in written])
    async with harness.adaptor() as adaptor:
        found = list(await adaptor.read([one.id for one in written]))
        expect_equal(found, written, "what was written before")


@check(needs=("shared",))
async def check_beside_another(harness: Harness) -> None:
    """Two adaptors on the same place see each other's acknowledged writes at once."""
    collection = harness.collection()
    async with harness.adaptor() as one, harness.adaptor() as other:
        for number, (writer, reader) in enumerate([(one, other), (other, one)] * 3, start=1):
            written = record(collection, "k", number)
            [outcome] = await writer.write([Write(written, Newer())])
            expect(outcome.applied, "the other's write is a predecessor like any")
            expect_equal(list(await reader.read([written.id])), [written], "the other's write")


@check(needs=("persistent",), lacks=("shared",))
async def check_refuses_another(harness: Harness) -> None:
    """A place that is not shared refuses a second adaptor, and the first goes on unhurt."""
    written = record(harness.collection(), "k", 1)
    async with harness.adaptor() as adaptor:
        second = harness.make()
        with expect_error(ConfigurationError, "the place is in use"):
            await second.open()
        await second.aclose()
        await adaptor.write([Write(written, Absent())])
        expect_equal(list(await adaptor.read([written.id])), [written], "the first one's write")
    async with harness.adaptor() as adaptor:
        expect_equal(list(await adaptor.read([written.id])), [written], "after the first closed")


@check()
async def check_store_says_when_closed(harness: Harness) -> None:
    """A store that is not open, or closed, says so at every use, and can be closed again."""
    store = Store(harness.make())
    collection = store.collection(harness.collection())
    with expect_error(ClosedError, "not open yet"):
        await collection.get("k")
    async with store:
        await collection.put("k", {"a": 1})
    await store.aclose()
    for use in (collection.get("k"), collection.put("k", {}), store.collections(), store.open()):
        with expect_error(ClosedError, "closed"):
            await use
