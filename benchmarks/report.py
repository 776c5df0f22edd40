"""What was found, on the terminal."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.goals import Ratio, Tail
from benchmarks.measuring import Measurement
from benchmarks.running import Report

Row = tuple[str, dict[int, Ratio]]


def show(console: Console, report: Report) -> None:
    """Print the machine, the ratios, and what they are made of."""
    for line in facts(report):
        console.print(line, markup=False, highlight=False)
    for rows in engines_of(report.measurements):
        console.print(_rates(rows))
    if report.ratios:
        console.print(_goals(report.ratios))
    if report.tails:
        console.print(_tails(report.tails))
    for figure in report.migration:
        style = "default" if figure.goal is None else "green" if figure.reached else "red"
        console.print(f"{figure.name}: {figure}", style=style, markup=False, highlight=False)
    for cpu in report.cpu:
        console.print(
            f"CPU of a {cpu.operation} in memory, one task: {cpu.cpu_us:.1f} µs "
            f"(goal: {cpu.goal:g})"
        )
    for name, reason in report.absent.items():
        console.print(f"Not measured: {name}: {reason}", markup=False, highlight=False)


def facts(report: Report) -> list[str]:
    """What the figures were measured on, a line each."""
    machine, settings = report.machine, report.settings
    versions = ", ".join(f"{name} {number}" for name, number in report.versions.items())
    rounds = (
        f"{settings.pace.repetitions} rounds of about {settings.pace.round.total_seconds():g} s"
    )
    lines = [
        f"{machine.processor}, {machine.cpus} CPUs, {machine.memory_gb:g} GB, {machine.system}",
        f"load {machine.load:g} at the beginning",
        f"{machine.python}, {machine.loop}",
        versions,
        f"{settings.documents} documents preloaded of each size; {rounds}, taking turns",
        f"{report.seconds:.0f} seconds in all",
    ]
    lines += [f"server of {engine}: {server}" for engine, server in report.servers.items()]
    lines += [
        f"write and fsync of 1 KB, {when} {engine}: {probe.median_ms:.2f} ms "
        f"({probe.low_ms:.2f}-{probe.high_ms:.2f})"
        for engine, probes in groupby(report.disk, lambda probe: probe.engine)
        for when, probe in zip(("before", "after"), probes, strict=False)
    ]
    return lines


def engines_of(measurements: Sequence[Measurement]) -> list[list[Measurement]]:
    """The measurements of each engine."""
    return [list(rows) for _, rows in groupby(measurements, lambda each: each.engine)]


def by_name(ratios: Iterable[Ratio]) -> list[Row]:
    """The cells of each row, by tasks."""
    rows: dict[str, dict[int, Ratio]] = {}
    for ratio in ratios:
        rows.setdefault(ratio.name, {})[ratio.tasks] = ratio
    return list(rows.items())


def tasks_in_words(number: int) -> str:
    """How many tasks."""
    return "1 task" if number == 1 else f"{number} tasks"


def rounded(rate: float) -> str:
    """A rate as a person reads it."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


def _rates(rows: Sequence[Measurement]) -> Table:
    tasks = sorted({row.tasks for row in rows})
    table = Table(
        *("operation", "KB", "variant"),
        title=f"{rows[0].engine}: calls a second ± half the span of all rounds, p99 in ms",
        box=SIMPLE_HEAD,
    )
    for number in tasks:
        table.add_column(tasks_in_words(number), justify="right")
    cells = {(row.operation, row.size, row.variant, row.tasks): row for row in rows}
    for operation, size, variant in dict.fromkeys(key[:3] for key in cells):
        found = [cells.get((operation, size, variant, number)) for number in tasks]
        table.add_row(operation, str(size), escape(variant), *map(_rate, found))
    return table


def _rate(row: Measurement | None) -> str:
    if row is None:
        return ""
    spread = 50 * (row.high - row.low) / row.rate
    return f"{rounded(row.rate)} ±{spread:.0f}%, {row.p99_ms:.2f}"


def _goals(ratios: Sequence[Ratio]) -> Table:
    table = Table("ratio of rates", title="Goals", box=SIMPLE_HEAD)
    tasks = sorted({ratio.tasks for ratio in ratios})
    for number in tasks:
        table.add_column(tasks_in_words(number), justify="right")
    for name, cells in by_name(ratios):
        table.add_row(name, *(_cell(cells.get(number)) for number in tasks))
    return table


def _cell(ratio: Ratio | None) -> str:
    if ratio is None:
        return ""
    colour = "green" if ratio.reached else "red"
    return f"[{colour}]{ratio.ratio:.2f}[/] ≥ {ratio.goal:g}"


def _tails(tails: Sequence[Tail]) -> Table:
    table = Table(
        *("", "driver's p99 by the library's"),
        title="Tails at 128 tasks",
        box=SIMPLE_HEAD,
    )
    for tail in tails:
        colour = "green" if tail.ratio >= tail.goal else "red"
        table.add_row(tail.name, f"[{colour}]{tail.ratio:.2f}[/] ≥ {tail.goal:g}")
    return table
