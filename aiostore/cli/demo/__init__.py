"""`aiostore demo`: real documents move between two stores while clients use them, and are counted.

`move` is the whole of it, and `course` the migration; `places` is where it begins and ends,
`lending` how several have one store open, `service` what is moved; `traffic`, `clients` and `plans`
are who uses it; `ledger` and `audit` know what must be there in the end; `bars` and `report` show
it.
"""

import asyncio
import json
import secrets
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from aiostore.errors import ConfigurationError
from aiostore.opening import DISTRIBUTION

_SEEDS = 1_000_000


def demo(
    *,
    source: Annotated[
        str, typer.Option("--from", metavar="STORE", help="The store to begin on.")
    ] = "file",
    target: Annotated[
        str, typer.Option("--to", metavar="STORE", help="The store to end on.")
    ] = "sqlite",
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Leave the documents in stores of your own."),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(help="Fixes what each client asks for; random by default, and shown."),
    ] = None,
    documents: Annotated[
        int,
        typer.Option(min=1, help="Load the first so many, of 28,000."),
    ] = 5000,
    seconds: Annotated[
        float,
        typer.Option(min=0, help="How long the traffic goes on before, and again after."),
    ] = 4.0,
    ledger: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Keep the clients' ledger, JSON lines, as this new file.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, and nothing else.")
    ] = False,
) -> None:
    """Move the world's airports to another store, live, under traffic, and prove it.

    Clients read and write throughout, while the documents go to the target one by one, half of them
    come back, and all go again; in the end all that they were told is held against the target.
    Exits with 1 if anything is lost or differs.

    A STORE is file, sqlite or memory, made for the demo alone; or the URL of a store of your own,
    such as file:data, sqlite:///app.db or postgresql://user:password@host/database. That one must
    be empty, and is emptied in the end.

    A server to try: `docker run --rm -p 5432:5432 -e POSTGRES_PASSWORD=demo postgres` is
    postgresql://postgres:demo@localhost/postgres; in a clone of the project `nox -s engines` starts
    PostgreSQL and MariaDB and prints their URLs.
    """
    if ledger is not None and (ledger.exists() or not ledger.absolute().parent.is_dir()):
        raise typer.BadParameter("name a file that does not exist, in a folder that does")
    try:
        from rich.console import Console  # noqa: PLC0415

        from aiostore.cli.demo import report  # noqa: PLC0415  # needs the extra `demo`
        from aiostore.cli.demo.bars import Bars  # noqa: PLC0415
        from aiostore.cli.demo.move import Settings, move  # noqa: PLC0415
        from aiostore.cli.demo.places import place_of  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "aiostore":
            raise
        raise ConfigurationError(
            f"the demo needs the package {error.name!r}, which is not installed: "
            f"pip install '{DISTRIBUTION}[demo]'"
        ) from error
    with TemporaryDirectory(prefix="aiostore-demo-", ignore_cleanup_errors=True) as folder:
        settings = Settings(
            source=place_of(source, "source", folder),
            target=place_of(target, "target", folder),
            keep=keep,
            ledger=Path(folder, "ledger.jsonl") if ledger is None else ledger,
            keep_ledger=ledger is not None,
            seed=secrets.randbelow(_SEEDS) if seed is None else seed,
            documents=documents,
            seconds=seconds,
        )
        console = Console(quiet=as_json)
        report.show_title(console, settings)
        with Bars(hidden=as_json) as bars:
            result = asyncio.run(move(settings, bars))
    if as_json:
        sys.stdout.write(json.dumps(report.figures(settings, result)) + "\n")
    report.show(console, settings, result)
    if not report.passed(result):
        raise typer.Exit(1)
