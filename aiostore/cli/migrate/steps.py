"""`aiostore migrate start`, `advance`, `rollback`, `abort`, `complete`: a migration's steps."""

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
    taking_part,
)
from aiostore.cli.migrate.lines import page_of
from aiostore.cli.migrate.showing import Showing
from aiostore.errors import MigrationError
from aiostore.migration import MigrationAdaptor, Phase, coordinator
from aiostore.migration import rollback as go_back
from aiostore.migration.claims import Claims
from aiostore.migration.status import Status
from aiostore.versions import PROCESS_CLOCK

Plan = tuple[list[str], tuple[str, ...]]
"""What would be done, and what is in its way now."""

Work = Callable[[MigrationAdaptor, Showing], Awaitable[None]]


def start(options: Options) -> None:
    """Begin a migration before the service is deployed with it, or show what has been begun.

    Claims both stores and writes the control document, in the phase dual-write. From then on the
    target, which must be empty, is refused to everybody else; the service may go on with the
    current store alone until it is deployed with both. A service that is started with both begins
    the migration as well.
    """
    migration = options.opened_by()
    status = perform(status_of(migration))
    if options.dry_run:
        would = [
            f"claim {status.current} and {status.target}",
            "create the control document, in the phase dual-write",
        ]
        over = status.state in ("completed", "aborted")
        obstacles = [status.closed] if over and status.closed is not None else []
        dry_run(options, would if status.state == "not begun" else [], status, obstacles)
        return
    if status.state == "not begun":
        status = perform(_started(migration))
    check_running(status)
    options.tell(page_of(status), **status_as_json(status))


async def _started(migration: MigrationAdaptor) -> Status:
    async with both_open(migration) as control:
        claims = Claims(migration.current, migration.target, migration.migration, PROCESS_CLOCK)
        await claims.take()
        await control.create()
    return await status_of(migration)


def advance(
    options: Options,
    *,
    to: Annotated[Phase, typer.Option(help="The next phase, or the last.")],
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Hand off though the stores are not proven equal. Nothing is lost; it takes "
            "longer.",
        ),
    ] = False,
) -> None:
    """Take one step, and wait until every process of the service has taken it.

    Forward: dual-write, handoff, target. Back: the other way round, to current. Waits for every
    process that is alive, and shows which; for one that is silent, as long as its lease and its
    grace. A step that cannot be taken is refused, with what has to be done first.
    """

    def plan(status: Status) -> Plan:
        here = status.control.phase
        would = [] if here is to else [f"go from {here.value} to {to.value}, {_with(status)}"]
        return would, status.obstacles(to, force=force)

    async def work(migration: MigrationAdaptor, showing: Showing) -> None:
        await coordinator.advance(migration, to, force=force, tell=showing.tell)

    _take(options, plan, work)


def rollback(
    options: Options,
    *,
    to: Annotated[
        Phase, typer.Option(help="How far: handoff, dual-write, or current for all the way.")
    ] = Phase.DUAL_WRITE,
) -> None:
    """Go back, step by step, while the service goes on; nothing is lost, nor deleted.

    Every document that is in the target alone, or newer there, is brought back. From handoff and
    dual-write the migration can go forward again; from current the only way on is to abort it.
    """

    def plan(status: Status) -> Plan:
        return _way_back(status, to), _against_the_way_back(status, to)

    async def work(migration: MigrationAdaptor, showing: Showing) -> None:
        await go_back(migration, to, report=showing.report, tell=showing.tell)

    _take(options, plan, work)


def abort(options: Options) -> None:
    """End a migration that was rolled back to current: everything in the target is deleted.

    The service is then restarted with the current store's URL alone. The name of the migration
    cannot be used again.
    """

    def plan(status: Status) -> Plan:
        return [
            f"delete everything in {status.target}",
            f"let plain stores open {status.current} and {status.target} again",
        ], _unless_in(status, Phase.CURRENT, "roll it back first")

    async def work(migration: MigrationAdaptor, _: Showing) -> None:
        await coordinator.abort(migration)

    _take(options, plan, work)


def complete(options: Options) -> None:
    """End a migration in the phase target: from then on there is no way back.

    Removes what is left of copies and tombstones from the target, and lets plain stores open it:
    the service is then restarted with the target's URL alone. The source is left as it is, is never
    deleted, and refuses plain stores.
    """

    def plan(status: Status) -> Plan:
        return [
            f"remove what is left of copies from {status.target}",
            f"let plain stores open {status.target}, and none open {status.current}",
        ], _unless_in(status, Phase.TARGET, "advance it first")

    async def work(migration: MigrationAdaptor, showing: Showing) -> None:
        await coordinator.complete(migration, tell=showing.tell)

    _take(options, plan, work)


def _take(options: Options, plan: Callable[[Status], Plan], work: Work) -> None:
    """Do what the plan says, or only tell it; then show how the migration stands."""
    migration = options.opened_by()
    status = perform(status_of(migration))
    would, obstacles = plan(status)
    if options.dry_run:
        dry_run(options, would, status, obstacles)
        return
    if obstacles:
        raise MigrationError("; ".join(obstacles), store=migration.name)
    status = perform(_done(migration, work, Showing(json=options.json)))
    options.tell(page_of(status), **status_as_json(status))


async def _done(migration: MigrationAdaptor, work: Work, showing: Showing) -> Status:
    with showing:
        async with taking_part(migration):
            await work(migration, showing)
    return await status_of(migration)


def _way_back(status: Status, to: Phase) -> list[str]:
    steps, control = [], status.control
    order = list(Phase)
    if order.index(to) < order.index(Phase.TARGET) and control.phase is Phase.TARGET:
        steps.append(f"go from target to handoff, {_with(status)}")
    if order.index(to) < order.index(Phase.HANDOFF) and control.phase in (
        Phase.TARGET,
        Phase.HANDOFF,
    ):
        if control.born_in_target and not control.is_swept:
            steps.append("go through all documents, to find those that were created in the target")
        steps += ["go from handoff to dual-write", "hand every document back"]
    elif control.phase is Phase.DUAL_WRITE and not control.pristine and not control.is_swept:
        steps.append("hand every document back")
    if to is Phase.CURRENT and control.phase is not Phase.CURRENT:
        steps.append("go from dual-write to current")
    return steps


def _against_the_way_back(status: Status, to: Phase) -> tuple[str, ...]:
    order, here = list(Phase), status.control.phase
    if status.closed is not None:
        return (*status.problems, status.closed)
    if order.index(here) < order.index(to):
        return (
            *status.problems,
            f"the migration is in {here.value!r}, and {to.value!r} lies ahead: advance it",
        )
    return status.problems


def _unless_in(status: Status, phase: Phase, otherwise: str) -> tuple[str, ...]:
    here = status.control.phase
    if status.closed is not None:
        return (*status.problems, status.closed)
    if here is not phase:
        problem = (
            f"this takes the phase {phase.value!r}, and the migration is in {here.value!r}: "
            f"{otherwise}"
        )
        return (*status.problems, problem)
    return status.problems


def _with(status: Status) -> str:
    number = len(status.processes)
    return f"and wait for {number} process{'' if number == 1 else 'es'} to follow"
