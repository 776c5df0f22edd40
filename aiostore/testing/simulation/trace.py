"""What happened in a run, line by line, for a person to read."""

from collections.abc import Callable, Iterable
from functools import singledispatch

from aiostore.protocols import (
    Absent,
    Check,
    DocumentId,
    Exactly,
    Newer,
    Outcome,
    Record,
    Scan,
    Write,
)


class Trace:
    """The lines of one run; none unless they are wanted, for they take longer than the run.

    Args:
        clock: tells the time.
        wanted: whether there are to be any.

    Attributes:
        lines: what has happened so far.
    """

    def __init__(self, clock: Callable[[], float], *, wanted: bool) -> None:
        self.lines: list[str] = []
        self._clock = clock
        self._wanted = wanted
        self._calls: dict[int, str] = {}
        self._number = 0

    def say(self, who: str, what: object) -> None:
        """Somebody did something."""
        if self._wanted:
            self.lines.append(f"{self._clock():>11.6f} {who:<9} {what}")

    def sent(self, who: str, store: str, operation: str, what: object) -> int:
        """A call is on its way; returns its number."""
        self._number += 1
        if self._wanted:
            self._calls[self._number] = who
            self.say(who, f"#{self._number} → {store} {operation} {shown(what)}")
        return self._number

    def landed(self, number: int, result: object) -> None:
        """It has come to the store, which answers so."""
        if self._wanted:
            self.say(self._calls[number], f"#{number}   lands: {shown(result)}")

    def answered(self, number: int) -> None:
        """The answer has come."""
        if self._wanted:
            self.say(self._calls[number], f"#{number} ←")

    def note(self, number: int, what: str) -> None:
        """Something happened to a call."""
        if self._wanted:
            self.say(self._calls[number], f"#{number} {what}")


@singledispatch
def shown(what: object) -> str:
    """Something of the boundary, in few letters."""
    return str(what)


@shown.register
def _(what: None) -> str:  # noqa: ARG001  # which there is nothing to tell of
    return "nothing"


@shown.register
def _(what: tuple) -> str:  # type: ignore[type-arg]  # `DocumentId`, and what adaptors answer
    return f"{what.collection}/{what.key}" if isinstance(what, DocumentId) else _all(what)


@shown.register
def _(what: list) -> str:  # type: ignore[type-arg]  # likewise
    return _all(what)


@shown.register
def _(what: Record) -> str:
    body = "deleted" if what.body is None else what.body
    return f"{shown(what.id)} {body} @{short(what.version)} {what.mark.value}"


@shown.register
def _(what: Write) -> str:
    erased = " erased" if what.erase else ""
    mark = "" if what.mark is None else f" on {what.mark.value}"
    return f"{shown(what.record)}{erased} if {shown(what.condition)}{mark}"


@shown.register
def _(what: Check) -> str:
    return f"{shown(what.id)} if {shown(what.condition)}"


@shown.register
def _(what: Absent) -> str:  # noqa: ARG001  # it has no parts
    return "absent"


@shown.register
def _(what: Exactly) -> str:
    return f"@{short(what.version)}"


@shown.register
def _(what: Newer) -> str:  # noqa: ARG001  # likewise
    return "newer"


@shown.register
def _(what: Outcome) -> str:
    return f"{'applied' if what.applied else 'refused by'} {shown(what.record)}"


@shown.register
def _(what: Scan) -> str:
    after = "" if what.start_after is None else f" after {what.start_after}"
    return f"{what.collection}/{what.prefix}{after}"


def _all(some: Iterable[object]) -> str:
    return "[" + "; ".join(map(shown, some)) + "]"


def short(version: str) -> str:
    """The part of a version that tells it from others here: its time, and some chance."""
    return f"{version[5:12]}.{version[13:16]}.{version[-3:]}"
