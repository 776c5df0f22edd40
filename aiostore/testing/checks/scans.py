"""Walking through a collection, counting it, and naming the collections."""

from aiostore.protocols import Absent, Adaptor, Newer, Record, Scan, Write
from aiostore.testing.check import check
from aiostore.testing.expectations import expect, expect_equal
from aiostore.testing.harness import NOW, Harness, record
from aiostore.testing.hostile import KEYS


@check()
async def check_order(harness: Harness) -> None:
    """A scan yields every record once, in the order of code points, in non-empty chunks."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        written = await _write_all(adaptor, collection, KEYS)
        for chunk in (1, 7, 1000):
            found = await _scanned(adaptor, Scan(collection, chunk=chunk))
            expect_equal(found, written, f"the order of a scan in chunks of {chunk}")


@check()
async def check_prefix_and_start(harness: Harness) -> None:
    """A scan keeps to its prefix and begins after the key it is given, which need not be there."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        written = await _write_all(adaptor, collection, KEYS)
        keys = [one.id.key for one in written]
        for prefix in ("", "a", "a%", "A", ".", "x", "é", "\ud7ff", "\U0010ffff", "nothing"):
            for start in (None, "", "a", "aB", "é", "x" * 300, "\U0010ffff", prefix, keys[7]):
                found = await _scanned(adaptor, Scan(collection, prefix, start))
                expected = [
                    one
                    for one in written
                    if one.id.key.startswith(prefix) and (start is None or one.id.key > start)
                ]
                expect_equal(found, expected, f"a scan of prefix {prefix!r} after {start!r}")


@check()
async def check_segments(harness: Harness) -> None:
    """Segments share no key and leave none out, whatever their number; a key keeps its segment."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        written = await _write_all(adaptor, collection, [f"k{number}" for number in range(100)])
        for segments in (1, 2, 5):
            parts = [
                await _scanned(adaptor, Scan(collection, segment=number, segments=segments))
                for number in range(segments)
            ]
            together = sorted((one for part in parts for one in part), key=lambda one: one.id)
            expect_equal(together, written, f"{segments} segments together")
            expect(all(parts), "a hundred keys do not leave a segment empty")
        half = parts[0]
        await adaptor.write([Write(record(collection, "k0", 99), Newer())])
        again = await _scanned(adaptor, Scan(collection, segment=0, segments=5))
        same = [one.id for one in again] == [one.id for one in half]
        expect(same, "a write does not move a key to another segment")


@check()
async def check_holds_everything(harness: Harness) -> None:
    """Tombstones and expired documents are scanned and counted, other collections' records not."""
    collection, other = harness.collection(), harness.collection()
    written = [
        record(collection, "document", 1),
        record(collection, "expired", 1, expires_at=NOW - 1),
        record(collection, "tombstone", 1, body=None),
    ]
    async with harness.adaptor() as adaptor:
        empty = await _scanned(adaptor, Scan(collection))
        expect_equal(empty, [], "a collection that never was")
        expect_equal(await adaptor.count(collection), 0, "its count")
        elsewhere = record(other, "document", 1)
        await adaptor.write([Write(one, Absent()) for one in [*written, elsewhere]])
        expect_equal(await _scanned(adaptor, Scan(collection)), written, "everything")
        expect_equal(await adaptor.count(collection), 3, "the count")


@check()
async def check_collections(harness: Harness) -> None:
    """The collections that hold a record are named, each once and in order; others are not."""
    names = [harness.collection() for _ in range(3)]
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
        written = await _write_all(adaptor, collection, [f"k{number:03}" for number in range(100)])
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
async def check_stops_early(harness: Harness) -> None:
    """A scan that is stopped early holds nothing back: writes and closing go on at once."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        await _write_all(adaptor, collection, [f"k{number}" for number in range(50)])
        scan = adaptor.scan(Scan(collection, chunk=5))
        expect_equal(len(await anext(scan)), 5, "the first chunk")
        await scan.aclose()
        later = record(collection, "later", 1)
        await adaptor.write([Write(later, Absent())])
        expect_equal(list(await adaptor.read([later.id])), [later], "a write after it")


async def _write_all(adaptor: Adaptor, collection: str, keys: list[str]) -> list[Record]:
    """Write a record at each key; returns them in the order in which a scan must yield them."""
    written = [
        record(collection, key, number) for number, key in enumerate(dict.fromkeys(keys), start=1)
    ]
    size = adaptor.capabilities.max_batch
    for start in range(0, len(written), size):
        await adaptor.write([Write(one, Absent()) for one in written[start : start + size]])
    return sorted(written, key=lambda one: one.id.key.encode())


async def _scanned(adaptor: Adaptor, request: Scan) -> list[Record]:
    found: list[Record] = []
    async for chunk in adaptor.scan(request):
        expect(len(chunk) > 0, "no chunk is empty")
        found += chunk
    return found
