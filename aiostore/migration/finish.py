"""Handing the service over to the target."""

from aiostore.errors import MigrationError
from aiostore.migration import control
from aiostore.migration.adaptor import MigrationAdaptor
from aiostore.migration.phases import Phase
from aiostore.migration.progress import Report, silent
from aiostore.migration.sweeps import hand_off


async def finish(migration: MigrationAdaptor, *, report: Report = silent) -> None:
    """End a complete migration of one process: the target takes over, while the service goes on.

    Every document is handed off. Afterwards the service may go on through `migration`, and a plain
    store opens the target, not the source. Nothing is deleted. May be repeated after a crash.

    Args:
        migration: the open wrapper, of the one process that writes.
        report: is called after each chunk.

    Raises:
        MigrationError: the stores are not known to be equal; `verify` says where they differ.
        UnavailableError: a store did not answer; call it again.
    """
    if migration.phase is Phase.DUAL_WRITE:
        await migration.drain()
        if not migration.complete:
            raise MigrationError(
                "the target is not known to be complete "
                f"(verified: {migration.verified}, documents in doubt: "
                f"{migration.repair.suspects}): run backfill and verify until they are clean",
                store=migration.name,
            )
        await migration.enter(Phase.HANDOFF)
    if migration.phase is Phase.HANDOFF:
        await hand_off(migration, report=report)
        await migration.enter(Phase.TARGET)
    await control.close(migration.current, migration.target, migration.migration)
