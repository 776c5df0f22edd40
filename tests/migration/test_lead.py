"""Leading a migration forward in one call."""

import asyncio
from datetime import timedelta

import pytest
from faults import Pair
from msgspec.structs import replace

from aiostore.errors import MigrationError
from aiostore.migration import MigrationAdaptor, Phase, advance, lead, rollback
from aiostore.migration.members import Health, Member
from aiostore.protocols import Mark
from aiostore.store import Store


async def filled(pair: Pair, number: int = 30) -> None:
    """Some documents are there before."""
    async with Store(pair.current) as plain:
        await plain.collection("c").put_many({str(n): {"n": n} for n in range(number)})


async def test_by_default_both_stores_become_equal_and_no_step_is_taken() -> None:
    """What an operator may do at any time."""
    pair = Pair()
    await filled(pair)
    migration = pair.migration()
    said: list[str] = []
    async with Store(migration):
        control = await lead(migration, say=said.append)
        assert (control.phase, control.generation, control.verified) == (Phase.DUAL_WRITE, 1, 1)
        assert pair.equal()
        assert "30 compared, 0 differed" in said
        said.clear()
        await lead(migration, say=said.append)
        assert said == []


async def test_what_differs_is_mended_until_nothing_does() -> None:
    """Also what is ahead in the target, which is settled only after the grace."""
    pair = Pair()
    await filled(pair)
    migration = pair.migration()
    async with Store(migration) as store:
        await lead(migration)
        del pair.target.memory._collections["c"]["7"]
        del pair.current.memory._collections["c"]["8"]
        await migration.control.change(lambda now: replace(now, verified=None))
        control = await lead(migration)
        assert control.is_verified
        assert pair.equal()
        assert "8" not in [document.key async for document in store.collection("c").scan()]


@pytest.mark.parametrize("to", [Phase.HANDOFF, Phase.TARGET])
async def test_it_goes_as_far_as_it_is_told(to: Phase) -> None:
    """Every document is handed off; a second call finds nothing to do."""
    pair = Pair()
    await filled(pair)
    migration = pair.migration()
    async with Store(migration):
        for _ in range(2):
            control = await lead(migration, to)
            assert control.phase is to
            assert {record.mark for record in pair.current.held().values()} == {Mark.MOVED}
        said: list[str] = []
        assert (await lead(migration, say=said.append)).phase is to
        assert said == [f"the migration is in the phase {to.value} already"]


async def test_a_way_back_that_was_broken_off_is_ended_first() -> None:
    """Documents that were handed off are handed back, and then it goes forward."""
    pair = Pair()
    await filled(pair)
    migration = pair.migration()
    async with Store(migration):
        await lead(migration, Phase.HANDOFF)
        await advance(migration, Phase.DUAL_WRITE)
        said: list[str] = []
        await lead(migration, say=said.append)
        assert said[0] == "handing back what was handed off"
        assert {record.mark for record in pair.current.held().values()} == {Mark.LIVE}


async def test_no_way_leads_forward_from_the_end_of_the_way_back() -> None:
    """The migration can only be aborted then."""
    pair = Pair()
    migration = pair.migration()
    async with Store(migration):
        await rollback(migration)
        with pytest.raises(MigrationError, match="abort"):
            await lead(migration)


async def test_it_waits_until_no_process_is_in_doubt() -> None:
    """Documents are handed off only when all processes know them to be equal."""
    pair = Pair()
    await filled(pair)
    migration = pair.migration()
    async with Store(migration):
        await _doubts(migration, 3)
        said: list[str] = []
        leading = asyncio.create_task(lead(migration, Phase.HANDOFF, say=said.append))
        while said[-1:] != ["waiting until nothing is in doubt in elsewhere:1"]:
            await _doubts(migration, 3)
            await asyncio.sleep(0)
        assert migration.phase is Phase.DUAL_WRITE
        await _doubts(migration, 0)
        while not leading.done():
            await _follow(migration)
            await asyncio.sleep(0)
        assert (await leading).phase is Phase.HANDOFF


async def test_what_the_target_has_in_advance_is_waited_for() -> None:
    """It may be a write under way, so it is settled after the grace, and compared again then."""
    pair = Pair()
    await filled(pair)
    migration = pair.migration(grace=timedelta(milliseconds=50))
    async with Store(migration):
        await lead(migration)
        del pair.current.memory._collections["c"]["8"]
        await migration.control.change(lambda now: replace(now, verified=None))
        said: list[str] = []
        await lead(migration, say=said.append)
        assert [text for text in said if "compared" in text] == [
            "30 compared, 1 differed",
            "29 compared, 0 differed",
        ]
        assert pair.equal()


async def test_a_process_that_cannot_reach_the_target_is_told() -> None:
    """That is not waited for: somebody has to see to it."""
    pair = Pair()
    await filled(pair)
    migration = pair.migration()
    async with Store(migration):
        await lead(migration)
        leading = asyncio.create_task(lead(migration, Phase.HANDOFF))
        while not leading.done():
            await _renew(migration, Phase.DUAL_WRITE, 1, 0, connected=False)
            await asyncio.sleep(0)
        with pytest.raises(MigrationError, match="not been reached yet by elsewhere:1"):
            await leading
        assert migration.phase is Phase.DUAL_WRITE


async def test_a_proof_that_has_become_void_is_made_again() -> None:
    """Somebody has died, say, before the step could be taken."""
    pair = Pair()
    await filled(pair)
    migration = pair.migration()
    async with Store(migration):
        await lead(migration)
        await _doubts(migration, 3)
        said: list[str] = []
        leading = asyncio.create_task(lead(migration, Phase.HANDOFF, say=said.append))
        while "going to the phase handoff" not in said:  # noqa: ASYNC110  # the library needs no event for it
            await asyncio.sleep(0)
        await migration.control.change(lambda now: replace(now, verified=None))
        while "30 compared, 0 differed" not in said:
            await _doubts(migration, 3)
            await asyncio.sleep(0)
        await migration.members.remove(migration._current, "another")
        assert (await leading).phase is Phase.HANDOFF


async def _doubts(migration: MigrationAdaptor, number: int) -> None:
    """Another process renews its lease, and is in doubt about so many documents."""
    await _renew(migration, Phase.DUAL_WRITE, 1, number)


async def _follow(migration: MigrationAdaptor) -> None:
    """It takes whatever step there is."""
    control = migration.control.latest
    await _renew(migration, control.phase, control.generation, 0)


async def _renew(
    migration: MigrationAdaptor,
    phase: Phase,
    generation: int,
    suspects: int,
    *,
    connected: bool = True,
) -> None:
    member = Member(
        process="elsewhere:1",
        phase=phase,
        generation=generation,
        lease=60,
        grace=60,
        health=Health(connected=connected, suspects=suspects),
    )
    await migration.members.put(migration._current, "another", member)
