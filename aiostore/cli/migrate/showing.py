"""What a command is doing at the moment: bars for a person, lines for a log or a program."""

import dataclasses
import sys
import time
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from aiostore.cli.migrate.lines import pace
from aiostore.migration import Waiting, progress

_LINES_APART = 10.0
"""Seconds, between two lines of a log about the same thing."""

_WORTH_TELLING = 1.0
"""Seconds; most steps are taken sooner."""


class Showing:
    """Shows on stderr while `with` lasts; for a program, on stdout, one JSON object a line.

    Args:
        json: for a program.
    """

    def __init__(self, *, json: bool) -> None:
        self._json = json
        console = Console(stderr=True)
        self._lines = not json and not console.is_terminal
        self._told: dict[object, float] = {}
        self._bars: dict[tuple[str, str], TaskID] = {}
        self._waiting: TaskID | None = None
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>5.1f} %"),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            disable=json or self._lines,
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

    def say(self, text: str) -> None:
        """Something has been done or begins."""
        if self._json:
            _write({"message": text})
        elif self._lines:
            _log(text)
        else:
            self._progress.console.print(text, markup=False, highlight=False)

    def report(self, state: progress.Progress) -> None:
        """How far a step is; what the workers call."""
        self._stop_waiting()
        place = (state.step, state.collection)
        if self._json:
            _write({"progress": _plain(state)})
        elif self._lines:
            if self._is_due(place, at_once=state.finished):
                _log(f"{state.step} {state.collection}: {_note(state)} ({state.percent:.1f} %)")
        else:
            if place not in self._bars:
                name = f"{state.step} {escape(state.collection)}"
                self._bars[place] = self._progress.add_task(name, note="")
            self._progress.update(
                self._bars[place],
                completed=state.percent,
                total=100.0,
                note=escape(_note(state)),
            )

    def tell(self, waiting: Waiting) -> None:
        """Which processes are waited for; what the steps call."""
        if waiting.seconds < _WORTH_TELLING:
            return
        if self._json:
            if self._is_due(waiting.late):
                _write({"waiting": {"late": waiting.late, "seconds": waiting.seconds}})
        elif self._lines:
            if self._is_due(waiting.late):
                _log(f"waiting for {', '.join(waiting.late)}")
        else:
            if self._waiting is None:
                self._waiting = self._progress.add_task("waiting", total=None, note="")
            self._progress.update(self._waiting, note=escape(f"for {', '.join(waiting.late)}"))

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._progress.remove_task(self._waiting)
            self._waiting = None

    def _is_due(self, about: object, *, at_once: bool = False) -> bool:
        now = time.monotonic()
        due = at_once or now >= self._told.get(about, -_LINES_APART) + _LINES_APART
        if due:
            self._told[about] = now
        return due


def _note(state: progress.Progress) -> str:
    eta = None if state.eta is None else state.eta.total_seconds()
    note = f"{state.done:,} of {state.total:,}{pace(state.rate, eta)}"
    if state.mismatches:
        note += f", {state.mismatches:,} differ"
    return note if state.throttle is None else f"{note}; {state.throttle}"


def _plain(state: progress.Progress) -> dict[str, Any]:
    fields = dataclasses.asdict(state)
    return {
        **{
            name: value.total_seconds() if isinstance(value, timedelta) else value
            for name, value in fields.items()
        },
        "percent": state.percent,
    }


def _log(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _write(answer: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    sys.stdout.flush()
