"""A status in words: on one line, to be repeated, or on several, with what comes next."""

from collections.abc import Iterator

from aiostore.migration.control import Control
from aiostore.migration.members import Working
from aiostore.migration.phases import Phase
from aiostore.migration.status import Moving, Process, Status

_CLI = "aiostore migrate"


def line_of(status: Status) -> str:
    """All that matters, on one line."""
    return " · ".join(_parts(status))


def page_of(status: Status) -> str:
    """The same and more, on several lines."""
    lines = [f"{status.migration}: {status.current} → {status.target}", *_parts(status)]
    lines += [f"process {text}" for text in map(_of, status.processes)]
    lines += [f"problem: {text}" for text in status.problems]
    lines.append(f"next: {next_of(status)}")
    return "\n".join(lines)


def next_of(status: Status) -> str:
    """What an operator would do next to go forward."""
    if status.state != "running":
        return _ENDS[status.state].format(target=status.target, current=status.current)
    control = status.control
    match control.phase:
        case Phase.DUAL_WRITE if not control.pristine and not control.is_swept:
            then = "rollback --to dual-write, which ends the way back to here"
        case Phase.DUAL_WRITE:
            then = "run --to handoff" if control.is_verified else "run"
        case Phase.HANDOFF:
            then = "run --to target" if control.is_swept else "run --to handoff, which goes on"
        case Phase.TARGET:
            then = "complete, after which there is no way back"
        case Phase.CURRENT:
            then = "abort"
    return f"{_CLI} {then}"


_ENDS = {
    "not begun": f"{_CLI} start",
    "completed": "configure {target} alone, and restart the service",
    "aborted": "configure {current} alone, and restart the service",
}


def limits_of(control: Control) -> str:
    """What holds the background work back by an operator's word."""
    if control.paused is not None:
        return f"paused: {control.paused}"
    limits = [
        f"{limit:,.10g} {what}/s"
        for limit, what in (
            (control.documents_per_second, "documents"),
            (control.bytes_per_second, "bytes"),
        )
        if limit is not None
    ]
    return f"limited to {' and '.join(limits)}" if limits else "not limited"


def _parts(status: Status) -> Iterator[str]:
    if status.state != "running":
        yield status.state
        return
    control = status.control
    yield f"{control.phase.value} (generation {control.generation})"
    if status.moving is not None and not status.moving.finished:
        yield _moving(status.moving, status)
    for process, working in status.working.items():
        if working.step == "verify":
            yield _verifying(process, working)
    yield _gate(control)
    yield _mirror(status)
    yield from _findings(status)
    yield _processes(status)
    yield status.throttle or limits_of(control)


def duration(seconds: float) -> str:
    """A time in two units at most: `41 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    whole = round(seconds)
    for size, unit, part, smaller in (
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def pace(rate: float | None, eta: float | None) -> str:
    """How fast, and how long still."""
    text = "" if rate is None else f", {rate:,.0f}/s"
    return text if eta is None else f"{text}, ETA {duration(eta)}"


def _moving(moving: Moving, status: Status) -> str:
    workers = {name: one for name, one in status.working.items() if one.step == moving.step}
    told = next(iter(workers.values()), None)
    rate, eta = moving.rate, moving.eta
    if told is not None and not rate:
        rate, eta = told.rate, told.eta
    by = f", by {', '.join(workers)}" if workers else ", by nobody at the moment"
    return (
        f"{moving.step}: {moving.done:,} of {moving.total:,} ({moving.percent:.1f} %)"
        f"{pace(rate, eta)}{by}"
    )


def _verifying(process: str, working: Working) -> str:
    text = f"verify {working.collection}: {working.done:,} of {working.total:,}"
    text += pace(working.rate, working.eta)
    if working.mismatches:
        text += f", {working.mismatches:,} differ"
    return f"{text}, by {process}"


def _mirror(status: Status) -> str:
    text = f"mirror: {status.target_failures:,} failed, {status.suspects:,} in doubt"
    return text if status.lag is None else f"{text} for {duration(status.lag)}"


def _findings(status: Status) -> Iterator[str]:
    if status.oldest_mismatch is not None:
        age = duration(status.oldest_mismatch)
        yield f"mismatches: {status.mismatches:,}, the oldest for {age}"
    healths = [one.health for one in status.processes]
    matched = sum(health.shadows_matched for health in healths)
    behind = sum(health.shadows_behind for health in healths)
    different = sum(health.shadows_different for health in healths)
    if matched or behind or different:
        yield f"shadow reads: {matched:,} equal, {behind:,} behind, {different:,} different"


def _gate(control: Control) -> str:
    match control.phase:
        case Phase.DUAL_WRITE if control.pristine:
            return "proven equal" if control.is_verified else "not proven equal"
        case Phase.DUAL_WRITE:
            return "all handed back" if control.is_swept else "not all handed back"
        case Phase.HANDOFF:
            return "all handed off" if control.is_swept else "not all handed off"
        case Phase.TARGET:
            return "the target serves alone"
        case Phase.CURRENT:
            return "the current store serves alone"


def _processes(status: Status) -> str:
    everyone, late, silent = len(status.processes), status.late, status.silent
    text = f"processes: {everyone - len(late)} of {everyone} acknowledged"
    for what, some in (("late", late), ("silent", silent)):
        if some:
            text += f", {what}: {', '.join(one.process for one in some)}"
    return text


def _of(one: Process) -> str:
    health = one.health
    notes = [
        f"{one.process}: {one.phase.value} (generation {one.generation})"
        + ("" if one.acknowledged else ", late"),
        f"last sign {duration(one.seconds)} ago" + (", silent" if one.silent else ""),
        f"{health.suspects:,} in doubt",
    ]
    if not health.connected:
        notes.append("has not reached the target")
    if health.read_ms is not None:
        notes.append(f"reads {health.read_ms:.1f} ms")
    if health.write_ms is not None:
        notes.append(f"writes {health.write_ms:.1f} ms")
    return ", ".join(notes)
