"""The Typer app: every command is a function in a module of its own, registered here."""

import typer

from aiostore.cli.check import check
from aiostore.cli.demo import demo
from aiostore.cli.dynamodb import dynamodb
from aiostore.cli.migrate import migrate

app = typer.Typer(
    help="One async interface over many stores, and a live migration from any to any other.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

app.command()(demo)
app.command()(check)
app.add_typer(dynamodb, name="dynamodb")
app.add_typer(migrate, name="migrate")
