"""What was measured: as a table, as JSON, as plots, and as `RESULTS.md`."""

import os
import platform
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from benchmarks.goals import Ratio
from benchmarks.measuring import OPERATIONS, TASKS, Measured, ratios
from benchmarks.variants import OURS

_PACKAGES = (
    "aiobotocore",
    "aiocache",
    "aiofiles",
    "aiosqlite",
    "asyncpg",
    "msgspec",
    "py-key-value-aio",
    "sqlalchemy",
    "uvloop",
)
_PROBES = 25


class Report(Struct):
    """All that one run has found.

    Attributes:
        command: how it was run.
        date: when.
        machine: what it ran on.
        versions: of Python and of the packages that are compared.
        loop: which event loop.
        documents: how many were there.
        fsync_ms: how long it took to write 1 KB and wait for the disk, before and after: median.
        measured: the figures.
        ratios: the cells of the table of goals.
        left_out: what could not be measured, and why.
    """

    command: str
    date: str
    machine: str
    versions: dict[str, str]
    loop: str
    documents: int
    fsync_ms: list[float]
    measured: list[Measured]
    ratios: list[Ratio]
    left_out: list[str]


def machine() -> str:
    """The processor, as far as that is known, and the system."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(": ")[2] if lines else model
    return f"{model}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}"


def versions() -> dict[str, str]:
    """Of all that takes part."""
    found = {"Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # its variant cannot have been measured either
            continue
    return found


def fsync_probe(folder: Path) -> float:
    """How many milliseconds it takes to write 1 KB and wait until it is on the disk: the median."""
    taken: list[float] = []
    with (folder / "probe").open("wb", buffering=0) as file:
        for _ in range(_PROBES):
            began = time.perf_counter()
            file.write(b"x" * 1024)
            os.fsync(file.fileno())
            taken.append(1000 * (time.perf_counter() - began))
    return median(taken)


def show(report: Report, console: Console) -> None:
    """Print the table of goals, and every figure."""
    goals = Table("goal", "tasks", "ratio", "spread", "to reach", title="Ratios to reach")
    for one in report.ratios:
        style = "green" if one.ratio >= one.goal else "red"
        spread = f"{one.lowest:.2f}-{one.highest:.2f}"
        ratio = f"[{style}]{one.ratio:.2f}[/]"
        goals.add_row(one.name, str(one.tasks), ratio, spread, f"{one.goal:g}")
    console.print(goals)
    every = Table("engine", "size", "operation", "tasks", "variant", "rate", "p99", "ours / it")
    for row in _rows(report.measured):
        every.add_row(*row)
    console.print(every)
    probes = ", ".join(f"{one:.2f}" for one in report.fsync_ms)
    console.print(f"{report.machine}; {report.loop}; 1 KB and an fsync: {probes} ms")
    for reason in report.left_out:
        console.print(f"left out: {reason}")


def keep(report: Report, folder: Path) -> None:
    """Write `RESULTS.md` and the plots it shows."""
    plots = [_plot(report, engine, folder) for engine in _engines(report.measured)]
    goals = [
        f"| {one.name} | {one.tasks} | {one.ratio:.2f} | {one.lowest:.2f}-{one.highest:.2f} "
        f"| {one.goal:g} | {'yes' if one.ratio >= one.goal else '**no**'} |"
        for one in report.ratios
    ]
    rows = [f"| {' | '.join(row)} |" for row in _rows(report.measured)]
    known = ", ".join(f"{name} {number}" for name, number in report.versions.items())
    probes = ", ".join(f"{one:.2f}" for one in report.fsync_ms)
    lines = [
        "# Results",
        "",
        f"Made by `{report.command}` on {report.date}, with {report.documents:,} documents.",
        "",
        f"- {report.machine}",
        f"- {known}; event loop: {report.loop}",
        f"- 1 KB written and on the disk: {probes} ms (median, before and after)",
        *(f"- left out: {reason}" for reason in report.left_out),
        "",
        "Ratios are of rates, of the same round of the same run: the median, and the lowest and",
        "the highest of all rounds. What is compared with what, and how: [README.md](README.md).",
        "",
        "| goal | tasks | ratio | spread | to reach | reached |",
        "|---|---|---|---|---|---|",
        *goals,
        "",
        *(f"![{path.stem}]({path.name})" for path in plots),
        "",
        "| engine | size | operation | tasks | variant | a second | p99, ms | ours / it |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
    ]
    (folder / "RESULTS.md").write_text("\n".join(lines) + "\n")


def _rows(measured: Sequence[Measured]) -> Iterable[Sequence[str]]:
    ours: Measured | None = None
    for one in measured:
        ours = one if one.variant == OURS else ours
        ratio = "" if ours is None or one is ours else f"{median(ratios(ours, one)):.2f}"
        yield (
            one.engine,
            one.size,
            one.operation,
            str(one.tasks),
            one.variant,
            f"{one.rate:,.0f}" if one.rate >= 10 else f"{one.rate:.2f}",
            f"{one.p99:.2f}",
            ratio,
        )


def _engines(measured: Sequence[Measured]) -> Sequence[str]:
    return list(dict.fromkeys(one.engine for one in measured))


def _plot(report: Report, engine: str, folder: Path) -> Path:
    """Rates of every variant, by operation and number of tasks."""
    import matplotlib as mpl  # noqa: PLC0415  # slow to load, and not needed without a folder

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  # likewise

    mine = [one for one in report.measured if one.engine == engine and one.size == "1 KB"]
    shown = [name for name in OPERATIONS if any(one.operation == name for one in mine)]
    figure, axes = plt.subplots(1, len(shown), figsize=(3.2 * len(shown), 3.2), squeeze=False)
    for name, axis in zip(shown, axes[0], strict=True):
        for variant in dict.fromkeys(one.variant for one in mine):
            points = [one for one in mine if (one.operation, one.variant) == (name, variant)]
            places = [TASKS.index(one.tasks) for one in points]
            axis.plot(places, [one.rate for one in points], marker="o", label=variant)
        axis.set_title(name)
        axis.set_yscale("log")
        axis.set_xticks(range(len(TASKS)), [str(number) for number in TASKS])
        axis.set_xlabel("tasks")
    axes[0][0].set_ylabel(f"{engine}: operations a second")
    axes[0][0].legend(fontsize="x-small")
    figure.tight_layout()
    path = folder / f"{engine.lower()}.svg"
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path
