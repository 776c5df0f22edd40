"""The bars on the terminal, one for each step, with what the clients did meanwhile."""

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from aiostore.cli.demo.tally import Tally
from aiostore.migration import progress


@dataclass(frozen=True, slots=True)
class Bar:
    """One step's bar."""

    progress: Progress
    task: TaskID
    timed: bool

    def show(self, done: float, total: float, requests: int | None = None) -> None:
        """So much is done of the total, and so many requests were answered meanwhile."""
        note = "" if requests is None else f"{requests:,} requests meanwhile"
        amount = f"{done:,.1f} s" if self.timed else f"{done:,} of {total:,}"
        self.progress.update(self.task, completed=done, total=total, note=note, amount=amount)


class Bars:
    """Bars on stderr while `with` lasts; none where that is no terminal.

    Args:
        hidden: show none anyway.
    """

    def __init__(self, *, hidden: bool = False) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description:<13}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[amount]:>17}"),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[note]}"),
            console=console,
            disable=hidden or not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def add(self, name: str, *, timed: bool = False) -> Bar:
        """A bar for a step that begins now; a timed one counts seconds, others records."""
        return Bar(self._progress, self._progress.add_task(name, note="", amount=""), timed)

    def reporter(self, name: str, tally: Tally) -> progress.Report:
        """A bar for a step of the migration, as what the library calls after each chunk."""
        bar, before = self.add(name), tally.operations

        def report(state: progress.Progress) -> None:
            bar.show(state.done, state.total, tally.operations - before)

        return report
