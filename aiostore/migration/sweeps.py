"""Walks through both stores that move every document: to the target, and back."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from aiostore.errors import MigrationError
from aiostore.migration import rows
from aiostore.migration.adaptor import MigrationAdaptor
from aiostore.migration.phases import Phase
from aiostore.migration.progress import Progress, Report, silent
from aiostore.migration.scans import ids_of_both
from aiostore.protocols import DocumentId, Scan

_CHUNK = 100


async def hand_off(migration: MigrationAdaptor, *, report: Report = silent) -> int:
    """Make the target the authority of every document, also of those that are gone.

    Begun when every process is in the phase `handoff` or beyond; what is written meanwhile is
    handed off before it is written. May be interrupted and repeated.

    Returns:
        How many documents were gone through.

    Raises:
        MigrationError: this process is in another phase.
        UnavailableError: a store did not answer.
    """
    _check_phase(migration, Phase.HANDOFF)
    done = 0
    async for ids, collection, total in _everything(migration):
        await migration.handoff.forth(ids)
        done += len(ids)
        report(Progress("handoff", collection, total[0], max(*total)))
        await asyncio.sleep(0)  # a store in memory never lets the service in by itself
    return done


async def hand_back(migration: MigrationAdaptor, *, report: Report = silent) -> int:
    """Make the current store the authority of every document again: the way back.

    Begun when every process is back in the phase `dual-write`. May be interrupted and repeated.

    Returns:
        How many documents were gone through.

    Raises:
        MigrationError: this process is in another phase.
        UnavailableError: a store did not answer.
    """
    _check_phase(migration, Phase.DUAL_WRITE)
    done = 0
    async for ids, collection, total in _everything(migration):
        await migration.handoff.back(ids)
        done += len(ids)
        report(Progress("handback", collection, total[0], max(*total)))
        await asyncio.sleep(0)  # likewise
    return done


async def _everything(
    migration: MigrationAdaptor,
) -> AsyncGenerator[tuple[Sequence[DocumentId], str, tuple[int, int]], None]:
    """Chunks of ids; with each, its collection, and how many of about how many have come."""
    names = {*await migration.current.collections(), *await migration.target.collections()}
    for collection in filter(rows.is_users, sorted(names)):
        total = await migration.current.count(collection)
        chunk = min(_CHUNK, migration.capabilities.max_batch)
        come = 0
        walk = ids_of_both(migration.current, migration.target, Scan(collection, chunk=chunk))
        async with aclosing(walk) as chunks:
            async for ids in chunks:
                come += len(ids)
                yield ids, collection, (come, total)


def _check_phase(migration: MigrationAdaptor, phase: Phase) -> None:
    if migration.phase is not phase:
        raise MigrationError(
            f"this takes the phase {phase.value!r}, and this process is in "
            f"{migration.phase.value!r}: enter it first",
            store=migration.name,
        )
