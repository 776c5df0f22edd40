"""Walking through a collection, counting it, and naming the collections."""

from aiostore.protocols import Absent, Adaptor, Newer, Record, Scan, Write
from aiostore.testing.check import check
from aiostore.testing.expectations import expect, expect_equal, expect_in_time
from aiostore.testing.harness import Harness
from aiostore.testing.records import NOW, record, scanned, standing_at, write_all

_BOUNDED = [
    "a",
    "aB",
    "a%",
    "a%b",
    "ab",
    "a/",
    "A",
    "AA",
    "_",
    ".",
    ".x",
    "x" * 300,
    "x" * 301,
    "é",
]
_BOUNDED += [
    "éa",
    "\ud7ff",
    "\ud7ffa",
    "\ue000",
    "\uffff",
    "\U00010000",
    "\U0010ffff",
    "\U0010ffffa",
]
"""Keys around the ends of prefixes."""

_UNORDERED = ["b", "a", "B", "aa", "a-", "a0", "Z", "é", "z", "\u4e00", "\uffff", "\U00010000", "_"]
"""Keys whose order by code point differs from that of other alphabets, and of UTF-16."""


@check()
async def check_order(harness: Harness) -> None:
    """A scan yields every record once, in the order of code points, whatever its chunks."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        written = await _write_sorted(adaptor, collection, _UNORDERED)
        for chunk in (1, 3, 1000):
            found = await scanned(adaptor, Scan(collection, chunk=chunk))
            expect_equal(found, written, f"the order of a scan in chunks of {chunk}")


@check()
async def check_chunks(harness: Harness) -> None:
    """No chunk is empty, be the collection empty, cut into segments, or just one chunk long."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        expect_equal(await _chunks(adaptor, Scan(collection)), [], "a collection that never was")
        await _write_sorted(adaptor, collection, [f"k{number}" for number in range(12)])
        for request in (
            Scan(collection, chunk=12),
            Scan(collection, chunk=4),
            Scan(collection, chunk=1, segment=1, segments=3),
            Scan(collection, prefix="nothing"),
            Scan(collection, start_after="z"),
        ):
            expect(0 not in await _chunks(adaptor, request), f"no chunk of {request} is empty")


@check()
async def check_prefix_and_start(harness: Harness) -> None:
    """A scan keeps to its prefix and begins after the key it is given, which need not be there."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        written = await _write_sorted(adaptor, collection, _BOUNDED)
        keys = [one.id.key for one in written]
        for prefix in ("", "a", "a%", "A", ".", "x", "é", "\ud7ff", "\U0010ffff", "nothing"):
            for start in (None, "", "a", "aB", "é", "x" * 300, "\U0010ffff", prefix, keys[7]):
                found = {
                    one.id.key for one in await scanned(adaptor, Scan(collection, prefix, start))
                }
                expected = {
                    key for key in keys if key.startswith(prefix) and (start is None or key > start)
                }
                expect_equal(found, expected, f"a scan of prefix {prefix!r} after {start!r}")


@check()
async def check_segments(harness: Harness) -> None:
    """Segments share no key and leave none out, whatever their number; a key keeps its segment."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        written = await _write_sorted(adaptor, collection, [f"k{number}" for number in range(100)])
        for segments in (1, 2, 5):
            parts = [
                await scanned(adaptor, Scan(collection, segment=number, segments=segments))
                for number in range(segments)
            ]
            together = sorted((one for part in parts for one in part), key=lambda one: one.id)
            expect_equal(together, written, f"{segments} segments together")
            expect(all(parts), "a hundred keys do not leave a segment empty")
        half = parts[0]
        await adaptor.write([Write(record(collection, "k0", 99), Newer())])
        again = await scanned(adaptor, Scan(collection, segment=0, segments=5))
        same = [one.id for one in again] == [one.id for one in half]
        expect(same, "a write does not move a key to another segment")


@check()
async def check_holds_everything(harness: Harness) -> None:
    """Tombstones and expired documents are scanned, other collections' records are not."""
    collection, other = harness.collection(), harness.collection()
    written = [
        record(collection, "document", 1),
        record(collection, "expired", 1, expires_at=NOW - 1),
        record(collection, "tombstone", 1, body=None),
    ]
    async with harness.adaptor() as adaptor:
        await write_all(adaptor, [*written, record(other, "document", 1)])
        expect_equal(await scanned(adaptor, Scan(collection)), written, "everything")


@check()
async def check_count(harness: Harness) -> None:
    """The documents alive at a moment are counted exactly: no tombstones, none that has expired."""
    collection, other = harness.collection(), harness.collection()
    lives = [None, NOW + 2, NOW + 1, NOW, NOW - 1]
    written = [
        record(collection, f"k{number}", 1, expires_at=expires_at)
        for number, expires_at in enumerate(lives)
    ]
    async with harness.adaptor() as adaptor:
        for alive_at in (None, NOW):
            count = await adaptor.count(collection, alive_at=alive_at)
            expect_equal(count, 0, "the count of a collection that never was")
        await write_all(adaptor, [*written, record(collection, "t", 1, body=None)])
        await write_all(adaptor, [record(other, "k", 1)])
        for alive_at, alive in ((NOW - 2, 5), (NOW, 3), (NOW + 1, 2), (NOW + 9, 1)):
            count = await adaptor.count(collection, alive_at=alive_at)
            expect_equal(count, alive, f"the documents alive at {alive_at - NOW:+} microseconds")


@check()
async def check_collections(harness: Harness) -> None:
    """The collections that hold a record are named, each once and in order; others are not."""
    names = sorted(harness.collection() for _ in range(3))
    async with harness.adaptor() as adaptor:
        written = [record(name, key, 1) for name in names[:2] for key in ("a", "b")]
        await adaptor.write([Write(one, Absent()) for one in written])
        found = await adaptor.collections()
        expect_equal([name for name in found if name in names], names[:2], "the collections")
        expect_equal(list(found), sorted(set(found)), "their order")


@check()
async def check_writes_meanwhile(harness: Harness) -> None:
    """What is unchanged comes exactly once, though others are written and added meanwhile."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        steady = [f"k{number:03}" for number in range(0, 100, 2)]
        written = await _write_sorted(
            adaptor, collection, [f"k{number:03}" for number in range(100)]
        )
        found: list[Record] = []
        number = 100
        async for chunk in adaptor.scan(Scan(collection, chunk=10)):
            found += chunk
            moving = [f"k{odd:03}" for odd in range(1, 100, 2)]
            bodies = ('{"changed":1}', None)
            await adaptor.write(
                [
                    Write(record(collection, key, number, body=bodies[index % 2]), Newer())
                    for index, key in enumerate(moving)
                ]
            )
            added = f"k{number * 37 % 100:03}+"  # before the scan's place or behind it
            await adaptor.write([Write(record(collection, added, number), Newer())])
            number += 1
        keys = [one.id.key for one in found]
        expect_equal(keys, sorted(set(keys)), "no key comes twice or out of order")
        unchanged = [one for one in found if one.id.key in steady]
        expect_equal(unchanged, written[::2], "what is unchanged comes exactly once")


@check()
async def check_older_states(harness: Harness) -> None:
    """A scan that need not be consistent yields states that there were, and in time the last."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        first = await _write_sorted(adaptor, collection, _UNORDERED)
        last = [record(collection, one.id.key, 100 + n) for n, one in enumerate(first)]
        await write_all(adaptor, last[::2])
        latest = [last[n] if n % 2 == 0 else one for n, one in enumerate(first)]

        async def ask() -> list[Record]:
            found = await scanned(adaptor, Scan(collection, chunk=4, consistent=False))
            keys = [one.id.key for one in found]
            expect_equal(keys, sorted(set(keys)), "each key once, in their order")
            expect(all(one in (*first, *latest) for one in found), "states that there were")
            return found

        await expect_in_time(ask, latest, "what it comes to yield")
        request = Scan(collection, chunk=4, consistent=True)
        expect_equal(await scanned(adaptor, request), latest, "what stands there")


@check()
async def check_stops_early(harness: Harness) -> None:
    """A scan that is stopped early holds nothing back: writes and closing go on at once."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        await _write_sorted(adaptor, collection, [f"k{number}" for number in range(50)])
        scan = adaptor.scan(Scan(collection, chunk=5))
        expect_equal(len(await anext(scan)), 5, "the first chunk")
        await scan.aclose()
        later = record(collection, "later", 1)
        await adaptor.write([Write(later, Absent())])
        expect_equal(await standing_at(adaptor, later.id), later, "a write after it")


@check()
async def check_documents(harness: Harness) -> None:
    """`scan` yields documents by key, within a prefix, after a key, and skips what was deleted."""
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        await collection.put_many({key: {} for key in ("a", "a/1", "a/2", "a/3", "b", "B")})
        await collection.delete("a/2")
        keys = [document.key async for document in collection.scan()]
        expect_equal(keys, ["B", "a", "a/1", "a/3", "b"], "all keys")
        keys = [document.key async for document in collection.scan(prefix="a/")]
        expect_equal(keys, ["a/1", "a/3"], "the keys of a prefix")
        keys = [document.key async for document in collection.scan(start_after="a/2")]
        expect_equal(keys, ["a/3", "b"], "the keys after a deleted one")


async def _write_sorted(adaptor: Adaptor, collection: str, keys: list[str]) -> list[Record]:
    """Write a record at each key; returns them in the order in which a scan must yield them."""
    written = [record(collection, key, number) for number, key in enumerate(keys, start=1)]
    await write_all(adaptor, written)
    return sorted(written, key=lambda one: one.id.key.encode())


async def _chunks(adaptor: Adaptor, request: Scan) -> list[int]:
    """The lengths of a scan's chunks."""
    return [len(chunk) async for chunk in adaptor.scan(request)]
