"""Plots of one engine: a panel for each number of tasks, a group of bars for each operation."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from benchmarks.goals import SIZE
from benchmarks.measuring import Measurement
from benchmarks.variants import LIBRARY

_SHOWN = ("get", "put", "replace", "get_many", "page", "scan", "find")


def plot(path: Path, rows: Sequence[Measurement]) -> None:
    """Draw the rates of every variant as parts of the library's, which is 1."""
    rows = [row for row in rows if row.size == SIZE]
    tasks = sorted({row.tasks for row in rows})
    variants = list(dict.fromkeys(row.variant for row in rows))
    figure = Figure(figsize=(10, 2.6 * len(tasks)), layout="constrained")
    FigureCanvasSVG(figure)
    panels = figure.subplots(len(tasks), 1, squeeze=False)[:, 0]
    for panel, number in zip(panels, tasks, strict=True):
        found = {(row.operation, row.variant): row for row in rows if row.tasks == number}
        shown = [name for name in _SHOWN if (name, LIBRARY) in found]
        width = 0.8 / len(variants)
        for place, variant in enumerate(variants):
            bars = [
                (position + place * width, row, found[name, LIBRARY].rate)
                for position, name in enumerate(shown)
                if (row := found.get((name, variant))) is not None
            ]
            panel.bar(
                [left for left, _, _ in bars],
                [row.rate / ours for _, row, ours in bars],
                width,
                align="edge",
                label=variant,
                yerr=[
                    [(row.rate - row.low) / ours for _, row, ours in bars],
                    [(row.high - row.rate) / ours for _, row, ours in bars],
                ],
                error_kw={"linewidth": 0.7},
            )
        panel.set_yscale("log")
        panel.axhline(1, color="black", linewidth=0.7)
        panel.set_xticks([position + 0.4 for position in range(len(shown))], shown)
        panel.set_ylabel(f"{number} task{'s' if number > 1 else ''}")
    panels[0].set_title(f"{rows[0].engine}: calls a second, {LIBRARY} = 1; bars: all rounds")
    panels[0].legend(fontsize="small", ncols=len(variants))
    figure.savefig(path, metadata={"Date": None})
