"""`python -m benchmarks`: measure, show, and keep what was found."""

import asyncio
import shlex
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import typer
import uvloop
from rich.console import Console

from benchmarks import dynamodb, files, mariadb, memory, postgresql, sqlite
from benchmarks import migration as migrations
from benchmarks.machine import machine, versions
from benchmarks.operations import WrongAnswerError
from benchmarks.report import show
from benchmarks.results import write_results
from benchmarks.running import FULL, QUICK, Report, Settings, measure_engine
from benchmarks.servers import SERVED, MissingEngineError, served
from benchmarks.variants import Engine, Place

T = TypeVar("T")

ENGINES: dict[str, Engine] = {
    engine.NAME: engine for engine in (memory, files, sqlite, postgresql, mariadb, dynamodb)
}

CHOICES = (*ENGINES, migrations.MIGRATION)

_COMMON = ("aiostore-db", "airportsdata", "msgspec", "uvloop")

_LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def main(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few documents and short rounds: minutes, not hours.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep all figures as JSON.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="ENGINE", help=f"Only this one, several times: {', '.join(CHOICES)}."),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write RESULTS.md and its plots there."),
    ] = None,
    loop: Annotated[
        Literal["asyncio", "uvloop"], typer.Option(help="The event loop to measure on.")
    ] = "asyncio",
    documents: Annotated[
        int | None, typer.Option(min=1000, help="Preload so many of each size.")
    ] = None,
) -> None:
    """Measure the library beside the drivers by hand, and beside others.

    Servers are started for it and end with it, or are those that AIOSTORE_TEST_POSTGRESQL_URL,
    …_MARIADB_URL and …_DYNAMODB_URL name. Files are in the system's temporary folder (TMPDIR),
    which should be on a disk. Exits with 1 if any answer was wrong.
    """
    chosen = _chosen(only or [])
    settings = QUICK if quick else FULL
    migration = migrations.QUICK if quick else migrations.FULL
    if documents is not None:
        settings = msgspec.structs.replace(settings, documents=documents)
    console = Console()
    try:
        report = _measured(chosen, settings, migration, loop, console)
    except WrongAnswerError as error:
        console.print(f"A wrong answer: {error}", style="red", markup=False)
        raise typer.Exit(1) from error
    show(console, report)
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    if results is not None:
        write_results(results, report)


def _chosen(names: Sequence[str]) -> list[str]:
    for name in names:
        if name not in CHOICES:
            raise typer.BadParameter(f"{name} is none of {', '.join(CHOICES)}")
    return [name for name in CHOICES if not names or name in names]


def _measured(
    chosen: Sequence[str],
    settings: Settings,
    migration: migrations.MigrationSettings,
    loop: str,
    console: Console,
) -> Report:
    engines = [ENGINES[name] for name in chosen if name in ENGINES]
    report = Report(
        command=shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        began=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(loop),
        versions=versions({*_COMMON, *(name for each in engines for name in each.DISTRIBUTIONS)}),
        settings=settings,
    )
    began = time.monotonic()
    with console.status("") as status:
        for engine in engines:
            with _place(engine.NAME, report) as place:
                if place is not None:
                    measuring = measure_engine(engine, place, settings, report, status.update)
                    _run(measuring, loop)
        if migrations.MIGRATION in chosen:
            with _place(migrations.SERVER, report) as place:
                if place is not None:
                    for part in migrations.PARTS:
                        report.migration += _run(part(place, migration, status.update), loop)
    report.seconds = time.monotonic() - began
    report.conclude()
    return report


@contextmanager
def _place(engine: str, report: Report) -> Iterator[Place | None]:
    """Where it may store something; None, with a word in the report, if its server is not here."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="aiostore-benchmarks-")))
        if engine not in SERVED:
            yield Place(folder)
            return
        try:
            report.servers[engine], lend = stack.enter_context(served(engine))
        except MissingEngineError as error:
            report.absent[engine] = str(error)
            yield None
        else:
            yield Place(folder, lend)


def _run(measuring: Coroutine[Any, Any, T], loop: str) -> T:
    with asyncio.Runner(loop_factory=_LOOPS[loop]) as runner:
        return runner.run(measuring)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
