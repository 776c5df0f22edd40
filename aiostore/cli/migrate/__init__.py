"""`aiostore migrate`: a live migration, as an operator leads it.

`command` is what all the commands have in common; `lines` and `showing` are how they answer.
"""

import typer

from aiostore.cli.migrate.command import command
from aiostore.cli.migrate.planning import plan
from aiostore.cli.migrate.running import repair, run, verify
from aiostore.cli.migrate.settings import pause, resume, throttle
from aiostore.cli.migrate.steps import abort, advance, complete, rollback, start
from aiostore.cli.migrate.watching import status

migrate = typer.Typer(
    help="Lead a live migration: start it, watch it, go forward, go back, end it.",
    no_args_is_help=True,
)

for _function in (
    plan,
    start,
    status,
    run,
    pause,
    resume,
    throttle,
    verify,
    repair,
    advance,
    rollback,
    abort,
    complete,
):
    command(migrate)(_function)
