"""Several documents in one step, in every phase and between two."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from faults import Pair, at_rest
from msgspec.structs import replace
from transfers import roll

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.collection import Collection
from aiostore.errors import AlreadyExistsError, ConflictError, UnavailableError, UnsupportedError
from aiostore.migration import MigrationAdaptor, Phase, advance, hand_back, hand_off, rows
from aiostore.migration.atomic import Items
from aiostore.protocols import (
    Absent,
    Capabilities,
    Check,
    DocumentId,
    Exactly,
    Mark,
    Newer,
    Outcome,
    Record,
    Write,
)
from aiostore.sending import Retries
from aiostore.store import Store
from aiostore.testing.faults import turns
from aiostore.versions import VersionClock

AT_ONCE = Retries(first_pause=timedelta(0), longest_pause=timedelta(0))
ONCE = Retries(attempts=1)
SEEDS = 6


@pytest.mark.parametrize("back", [False, True], ids=["forward", "back"])
async def test_transfers_neither_make_nor_lose_money(back: bool) -> None:  # noqa: FBT001  # a case
    """While processes roll through the phases every transaction is whole, or was never there."""
    for seed in range(SEEDS):
        pair, book, left = await roll(seed, back=back)
        assert replace(book, audits=[]) == left, f"seed {seed}"
        assert set(book.audits) <= {sum(book.balance.values())}, f"seed {seed}"
        if back:
            assert {record.mark for record in pair.current.held().values()} == {Mark.LIVE}
        else:
            assert {record.mark for record in pair.target.held().values()} == {Mark.LIVE}


@pytest.fixture
def pair() -> Pair:
    """Two empty memories."""
    return Pair()


def _record(key: str, body: str | None = "{}") -> Record:
    return Record(DocumentId("c", key), body, VersionClock().next(), 1, 1)


async def _create(store: Store, collection: Collection[Any], *keys: str) -> None:
    async with store.transaction() as tx:
        for key in keys:
            tx.create(collection, key, {})


@asynccontextmanager
async def _in_phase(pair: Pair, phase: Phase) -> AsyncIterator[MigrationAdaptor]:
    migration = pair.migration()
    await migration.open()
    try:
        await _lead(migration, phase)
        yield migration
    finally:
        await migration.aclose()


async def _lead(migration: MigrationAdaptor, phase: Phase) -> None:
    if phase is not Phase.DUAL_WRITE:
        await advance(migration, Phase.HANDOFF, force=True)
    if phase is Phase.TARGET:
        await hand_off(migration)
        await advance(migration, Phase.TARGET)


async def test_what_is_applied_reaches_the_target(pair: Pair) -> None:
    """In `dual-write` the target gets a copy of all that a transaction stores and removes."""
    async with pair.store() as store:
        c = store.collection("c")
        await c.put_many({key: {"n": 1} for key in ("seen", "unseen", "gone", "checked")})
        unseen = await c.get("unseen")
        async with store.transaction() as tx:
            await tx.get(c, "checked")
            await tx.get_many(c, ["seen", "gone"])
            tx.replace(c, "seen", {"n": 2})
            tx.replace(c, "unseen", {"n": 2}, version=unseen.version)
            tx.delete(c, "gone")
            tx.create(c, "new", {"n": 2})
        await MigrationAdaptor.of(store).drain()
        assert pair.equal()
        assert pair.target.held()["gone"].body is None
        assert (await c.get("unseen")).created_at == unseen.created_at


async def test_what_is_refused_leaves_both_stores_alone(pair: Pair) -> None:
    """A transaction that meets a conflict writes nothing, in either store."""
    async with pair.store() as store:
        c = store.collection("c")
        await c.put("k", {"n": 1})

        async def commit() -> None:
            async with store.transaction() as tx:
                await tx.get(c, "k")
                tx.create(c, "new", {})
                await c.put("k", {"n": 2})

        with pytest.raises(ConflictError):
            await commit()
        await MigrationAdaptor.of(store).drain()
        assert pair.equal()
        assert set(pair.current.held()) == {"k"}


async def test_a_target_that_fails_fails_no_transaction(pair: Pair) -> None:
    """What does not reach the target is remembered, and copied later."""
    migration = pair.migration()
    async with pair.store(migration) as store:
        c = store.collection("c")
        pair.target.fates = iter(["lost"])
        async with store.transaction() as tx:
            tx.create(c, "a", {})
            tx.create(c, "b", {})
        await at_rest(migration)
        assert pair.equal()
        assert set(pair.target.held()) == {"a", "b"}


async def test_a_current_store_that_cannot_be_read_delays_the_copy(pair: Pair) -> None:
    """If what was stored cannot be read for the copy, its documents are in doubt, and mended."""
    migration = pair.migration()
    async with pair.store(migration) as store:
        c = store.collection("c")
        before = await c.put("k", {"n": 1})
        await migration.drain()

        async def fail(*_: object, **__: object) -> None:
            patch.undo()
            raise UnavailableError("down")

        with pytest.MonkeyPatch.context() as patch:
            async with store.transaction() as tx:
                tx.replace(c, "k", {"n": 2}, version=before.version)
                patch.setattr(pair.current, "read", fail)
            await migration.drain()
        await at_rest(migration)
        assert pair.equal()
        assert pair.target.held()["k"].body == '{"n":2}'


@pytest.mark.parametrize("phase", [Phase.DUAL_WRITE, Phase.HANDOFF, Phase.TARGET])
async def test_a_transaction_whose_answer_was_lost_recognises_itself(
    pair: Pair, phase: Phase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sent again with the same versions, and has taken effect once."""
    async with Store(pair.migration(), retries=AT_ONCE) as store:
        migration = MigrationAdaptor.of(store)
        await _lead(migration, phase)
        deciding = pair.current if phase is Phase.DUAL_WRITE else pair.target
        right, lost = deciding.write_atomic, iter([True])

        async def write_atomic(items: Items) -> Sequence[Outcome]:
            outcomes = await right(items)
            if next(lost, False):
                raise UnavailableError("the answer was lost")
            return outcomes

        monkeypatch.setattr(deciding, "write_atomic", write_atomic)
        c = store.collection("c")
        async with store.transaction() as tx:
            tx.create(c, "a", {"n": 1})
            tx.put(c, "b", {"n": 2})
        found = await c.get_many(["a", "b"])
        assert [document.value["n"] for document in found.values()] == [1, 2]
        assert next(lost, None) is None
        if phase is Phase.DUAL_WRITE:
            await at_rest(migration)
            assert pair.equal()


async def test_an_unknown_outcome_is_told_and_mended(pair: Pair) -> None:
    """Without an answer of the current store nothing is copied until it is known."""
    migration = pair.migration()
    async with Store(migration, retries=ONCE) as store:
        c = store.collection("c")
        pair.current.loses_answers = True
        with pytest.raises(UnavailableError):
            await _create(store, c, "a", "b")
        pair.current.loses_answers = False
        assert pair.target.held() == {}
        await at_rest(migration)
        assert pair.equal()
        assert set(pair.current.held()) == {"a", "b"}


async def test_a_caller_that_leaves_leaves_nothing_half_done(pair: Pair) -> None:
    """Whoever is cancelled in a commit leaves both stores equal."""
    migration = pair.migration()
    async with pair.store(migration) as store:
        c = store.collection("c")
        gate = pair.current.hangs = asyncio.Event()

        task = asyncio.ensure_future(_create(store, c, "a", "b"))
        await turns(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
        pair.current.hangs = None
        await migration.drain()
        assert set(pair.target.held()) == {"a", "b"}
        assert pair.equal()


async def test_everything_a_transaction_touches_is_handed_off(pair: Pair) -> None:
    """In `handoff` what is written and what is checked moves first, though nothing be there."""
    async with Store(pair.current) as plain:
        await plain.collection("c").put_many({key: {"n": 1} for key in ("a", "b", "other")})
    async with _in_phase(pair, Phase.HANDOFF) as migration:
        [a, b] = await migration.read([DocumentId("c", "a"), DocumentId("c", "b")])
        assert a is not None
        assert b is not None
        written = _record("a", '{"n":2}')
        outcomes = await migration.write_atomic(
            [
                Write(written, Exactly(a.version)),
                Check(b.id, Exactly(b.version)),
                Check(DocumentId("c", "nothing"), Absent()),
                Write(_record("new"), Absent()),
            ]
        )
        assert [outcome.applied for outcome in outcomes] == [True] * 4
        marks = {key: record.mark for key, record in pair.current.held().items()}
        assert marks == dict.fromkeys(("a", "b", "nothing", "new"), Mark.MOVED) | {
            "other": Mark.LIVE
        }
        assert pair.target.held()["a"] == written


async def test_what_counts_as_nothing_is_no_bar(pair: Pair) -> None:
    """In `target` a copy that was left over is nothing: it can be created, not replaced."""
    async with _in_phase(pair, Phase.TARGET) as migration:
        for key in "abcd":
            await pair.target.write([rows.copy(_record(key))])
        left = pair.target.held()
        outcomes = await migration.write_atomic(
            [
                Write(_record("a"), Absent()),
                Write(replace(_record("b"), version=left["b"].version), Newer()),
                Check(DocumentId("c", "c"), Absent()),
            ]
        )
        assert [outcome.applied for outcome in outcomes] == [True] * 3
        assert pair.target.held()["b"].mark is Mark.LIVE
        assert pair.target.held()["c"] == left["c"]
        refused = await migration.write_atomic(
            [Write(_record("d"), Exactly(left["d"].version)), Write(_record("e"), Absent())]
        )
        assert not refused[0].applied
        assert refused[0].record is None
        assert "e" not in pair.target.held()


async def test_a_copy_that_goes_meanwhile_is_no_bar_either(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where what counted as nothing has gone the item is sent as it was meant."""
    async with _in_phase(pair, Phase.TARGET) as migration:
        await pair.target.write([rows.copy(_record("a"))])
        right = pair.target.write_atomic

        async def write_atomic(items: Items) -> Sequence[Outcome]:
            outcomes = await right(items)
            if pair.target.held():
                [copy] = pair.target.held().values()
                if copy.mark is Mark.MIRROR:
                    await pair.target.write([rows.correction(copy, None)])
            return outcomes

        monkeypatch.setattr(pair.target, "write_atomic", write_atomic)
        [outcome] = await migration.write_atomic([Write(_record("a"), Absent())])
        assert outcome.applied


@asynccontextmanager
async def _two(pair: Pair) -> AsyncIterator[tuple[Store, Store]]:
    """Two processes: the first goes where it is led, the second stays where it is."""
    async with pair.store() as first, pair.store() as second:
        yield first, second


async def _decide(store: Store, phase: Phase) -> None:
    """Take a step that one process alone has adopted yet."""
    migration = MigrationAdaptor.of(store)
    await migration.control.change(
        lambda now: replace(now, phase=phase, generation=now.generation + 1)
    )
    migration.begin(phase)


async def _advance(phase: Phase, *stores: Store) -> None:
    """Take a step that all processes adopt at once."""
    first, *others = map(MigrationAdaptor.of, stores)
    step = asyncio.ensure_future(advance(first, phase, force=True))
    while not step.done():
        for each in others:
            each.presence.nudge()
        await asyncio.sleep(0)
    await step


async def _return(store: Store) -> None:
    """Begin to hand back, without doing it."""
    migration = MigrationAdaptor.of(store)
    await migration.control.change(lambda now: replace(now, returning=now.generation))


async def test_a_process_that_is_late_follows_those_that_hand_off(pair: Pair) -> None:
    """One still in `dual-write` hands off all that a transaction touches once it meets one."""
    async with _two(pair) as (ahead, late):
        c, there = late.collection("c"), ahead.collection("c")
        await c.put_many({"moved": {"n": 1}, "here": {"n": 1}})
        await _decide(ahead, Phase.HANDOFF)
        await there.put("moved", {"n": 2})
        async with late.transaction() as tx:
            assert (await tx.get(c, "moved")).value == {"n": 2}
            await tx.get(c, "here")
            tx.replace(c, "moved", {"n": 3})
            tx.create(c, "new", {"n": 3})
        assert {record.mark for record in pair.current.held().values()} == {Mark.MOVED}
        found = await there.get_many(["moved", "here", "new"])
        assert [document.value["n"] for document in found.values()] == [3, 1, 3]
        with pytest.raises(AlreadyExistsError):
            await _create(late, c, "new")


async def test_on_the_way_back_documents_come_back_before_their_turn(pair: Pair) -> None:
    """While documents are handed back a transaction hands back those that it meets."""
    async with _two(pair) as (first, second):
        c = first.collection("c")
        await c.put_many({"a": {"n": 1}, "b": {"n": 1}})
        await _advance(Phase.HANDOFF, first, second)
        await c.put("a", {"n": 2})
        await _advance(Phase.DUAL_WRITE, first, second)
        await _return(first)
        there = second.collection("c")
        async with second.transaction() as tx:
            await tx.get_many(there, ["a", "b"])
            tx.replace(there, "a", {"n": 3})
            tx.replace(there, "b", {"n": 3})
        assert {record.mark for record in pair.current.held().values()} == {Mark.LIVE}
        assert pair.target.held()["a"].mark is Mark.RETURNING
        found = await c.get_many(["a", "b"])
        assert [document.value["n"] for document in found.values()] == [3, 3]


async def test_handing_back_waits_for_whoever_still_hands_off(pair: Pair) -> None:
    """A process that hands off for a transaction takes back that it has taken the step."""
    async with _two(pair) as (first, second):
        c, there = first.collection("c"), second.collection("c")
        await c.put_many({"a": {"n": 1}, "b": {"n": 1}})
        await _advance(Phase.HANDOFF, first, second)
        await c.put("a", {"n": 2})
        await _advance(Phase.DUAL_WRITE, first, second)
        ours, theirs = MigrationAdaptor.of(first), MigrationAdaptor.of(second)
        gate = pair.target.hangs = asyncio.Event()

        async def change() -> None:
            async with second.transaction() as tx:
                tx.put(there, "a", {"n": 3})
                tx.put(there, "b", {"n": 3})

        task = asyncio.ensure_future(change())
        await turns(40)
        everyone = await ours.members.within(ours._current)
        steps = {one.id: one.member.generation for one in everyone}
        now = ours.control.latest.generation
        assert steps == {ours.presence.id: now, theirs.presence.id: now - 1}
        pair.target.hangs = None
        back = asyncio.ensure_future(hand_back(ours))
        await turns(200)
        assert not back.done()
        gate.set()
        await task
        theirs.presence.nudge()
        await back
        assert {record.mark for record in pair.current.held().values()} == {Mark.LIVE}
        found = await c.get_many(["a", "b"])
        assert [document.value["n"] for document in found.values()] == [3, 3]


async def test_what_comes_back_is_not_handed_off_again(pair: Pair) -> None:
    """Who meets that others hand back already, though he did not know it, begins again."""
    async with _two(pair) as (first, second):
        c, there = first.collection("c"), second.collection("c")
        await c.put_many({"a": {"n": 1}, "b": {"n": 1}})
        await _advance(Phase.HANDOFF, first, second)
        await c.put_many({"a": {"n": 2}, "b": {"n": 2}})
        await _advance(Phase.DUAL_WRITE, first, second)
        handoff = MigrationAdaptor.of(second).handoff
        right = handoff.forth

        async def forth(ids: object, **how: object) -> object:
            await _return(first)
            await MigrationAdaptor.of(first).handoff.back([DocumentId("c", "a")], demoted=False)
            return await right(ids, **how)  # type: ignore[arg-type]  # passed through

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(handoff, "forth", forth)
            async with second.transaction() as tx:
                tx.put(there, "a", {"n": 3})
                tx.put(there, "b", {"n": 3})
        assert {record.mark for record in pair.current.held().values()} == {Mark.LIVE}
        assert {record.mark for record in pair.target.held().values()} == {Mark.RETURNING}


async def test_a_way_back_that_was_broken_off_is_ended(pair: Pair) -> None:
    """In `handoff` a document that is still on its way back comes back, and goes again."""
    async with _in_phase(pair, Phase.HANDOFF) as migration:
        old = _record("a")
        await pair.current.write([Write(replace(old, mark=Mark.MOVED), Absent())])
        await pair.target.write([Write(replace(old, mark=Mark.RETURNING), Absent())])
        [outcome] = await migration.write_atomic([Write(_record("a"), Exactly(old.version))])
        assert outcome.applied
        assert pair.current.held()["a"].mark is Mark.MOVED
        assert pair.target.held()["a"].mark is Mark.LIVE


class _Unable(MemoryAdaptor):
    """A memory without atomic writes."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, atomic_writes=False, max_atomic=0)


async def test_it_takes_two_stores_that_can(pair: Pair) -> None:
    """Transactions are as large as the smaller store allows, or refused at once."""
    migration = MigrationAdaptor(MemoryAdaptor(), _Unable(), name="test")
    assert not migration.capabilities.atomic_writes
    assert migration.capabilities.max_atomic == 0
    with pytest.raises(UnsupportedError):
        await migration.write_atomic([])
    assert pair.migration().capabilities.max_atomic == 1000
