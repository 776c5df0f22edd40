"""`aiostore migrate pause`, `resume`, `throttle`: how the background work is to be done."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from aiostore.cli.migrate.command import (
    Options,
    both_open,
    check_running,
    dry_run,
    perform,
    status_as_json,
    status_of,
)
from aiostore.cli.migrate.lines import limits_of
from aiostore.errors import ConfigurationError
from aiostore.migration import MigrationAdaptor
from aiostore.migration.control import Control, ControlDocument
from aiostore.migration.status import Status

_Change = Callable[[ControlDocument], Awaitable[Control]]


def pause(
    options: Options,
    *,
    reason: Annotated[str, typer.Option(help="Is shown to everybody.")] = "by an operator",
) -> None:
    """Let backfill, verification and sweeps wait, in every process, until `resume`.

    The service goes on, and goes on mirroring: only what goes through all documents waits. It stops
    within a few seconds and goes on where it was.
    """
    _settle(options, f"pause: {reason}", lambda control: control.pause(reason))


def resume(options: Options) -> None:
    """Let the background work go on."""
    _settle(options, "resume", lambda control: control.resume())


def throttle(
    options: Options,
    *,
    documents_per_second: Annotated[
        float | None, typer.Option(metavar="N", help="At most, all workers together.")
    ] = None,
    bytes_per_second: Annotated[
        float | None, typer.Option(metavar="N", help="Likewise, of encoded documents.")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Lift both limits.")] = False,
) -> None:
    """Limit how fast the background work goes; a limit that is not named is lifted.

    By itself it goes as fast as it can without the service's calls becoming slow.
    """
    limits = (documents_per_second, bytes_per_second)
    if off == any(limit is not None for limit in limits):
        raise ConfigurationError(
            "name a limit, by --documents-per-second or --bytes-per-second, or --off"
        )
    if any(limit is not None and not 0 < limit < float("inf") for limit in limits):
        raise ConfigurationError("a limit is greater than 0: to stop the work, pause it")
    _settle(
        options,
        "lift all limits" if off else "set the limits",
        lambda control: control.limit(
            documents_per_second=documents_per_second, bytes_per_second=bytes_per_second
        ),
    )


def _settle(options: Options, what: str, change: _Change) -> None:
    migration = options.opened_by()
    status = perform(status_of(migration))
    if options.dry_run:
        dry_run(options, [what], status, [] if status.closed is None else [status.closed])
        return
    check_running(status)
    status = perform(_changed(migration, change))
    options.tell(limits_of(status.control), **status_as_json(status))


async def _changed(migration: MigrationAdaptor, change: _Change) -> Status:
    async with both_open(migration) as control:
        await change(control)
    return await status_of(migration)
