"""Callers that are cancelled in the middle."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from aiostore.protocols import Absent, Newer, Scan, Write
from aiostore.testing.check import check
from aiostore.testing.expectations import expect, expect_equal
from aiostore.testing.harness import Harness
from aiostore.testing.records import record, scanned, write_all

_MOST_STEPS = 12


@check()
async def check_write(harness: Harness) -> None:
    """A cancelled write leaves each record old or new, and later writes are applied."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        olds = [record(collection, f"k{number}", 1) for number in range(3)]
        for steps in range(_MOST_STEPS):
            newer = 10 * (steps + 1)
            news = [record(collection, old.id.key, newer) for old in olds]
            await _cancel_after(steps, adaptor.write([Write(new, Newer()) for new in news]))
            found = await adaptor.read([old.id for old in olds])
            for stands, old, new in zip(found, olds, news, strict=True):
                expect(stands in (None, old, new), f"{stands} is neither old nor new")
            olds = [record(collection, old.id.key, newer + 5) for old in olds]
            outcomes = await adaptor.write([Write(old, Newer()) for old in olds])
            expect(all(outcome.applied for outcome in outcomes), "the next write is applied")
            expect_equal(list(await adaptor.read([old.id for old in olds])), olds, "and stands")


@check()
async def check_read_and_scan(harness: Harness) -> None:
    """A cancelled read or scan leaves the adaptor as it was."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        written = [record(collection, f"k{number:02}", 1) for number in range(20)]
        await write_all(adaptor, written)
        request = Scan(collection, chunk=4)
        for steps in range(_MOST_STEPS):
            await _cancel_after(steps, adaptor.read([one.id for one in written]))
            await _cancel_after(steps, scanned(adaptor, request))
            expect_equal(await scanned(adaptor, request), written, "a scan afterwards")


@check()
async def check_neighbours(harness: Harness) -> None:
    """A cancelled caller harms nobody else's write."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        for steps in range(_MOST_STEPS):
            mine, theirs = (record(collection, f"{who} {steps}", 1) for who in ("mine", "theirs"))
            neighbour = asyncio.ensure_future(adaptor.write([Write(theirs, Absent())]))
            await _cancel_after(steps, adaptor.write([Write(mine, Absent())]))
            [outcome] = await neighbour
            expect(outcome.applied, "the neighbour's write is applied")
            expect_equal(list(await adaptor.read([theirs.id])), [theirs], "and stands there")


@check()
async def check_passes(harness: Harness) -> None:
    """A call that is cancelled before it has ended ends as cancelled, whatever it was doing."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        there = record(collection, "k", 1)
        await write_all(adaptor, [there])
        for steps in range(_MOST_STEPS):
            write = Write(record(collection, "k", 2 + steps), Newer())
            calls: list[tuple[str, Callable[[], Coroutine[Any, Any, object]]]] = [
                ("read", partial(adaptor.read, [there.id])),
                ("write", partial(adaptor.write, [write])),
                ("count", partial(adaptor.count, collection)),
                ("collections", adaptor.collections),
                ("scan", partial(scanned, adaptor, Scan(collection))),
            ]
            for name, call in calls:
                expect(await _cancel_after(steps, call()), f"{name} swallows no cancellation")


@check()
async def check_verbs(harness: Harness) -> None:
    """A cancelled verb leaves its document as it was or as it was to be, and the store useful."""
    async with harness.store() as store:
        documents = store.collection(harness.collection())
        for steps in range(_MOST_STEPS):
            before = await documents.put("k", {"step": steps, "new": False})
            after = {"step": steps, "new": True}
            await _cancel_after(steps, documents.put("k", after))
            found = await documents.get("k")
            expect(found == before or found.value == after, f"{found} is neither old nor new")
            again = await documents.update("k", lambda value: {**value, "again": True})
            expect_equal(await documents.get("k"), again, "an update afterwards")


async def _cancel_after(steps: int, call: Coroutine[Any, Any, object]) -> bool:
    """Cancel a call after so many turns of the event loop; False if it ended as if nothing was."""
    task = asyncio.ensure_future(call)
    for _ in range(steps):
        await asyncio.sleep(0)
    ended = not task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return ended or task.cancelled()
