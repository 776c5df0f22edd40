"""Opening, closing, opening again; alone or beside others."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

from aiostore.errors import ClosedError, ConfigurationError
from aiostore.protocols import Absent, Newer, Scan, Write
from aiostore.store import Store
from aiostore.testing.check import check
from aiostore.testing.expectations import expect, expect_equal, expect_error
from aiostore.testing.harness import Harness
from aiostore.testing.records import record

_PATIENCE = 5.0
"""Seconds to wait for a thread that is about to end."""


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
async def check_leaves_nothing_behind(harness: Harness) -> None:
    """`aclose` leaves no task and no thread running, but those of the event loop itself."""
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        written = record(collection, "k", 1)
        await asyncio.gather(*(adaptor.write([Write(written, Newer())]) for _ in range(5)))
        await asyncio.gather(*(adaptor.read([written.id]) for _ in range(5)))
        scan = adaptor.scan(Scan(collection))
        await anext(scan)
        await scan.aclose()
    left = [task.get_name() for task in asyncio.all_tasks() - tasks]
    expect_equal(left, [], "tasks that are left")
    ours = [
        thread
        for thread in set(threading.enumerate()) - threads
        if not thread.name.startswith("asyncio_")
    ]
    for thread in ours:
        await asyncio.to_thread(thread.join, _PATIENCE)  # one that has answered may be returning
    left = [thread.name for thread in ours if thread.is_alive()]
    expect_equal(left, [], "threads that are left")


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
    uses: list[Callable[[], Awaitable[object]]] = [
        lambda: collection.get("k"),
        lambda: collection.put("k", {}),
        collection.count,
        store.collections,
        store.open,
    ]
    for use in uses:
        with expect_error(ClosedError, "closed"):
            await use()
