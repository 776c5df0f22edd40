"""How a migration stands, for somebody who only looks."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from faults import FaultyMemory, Pair, at_rest, take_for_verified
from virtual_time import in_virtual_time

from aiostore.errors import MigrationError, UnavailableError
from aiostore.migration import (
    MigrationAdaptor,
    Phase,
    Progress,
    abort,
    advance,
    backfill,
    complete,
    hand_off,
    rollback,
    status,
    verify,
)
from aiostore.migration.background import shown
from aiostore.migration.members import Health, Member, Working
from aiostore.migration.status import Observer, Status, observed
from aiostore.protocols import DocumentId, Record, Scan
from aiostore.store import Store
from aiostore.versions import VersionClock, now_in_microseconds


async def of(pair: Pair) -> Status:
    """The status of a pair's migration, from outside."""
    return await status(pair.current, pair.target, "test")


def contents(pair: Pair) -> list[Mapping[str, Any]]:
    """All that both engines hold."""
    return [{**one.memory._collections} for one in (pair.current, pair.target)]


async def test_what_has_not_been_begun_is_told_and_nothing_is_touched() -> None:
    """The target is not even opened, and nothing is written."""
    pair = Pair()
    before = contents(pair)
    async with observed(pair.migration()) as observer:
        found = await observer.look()
    assert found.state == "not begun"
    assert (found.current, found.target) == ("memory:current", "memory:target")
    assert found.obstacles(Phase.HANDOFF) == (
        "the migration has not been begun: start it (`aiostore migrate start`)",
    )
    assert contents(pair) == before


async def test_the_states_of_a_migration() -> None:
    """Running through its phases, and completed in the end; then nothing can be done with it."""
    pair = Pair()
    migration = pair.migration()
    async with Store(migration):
        await take_for_verified(migration)
        assert (await of(pair)).obstacles(Phase.HANDOFF) == ()
        await advance(migration, Phase.HANDOFF)
        found = await of(pair)
        assert (found.state, found.control.phase) == ("running", Phase.HANDOFF)
        [obstacle] = found.obstacles(Phase.TARGET)
        assert "not every document is known to be handed off" in obstacle
        await hand_off(migration)
        await advance(migration, Phase.TARGET)
        await complete(migration)
        found = await of(pair)
        assert found.state == "completed"
        [obstacle] = found.obstacles(Phase.HANDOFF)
        assert "migrate in the other direction" in obstacle


async def test_a_migration_that_was_aborted_is_told_from_one_that_was_not_begun() -> None:
    """Its name cannot be used again."""
    pair = Pair()
    migration = pair.migration()
    async with Store(migration):
        await rollback(migration)
        await abort(migration)
    found = await of(pair)
    assert found.state == "aborted"
    [obstacle] = found.obstacles(Phase.HANDOFF)
    assert "with another name" in obstacle


async def test_processes_are_listed_with_how_they_fare() -> None:
    """Who has taken the last step, who is silent, and what all of them have met, summed up."""
    pair = Pair()
    migration = pair.migration(grace=timedelta(hours=1))
    async with Store(migration) as store:
        pair.target.down = True
        await store.collection("c").put("k", {})
        pair.target.down = False
        await migration.presence._register()
        [one] = (await of(pair)).processes
        assert (one.acknowledged, one.silent) == (True, False)
        assert one.seconds < 60
        found = await of(pair)
        assert (found.target_failures, found.suspects) == (1, 1)
        assert found.lag is not None
        assert (found.late, found.silent) == ((), ())


async def test_the_silent_and_the_late_are_told() -> None:
    """By the time of their last renewal, and by the step that they have acknowledged."""
    pair = Pair()
    migration = pair.migration()
    async with Store(migration):
        await migration.control.change(_as_in_generation_two)
        members = migration.members
        late = Member(process="late:1", phase=Phase.DUAL_WRITE, generation=1, lease=60, grace=1)
        await members.put(migration._current, "late", late)
        an_hour_ago = VersionClock(lambda: now_in_microseconds() - 3_600_000_000)
        members._clock = an_hour_ago
        silent = Member(process="silent:1", phase=Phase.DUAL_WRITE, generation=2, lease=9, grace=1)
        await members.put(migration._current, "silent", silent)
        found = await of(pair)
        assert "late:1" in [one.process for one in found.late]
        [one] = found.silent
        assert one.process == "silent:1"
        assert one.seconds >= 3600
        obstacles = found.obstacles(Phase.HANDOFF, force=True)
        assert "the target has not been reached yet by late:1, silent:1" in obstacles


def _as_in_generation_two(control: Any) -> Any:
    return type(control)(generation=2)


class Deaf(FaultyMemory):
    """What was a memory until nobody could reach it any more."""

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        raise UnavailableError("out of reach", store=self.name)

    def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        raise UnavailableError("out of reach", store=self.name)


@pytest.mark.parametrize("away", ["current", "target"])
async def test_a_store_that_does_not_answer_is_a_problem_and_no_failure(away: str) -> None:
    """What the other one knows is shown; what is missing is named, and stands in the way."""
    pair = Pair()
    async with pair.store():
        pass
    stores = {"current": pair.current, "target": pair.target, away: Deaf(f"memory:{away}")}
    found = await status(stores["current"], stores["target"], "test")
    assert found.state == "running"
    assert found.problems == (f"out of reach (store 'memory:{away}')",)
    assert found.problems[0] in found.obstacles(Phase.HANDOFF, force=True)


async def test_two_stores_that_do_not_answer_are_a_failure() -> None:
    """Then nothing can be said."""
    with pytest.raises(UnavailableError, match=r"memory:a.*memory:b"):
        await status(Deaf("memory:a"), Deaf("memory:b"), "test")


class Absent(FaultyMemory):
    """A store that cannot be reached."""

    async def open(self) -> None:
        raise UnavailableError("out of reach", store=self.name)


async def test_a_store_that_cannot_be_opened_is_a_problem_and_no_failure() -> None:
    """One of them is enough."""
    pair = Pair()
    async with pair.store():
        pass
    migration = pair.migration()
    migration.current = Absent("memory:current")
    async with observed(migration) as observer:
        found = await observer.look()
        assert found.state == "running"
        assert found.problems == ("out of reach (store 'memory:current')",)
    migration.target = Absent("memory:target")
    with pytest.raises(UnavailableError, match=r"out of reach.*out of reach"):
        async with observed(migration):
            pass


async def test_stores_of_another_migration_are_refused() -> None:
    """Also this one's, if they are exchanged; one that has ended has left them free."""
    pair = Pair()
    async with pair.store():
        pass
    with pytest.raises(MigrationError, match="part of the migration 'test'"):
        await status(pair.current, pair.target, "other")
    with pytest.raises(MigrationError, match="exchange current and target"):
        await status(pair.target, pair.current, "test")
    migration = pair.migration()
    async with Store(migration):
        await take_for_verified(migration)
        await advance(migration, Phase.HANDOFF)
        await hand_off(migration)
        await advance(migration, Phase.TARGET)
        await at_rest(migration)
        await complete(migration)
    onward = MigrationAdaptor(pair.target, FaultyMemory("memory:third"), name="onward")
    async with observed(onward) as observer:
        assert (await observer.look()).state == "not begun"


async def test_the_operators_word_is_kept_in_the_control_document() -> None:
    """Pauses and limits are seen by everybody."""
    pair = Pair()
    migration = pair.migration()
    async with Store(migration):
        await migration.control.pause("the sale")
        await migration.control.limit(documents_per_second=5, bytes_per_second=1e6)
        control = (await of(pair)).control
        assert control.paused == "the sale"
        assert (control.documents_per_second, control.bytes_per_second) == (5, 1e6)
        await migration.control.resume()
        await migration.control.limit()
        control = (await of(pair)).control
        assert control.paused is None
        assert (control.documents_per_second, control.bytes_per_second) == (None, None)


@in_virtual_time
async def test_how_far_the_work_is_is_seen_from_outside() -> None:
    """By whomever it is done: how much of how much, by collection, and how fast since last time."""
    pair = Pair()
    async with Store(pair.current) as plain:
        for name in ("a", "b"):
            await plain.collection(name).put_many({str(n): {} for n in range(10)})
    migration = pair.migration()
    async with Store(migration):
        assert (await of(pair)).moving is None
        await migration.control.limit(documents_per_second=5)
        seen: list[Status] = []
        tasks: list[asyncio.Task[None]] = []

        async def look(observer: Observer) -> None:
            seen.append(await observer.look())

        async with observed(migration) as observer:

            def report(_: Progress) -> None:
                tasks.append(asyncio.create_task(look(observer)))

            await backfill(migration, report=report, chunk=2)
            await asyncio.gather(*tasks)
        found = await of(pair)
    moving = found.moving
    assert moving is not None
    assert (moving.step, moving.done, moving.total, moving.finished) == ("backfill", 20, 20, True)
    assert moving.percent == 100.0
    assert [(one.collection, one.done, one.total) for one in moving.collections] == [
        ("a", 10, 10),
        ("b", 10, 10),
    ]
    under_way = [one.moving for one in seen if one.moving and not one.moving.finished]
    assert any(0 < one.percent < 100 and one.rate and one.eta for one in under_way)


async def test_the_work_of_each_phase_is_shown() -> None:
    """Handing off and handing back begin anew with each step; in the target there is none."""
    pair = Pair()
    migration = pair.migration()
    async with Store(migration) as store:
        await store.collection("c").put("k", {})
        await take_for_verified(migration)
        await advance(migration, Phase.HANDOFF)
        assert (await of(pair)).moving is None
        await hand_off(migration)
        assert _step(await of(pair)) == "handoff"
        await advance(migration, Phase.TARGET)
        assert (await of(pair)).moving is None
        await rollback(migration, Phase.DUAL_WRITE)
        assert _step(await of(pair)) == "handback"


def _step(found: Status) -> str | None:
    return None if found.moving is None else found.moving.step


async def test_what_processes_work_at_is_told_but_not_what_silent_ones_did() -> None:
    """With why it goes no faster; an operator's pause is the reason before all others."""
    pair = Pair()
    migration = pair.migration()
    async with Store(migration):
        working = Progress(
            "verify", "c", 5, 10, rate=2.0, eta=timedelta(seconds=3), throttle="slow"
        )
        with shown(migration, lambda _: None) as tell:
            tell(working)
            await migration.presence._register()
        found = await of(pair)
        [one] = found.working.values()
        assert (one.step, one.done, one.eta, one.throttle) == ("verify", 5, 3.0, "slow")
        assert found.throttle == "slow"
        await migration.control.pause("the sale")
        assert (await of(pair)).throttle == "paused: the sale"
        await migration.control.resume()
        await migration.presence._register()
        assert (await of(pair)).working == {}
        migration.members._clock = VersionClock(lambda: now_in_microseconds() - 3_600_000_000)
        stale = Member(
            process="silent:1",
            phase=Phase.DUAL_WRITE,
            generation=1,
            lease=9,
            grace=1,
            health=Health(working=Working.of(working)),
        )
        await migration.members.put(migration._current, "silent", stale)
        found = await of(pair)
        assert (found.working, found.throttle) == ({}, None)


async def test_mismatches_are_told_with_their_age() -> None:
    """As the last verification left them; none after a clean one."""
    pair = Pair()
    migration = pair.migration()
    async with Store(migration) as store:
        await store.collection("c").put("k", {})
        del pair.target.memory._collections["c"]["k"]
        await verify(migration)
        found = await of(pair)
        assert found.mismatches == 1
        assert found.oldest_mismatch is not None
        await verify(migration, repair=True)
        await verify(migration)
        found = await of(pair)
        assert (found.mismatches, found.oldest_mismatch) == (0, None)
