"""Leading a migration forward: all the work of each phase, and the steps that were asked for."""

import asyncio
from collections.abc import Callable

from aiostore.errors import MigrationError
from aiostore.migration.adaptor import MigrationAdaptor
from aiostore.migration.backfill import backfill
from aiostore.migration.control import Control
from aiostore.migration.coordinator import Tell, advance, silently
from aiostore.migration.finish import rollback
from aiostore.migration.phases import Phase
from aiostore.migration.progress import Report, silent
from aiostore.migration.sweeps import hand_off
from aiostore.migration.verify import verify

_POLL = 0.5  # seconds

Say = Callable[[str], None]
"""Is told what begins, in words for a person; must not block."""


def saying_nothing(_: str) -> None:
    """Say nothing."""


async def lead(
    migration: MigrationAdaptor,
    to: Phase = Phase.DUAL_WRITE,
    *,
    report: Report = silent,
    tell: Tell = silently,
    say: Say = saying_nothing,
) -> Control:
    """Go forward to a phase, and do all the work of it, while the service goes on.

    In `dual-write` everything is copied and compared, and what differs is mended, until both stores
    are proven equal; in `handoff` every document is handed off; in `target` nothing is left to do.
    May be interrupted at any time and called again, and several may do it at once. Nothing is
    deleted.

    Args:
        migration: the open wrapper, in a process of the service or beside it.
        to: how far to go; no step beyond it is taken.
        report: is called after each chunk.
        tell: is called while other processes are waited for.
        say: is told what begins.

    Raises:
        MigrationError: the migration has come back to `current`, or somebody takes other steps.
        UnavailableError: a store did not answer; call it again.
    """
    order = list(Phase)
    control = await migration.control.create()
    if control.phase is Phase.CURRENT or to is Phase.CURRENT:
        raise MigrationError(
            "no way leads forward to or from the phase 'current': roll the migration back or abort "
            "it",
            store=migration.name,
        )
    if order.index(control.phase) > order.index(to):
        say(f"the migration is in the phase {control.phase.value} already")
        return control
    if control.phase is Phase.DUAL_WRITE:
        if not control.pristine and not control.is_swept:
            say("handing back what was handed off")
            await rollback(migration, Phase.DUAL_WRITE, report=report, tell=tell)
        await _prove_equal(migration, report, say)
        if to is Phase.DUAL_WRITE:
            return migration.control.latest
        control = await _begin_handing_off(migration, report, tell, say)
    if control.phase is Phase.HANDOFF:
        control = await migration.control.read()
        if not control.is_swept:
            say("handing off every document")
            await hand_off(migration, report=report, lease=migration.lease)
        if to is Phase.TARGET:
            say("going to the phase target")
            await advance(migration, Phase.TARGET, tell=tell)
    return migration.control.latest


async def _prove_equal(migration: MigrationAdaptor, report: Report, say: Say) -> None:
    """Copy, compare and mend until both stores are proven equal."""
    if (await migration.control.read()).is_verified:
        return
    say("copying what is not in the target yet")
    await backfill(migration, report=report, lease=migration.lease)
    say("comparing both stores, and mending what differs")
    while not (await migration.control.read()).is_verified:
        found = await verify(migration, repair=True, report=report)
        say(f"{found.compared:,} compared, {found.mismatches:,} differed")
        await settled(migration)


async def _begin_handing_off(
    migration: MigrationAdaptor, report: Report, tell: Tell, say: Say
) -> Control:
    """Take the step to `handoff` as soon as no process is in doubt about any document."""
    say("going to the phase handoff")
    said = ""
    while True:
        try:
            return await advance(migration, Phase.HANDOFF, tell=tell)
        except MigrationError:
            control, doubting = await migration.control.read(), await _doubting(migration)
            if control.phase is not Phase.DUAL_WRITE or (control.is_verified and not doubting):
                raise
        if doubting and doubting != said:
            said = doubting
            say(f"waiting until nothing is in doubt in {doubting}")
        await asyncio.sleep(_POLL)
        await _prove_equal(migration, report, say)


async def settled(migration: MigrationAdaptor) -> None:
    """Wait until this process has mended all that it knows to be different."""
    while migration.repair.suspects:  # noqa: ASYNC110  # the library needs no event for it
        await asyncio.sleep(_POLL)


async def _doubting(migration: MigrationAdaptor) -> str:
    """The processes that do not know of some document that both stores are equal."""
    everyone = await migration.members.all()
    doubting = {one.member.process for one in everyone.values() if one.member.health.suspects}
    return ", ".join(sorted(doubting))
