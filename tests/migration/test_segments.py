"""Jobs that are shared: who works at what, and what becomes of it if he does not go on."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest
from faults import FaultyMemory
from virtual_time import in_virtual_time

from aiostore.errors import UnavailableError
from aiostore.migration.legs import Leg
from aiostore.migration.segments import Checkpoint, Job, LostError, Piece, segments_for
from aiostore.migration.throttle import Throttle
from aiostore.protocols import Outcome, Scan, Write
from aiostore.versions import VersionClock

LEASE = timedelta(seconds=30)


class Target(FaultyMemory):
    """A target whose writes of checkpoints can be told to fail.

    Attributes:
        ends: how the next ones do: "lost" before anything is done, "unanswered" after it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ends: Iterator[str] = iter(())

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        """Write, or fail."""
        end = next(self.ends, "")
        if end == "lost":
            raise UnavailableError("down")
        outcomes = await super().write(writes)
        if end == "unanswered":
            raise UnavailableError("the answer was lost")
        return outcomes


async def a_job(target: FaultyMemory, segments: int | None = 2, *names: str) -> Job:
    """One worker's view of a job on these collections, of 7 records each."""
    job = Job(
        Leg(target, timedelta(seconds=5)),
        "m",
        "work",
        throttle=Throttle(),
        clock=VersionClock(),
        lease=LEASE,
    )

    async def count(_: str) -> int:
        return 7

    await job.divide(names or ("c",), count, segments)
    return job


async def claimed(job: Job) -> Piece:
    """A piece of it."""
    piece = await job.claim()
    assert piece is not None
    return piece


def test_only_large_collections_are_divided() -> None:
    """As most engines read the whole of it for each segment."""
    assert [segments_for(total) for total in (0, 999_999, 1_000_000)] == [1, 1, 4]


@in_virtual_time
async def test_all_workers_agree_on_the_segments() -> None:
    """The number that the first one chose holds for all, and the total of that moment."""
    target = FaultyMemory()
    first, other = await a_job(target, 3, "c", "d"), await a_job(target, 5, "c", "d", "e")
    pieces = [await claimed(first) for _ in range(6)]
    assert [piece.segment for piece in pieces] == [(c, n) for c in "cd" for n in range(3)]
    assert pieces[4].scan("k", 50) == Scan("d", start_after="k", segment=1, segments=3, chunk=50)
    assert [(await claimed(other)).segment for _ in range(5)] == [("e", n) for n in range(5)]
    assert await other.claim() is None
    assert other.tally() == (0, 21, 0, False)
    alone = await a_job(target, None, "f")
    assert (await claimed(alone)).segment == ("f", 0)
    assert await alone.claim() is None


@in_virtual_time
async def test_no_two_have_the_same_piece() -> None:
    """A piece that somebody holds is not taken, be he known or not; what is finished neither."""
    target = FaultyMemory()
    one, other = await a_job(target), await a_job(target)
    mine = await claimed(one)
    theirs = await claimed(other)
    assert {mine.segment, theirs.segment} == {("c", 0), ("c", 1)}
    assert await one.claim() is None
    assert await other.claim() is None
    await mine.finish()
    one.drop(mine.segment)
    assert await one.claim() is None
    assert (one.idle, one.all_held, one.finished) == (True, False, False)
    states = [other.all_held]  # for all that is known
    await other.refresh()
    states.append(other.all_held)
    await theirs.finish()
    await one.refresh()
    assert [*states, one.finished] == [False, True, True]


@in_virtual_time
async def test_progress_is_everybodys() -> None:
    """What one has saved the others see when they look; the sums never fall."""
    target = FaultyMemory()
    one, other = await a_job(target), await a_job(target)
    piece = await claimed(one)
    await piece.advance("k3", done=4, copied=2)
    assert one.tally("c") == one.tally() == (4, 7, 2, False)
    assert other.tally("c") == (0, 7, 0, False)
    await other.refresh()
    assert other.tally("c") == (4, 7, 2, False)
    await piece.advance("k9", done=5, copied=5)
    await piece.finish()
    late = await a_job(target)
    assert late.tally() == (9, 9, 7, False)
    rest = await claimed(late)
    assert rest.segment == ("c", 1)
    await rest.finish()
    assert late.tally() == (9, 9, 7, True)


@in_virtual_time
async def test_what_is_left_lying_is_gone_on_with_after_the_lease() -> None:
    """From where it was saved last; the time counts from when its last change was seen."""
    target = FaultyMemory()
    dead = await a_job(target, 1)
    await (await claimed(dead)).advance("k3", done=4, copied=4)
    await asyncio.sleep(1000)
    heir = await a_job(target, 1)
    assert await heir.claim() is None
    await asyncio.sleep(29)
    await heir.refresh()
    assert await heir.claim() is None
    await asyncio.sleep(1)
    piece = await claimed(heir)
    assert piece.checkpoint == Checkpoint(owner=heir.owner, after="k3", done=4, copied=4)


@in_virtual_time
async def test_saving_keeps_the_claim() -> None:
    """Who saves, or keeps the claim while he waits, loses nothing, however long it takes."""
    target = FaultyMemory()
    slow, greedy = await a_job(target, 1), await a_job(target, 1)
    piece = await claimed(slow)
    writes = target.calls["write"]
    for step in range(100):
        await asyncio.sleep(5)
        await (piece.advance(f"k{step:02}", done=1, copied=0) if step % 9 == 0 else piece.keep())
        await greedy.refresh()
        assert await greedy.claim() is None
    assert target.calls["write"] - writes < 60  # it is not renewed more often than need be


@in_virtual_time
async def test_who_has_lost_a_piece_finds_out() -> None:
    """At the next save, and changes nothing."""
    target = FaultyMemory()
    slow = await a_job(target, 1)
    lost = await claimed(slow)
    heir = await a_job(target, 1)
    await asyncio.sleep(30)
    piece = await claimed(heir)
    await piece.advance("k5", done=5, copied=5)
    await asyncio.sleep(11)
    for attempt in (lost.keep(), lost.advance("k1", done=1, copied=1), lost.finish()):
        with pytest.raises(LostError):
            await attempt
    await slow.release(lost.segment)
    assert piece.checkpoint == (await a_job(target, 1)).checkpoint(piece.segment)
    assert slow.tally().done == 5


@in_virtual_time
async def test_a_released_piece_is_free_at_once() -> None:
    """Whoever gives up lets others go on without waiting; if he can."""
    target = FaultyMemory()
    one, other = await a_job(target, 1), await a_job(target, 1)
    piece = await claimed(one)
    await piece.advance("k2", done=3, copied=0)
    target.hangs = asyncio.Event()
    await one.release(piece.segment)
    target.hangs = None
    await other.refresh()
    assert await other.claim() is None
    await one.release(piece.segment)
    await other.refresh()
    assert (await claimed(other)).checkpoint.after == "k2"


@in_virtual_time
async def test_a_save_whose_answer_was_lost_is_no_loss() -> None:
    """It is sent again, and knows itself."""
    target = Target()
    job = await a_job(target, 1)
    piece = await claimed(job)
    target.ends = iter(["unanswered", "lost", "unanswered"])
    await piece.advance("k4", done=5, copied=1)
    assert piece.checkpoint.done == job.tally().done == 5
    assert (await a_job(target, 1)).tally().done == 5


@in_virtual_time
async def test_a_claim_that_fails_is_no_claim() -> None:
    """A worker who could not claim a piece does not take it for his."""
    target = Target()
    job = await a_job(target, 1)
    job.throttle = Throttle(patience=timedelta(0))
    target.ends = iter(["lost"])
    with pytest.raises(UnavailableError):
        await job.claim()
    assert job.idle
    assert (await claimed(job)).segment == ("c", 0)


@in_virtual_time
async def test_limits_are_divided_among_the_living() -> None:
    """A worker counts the others by what they hold, and no more when they are silent."""
    target = FaultyMemory()
    jobs = [await a_job(target, 4) for _ in range(3)]
    for job in jobs:
        await claimed(job)
    await jobs[0].refresh()
    assert jobs[0].throttle.workers == 3
    await asyncio.sleep(31)
    await jobs[0].refresh()
    assert jobs[0].throttle.workers == 1


@in_virtual_time
async def test_others_are_looked_after_while_one_works() -> None:
    """Every now and then a save looks how far the others have come."""
    target = FaultyMemory()
    one, other = await a_job(target), await a_job(target)
    mine, theirs = await claimed(one), await claimed(other)
    await theirs.advance("k9", done=3, copied=3)
    await mine.advance("k1", done=1, copied=1)
    assert one.tally().done == 1
    await asyncio.sleep(2)
    await mine.advance("k2", done=1, copied=1)
    assert one.tally().done == 5
