"""`aiostore migrate status`."""

import asyncio
from typing import Annotated

import typer

from aiostore.cli.migrate.command import (
    Options,
    looking,
    perform,
    perform_until_told,
    status_as_json,
)
from aiostore.cli.migrate.lines import line_of, page_of
from aiostore.migration import MigrationAdaptor

_BETWEEN = 1.0  # seconds


def status(
    options: Options,
    *,
    watch: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="SECONDS", help="Look again and again; Ctrl-C ends it."),
    ] = None,
) -> None:
    """Show how a migration stands, without taking part in it and without writing anything.

    Phase and gates, how far the copy is, what the processes of the service tell of themselves, who
    of them is late or silent, limits, and what comes next. With --watch, one line each time.
    """
    work = _shown(options, options.opened_by(), watch)
    if watch is None:
        perform(work)
    else:
        perform_until_told(work)


async def _shown(options: Options, migration: MigrationAdaptor, watch: float | None) -> None:
    async with looking(migration) as observer:
        found = await observer.look()
        if watch is None and found.moving is not None and not found.moving.finished:
            await asyncio.sleep(_BETWEEN)  # how fast it goes shows at the second look
            found = await observer.look()
        options.tell(page_of(found), **status_as_json(found))
        while watch is not None:
            await asyncio.sleep(watch)
            found = await observer.look()
            options.tell(line_of(found), **status_as_json(found))
