"""Steps that many processes take: none is left behind, and the dead are waited out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import pytest
from faults import Pair, take_for_verified
from msgspec.structs import replace
from virtual_time import in_virtual_time

from aiostore.errors import MigrationError, UnavailableError
from aiostore.limits import SYSTEM_COLLECTION
from aiostore.migration import (
    MigrationAdaptor,
    Phase,
    Waiting,
    abort,
    advance,
    backfill,
    complete,
    finish,
    hand_back,
    hand_off,
    rollback,
    verify,
)
from aiostore.migration.legs import Leg
from aiostore.migration.members import Member
from aiostore.protocols import DocumentId, Mark, Purge
from aiostore.store import Store

SHORT = timedelta(milliseconds=200)


def process(pair: Pair, **settings: timedelta) -> MigrationAdaptor:
    """The wrapper of one of several processes."""
    return pair.migration(lease=SHORT, **settings)


@asynccontextmanager
async def processes(pair: Pair, number: int) -> AsyncIterator[list[Store]]:
    """Several processes of a service."""
    async with AsyncExitStack() as running:
        yield [await running.enter_async_context(Store(process(pair))) for _ in range(number)]


def wrapper(store: Store) -> MigrationAdaptor:
    """What a store runs on."""
    return MigrationAdaptor.of(store)


async def test_every_process_follows_a_step() -> None:
    """Whoever takes it, it is over when all have adopted the phase."""
    pair = Pair()
    async with processes(pair, 3) as stores:
        await take_for_verified(wrapper(stores[0]))
        control = await advance(wrapper(stores[1]), Phase.HANDOFF)
        assert (control.phase, control.generation) == (Phase.HANDOFF, 2)
        assert {wrapper(store).phase for store in stores} == {Phase.HANDOFF}
        everyone = await wrapper(stores[2]).members.all()
        assert [one.member.generation for one in everyone.values()] == [2, 2, 2]


async def test_all_the_way_and_back_and_forward_again() -> None:
    """Three processes go to the target, all the way back to dual writes, and on to the end."""
    pair = Pair()
    async with processes(pair, 3) as stores:
        first, second, third = (store.collection("c") for store in stores)
        lead = wrapper(stores[0])
        await first.put("a", {"n": 1})
        await backfill(lead)
        assert (await verify(lead)).clean
        await advance(lead, Phase.HANDOFF)
        await second.put("b", {"n": 2})
        await hand_off(lead)
        await advance(lead, Phase.TARGET)
        born = await third.create("born in the target", {"n": 3})
        await rollback(lead, Phase.DUAL_WRITE)
        assert {record.mark for record in pair.current.held().values()} == {Mark.LIVE}
        assert (await first.get("born in the target")).version == born.version
        await second.put("b", {"n": 4})
        assert (await verify(lead)).clean
        await finish(lead)
        assert [document.key async for document in third.scan()] == ["a", "b", born.key]
    async with Store(pair.target) as plain:
        assert (await plain.collection("c").get("b")).value == {"n": 4}


async def test_a_migration_that_is_aborted_leaves_the_target_clean() -> None:
    """The way back from the target to the plain current store; nothing is lost."""
    pair = Pair()
    async with processes(pair, 2) as stores:
        first, second = (store.collection("c") for store in stores)
        lead = wrapper(stores[0])
        await first.put("a", {"n": 1})
        await verify(lead, repair=True)
        await verify(lead)
        await advance(lead, Phase.HANDOFF)
        await hand_off(lead)
        await advance(lead, Phase.TARGET)
        await second.put("b", {"n": 2})
        await second.delete("a")
        await rollback(lead)
        assert wrapper(stores[1]).phase is Phase.CURRENT
        await second.put("c", {"n": 3})
        await abort(lead)
        await first.put("d", {"n": 4})
        with pytest.raises(MigrationError, match="abort it, and begin a new one"):
            await advance(lead, Phase.DUAL_WRITE)
    assert await pair.target.memory.collections() == []
    async with Store(pair.current) as plain:
        assert [document.key async for document in plain.collection("c").scan()] == ["b", "c", "d"]
    async with Store(pair.target) as plain:
        assert await plain.collections() == []


@pytest.mark.parametrize(
    ("path", "to", "reason"),
    [
        ([], Phase.HANDOFF, "not known to be complete"),
        ([], Phase.TARGET, "go step by step"),
        ([Phase.HANDOFF], Phase.TARGET, "run hand_off first"),
        ([Phase.HANDOFF, hand_off, Phase.TARGET, Phase.HANDOFF], Phase.DUAL_WRITE, "run hand_off"),
        ([Phase.HANDOFF, Phase.DUAL_WRITE], Phase.HANDOFF, "run hand_back first"),
        ([Phase.HANDOFF, Phase.DUAL_WRITE], Phase.CURRENT, "run hand_back first"),
    ],
)
async def test_a_step_that_comes_too_early_is_refused(
    path: list[Phase | Callable[[MigrationAdaptor], Awaitable[object]]], to: Phase, reason: str
) -> None:
    """Nothing is changed then, and the message says what comes first."""
    async with processes(Pair(), 1) as [store]:
        lead = wrapper(store)
        for step in path:
            if isinstance(step, Phase):
                await advance(lead, step, force=True)
            else:
                await step(lead)
        before = await lead.control.read()
        with pytest.raises(MigrationError, match=reason):
            await advance(lead, to)
        assert await lead.control.read() == before


@pytest.mark.parametrize("end", [complete, abort])
async def test_an_end_that_comes_too_early_is_refused(
    end: Callable[[MigrationAdaptor], Awaitable[None]],
) -> None:
    """A migration ends in the target, or back in the current store."""
    async with processes(Pair(), 1) as [store]:
        with pytest.raises(MigrationError, match="in 'dual-write'"):
            await end(wrapper(store))


@pytest.mark.parametrize("phase", [Phase.DUAL_WRITE, Phase.TARGET])
async def test_a_sweep_has_its_phase(phase: Phase) -> None:
    """Documents are handed off in the phase of that name alone."""
    async with processes(Pair(), 1) as [store]:
        lead = wrapper(store)
        if phase is Phase.TARGET:
            await advance(lead, Phase.HANDOFF, force=True)
            await hand_off(lead)
            await advance(lead, Phase.TARGET)
        with pytest.raises(MigrationError, match="this takes the phase 'handoff'"):
            await hand_off(lead)


async def test_a_dead_process_is_waited_out() -> None:
    """A step waits for its lease and its grace, says for whom, and then goes on without it."""
    pair = Pair()
    dead, told = process(pair, grace=SHORT, current_deadline=SHORT), list[Waiting]()
    store = await Store(dead).open()
    async with processes(pair, 1) as [alive]:
        lead = wrapper(alive)
        dead._upkeep.pop().cancel()
        for task in dead._upkeep:
            task.cancel()
        await advance(lead, Phase.HANDOFF, force=True, tell=told.append)
        assert len(told) > 1
        assert len(told[-1].late) == 1
        assert told[-1].seconds >= 0.4
        assert list(await lead.members.all()) == [lead.presence.id]
        with pytest.raises(UnavailableError, match="could not renew its lease"):
            await dead.write([])
        dead._upkeep.clear()
        await store.aclose()


async def test_a_dead_process_that_was_in_doubt_is_waited_out() -> None:
    """Its doubts are nobody's any more: when it is known dead, a new verification counts."""
    pair = Pair()
    dead = process(pair, grace=SHORT, current_deadline=SHORT)
    store = await Store(dead).open()
    async with processes(pair, 1) as [alive]:
        lead = wrapper(alive)
        await advance(lead, Phase.DUAL_WRITE)
        dead.repair.suspect([DocumentId("c", "a")], landing=True)
        await dead.presence._register()
        upkeep = set(dead._upkeep)
        for task in upkeep:
            task.cancel()
        await asyncio.wait(upkeep)
        await take_for_verified(lead)
        with pytest.raises(MigrationError, match="verified: False, documents in doubt: 0"):
            await advance(lead, Phase.HANDOFF)
        await take_for_verified(lead)
        await advance(lead, Phase.HANDOFF)
        assert list(await lead.members.all()) == [lead.presence.id]
        await store.aclose()


async def test_a_live_process_in_doubt_holds_the_hand_off_up() -> None:
    """It is asked once more, and what it says then counts."""
    pair = Pair()
    doubting = process(pair, grace=timedelta(hours=1))
    async with Store(doubting), processes(pair, 1) as [alive]:
        lead = wrapper(alive)
        await take_for_verified(lead)
        doubting.repair.suspect([DocumentId("c", "a")], landing=True)
        await doubting.presence._register()
        with pytest.raises(MigrationError, match="verified: True, documents in doubt: 1"):
            await advance(lead, Phase.HANDOFF)
        doubting.repair._suspects.clear()
        await advance(lead, Phase.HANDOFF)


async def test_a_process_that_comes_back_joins_in_the_phase_of_now() -> None:
    """It had been suspended: what it began then is given up, what it begins now is right."""
    pair = Pair()
    async with processes(pair, 2) as stores:
        frozen, alive = stores
        lead, late = wrapper(alive), wrapper(frozen)
        await alive.collection("c").put("a", {"n": 1})
        late.presence._until = 0.0  # as if time had passed it by
        async with late.step(Phase.DUAL_WRITE):
            late.presence._until = 0.0
            await late.presence.ensure(SHORT)
            with pytest.raises(UnavailableError, match="could not renew its lease"):
                late.presence.check()
        late.presence.check()
        await advance(lead, Phase.HANDOFF, force=True)
        await frozen.collection("c").put("a", {"n": 2})
        assert pair.current.held()["a"].mark is Mark.MOVED


async def test_a_lease_that_ran_out_is_not_renewed_by_a_late_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that was suspended over its renewal gives up what it had begun before."""
    pair = Pair()
    async with processes(pair, 1) as [store]:
        late, answered = wrapper(store), asyncio.Event()
        put = late.members.put

        async def suspended_over_it(leg: Leg, id_: str, member: Member) -> None:
            await put(leg, id_, member)
            late.presence._until = 0.0  # as if time had passed it by
            answered.set()

        async with late.step(Phase.DUAL_WRITE):
            with monkeypatch.context() as patches:
                patches.setattr(late.members, "put", suspended_over_it)
                late.presence.nudge()
                await answered.wait()
            await late.presence.ensure(SHORT)
            with pytest.raises(UnavailableError, match="could not renew its lease"):
                late.presence.check()
        late.presence.check()


async def test_a_process_that_missed_an_abort_writes_to_the_current_store() -> None:
    """It had been suspended in the target, of which nothing is left when it wakes up."""
    pair = Pair()
    asleep = process(pair)
    async with Store(asleep) as store, processes(pair, 1) as [other]:
        lead = wrapper(other)
        await advance(lead, Phase.HANDOFF, force=True)
        await hand_off(lead)
        await advance(lead, Phase.TARGET)
        [beating] = [task for task in asleep._upkeep if "lease" in task.get_name()]
        asleep._upkeep.discard(beating)
        beating.cancel()
        await asyncio.wait([beating])
        await rollback(lead)
        await abort(lead)
        asleep.presence._until = 0.0
        asleep._keep(asleep.presence.run(), "lease")
        await store.collection("c").put("a", {"n": 1})
        assert asleep.phase is Phase.CURRENT
        assert pair.current.held()["a"].body == '{"n":1}'
    assert await pair.target.memory.collections() == []


async def test_a_process_whose_migration_is_gone_writes_nothing() -> None:
    """Somebody has emptied the current store: nobody can know where the documents are."""
    pair = Pair()
    async with processes(pair, 1) as [store]:
        await advance(wrapper(store), Phase.HANDOFF, force=True)
        await pair.current.memory.purge(Purge(SYSTEM_COLLECTION, everything=True))
        with pytest.raises(MigrationError, match="'control/test' is gone"):
            await wrapper(store).control.read()
        wrapper(store).presence._until = 0.0
        with pytest.raises(UnavailableError, match="could not renew its lease"):
            await wrapper(store).presence.ensure(SHORT)


async def test_a_step_waits_for_what_is_under_way() -> None:
    """A process acknowledges a step when all has ended that it had begun before."""
    pair = Pair()
    async with processes(pair, 2) as stores:
        lead = wrapper(stores[0])
        async with wrapper(stores[1]).step(Phase.DUAL_WRITE):
            step = asyncio.create_task(advance(lead, Phase.HANDOFF, force=True))
            _, waiting = await asyncio.wait([step], timeout=2 * SHORT.total_seconds())
            assert waiting == {step}
            assert wrapper(stores[1]).phase is Phase.HANDOFF
        await step


@in_virtual_time
async def test_nothing_is_handed_back_once_documents_are_handed_off_again() -> None:
    """A step forward waits for who is still at it, and from before that on nobody begins."""
    pair = Pair()
    async with processes(pair, 2) as stores:
        lead, other = map(wrapper, stores)
        await came_back(lead)
        async with other.presence.returning() as they_are:
            assert they_are
            step = asyncio.create_task(advance(lead, Phase.HANDOFF, force=True))
            await asyncio.sleep(5)
            assert not step.done()
            async with other.presence.returning() as they_still_are:
                assert not they_still_are
        assert (await step).phase is Phase.HANDOFF


@in_virtual_time
async def test_what_was_sent_to_hand_back_is_waited_for() -> None:
    """Where a store did not answer that lasts until nothing can take effect any more."""
    pair = Pair()
    lead, other = (process(pair, grace=timedelta(seconds=3)) for _ in range(2))
    async with Store(lead), Store(other):
        await came_back(lead)
        async with other.presence.returning():
            other.landing.unanswered()
        began = asyncio.get_running_loop().time()
        await advance(lead, Phase.HANDOFF, force=True)
        assert asyncio.get_running_loop().time() - began >= 3


@in_virtual_time
async def test_a_sweep_that_is_late_hands_nothing_back() -> None:
    """It fails when the step after it is being taken, and leaves everything as it is."""
    pair = Pair()
    async with processes(pair, 2) as stores:
        lead, other = map(wrapper, stores)
        await stores[0].collection("c").put("a", {"n": 1})
        await advance(lead, Phase.HANDOFF, force=True)
        await hand_off(lead)
        await advance(lead, Phase.DUAL_WRITE)
        await lead.control.pause("the sale")
        late = asyncio.create_task(hand_back(other))
        await asyncio.sleep(5)
        assert (await lead.control.read()).is_returning
        await lead.control.change(lambda now: replace(now, returning=None))
        await lead.control.resume()
        with pytest.raises(MigrationError, match="another step has been taken"):
            await late
        assert {record.mark for record in pair.current.held().values()} == {Mark.MOVED}


async def came_back(migration: MigrationAdaptor) -> None:
    """Handed off, and handed back."""
    await advance(migration, Phase.HANDOFF, force=True)
    await hand_off(migration)
    await advance(migration, Phase.DUAL_WRITE)
    await hand_back(migration)


async def test_two_coordinators_take_one_step() -> None:
    """Both come to the same end, and the generation is one further."""
    async with processes(Pair(), 2) as stores:
        both = [advance(wrapper(store), Phase.HANDOFF, force=True) for store in stores]
        assert [control.generation for control in await asyncio.gather(*both)] == [2, 2]


async def test_in_the_target_the_current_store_is_not_needed() -> None:
    """A process serves, and even starts, while the store that was left is down."""
    pair = Pair()
    async with processes(pair, 1) as [store]:
        await advance(wrapper(store), Phase.HANDOFF, force=True)
        await hand_off(wrapper(store))
        await advance(wrapper(store), Phase.TARGET)
        pair.current.down = True
        await store.collection("c").put("a", {"n": 1})
        async with processes(pair, 1) as [late]:
            assert wrapper(late).phase is Phase.TARGET
            assert (await late.collection("c").get("a")).value == {"n": 1}
            pair.current.down = False
            await wrapper(late).presence.ensure(SHORT)
            await asyncio.gather(
                *(task for task in wrapper(late)._upkeep if "connection" in task.get_name())
            )
            await rollback(wrapper(late), Phase.DUAL_WRITE)
        assert (await store.collection("c").get("a")).value == {"n": 1}
        assert pair.current.held()["a"].mark is Mark.LIVE


async def test_before_the_target_the_current_store_is_needed() -> None:
    """A process does not start without the store that has the documents."""
    pair = Pair()
    async with processes(pair, 1):
        pair.current.down = True
        with pytest.raises(UnavailableError):
            await Store(process(pair)).open()


async def test_plain_stores_are_kept_out_from_the_hand_off_on() -> None:
    """Until then, and again once all documents are back, the current store may be opened."""
    pair = Pair()
    async with processes(pair, 1) as [store]:
        lead = wrapper(store)
        async with Store(pair.current):
            pass
        await advance(lead, Phase.HANDOFF, force=True)
        with pytest.raises(MigrationError, match="is moving this store's documents"):
            await Store(pair.current).open()
        await rollback(lead, Phase.DUAL_WRITE)
        assert lead.control.latest.is_swept
        await hand_back(lead)
        async with Store(pair.current):
            pass


async def test_a_rollback_never_goes_forward() -> None:
    """A phase that lies ahead is refused, even if the stores are proven equal."""
    pair = Pair()
    migration = pair.migration()
    async with pair.store(migration):
        await take_for_verified(migration)
        with pytest.raises(MigrationError, match="'handoff' lies ahead: advance it"):
            await rollback(migration, Phase.HANDOFF)
        assert migration.phase is Phase.DUAL_WRITE
