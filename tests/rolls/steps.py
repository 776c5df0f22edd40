"""What an operator does in the course of a migration, step by step, as the Python API has it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from aiostore.errors import MigrationError
from aiostore.migration import (
    MigrationAdaptor,
    Phase,
    advance,
    backfill,
    complete,
    hand_back,
    hand_off,
    verify,
)
from aiostore.migration.progress import Report

CHUNK = 20
"""Records at a time: few, so that a process can die in the midst of few documents."""

LEASE = timedelta(seconds=2)
"""For so long the part of a worker that has died is not gone on with."""

PAUSE = 0.2
"""Seconds until what was not clean is looked at again."""

ATTEMPTS = 100
"""So often the stores are compared at most: processes that die leave a difference now and then."""

Step = Callable[[MigrationAdaptor, Report], Awaitable[Any]]


async def copy(migration: MigrationAdaptor, report: Report) -> int:
    """Copy everything; returns how many records that were."""
    return await backfill(migration, report=report, chunk=CHUNK, lease=LEASE)


async def begin_handoff(migration: MigrationAdaptor, report: Report) -> int:
    """Verify and repair until the stores are equal, and go on; returns how often that was needed.

    A process that dies in between leaves the stores in doubt, and it begins again.
    """
    if (await migration.control.read()).phase is Phase.HANDOFF:  # by a worker that has died since
        await go(Phase.HANDOFF, migration, report)
        return 0
    for number in range(1, ATTEMPTS):
        found = await verify(migration, report=report, repair=True, chunk=CHUNK)
        if found.clean:
            try:
                await advance(migration, Phase.HANDOFF)
            except MigrationError as error:
                doubt = error
            else:
                return number
        await asyncio.sleep(PAUSE)
    raise doubt


async def go(phase: Phase, migration: MigrationAdaptor, report: Report) -> None:
    """Take the step to a phase."""
    await advance(migration, phase)


async def sweep(migration: MigrationAdaptor, report: Report) -> int:
    """Hand every document off; returns how many there were."""
    return await hand_off(migration, report=report, lease=LEASE)


async def sweep_back(migration: MigrationAdaptor, report: Report) -> int:
    """Hand every document back; returns how many there were."""
    return await hand_back(migration, report=report, lease=LEASE)


async def end(migration: MigrationAdaptor, report: Report) -> None:
    """The target is the store from now on."""
    await complete(migration)


STEPS: Mapping[str, Step] = {
    "backfill": copy,
    "begin-handoff": begin_handoff,
    "hand-off": sweep,
    "target": partial(go, Phase.TARGET),
    "handoff": partial(go, Phase.HANDOFF),
    "dual-write": partial(go, Phase.DUAL_WRITE),
    "hand-back": sweep_back,
    "complete": end,
}
