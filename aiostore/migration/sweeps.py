"""Walks through both stores that move every document: to the target, and back."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial

from msgspec.structs import replace

from aiostore.errors import MigrationError
from aiostore.migration import rows
from aiostore.migration.adaptor import MigrationAdaptor
from aiostore.migration.control import Control
from aiostore.migration.coordinator import await_members
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
    control = await _begin(migration, Phase.HANDOFF)
    done = 0
    async for ids, collection, total in _everything(migration):
        async with migration.step(Phase.HANDOFF):
            await migration.handoff.forth(ids)
        done += len(ids)
        report(Progress("handoff", collection, total[0], max(*total)))
        await asyncio.sleep(0)  # a store in memory never lets the service in by itself
    await _end(migration, control)
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
    control = await _begin(migration, Phase.DUAL_WRITE)
    # Until they know it, processes hand off what they write together with what is not here.
    control = await migration.control.change(partial(_returning, migration, control))
    await await_members(migration, control)
    done = 0
    async for ids, collection, total in _everything(migration):
        async with migration.step(Phase.DUAL_WRITE):
            await migration.handoff.back(ids)
        done += len(ids)
        report(Progress("handback", collection, total[0], max(*total)))
        await asyncio.sleep(0)  # likewise
    await _end(migration, control)
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


async def _begin(migration: MigrationAdaptor, phase: Phase) -> Control:
    """The step that every process has to have taken before a sweep begins."""
    control = await migration.control.read()
    if control.phase is not phase:
        raise MigrationError(
            f"this takes the phase {phase.value!r}, and the migration is in "
            f"{control.phase.value!r}: advance it first",
            store=migration.name,
        )
    await await_members(migration, control)
    return control


async def _end(migration: MigrationAdaptor, begun: Control) -> None:
    """Write down that everything has been gone through, if no step was taken meanwhile."""
    await migration.control.change(partial(_swept, migration, begun))


def _returning(migration: MigrationAdaptor, begun: Control, now: Control) -> Control:
    _check_same_step(migration, begun, now)
    return replace(now, returning=now.generation)


def _swept(migration: MigrationAdaptor, begun: Control, now: Control) -> Control:
    _check_same_step(migration, begun, now)
    return replace(now, swept=now.generation)


def _check_same_step(migration: MigrationAdaptor, begun: Control, now: Control) -> None:
    if now.generation != begun.generation:
        raise MigrationError(
            "another step has been taken during the sweep: look at the status",
            store=migration.name,
        )
