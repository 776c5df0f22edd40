"""`python -m benchmarks`: measure the library beside its drivers and others of its kind."""

import asyncio
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from benchmarks.documents import SIZES, documents
from benchmarks.goals import cells
from benchmarks.measuring import OPERATIONS, TASKS, Bench, Measured
from benchmarks.report import Report, fsync_probe, keep, machine, show, versions
from benchmarks.servers import servers
from benchmarks.variants import Engine, Place

ENGINES = ("memory", "files", "sqlite", "postgresql", "dynamodb")
"""Modules of `engines`."""

_LARGE = ("get", "put", "replace")
_ONE_TASK = ("scan", "find")
_FEW = 2_000


class Loop(StrEnum):
    """An event loop."""

    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"


class Plan(msgspec.Struct, frozen=True):
    """How much is measured.

    Attributes:
        documents: how many there are of 1 KB; of 10 KB there are a tenth.
        rounds: how often each variant is measured.
        seconds: for how long each time.
        sizes: names of `SIZES`.
        operations: which.
    """

    documents: int = 100_000
    rounds: int = 7
    seconds: float = 0.4
    sizes: Sequence[str] = tuple(SIZES)
    operations: Sequence[str] = OPERATIONS


QUICK = Plan(2_000, 3, 0.1, ("1 KB",))


def run(plan: Plan, engines: Sequence[str], loop: Loop, command: str) -> Report:
    """Measure; see `main`."""
    modules: list[Engine] = [_engine(name) for name in engines]
    left_out: list[str] = []
    measured: list[Measured] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="benchmarks-", dir=Path.cwd())))
        urls = stack.enter_context(servers([one.NEEDS for one in modules if one.NEEDS]))
        probes = [fsync_probe(folder)]
        runner = stack.enter_context(asyncio.Runner(loop_factory=_factory(loop)))
        for engine in modules:
            if engine.NEEDS is not None and engine.NEEDS not in urls:
                left_out.append(f"{engine.NAME}: its server is not on this machine")
                continue
            for size in plan.sizes:
                place = Path(folder, f"{engine.NAME}-{SIZES[size]}")
                place.mkdir()
                measured += runner.run(_measure(plan, engine, size, Place(place, urls)))
        probes.append(fsync_probe(folder))
    return Report(
        command,
        f"{datetime.now(UTC):%Y-%m-%d}",
        machine(),
        versions(),
        loop.value,
        plan.documents,
        probes,
        measured,
        list(cells(measured)),
        left_out,
    )


def main(
    *,
    quick: Annotated[bool, typer.Option(help="Few documents and short rounds.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write everything there as JSON.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Of these engines alone.")] = None,
    operation: Annotated[list[str] | None, typer.Option(help="These alone.")] = None,
    loop: Annotated[Loop, typer.Option(help="The event loop.")] = Loop.ASYNCIO,
    results: Annotated[
        Path | None, typer.Option(help="Write RESULTS.md and its plots into this folder.")
    ] = None,
) -> None:
    """Measure aiostore beside raw drivers and other libraries, in one run, by turns."""
    engines = _known(only, ENGINES, "--only")
    plan = QUICK if quick else Plan()
    plan = msgspec.structs.replace(plan, operations=_known(operation, OPERATIONS, "--operation"))
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    report = run(plan, engines, loop, command)
    show(report, Console())
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    if results is not None:
        keep(report, results)


async def _measure(plan: Plan, engine: Engine, size: str, place: Place) -> list[Measured]:
    large = size != plan.sizes[0]
    number = max(_FEW, plan.documents // 10) if large else plan.documents
    held = documents(number, SIZES[size])
    measured: list[Measured] = []
    bench = Bench(engine.NAME, size, held, rounds=plan.rounds, seconds=plan.seconds)
    async with engine.variants(place, held) as variants:
        for operation in plan.operations:
            if large and operation not in _LARGE:
                continue
            for tasks in TASKS[:1] if operation in _ONE_TASK else TASKS:
                measured += await bench.measure(operation, tasks, variants)
    return measured


def _engine(name: str) -> Engine:
    module: Any = import_module(f"benchmarks.engines.{name}")
    engine: Engine = module
    return engine


def _known(names: Sequence[str] | None, known: Sequence[str], option: str) -> Sequence[str]:
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise typer.BadParameter(f"{option} is one of {', '.join(known)}, not {unknown[0]!r}")
    return [name for name in known if name in names] if names else known


def _factory(loop: Loop) -> Any:
    if loop is Loop.ASYNCIO:
        return asyncio.new_event_loop
    return import_module("uvloop").new_event_loop


if __name__ == "__main__":
    typer.run(main)
