"""Several records in one step, where there is such a thing; and the transactions made of it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

from aiostore.errors import ConflictError, UnsupportedError
from aiostore.protocols import (
    Absent,
    Check,
    DocumentId,
    Exactly,
    Mark,
    Newer,
    Outcome,
    Scan,
    Write,
)
from aiostore.testing.check import check
from aiostore.testing.clock import ManualClock
from aiostore.testing.expectations import CheckFailedError, expect, expect_equal, expect_error
from aiostore.testing.harness import Harness
from aiostore.testing.records import NOW, record, scanned, standing_at, version, write_all
from aiostore.transaction import Transaction
from aiostore.versions import VersionClock

_MANY = 1000
"""So many items are enough, however many the capabilities allow at once."""


@check(needs=("atomic_writes",))
async def check_all(harness: Harness) -> None:
    """When every condition holds, all are applied, in any mixture of conditions and collections."""
    one, other = harness.collection(), harness.collection()
    async with harness.adaptor() as adaptor:
        await write_all(adaptor, [record(one, "a", 1), record(one, "gone", 1)])
        writes = [
            Write(record(one, "a", 2), Exactly(version(1))),
            Write(record(other, "b", 2), Absent()),
            Write(record(other, "c", 2, body=None), Newer()),
            Write(record(one, "gone", 2, body=None), Exactly(version(1)), erase=True),
        ]
        outcomes = await adaptor.write_atomic(writes)
        expect_equal([outcome.applied for outcome in outcomes], [True] * 4, "all are applied")
        found = list(await adaptor.read([write.record.id for write in writes[:3]]))
        expect_equal(found, [write.record for write in writes[:3]], "all are stored")
        left = await standing_at(adaptor, writes[3].record.id)
        expect(left in (None, writes[3].record), "the erased one is gone")


@check(needs=("atomic_writes",))
async def check_none(harness: Harness) -> None:
    """When one condition fails nothing is stored, and the outcomes tell which one it was."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        standing = record(collection, "a", 5)
        await write_all(adaptor, [standing])
        for refused in (
            Write(record(collection, "a", 6), Exactly(version(4))),
            Write(record(collection, "a", 6), Absent()),
            Write(record(collection, "a", 4), Newer()),
            Write(record(collection, "a", 6, body=None), Exactly(version(4)), erase=True),
        ):
            writes = [
                Write(record(collection, "new", 6), Absent()),
                refused,
                Write(record(collection, "newer", 6), Newer()),
            ]
            outcomes = await adaptor.write_atomic(writes)
            expect_equal([outcome.applied for outcome in outcomes], [True, False, True], "which")
            expect_equal(outcomes[1].record, standing, "what refused it")
            found = list(await adaptor.read([write.record.id for write in writes]))
            expect_equal(found, [None, standing, None], "nothing is stored")


@check(needs=("atomic_writes",))
async def check_checks(harness: Harness) -> None:
    """A check that holds lets the writes beside it be applied, and leaves its record as it was."""
    collection, other = harness.collection(), harness.collection()
    alive = record(collection, "alive", 1, expires_at=NOW + 1)
    expired = record(collection, "expired", 2, expires_at=NOW - 1)
    tombstone = record(collection, "tombstone", 3, body=None)
    nothing = DocumentId(other, "nothing")
    async with harness.adaptor() as adaptor:
        await write_all(adaptor, [alive, expired, tombstone, record(collection, "gone", 1)])
        written = record(other, "k", 9)
        gone = record(collection, "gone", 9, body=None)
        items: list[Write | Check] = [
            Check(alive.id, Exactly(version(1), unexpired_at=NOW)),
            Write(written, Absent()),
            Check(expired.id, Exactly(version(2))),
            Check(nothing, Absent()),
            Write(gone, Exactly(version(1)), erase=True),
            Check(tombstone.id, Exactly(version(3))),
        ]
        outcomes = await adaptor.write_atomic(items)
        expect_equal([outcome.applied for outcome in outcomes], [True] * 6, "all hold")
        expect_equal(outcomes[1].record, written, "what was written")
        met = [alive, expired, None, tombstone]
        for index, one in zip((0, 2, 3, 5), met, strict=True):
            told = outcomes[index].record
            expect(told in (None, one), f"what {items[index]} met, or nothing: {told!r:.300}")
        ids = [alive.id, expired.id, nothing, tombstone.id]
        found = [await standing_at(adaptor, id_) for id_ in ids]
        expect_equal(found, met, "what was checked stays as it was")
        expect_equal(await standing_at(adaptor, written.id), written, "the write beside them")
        expect(await standing_at(adaptor, gone.id) in (None, gone), "the erasure beside them")


@check(needs=("atomic_writes",))
async def check_failing_checks(harness: Harness) -> None:
    """A check that fails, of whichever kind, keeps everything beside it from being applied."""
    collection = harness.collection()
    alive = record(collection, "alive", 1)
    expired = record(collection, "expired", 2, expires_at=NOW)
    tombstone = record(collection, "tombstone", 3, body=None)
    nothing = DocumentId(collection, "nothing")
    standing = {one.id: one for one in (alive, expired, tombstone)}
    async with harness.adaptor() as adaptor:
        new, stays = record(collection, "new", 9), record(collection, "stays", 4)
        await write_all(adaptor, [*standing.values(), stays])
        for failing in (
            Check(alive.id, Absent()),
            Check(expired.id, Absent()),
            Check(tombstone.id, Absent()),
            Check(nothing, Exactly(version(1))),
            Check(alive.id, Exactly(version(9))),
            Check(tombstone.id, Exactly(version(1))),
            Check(expired.id, Exactly(version(2), unexpired_at=NOW)),
        ):
            items: list[Write | Check] = [
                Write(new, Absent()),
                failing,
                Write(record(collection, "stays", 9, body=None), Exactly(version(4)), erase=True),
            ]
            outcomes = await adaptor.write_atomic(items)
            expect_equal(
                [outcome.applied for outcome in outcomes], [True, False, True], f"{failing} fails"
            )
            met = Outcome(applied=False, record=standing.get(failing.id))
            expect_equal(outcomes[1], met, f"what {failing} met")
            expect_equal(await standing_at(adaptor, new.id), None, "nothing is written")
            expect_equal(await standing_at(adaptor, stays.id), stays, "nothing is erased")


@check(needs=("atomic_writes", "marks"))
async def check_marks(harness: Harness) -> None:
    """A mark that an item demands must be the standing record's, if any."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        for number, mark in enumerate(Mark):
            standing = record(collection, mark, 1, mark=mark)
            await write_all(adaptor, [standing])
            for demanded in Mark:
                new = record(collection, f"{mark} {demanded}", 2 + number)
                nothing = DocumentId(collection, "nothing")
                items: list[Write | Check] = [
                    Check(standing.id, Exactly(version(1)), demanded),
                    Check(nothing, Absent(), demanded),
                    Write(new, Absent(), demanded),
                ]
                outcomes = await adaptor.write_atomic(items)
                holds = mark is demanded
                told = [outcome.applied for outcome in outcomes]
                expect_equal(told, [holds, True, True], f"a check for {demanded} on {mark}")
                stands = await standing_at(adaptor, new.id)
                expect_equal(stands, new if holds else None, f"the write beside {items[0]}")
            for condition in (Newer(), Exactly(version(1))):
                for erase in (False, True) if mark is not Mark.LIVE else ():
                    key = f"{mark} under {condition} {erase}"
                    marked = record(collection, key, 1, mark=mark)
                    await write_all(adaptor, [marked])
                    over = record(collection, key, 9, body=None)
                    beside = record(collection, f"beside {key}", 9)
                    outcomes = await adaptor.write_atomic(
                        [Write(over, condition, Mark.LIVE, erase=erase), Write(beside, Absent())]
                    )
                    told = [outcome.applied for outcome in outcomes]
                    expect_equal(told, [False, True], f"a write over {key}")
                    expect_equal(outcomes[0].record, marked, "what refuses it")
                    stand = list(await adaptor.read([marked.id, beside.id]))
                    expect_equal(stand, [marked, None], "what stands then")


@check(needs=("atomic_writes",))
async def check_largest(harness: Harness) -> None:
    """As many items as the capabilities say are applied in one step, or refused in one."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        size = min(adaptor.capabilities.max_atomic, _MANY)
        old = [record(collection, f"k{number}", 1) for number in range(size)]
        outcomes = await adaptor.write_atomic([Write(one, Absent()) for one in old])
        expect_equal([outcome.applied for outcome in outcomes], [True] * size, "all are applied")
        new = [record(collection, one.id.key, 2) for one in old]
        writes: list[Write | Check] = [Write(one, Exactly(version(1))) for one in new[:-1]]
        writes.append(Check(new[-1].id, Exactly(version(2))))
        await adaptor.write_atomic(writes)
        found = await scanned(adaptor, Scan(collection))
        expect_equal(found, sorted(old, key=lambda one: one.id), "the last one fails: nothing")
        writes[-1] = Check(new[-1].id, Exactly(version(1)))
        await adaptor.write_atomic(writes)
        expected = sorted([*new[:-1], old[-1]], key=lambda one: one.id)
        expect_equal(await scanned(adaptor, Scan(collection)), expected, "all hold: all")


@check(needs=("atomic_writes",))
async def check_one_of_rivals(harness: Harness) -> None:
    """Of several at once that change what the others have checked, or read, one is applied."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        for round_ in range(5):
            watched, changed = (record(collection, f"{who} {round_}", 1) for who in "wc")
            await write_all(adaptor, [watched, changed])
            # Half of them write what the others check.
            answers = await asyncio.gather(
                *(
                    adaptor.write_atomic(
                        [
                            Write(
                                record(collection, write.id.key, 2 + number), Exactly(version(1))
                            ),
                            Check(check_.id, Exactly(version(1))),
                        ]
                    )
                    for number in range(8)
                    for write, check_ in [(watched, changed) if number % 2 else (changed, watched)]
                )
            )
            won = [all(outcome.applied for outcome in outcomes) for outcomes in answers]
            expect_equal(won.count(True), 1, "the number of those applied")
            winner = answers[won.index(True)][0].record
            found = await adaptor.read([watched.id, changed.id])
            expect(winner in found, "what was applied stands")
            expect(watched in found or changed in found, "the other one is unchanged")
    async with harness.store() as store:
        documents = store.collection(harness.collection())
        for round_ in range(5):
            keys = [f"a{round_}", f"b{round_}"]
            await documents.put_many({key: {"on": True} for key in keys})
            both_have_read = asyncio.Barrier(2)

            async def switch_off(mine: str, keys: list[str], met: asyncio.Barrier) -> bool:
                try:
                    async with store.transaction() as tx:
                        await tx.get_many(documents, keys)
                        await met.wait()
                        tx.replace(documents, mine, {"on": False})
                except ConflictError:
                    return False
                return True

            calls = [switch_off(mine, keys, both_have_read) for mine in keys]
            done = await asyncio.gather(*calls)
            expect(done.count(True) == 1, "one of the two is committed")
            left = await documents.get_many(keys)
            on = [document.value["on"] for document in left.values()]
            expect_equal(on, [not one for one in done], "what the two have left")


@check(needs=("atomic_writes",))
async def check_commit(harness: Harness) -> None:
    """A transaction sees what it has written, nobody else does before its end, all do after it."""
    async with harness.store() as store:
        one, other = (store.collection(harness.collection()) for _ in range(2))
        await one.put_many({key: {"n": 1} for key in ("put", "replaced", "deleted")})
        before = await one.get_many(["put", "replaced", "deleted"])
        async with store.transaction() as tx:
            await tx.get_many(one, ["replaced", "deleted"])
            created = tx.create(other, "created", {"n": 2})
            put = tx.put(one, "put", {"n": 2})
            replaced = tx.replace(one, "replaced", {"n": 2})
            tx.delete(one, "deleted")
            expect_equal(await tx.get(other, "created"), created, "what it has created")
            expect_equal(await tx.get(one, "replaced"), replaced, "what it has replaced")
            expect_equal(await tx.get(one, "deleted", default=None), None, "what it has deleted")
            seen = await one.get_many(["put", "replaced", "deleted"])
            expect_equal(seen, before, "what others see before its end")
        after = await one.get_many(["put", "replaced", "deleted"])
        expect_equal(after, {"put": put, "replaced": replaced}, "what all see after its end")
        expect_equal(await other.get("created"), created, "what all see, elsewhere too")
        created_at = before["replaced"].created_at
        expect_equal(replaced.created_at, created_at, "the moment at which it was created")


@check(needs=("atomic_writes",))
async def check_error_discards(harness: Harness) -> None:
    """An exception that leaves the block leaves nothing of the transaction behind."""
    async with harness.store() as store:
        documents = store.collection(harness.collection())
        standing = await documents.put("a", {"n": 1})
        try:
            async with store.transaction() as tx:
                tx.put(documents, "a", {"n": 2})
                tx.create(documents, "b", {"n": 2})
                _leave()
        except _LeftError:
            left = [document async for document in documents.scan()]
            expect_equal(left, [standing], "what is there")
        else:
            raise CheckFailedError("broken: the block's own exception is raised")


@check(needs=("atomic_writes",))
async def check_conflict(harness: Harness) -> None:
    """What another writer does to a document that was read, or was missing, is a conflict.

    Nothing is written then.
    """
    async with harness.store() as store:
        documents = store.collection(harness.collection())

        async def recreate() -> None:
            await documents.delete("read")
            await documents.create("read", {"n": 1})

        meddlers: list[Callable[[], Awaitable[object]]] = [
            lambda: documents.put("read", {"n": 1}),
            lambda: documents.update("read", lambda value: value),
            lambda: documents.delete("read"),
            recreate,
            lambda: documents.create("missing", {"n": 1}),
        ]
        for meddle in meddlers:
            await documents.put_many({"read": {"n": 1}, "other": {"n": 1}})
            await documents.delete("missing", missing_ok=True)
            other = await documents.get("other")
            with expect_error(ConflictError, "what was read has changed"):
                async with store.transaction() as tx:
                    await tx.get(documents, "read")
                    await tx.get(documents, "missing", default=None)
                    await tx.get(documents, "other")
                    tx.replace(documents, "other", {"n": 2})
                    tx.put(documents, "new", {"n": 2})
                    await meddle()
            expect_equal(await documents.get("other"), other, "what it would have replaced")
            expect_equal(await documents.get("new", default=None), None, "what it would have put")


@check(needs=("atomic_writes",))
async def check_expiry(harness: Harness) -> None:
    """A document that was read and expires before the end is a conflict, as if it were deleted."""
    clock = ManualClock()
    async with harness.store(VersionClock(clock)) as store:
        documents = store.collection(harness.collection())
        await documents.put("read", {"n": 1}, ttl=timedelta(hours=1))
        with expect_error(ConflictError, "what was read has expired"):
            async with store.transaction() as tx:
                await tx.get(documents, "read")
                tx.put(documents, "new", {"n": 2})
                clock.advance(timedelta(hours=2))
        expect_equal(await documents.get("new", default=None), None, "what it would have put")


@check(needs=("atomic_writes",))
async def check_run(harness: Harness) -> None:
    """`run` tries again after conflicts: many transfers at once neither make nor lose money."""
    async with harness.store() as store:
        accounts = store.collection(harness.collection())
        names = ["a", "b", "c"]
        await accounts.put_many({name: {"balance": 100} for name in names})

        async def transfer(tx: Transaction, source: str, target: str) -> None:
            there = await tx.get_many(accounts, [source, target])
            for name, change in ((source, -1), (target, 1)):
                balance = there[name].value["balance"] + change
                tx.replace(accounts, name, {"balance": balance})

        async def transfers(number: int) -> None:
            for step in range(3):
                source, target = names[(number + step) % 3], names[(number + step + 1) % 3]
                await store.run(partial(transfer, source=source, target=target), attempts=1000)

        await asyncio.gather(*(transfers(number) for number in range(4)))
        found = await accounts.get_many(names)
        total = sum(document.value["balance"] for document in found.values())
        expect_equal(total, 300, "all the money")


@check(needs=("atomic_writes",))
async def check_limit(harness: Harness) -> None:
    """More documents than the capabilities allow are refused, by name of the limit."""
    async with harness.store() as store:
        documents = store.collection(harness.collection())
        most = store.capabilities.max_atomic
        with expect_error(UnsupportedError, "there are too many documents") as caught:
            async with store.transaction() as tx:
                for number in range(most + 1):
                    tx.put(documents, f"k{number}", {"n": number})
        expect(str(most) in str(caught.error), "the limit is named")
        expect_equal([one async for one in documents.scan()], [], "nothing is written")


@check(needs=("atomic_writes",))
async def check_two_way_index(harness: Harness) -> None:
    """Each text of a pair leads to the other, and to no third, whoever sets what at once."""
    async with harness.store() as store:
        index = store.two_way_index(harness.collection())
        await index.set("alice", "a@x")
        await index.set("bob", "b@x")
        expect_equal(await index.get_right("alice"), "a@x", "the right one")
        expect_equal(await index.get_left("b@x"), "bob", "the left one")
        await index.set("alice", "b@x")
        expect_equal(await index.get_left("b@x"), "alice", "the new partner")
        for gone in (index.get_right("bob", default=None), index.get_left("a@x", default=None)):
            expect_equal(await gone, None, "the partner of one that was released")
        await index.remove(left="alice")
        expect_equal(await index.get_left("b@x", default=None), None, "what was removed")
        lefts, rights = ["l1", "l2"], ["r1", "r2"]
        await asyncio.gather(*(index.set(left, right) for left in lefts for right in rights))
        pairs = {left: await index.get_right(left, default=None) for left in lefts}
        told = [right for right in pairs.values() if right is not None]
        expect_equal(len(told), len(set(told)), "no text has two partners")
        for right in rights:
            left = await index.get_left(right, default=None)
            expect(left is None or pairs[left] == right, "a pair is the same from both sides")


@check(lacks=("atomic_writes",))
async def check_unsupported(harness: Harness) -> None:
    """Without atomic writes transactions are refused up front, by an error that says so."""
    async with harness.store() as store:
        documents = store.collection(harness.collection())

        async def put(tx: Transaction) -> None:
            tx.put(documents, "k", {})

        with expect_error(UnsupportedError, "transaction"):
            store.transaction()
        with expect_error(UnsupportedError, "run"):
            await store.run(put)
        with expect_error(UnsupportedError, "two_way_index"):
            store.two_way_index(harness.collection())
        expect_equal([one async for one in documents.scan()], [], "nothing is stored")


class _LeftError(Exception):
    """Leaves a block."""


def _leave() -> None:
    raise _LeftError
