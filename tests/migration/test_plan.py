"""The pre-flight check: what is in the way of a migration is seen before it begins."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from faults import Pair
from msgspec.structs import replace
from servers import shared_server

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.adaptors.sql import SQLAdaptor, SQLiteDatabase
from aiostore.errors import UnavailableError
from aiostore.limits import SYSTEM_COLLECTION
from aiostore.migration import (
    MigrationAdaptor,
    Phase,
    Plan,
    advance,
    backfill,
    complete,
    hand_off,
    plan,
    rollback,
    verify,
)
from aiostore.migration.gaps import gaps
from aiostore.opening import open_adaptor
from aiostore.protocols import Absent, Adaptor, Capabilities, DocumentId, Record, Scan, Write
from aiostore.store import Store

NOW = timedelta(0)
ABLE = Capabilities(
    persistent=True,
    shared=True,
    atomic_writes=True,
    max_batch=100,
    max_atomic=100,
    filters=frozenset({"eq", "and"}),
    orders=True,
    indexes=True,
)


def told(found: Plan, level: str) -> list[str]:
    """What was found of a level."""
    return [finding.text for finding in found.findings if finding.level == level]


async def fill(adaptor: Adaptor, number: int = 30, collection: str = "c") -> None:
    """Some documents."""
    async with Store(adaptor) as store:
        await store.collection(collection).put_many({f"{n:04}": {"n": n} for n in range(number)})


async def held(adaptor: Adaptor, collection: str) -> list[str]:
    """The keys of a collection."""
    return [r.id.key async for chunk in adaptor.scan(Scan(collection)) for r in chunk]


async def test_nothing_is_in_the_way_of_an_ordinary_migration() -> None:
    """Counts and sizes are told, and nothing was written."""
    pair = Pair()
    await fill(pair.current)
    await fill(pair.current, 5, "d")
    found = await plan(pair.current, pair.target, "test")
    assert found.can_go_on
    assert found.status.state == "not begun"
    assert [(one.collection, one.records) for one in found.collections] == [("c", 30), ("d", 5)]
    assert found.records == 35
    assert found.bytes == 35 * (4 + len('{"n":1}')) + 20
    assert found.largest == 4 + len('{"n":10}')
    assert told(found, "warning") == []
    assert (found.times.rates, found.times.copy) == (None, None)
    assert list(await pair.target.collections()) == []
    assert list(await pair.current.collections()) == ["c", "d"]


async def test_an_empty_store_has_nothing_to_be_measured() -> None:
    """Neither sizes nor times, and no error."""
    found = await plan(MemoryAdaptor("a"), MemoryAdaptor("b"), "test", measure=True)
    assert (found.records, found.largest, found.times.read_rate) == (0, 0, None)
    assert found.times.rates is None


async def test_a_sample_is_extrapolated() -> None:
    """The first ones by key are read, and it says so."""
    current = MemoryAdaptor("a")
    await fill(current, 1000)
    found = await plan(current, MemoryAdaptor("b"), "test", sample=100)
    [one] = found.collections
    assert (one.looked_at, one.records, one.whole) == (100, 1000, False)
    assert found.bytes == one.bytes * 10
    assert any("the first 100 of about 1,000" in text for text in told(found, "note"))
    whole = await plan(current, MemoryAdaptor("b"), "test", sample=1000)
    assert whole.collections[0].whole
    with pytest.raises(ValueError, match="at least one"):
        await plan(current, MemoryAdaptor("b"), "test", sample=0)


async def test_what_is_dead_is_counted() -> None:
    """Expired documents and tombstones would be moved, too."""
    pair = Pair()
    async with pair.store() as store:
        documents = store.collection("c")
        await documents.put("gone", {})
        await documents.delete("gone")
        await documents.put("old", {}, ttl=timedelta(microseconds=1))
    await asyncio.sleep(0.001)
    found = await plan(pair.current, pair.target, "test")
    [one] = found.collections
    assert (one.records, one.tombstones, one.expired) == (2, 1, 1)
    notes = " ".join(told(found, "note"))
    assert "1 documents have expired" in notes
    assert "1 tombstones" in notes


LARGE: dict[str, dict[str, Any]] = {
    "size": {"big": {"text": "x" * 360_000}},
    "key": {"k" * 600: {}},
    "nesting": {"deep": {"a": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}},
}


@pytest.mark.parametrize("kind", LARGE)
async def test_what_not_every_store_takes_stops_it(kind: str) -> None:
    """A document that was written without limits is found; a target that takes it is believed."""
    current = MemoryAdaptor("a")
    await fill(current)
    async with Store(current, limits=None) as store:
        await store.collection("c").put_many(LARGE[kind])
    found = await plan(current, MemoryAdaptor("b"), "test")
    [stop] = told(found, "stop")
    assert "1 documents beyond the portability contract" in stop
    assert next(iter(LARGE[kind]))[:20] in stop
    assert not found.can_go_on
    measured = await plan(current, MemoryAdaptor("b"), "test", measure=True)
    assert measured.can_go_on
    assert "takes the largest" in told(measured, "warning")[0]


async def test_a_name_that_no_store_gives_stops_it() -> None:
    """A collection that was not made by this library's store cannot be moved by it."""
    current = MemoryAdaptor("a")
    id_ = DocumentId("not a name", "k")
    await current.write([Write(Record(id_, "{}", "0" * 32, 0, 0), Absent())])
    [stop] = told(await plan(current, MemoryAdaptor("b"), "test"), "stop")
    assert "'not a name'" in stop


def test_dynamodb_refuses_what_is_too_large() -> None:
    """Measuring asks the target itself, and leaves nothing behind."""
    target = open_adaptor(shared_server("dynamodb").fresh())

    async def look() -> tuple[Plan, list[str]]:
        current = MemoryAdaptor("a")
        async with Store(current, limits=None) as store:
            documents = store.collection("c")
            await documents.put("small", {})
            await documents.put("big", {"text": "x" * 420_000})
        await target.open()
        try:
            found = await plan(current, target, "test", measure=True)
            return found, await held(target, SYSTEM_COLLECTION)
        finally:
            await target.aclose()

    found, left = asyncio.run(look())
    assert left == []
    [stop] = told(found, "stop")
    assert "The target refuses: " in stop
    assert found.times.rates is not None
    assert found.times.rates.refusal is not None
    warnings = " ".join(told(found, "warning"))
    assert "does not sort" in warnings


async def test_a_target_in_use_stops_it() -> None:
    """Documents of somebody's, another migration's claim, or this one's end."""
    pair, other = Pair(), MemoryAdaptor("other")
    await fill(pair.current)
    await fill(other)
    [stop] = told(await plan(pair.current, other, "test"), "stop")
    assert "not empty" in stop
    async with pair.store():
        found = await plan(pair.current, pair.target, "test")
        assert found.can_go_on
        assert "with 1 process" in " ".join(told(found, "note"))
        stops = told(await plan(pair.current, pair.target, "another"), "stop")
        assert [text for text in stops if "the migration 'test'" in text] == stops
        assert len(stops) == 2
    stops = told(await plan(pair.target, pair.current, "test"), "stop")
    assert "exchange current and target" in stops[0]


async def test_the_end_of_a_migration_stops_it() -> None:
    """A name is used once."""
    pair = Pair()
    await fill(pair.current)
    migration = pair.migration()
    async with pair.store(migration):
        await backfill(migration)
        await advance(migration, Phase.HANDOFF, force=True)
        await hand_off(migration)
        await advance(migration, Phase.TARGET)
        await complete(migration)
    found = await plan(pair.current, pair.target, "test")
    assert any("is completed" in text for text in told(found, "stop"))


async def test_a_silent_process_is_told() -> None:
    """It may be dead, and steps wait for it."""
    pair = Pair()
    async with pair.store(pair.migration(lease=timedelta(microseconds=1))):
        found = await plan(pair.current, pair.target, "test")
    assert any("silent, and perhaps dead" in text for text in told(found, "warning"))


async def test_a_foreign_writer_is_seen() -> None:
    """What a plain store has written during the migration is missing in the target."""
    pair = Pair()
    await fill(pair.current)
    migration = pair.migration()
    async with pair.store(migration) as store:
        await backfill(migration)
        await store.collection("c").put("0001", {"n": "mirrored"})
        before = await plan(pair.current, pair.target, "test", grace=NOW)
        assert told(before, "warning") == []
        plain = Store(pair.current)
        async with plain:
            await plain.collection("c").put_many({"0001": {}, "new": {}})
        late = await plan(pair.current, pair.target, "test")
        assert told(late, "warning") == []  # it may be on its way
        found = await plan(pair.current, pair.target, "test", grace=NOW)
        [warning] = told(found, "warning")
        assert "2 documents were written since the migration began" in warning
        [one] = found.collections
        newest = await migration.current.read([one_id(pair, "new")])
        assert newest[0] is not None
        assert one.unmirrored_last == newest[0].updated_at
        assert found.can_go_on
        await verify(migration, repair=True)
        mended = await plan(pair.current, pair.target, "test", grace=NOW)
        assert told(mended, "warning") == []


def one_id(pair: Pair, key: str) -> Any:
    """Where a document stands."""
    return pair.current.held()[key].id


async def test_a_write_past_the_handoff_stops_it() -> None:
    """Once everything is handed off, a record that is not marked as moved is a stranger's."""
    pair = Pair()
    await fill(pair.current)
    migration = pair.migration()
    async with pair.store(migration):
        await backfill(migration)
        plain = await Store(pair.current).open()
        await advance(migration, Phase.HANDOFF, force=True)
        half = await plan(pair.current, pair.target, "test", grace=NOW)
        assert half.can_go_on
        await hand_off(migration)
        assert (await plan(pair.current, pair.target, "test")).can_go_on
        await plain.collection("c").put("lost", {})
        await plain.aclose()
        [stop] = told(await plan(pair.current, pair.target, "test"), "stop")
        assert "1 records were written to the current store after" in stop
        await rollback(migration, Phase.DUAL_WRITE)
        assert (await plan(pair.current, pair.target, "test")).can_go_on


async def test_times_are_measured_and_nothing_is_left(tmp_path: Path) -> None:
    """Rates come from real writes, whose records are removed, an earlier run's as well."""
    current = MemoryAdaptor("a")
    target = SQLAdaptor(SQLiteDatabase(str(tmp_path / "b.db")))
    await fill(current, 300)
    await target.open()
    try:
        found = await plan(current, target, "test", measure=True)
        assert await held(target, SYSTEM_COLLECTION) == []
    finally:
        await target.aclose()
    times = found.times
    assert times.rates is not None
    assert times.rates.written is not None
    assert times.copy is not None
    assert times.copy > 300 / times.rates.written
    assert times.verify is not None
    assert times.handoff is not None
    assert not times.throttled


async def test_an_operators_limits_are_counted_in() -> None:
    """The slowest of what is measured and what is allowed, in documents or in bytes, counts."""
    pair = Pair()
    await fill(pair.current)
    migration = pair.migration()
    async with pair.store(migration):
        await migration.control.limit(documents_per_second=10, bytes_per_second=None)
        found = await plan(pair.current, pair.target, "test", measure=True)
        assert (found.times.copy, found.times.throttled) == (found.records / 10, True)
        await migration.control.limit(documents_per_second=None, bytes_per_second=35)
        found = await plan(pair.current, pair.target, "test", measure=True)
        assert (found.times.copy, found.times.throttled) == (found.bytes / 35, True)


@pytest.mark.parametrize("value", [{}, {"text": "x" * 360_000}], ids=["small", "large"])
async def test_a_target_that_goes_away_fails_it(value: dict[str, Any]) -> None:
    """That is no refusal; and what measuring has left there, the next measuring removes."""
    pair = Pair()
    async with Store(pair.current, limits=None) as store:
        await store.collection("c").put("k", value)
    broken = pair.target.write

    async def fail(writes: Any, /) -> Any:
        await broken(writes)
        raise UnavailableError("gone", store="target")

    pair.target.write = fail  # type: ignore[method-assign]  # an outage
    with pytest.raises(UnavailableError):
        await plan(pair.current, pair.target, "test", measure=True)
    pair.target.write = broken  # type: ignore[method-assign]  # its end
    found = await plan(pair.current, pair.target, "test", measure=True)
    assert found.times.rates is not None
    assert await held(pair.target, SYSTEM_COLLECTION) == []


@pytest.mark.parametrize(
    ("theirs", "level", "text"),
    [
        ({"persistent": False}, "stop", "keeps nothing"),
        ({"shared": False}, "stop", "2 are at work now"),
        ({"atomic_writes": False, "max_atomic": 0}, "warning", "several documents in one step"),
        ({"max_atomic": 25}, "warning", "25 documents in a transaction"),
        ({"filters": frozenset({"and"})}, "warning", "narrow a search down by eq"),
        ({"orders": False}, "warning", "does not sort"),
        ({"indexes": False}, "warning", "no indexes"),
        ({"filters_need_index": True}, "warning", "by indexed fields alone"),
        ({"indexes_lag": True}, "warning", "indexes lag"),
        ({"max_batch": 10}, "note", "10 documents a request"),
    ],
    ids=str,
)
def test_each_gap_is_told(theirs: dict[str, Any], level: str, text: str) -> None:
    """Whatever the target lacks, with what it means; and nothing the other way round."""
    less = replace(ABLE, **theirs)
    [finding] = gaps(ABLE, less, processes=2)
    assert finding.level == level
    assert text in finding.text
    assert list(gaps(less, ABLE)) == []
    assert list(gaps(ABLE, ABLE)) == []


def test_a_store_for_one_process_is_a_warning_as_long_as_nobody_is_seen() -> None:
    """The service may have one process only."""
    [finding] = gaps(ABLE, replace(ABLE, shared=False))
    assert finding.level == "warning"


def test_of_a_migration_wrapper_it_is_asked_by_its_stores() -> None:
    """The two stores of a configured migration are what it takes."""
    pair = Pair()
    migration = MigrationAdaptor(pair.current, pair.target, name="test")
    found = asyncio.run(plan(migration.current, migration.target, migration.migration))
    assert found.can_go_on
