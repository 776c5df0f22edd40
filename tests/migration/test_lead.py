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
        doubting = await _member(migration, suspects=3)
        said: list[str] = []
        leading = asyncio.create_task(lead(migration, Phase.HANDOFF, say=said.append))
        while said[-1:] != ["waiting until nothing is in doubt in elsewhere:1"]:  # noqa: ASYNC110  # the library needs no event for it
            await asyncio.sleep(0)
        assert migration.phase is Phase.DUAL_WRITE
        await migration.members.remove(migration._current, doubting)
        assert (await leading).phase is Phase.HANDOFF


async def _member(migration: MigrationAdaptor, *, suspects: int) -> str:
    """Another process, which is in doubt."""
    member = Member(
        process="elsewhere:1",
        phase=Phase.DUAL_WRITE,
        generation=1,
        lease=60,
        grace=timedelta(minutes=1).total_seconds(),
        health=Health(connected=True, suspects=suspects),
    )
    await migration.members.put(migration._current, "another", member)
    return "another"
