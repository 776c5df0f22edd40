"""`aiostore migrate run`, `verify`, `repair`: the work that goes through all documents."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import msgspec
import typer

from aiostore.cli.migrate.command import (
    Options,
    check_running,
    dry_run,
    perform,
    status_as_json,
    status_of,
    taking_part,
)
from aiostore.cli.migrate.lines import page_of
from aiostore.cli.migrate.showing import Showing
from aiostore.errors import MigrationError
from aiostore.migration import MigrationAdaptor, Phase, Verification, complete, lead
from aiostore.migration import repair as mend
from aiostore.migration import verify as compare
from aiostore.migration.status import Status

Comparison = Callable[[MigrationAdaptor, Showing], Awaitable[Verification]]

_SHOWN = 20
"""So many differences are listed for a person."""


def run(
    options: Options,
    *,
    to: Annotated[
        Literal["dual-write", "handoff", "target"],
        typer.Option(help="How far to go; no step beyond it is taken."),
    ] = "dual-write",
    and_complete: Annotated[
        bool,
        typer.Option(
            "--complete", help="Go to target, and end the migration there: no way leads back."
        ),
    ] = False,
) -> None:
    """Do the whole work of a migration: copy, compare, mend, and the steps that are asked for.

    Without --to it copies everything and proves both stores equal, and takes no step: run it as
    often as you like. --to handoff hands every document over to the target, --to target lets the
    target serve alone; both can be rolled back. It may be interrupted or killed at any time: the
    same command goes on where it was. Several may run at once, on several machines, and share the
    work.
    """
    goal = Phase.TARGET if and_complete else Phase(to)
    migration = options.opened_by()
    status = perform(status_of(migration))
    obstacles = _against(status)
    if options.dry_run:
        dry_run(options, _course(status, goal, and_complete=and_complete), status, obstacles)
        return
    if obstacles:
        raise MigrationError("; ".join(obstacles), store=migration.name)
    status = perform(_led(migration, goal, Showing(json=options.json), and_complete=and_complete))
    options.tell(page_of(status), **status_as_json(status))


def verify(options: Options) -> None:
    """Compare every document of both stores: version, content and dates. Mends nothing.

    While the service goes on: what a write is just changing is looked at again. Exits with 1 if
    anything differs. That it was clean is noted in the control document, as the hand-off needs it.
    """

    async def work(migration: MigrationAdaptor, showing: Showing) -> Verification:
        return await compare(migration, report=showing.report)

    _compare(options, "compare every document of both stores", work)


def repair(options: Options) -> None:
    """Compare every document, mend what differs, and compare again. Exits with 1 if some still do.

    The current store is right: the target's copy is made like it, by compare-and-set. What seems
    to be ahead in the target may be a write under way, and is settled only after the grace.
    """

    async def work(migration: MigrationAdaptor, showing: Showing) -> Verification:
        found = await mend(migration, report=showing.report)
        if found.clean:
            return found
        showing.say(f"{found.mismatches:,} differed: comparing again")
        return await compare(migration, report=showing.report)

    _compare(options, "compare every document of both stores, and mend what differs", work)


def _compare(options: Options, what: str, work: Comparison) -> None:
    migration = options.opened_by()
    status = perform(status_of(migration))
    if options.dry_run:
        dry_run(options, [what], status, [] if status.closed is None else [status.closed])
        return
    check_running(status)
    found = perform(_compared(migration, work, Showing(json=options.json)))
    options.tell("\n".join(_findings(found)), **_plain(found))
    if not found.clean:
        raise typer.Exit(1)


async def _compared(
    migration: MigrationAdaptor, work: Comparison, showing: Showing
) -> Verification:
    with showing:
        async with taking_part(migration):
            return await work(migration, showing)


async def _led(
    migration: MigrationAdaptor, to: Phase, showing: Showing, *, and_complete: bool
) -> Status:
    with showing:
        async with taking_part(migration):
            await lead(migration, to, report=showing.report, tell=showing.tell, say=showing.say)
            if and_complete:
                showing.say("completing the migration")
                await complete(migration, tell=showing.tell)
    return await status_of(migration)


def _against(status: Status) -> tuple[str, ...]:
    if status.state == "not begun":
        return status.problems  # it is begun by itself
    if status.closed is not None:
        return (*status.problems, status.closed)
    if status.control.phase is Phase.CURRENT:
        return (*status.problems, "the migration has come back to its beginning: abort it")
    return status.problems


def _course(status: Status, to: Phase, *, and_complete: bool) -> list[str]:
    """What is left to do up to a phase."""
    control, order = status.control, list(Phase)
    steps = [f"begin the migration {status.migration}"] if status.state == "not begun" else []
    if control.phase is Phase.DUAL_WRITE:
        if not control.pristine and not control.is_swept:
            steps.append("hand every document back")
        if not control.is_verified:
            steps.append("copy every document that is not in the target yet")
            steps.append("compare both stores and mend what differs, until they are equal")
        if to is not Phase.DUAL_WRITE:
            steps.append("go from dual-write to handoff")
    if order.index(control.phase) <= order.index(Phase.HANDOFF) <= order.index(to):
        if control.phase is Phase.DUAL_WRITE or not control.is_swept:
            steps.append("hand off every document")
        if to is Phase.TARGET:
            steps.append("go from handoff to target")
    if and_complete:
        steps.append("complete the migration, after which there is no way back")
    return steps


def _findings(found: Verification) -> list[str]:
    lines = [f"{found.compared:,} compared, {found.mismatches:,} differ"]
    if found.unsettled:
        lines.append(f"{found.unsettled:,} were being written whenever they were looked at")
    lines += [f"{one.collection}/{one.key}: {one.kind}" for one in found.differences[:_SHOWN]]
    if found.mismatches > _SHOWN:
        lines.append(f"and {found.mismatches - _SHOWN:,} more (--json lists the first 1,000)")
    return lines


def _plain(found: Verification) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(found)
    return {**plain, "clean": found.clean}
