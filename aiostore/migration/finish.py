"""Handing the service over to the target."""

from aiostore.errors import MigrationError
from aiostore.migration import control
from aiostore.migration.adaptor import MigrationAdaptor


async def finish(migration: MigrationAdaptor) -> None:
    """End a complete migration: from now on a plain store opens the target, not the source.

    Writes through `migration` are refused from here on, so the service stops writing before, closes
    its store, and opens the target's URL. Nothing is deleted. May be repeated after a crash.

    Raises:
        MigrationError: the stores are not known to be equal; `verify` says where they differ.
    """
    await migration.drain()
    if not migration.complete:
        raise MigrationError(
            "the target is not known to be complete "
            f"(verified: {migration.verified}, documents in doubt: {migration.repair.suspects}): "
            "run backfill and verify until they are clean",
            store=migration.name,
        )
    migration.refuse_writes()
    await migration.drain()
    await control.close(migration.current, migration.target, migration.migration)
