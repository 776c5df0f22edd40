"""Several records in one step, where there is such a thing."""

import asyncio

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
from aiostore.testing.expectations import expect, expect_equal
from aiostore.testing.harness import Harness
from aiostore.testing.records import NOW, record, scanned, standing_at, version, write_all

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
        told = [outcomes[index].record for index in (0, 2, 3, 5)]
        expect_equal(told, met, "what the checks met")
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
    """Of several that check and change the same records at once exactly one is applied."""
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
