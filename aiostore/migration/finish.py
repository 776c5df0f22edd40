"""Handing the service over to the target."""

from aiostore.errors import MigrationError
from aiostore.migration.adaptor import MigrationAdaptor
from aiostore.migration.coordinator import Tell, advance, complete, silently
from aiostore.migration.phases import Phase
from aiostore.migration.progress import Report, silent
from aiostore.migration.sweeps import hand_back, hand_off


async def finish(
    migration: MigrationAdaptor, *, report: Report = silent, tell: Tell = silently
) -> None:
    """Go the rest of the way forward: the target takes over, while the service goes on.

    Every document is handed off. Afterwards the service may go on through `migration`, and a plain
    store opens the target, not the source. Nothing is deleted. May be repeated after a crash.

    Args:
        migration: the open wrapper, in a process of the service or beside it.
        report: is called after each chunk.
        tell: is called while other processes are waited for.

    Raises:
        MigrationError: the stores are not known to be equal; `verify` says where they differ.
        UnavailableError: a store did not answer; call it again.
    """
    control = await migration.control.create()
    if control.phase is Phase.DUAL_WRITE:
        await migration.drain()
        control = await advance(migration, Phase.HANDOFF, tell=tell)
    if control.phase is Phase.HANDOFF:
        await hand_off(migration, report=report)
        await advance(migration, Phase.TARGET, tell=tell)
    await complete(migration, tell=tell)


async def rollback(
    migration: MigrationAdaptor,
    to: Phase = Phase.CURRENT,
    *,
    report: Report = silent,
    tell: Tell = silently,
) -> None:
    """Go back, step by step, while the service goes on: the current store takes over again.

    In the phase `current` every document is in the current store and nothing is written to the
    target any more; `abort` then ends the migration. May be repeated after a crash.

    Args:
        migration: the open wrapper, in a process of the service or beside it.
        to: how far; the service may go forward again from every phase but `current`.
        report: is called after each chunk.
        tell: is called while other processes are waited for.

    Raises:
        MigrationError: the migration is not beyond that phase.
        UnavailableError: a store did not answer; call it again.
    """
    control = await migration.control.create()
    order = list(Phase)
    if order.index(control.phase) < order.index(to):
        raise MigrationError(
            f"the migration is in the phase {control.phase.value!r}, and {to.value!r} lies ahead: "
            "advance it",
            store=migration.name,
        )
    if control.phase is Phase.TARGET and to is not Phase.TARGET:
        control = await advance(migration, Phase.HANDOFF, tell=tell)
    if control.phase is Phase.HANDOFF and to is not Phase.HANDOFF:
        if control.born_in_target and not control.is_swept:
            await hand_off(migration, report=report)
        control = await advance(migration, Phase.DUAL_WRITE, tell=tell)
    if control.phase is Phase.DUAL_WRITE and not control.pristine and not control.is_swept:
        await hand_back(migration, report=report)
        await migration.claims.let_plain_stores_in()
    if control.phase is not to:
        await advance(migration, to, tell=tell)
