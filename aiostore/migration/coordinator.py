"""The steps of a migration: taken when every process has taken the last one, and never before.

Two processes are at most one step apart, and nothing that was begun two steps ago can still land:
that is what the protocol (`docs/migration.md`) rests on. A process acknowledges a step by its
record (`members`). One that is silent for as long as its lease and its grace is dead.

Any process that has the migration open may take a step, or several at once may try.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta

from msgspec.structs import replace

from aiostore.errors import MigrationError
from aiostore.migration import rows
from aiostore.migration.adaptor import MigrationAdaptor
from aiostore.migration.control import Control
from aiostore.migration.members import Seen, moment
from aiostore.migration.phases import Phase
from aiostore.protocols import Exactly, Mark, Purge, Record, Scan, Write

_logger = logging.getLogger("aiostore.migration")

_LOOKS = 12
"""So often a lease the members are looked at."""

_FIRST_PAUSE = 0.005
"""Seconds; this process itself needs no longer."""

_HAND_OFF = "run hand_off first (`aiostore migrate run --to handoff`)"
_HAND_BACK = "run hand_back first (`aiostore migrate rollback --to dual-write`)"


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a step waits for.

    Attributes:
        late: the processes that have not acknowledged the last step, or were not ready for the next
            when they were last heard of; as a person knows them.
        seconds: for how long they have been waited for.
    """

    late: tuple[str, ...]
    seconds: float


Tell = Callable[[Waiting], None]
"""Is called now and then while processes are waited for; must not block."""


def silently(waiting: Waiting) -> None:
    """Tell nothing."""


async def advance(
    migration: MigrationAdaptor, to: Phase, *, force: bool = False, tell: Tell = silently
) -> Control:
    """Take one step, once every live process has taken the last; returns when all have taken this.

    Forward: `dual-write`, `handoff`, `target`. Back: the other way round, to `current`. In
    `handoff` and, on the way back, in `dual-write` a sweep (`hand_off`, `hand_back`) comes before
    the next step. Where the step has been taken already, it only waits.

    Args:
        migration: the open wrapper, in a process of the service or beside it.
        to: the phase to go to: the next, or the last.
        force: hand documents off though the stores are not known to be equal. Nothing is lost by
            that, as every document is compared when it is handed off; it takes longer.
        tell: is called while it waits.

    Raises:
        MigrationError: no step leads there from here, or something has to be done before.
        UnavailableError: a store did not answer; call it again.
    """
    control = await migration.control.create()
    if control.phase is not to:
        problem = problem_with(control, to)
        if problem is not None:
            raise MigrationError(problem, store=migration.name)
        await migration.claims.check_open()
        await await_members(migration, control, tell=tell)
        if to is Phase.HANDOFF and control.phase is Phase.DUAL_WRITE:
            await _end_returning(migration, control, tell)
            await _hear_from_unwell(migration, control, tell)
            if not force:
                await _check_equal(migration)
            await _check_connected(migration)
            await migration.claims.keep_plain_stores_out()
        control = await migration.control.change(lambda now: _stepped(migration, control, now, to))
        if to is Phase.CURRENT:
            await migration.claims.let_plain_stores_in()
    migration.presence.nudge()
    await await_members(migration, control, tell=tell)
    return control


async def await_members(
    migration: MigrationAdaptor, control: Control, *, tell: Tell = silently
) -> None:
    """Wait until every live process has taken the last step, and has ended what was before it.

    Raises:
        MigrationError: another step was taken meanwhile.
        UnavailableError: a store did not answer.
    """
    await _wait_for(
        migration, control, lambda one: one.member.generation < control.generation, tell
    )


async def complete(migration: MigrationAdaptor, *, tell: Tell = silently) -> None:
    """End a migration whose documents are all in the target: a plain store may open it now.

    What is left of copies is removed from the target. Processes that run on the wrapper may go on,
    until they are restarted with the target's URL. The current store is left as it is; a plain
    store refuses to open it. There is no way back from here, but another migration. May be repeated
    after a crash.

    Raises:
        MigrationError: the migration is not in the phase `target`.
        UnavailableError: a store did not answer; call it again.
    """
    control = await migration.control.create()
    if control.phase is not Phase.TARGET:
        raise MigrationError(
            f"a migration is completed from the phase {Phase.TARGET.value!r}, and it is in "
            f"{control.phase.value!r}: advance it first",
            store=migration.name,
        )
    await await_members(migration, control, tell=tell)
    await _remove_copies(migration)
    await migration.claims.close()
    # Younger ones may still refuse a write that is sent again; plain stores purge them later.
    old = migration.now() - 2 * migration.grace // timedelta(microseconds=1)
    for collection in filter(rows.is_users, await migration.target.collections()):
        await migration.target.purge(Purge(collection, deleted_before=old))


async def abort(migration: MigrationAdaptor) -> None:
    """End a migration that has come all the way back: the target is empty as before it.

    Everything is removed from the target. Processes that run on the wrapper may go on, until they
    are restarted with the current store's URL. The migration's name cannot be used again. May be
    repeated after a crash.

    Raises:
        MigrationError: the migration is not in the phase `current`.
        UnavailableError: a store did not answer; call it again.
    """
    control = await migration.control.create()
    if control.phase is not Phase.CURRENT:
        raise MigrationError(
            f"a migration is aborted in the phase {Phase.CURRENT.value!r}, and it is in "
            f"{control.phase.value!r}: roll it back first",
            store=migration.name,
        )
    await await_members(migration, control)
    for collection in await migration.target.collections():
        await migration.target.purge(Purge(collection, everything=True))
    await migration.claims.drop()


def problem_with(control: Control, to: Phase) -> str | None:
    """Why this step cannot be taken whatever the processes say, and what to do; None if it can."""
    if not control.phase.is_beside(to):
        return f"no step leads from {control.phase.value!r} to {to.value!r}: go step by step"
    if control.phase is Phase.CURRENT:
        return "the migration has come back to its beginning: abort it, and begin a new one"
    if to is Phase.TARGET and not control.is_swept:
        return f"not every document is known to be handed off: {_HAND_OFF}"
    if to is Phase.DUAL_WRITE and control.born_in_target and not control.is_swept:
        return f"documents may have been created in the target alone: {_HAND_OFF}"
    if control.phase is Phase.DUAL_WRITE and not control.pristine and not control.is_swept:
        return f"not every document is known to be handed back: {_HAND_BACK}"
    return None


def doubts_about(control: Control, suspects: Mapping[str, int]) -> str | None:
    """Why the stores are not known to be equal, and what to do; None if they are.

    Args:
        control: the control document.
        suspects: for each process, of how many documents it does not know that both are equal.
    """
    doubts = {process: number for process, number in suspects.items() if number}
    if control.is_verified and not doubts:
        return None
    where = f" in {', '.join(sorted(doubts))}" if doubts else ""
    return (
        "the target is not known to be complete "
        f"(verified: {control.is_verified}, documents in doubt: {sum(doubts.values())}{where}): "
        "run backfill and verify until they are clean (`aiostore migrate run`)"
    )


async def _end_returning(migration: MigrationAdaptor, control: Control, tell: Tell) -> None:
    """Nothing is handed back any more: it could undo what is handed off from the next step on.

    A hand-off can make both records of a document what they were before it came back, so whoever is
    still at that, were it for the second time, cannot tell.
    """
    if control.is_returning:
        await migration.control.change(lambda now: _not_returning(migration, control, now))
        await _wait_for(migration, control, lambda one: one.member.returning, tell)


def _not_returning(migration: MigrationAdaptor, known: Control, now: Control) -> Control:
    if now.generation != known.generation:
        raise _other_step(migration, now)
    return replace(now, returning=None)


async def _hear_from_unwell(migration: MigrationAdaptor, control: Control, tell: Tell) -> None:
    """Wait until each process that is not ready for the hand-off has said so again, or is dead."""
    first: dict[str, str] = {}

    def is_waited_for(one: Seen) -> bool:
        return (
            not one.member.health.is_sound and first.setdefault(one.id, one.version) == one.version
        )

    await _wait_for(migration, control, is_waited_for, tell)


async def _wait_for(
    migration: MigrationAdaptor, control: Control, is_waited_for: Callable[[Seen], bool], tell: Tell
) -> None:
    """Wait as long as there are such processes; one that is silent for too long is dead."""
    begun, pause = moment(), _FIRST_PAUSE
    while True:
        if (await migration.control.read()).generation != control.generation:
            raise MigrationError(
                "another step has been taken meanwhile: look at the status", store=migration.name
            )
        everyone = await migration.members.all()
        late = [one for one in everyone.values() if is_waited_for(one)]
        if not late:
            return
        for one in late:
            if one.is_dead:
                await _bury(migration, one)
        tell(Waiting(tuple(sorted(one.member.process for one in late)), moment() - begun))
        migration.presence.nudge()
        longest = min(one.member.lease for one in late) / _LOOKS
        pause = min(2 * pause, longest)
        await asyncio.sleep(pause)


def _stepped(migration: MigrationAdaptor, known: Control, now: Control, to: Phase) -> Control:
    if now.phase is to and now.generation == known.generation + 1:
        return now  # somebody else's, or an attempt of ours whose answer was lost
    if now.generation != known.generation:
        raise _other_step(migration, now)
    return replace(
        now,
        phase=to,
        generation=known.generation + 1,
        pristine=now.pristine and to is not Phase.HANDOFF,
        born_in_target=to is Phase.TARGET or (to is Phase.HANDOFF and now.born_in_target),
    )


def _other_step(migration: MigrationAdaptor, now: Control) -> MigrationError:
    return MigrationError(
        f"another step has been taken meanwhile, to {now.phase.value!r}: look at the status",
        store=migration.name,
    )


async def _check_equal(migration: MigrationAdaptor) -> None:
    control = await migration.control.read()  # a process that is dead may have changed it
    everyone = await migration.members.all()
    suspects: Counter[str] = Counter()
    for one in everyone.values():
        mine = one.id == migration.presence.id
        number = migration.repair.suspects if mine else one.member.health.suspects
        suspects[one.member.process] += number
    doubts = doubts_about(control, suspects)
    if doubts is not None:
        raise MigrationError(doubts, store=migration.name)


async def _check_connected(migration: MigrationAdaptor) -> None:
    everyone = await migration.members.all()
    without = [one.member.process for one in everyone.values() if not one.member.health.connected]
    if without:
        raise MigrationError(
            f"the target has not been reached yet by {', '.join(sorted(without))}",
            store=migration.name,
        )


async def _bury(migration: MigrationAdaptor, one: Seen) -> None:
    """Forget a dead process; what it had begun may be unequal."""
    _logger.warning("%s is dead: it has not renewed its lease", one.member.process)
    await migration.members.bury(one)
    await migration.control.change(
        lambda control: replace(control, verified=None, deaths=control.deaths + 1)
    )


async def _remove_copies(migration: MigrationAdaptor) -> None:
    """Remove what a plain store could take for a document, though it has been none."""
    for collection in filter(rows.is_users, await migration.target.collections()):
        request = Scan(collection, chunk=migration.target.capabilities.max_batch)
        async with aclosing(migration.target.scan(request)) as chunks:
            async for chunk in chunks:
                copies = [_removal(record) for record in chunk if record.mark is not Mark.LIVE]
                if copies:
                    await migration.target.write(copies)


def _removal(record: Record) -> Write:
    tombstone = replace(record, body=None)
    return Write(tombstone, Exactly(record.version), mark=record.mark, erase=True)
