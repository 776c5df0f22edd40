"""`aiostore dynamodb create-table`."""

import asyncio
import json
import sys
from typing import Annotated

import typer

from aiostore.errors import ConfigurationError
from aiostore.opening import DISTRIBUTION

_PLACE = "Where"


def create_table(
    *,
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Its name.")],
    prefix: Annotated[str, typer.Option(help="What is put before the name.")] = "",
    indexes: Annotated[
        list[str] | None,
        typer.Option(
            "--index",
            metavar="FIELD",
            help="A field that documents are found by, as in email or address.city; may be given "
            "several times.",
        ),
    ] = None,
    shards: Annotated[
        int, typer.Option(help="Partition keys that each collection is spread over, up to 1000.")
    ] = 16,
    read_units: Annotated[
        int | None,
        typer.Option(help="Provisioned read capacity, of the table and of each index."),
    ] = None,
    write_units: Annotated[
        int | None,
        typer.Option(
            help="Likewise for writes. Without the two, requests are paid for one by one."
        ),
    ] = None,
    point_in_time_recovery: Annotated[
        bool, typer.Option("--point-in-time-recovery", help="Keep continuous backups.")
    ] = False,
    no_ttl: Annotated[
        bool,
        typer.Option(
            "--no-ttl", help="Do not have expired documents removed; they count as absent anyway."
        ),
    ] = False,
    region: Annotated[
        str | None, typer.Option(rich_help_panel=_PLACE, help="As in eu-central-1.")
    ] = None,
    endpoint_url: Annotated[
        str | None, typer.Option(rich_help_panel=_PLACE, help="Of another server than AWS's.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(rich_help_panel=_PLACE, help="Of the AWS configuration.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only print the parameters of CreateTable, as JSON."),
    ] = False,
) -> None:
    """Make the table that a store needs, and wait until it is ready.

    May be run again: a table that is as it is to be is left alone, one that was made by half is
    completed, a different one is an error that says what differs. Shards and indexes are fixed for
    good. Credentials, and a region that is not given, are found as by any AWS client.
    """
    try:
        from aiostore.adaptors.dynamodb import (  # noqa: PLC0415  # needs the extra `dynamodb`
            Endpoint,
            Provisioned,
            Table,
            create_request,
            index_path,
            make_table,
        )
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "aiostore":
            raise
        raise ConfigurationError(
            f"making tables needs the package {package!r}, which is not installed: "
            f"pip install '{DISTRIBUTION}[dynamodb]'"
        ) from error
    on_demand = read_units is None and write_units is None
    wanted = Table(
        name=prefix + table,
        shards=shards,
        indexes=tuple(map(index_path, indexes or ())),
        provisioned=None if on_demand else Provisioned(read_units or 0, write_units or 0),
        point_in_time_recovery=point_in_time_recovery,
        ttl=not no_ttl,
    )
    if dry_run:
        sys.stdout.write(json.dumps(create_request(wanted), indent=2) + "\n")
        return
    endpoint = Endpoint(region=region, url=endpoint_url, profile=profile)
    asyncio.run(make_table(wanted, endpoint))
    sys.stdout.write(f"The table {wanted.name} is ready.\n")
