"""`aiostore dynamodb`: the table is made, and what it costs told, before a service uses it."""

import typer

from aiostore.cli.dynamodb.cost import cost
from aiostore.cli.dynamodb.create import create_table

dynamodb = typer.Typer(
    help="Make a table for DynamoDB, and tell what it costs.", no_args_is_help=True
)

dynamodb.command()(create_table)
dynamodb.command()(cost)
