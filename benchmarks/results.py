"""`RESULTS.md`: what one run has found, and the command that makes it again."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.measuring import Measurement
from benchmarks.plots import plot
from benchmarks.report import by_name, engines_of, facts, rounded, tasks_in_words
from benchmarks.running import Report

_PLOTS = "plots"


def write_results(folder: Path, report: Report) -> None:
    """Write the page, and its plots beside it."""
    (folder / _PLOTS).mkdir(parents=True, exist_ok=True)
    for rows in engines_of(report.measurements):
        plot(folder / _PLOTS / f"{rows[0].engine}.svg", rows)
    (folder / "RESULTS.md").write_text("\n".join(_page(report)) + "\n")


def _page(report: Report) -> list[str]:
    lines = [
        "# Results",
        "",
        "Made by the benchmarks; how they measure stands in [README.md](README.md).",
        "",
        "```sh",
        report.command,
        "```",
        "",
        *(f"- {fact}" for fact in [f"begun at {report.began}", *facts(report)]),
        "",
        *_goals(report),
        *_cpu(report),
    ]
    for rows in engines_of(report.measurements):
        lines += _engine(rows, report)
    if report.migration:
        lines += ["## migration", "", *(f"- {each.name}: {each}" for each in report.migration), ""]
    if report.absent:
        lines += ["## Not measured", ""]
        lines += [f"- {name}: {reason}" for name, reason in report.absent.items()]
    return lines


def _goals(report: Report) -> list[str]:
    if not report.ratios:
        return []
    tasks = sorted({ratio.tasks for ratio in report.ratios})
    lines = [
        "## Goals",
        "",
        "The library's rate by the rival's: the median of the rounds, in brackets the quartiles,",
        "and what is to be reached. Documents of 1 KB.",
        "",
        *_head(["", *(tasks_in_words(number) for number in tasks)]),
    ]
    for name, cells in by_name(report.ratios):
        texts = [
            f"{'**' if cell.reached else ''}{cell.ratio:.2f}{'**' if cell.reached else ''} "
            f"({cell.low:.2f}-{cell.high:.2f}), ≥ {cell.goal:g}"
            for cell in (cells[number] for number in tasks if number in cells)
        ]
        lines.append(_row([name, *texts]))
    if report.tails:
        lines += ["", "The driver's p99 by the library's at 128 tasks, to be at least 1:", ""]
        lines += [f"- {tail.name}: {tail.ratio:.2f}" for tail in report.tails]
    return [*lines, ""]


def _cpu(report: Report) -> list[str]:
    return [
        line
        for cpu in report.cpu
        for line in (
            f"CPU of a {cpu.operation} in memory, 1 task: {cpu.cpu_us:.1f} µs, ≤ {cpu.goal:g}.",
            "",
        )
    ]


def _engine(rows: Sequence[Measurement], report: Report) -> list[str]:
    engine = rows[0].engine
    tasks = sorted({row.tasks for row in rows})
    lines = [
        f"## {engine}",
        "",
        f"![{engine}]({_PLOTS}/{engine}.svg)",
        "",
        "Calls a second: the median of all rounds, the slowest and the fastest; p99 in ms.",
        "",
        *_head(["operation", "KB", "variant", *(tasks_in_words(number) for number in tasks)]),
    ]
    cells = {(row.operation, row.size, row.variant, row.tasks): row for row in rows}
    for operation, size, variant in dict.fromkeys(key[:3] for key in cells):
        found = [cells.get((operation, size, variant, number)) for number in tasks]
        lines.append(_row([operation, str(size), variant, *map(_cell, found)]))
    remarks = {
        name.removeprefix(f"{engine}: "): text
        for name, text in report.remarks.items()
        if name.startswith(f"{engine}: ")
    }
    if remarks:
        lines += ["", *(f"- {name}: {text}" for name, text in remarks.items())]
    return [*lines, ""]


def _cell(row: Measurement | None) -> str:
    if row is None:
        return ""
    return f"{rounded(row.rate)} ({rounded(row.low)}-{rounded(row.high)}), {row.p99_ms:.2f}"


def _head(names: Sequence[str]) -> list[str]:
    return [_row(names), _row(["---"] * len(names))]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
