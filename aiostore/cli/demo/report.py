"""What came of it, for people and for programs."""

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aiostore.cli.demo.move import PROCESSES, Result, Settings
from aiostore.cli.demo.tally import DURING, KINDS, PHASES, Phase, Tally
from aiostore.cli.demo.traffic import FEEDS, READERS, WRITERS

_MOST_EXAMPLES = 5


def figures(settings: Settings, result: Result) -> dict[str, Any]:
    """Everything as JSON."""
    tally, findings, ledger = result.tally, result.findings, result.ledger
    outcome, verification = result.outcome, result.outcome.verification
    return {
        "passed": passed(result),
        "operations": tally.operations,
        "acknowledged": tally.acknowledged,
        "errors": tally.errors,
        "conflicts": tally.conflicts,
        "loaded": result.loaded,
        "copied": outcome.copied,
        "compared": verification.compared,
        "mismatches": verification.mismatches,
        "unsettled": verification.unsettled,
        "processes": PROCESSES,
        "steps": [{"to": step.to, "seconds": round(step.seconds, 3)} for step in outcome.steps],
        "handed_off_before_rollback": outcome.turned_back,
        "mended": outcome.mended,
        "handed_off": outcome.handed_off,
        "lost": findings.lost,
        "resurrected": findings.resurrected,
        "different": findings.different,
        "unexpected": findings.unexpected,
        "dirty": ledger.dirty,
        "stale": ledger.stale,
        "documents": result.documents,
        "expected_documents": findings.expected,
        "seconds": round(result.seconds, 3),
        "seed": settings.seed,
        "from": settings.source.name,
        "to": settings.target.name,
        "switched": result.switch is not None,
        "switch_seconds": None if result.switch is None else round(result.switch.seconds, 6),
        "held_requests": None if result.switch is None else result.switch.held,
        "latency": {phase: _latency(tally, [phase]) for phase in PHASES}
        | {"during": _latency(tally, DURING)},
    }


def _latency(tally: Tally, phases: Sequence[Phase]) -> dict[str, Any]:
    return {kind: tally.latency(phases, kind) for kind in KINDS}


def passed(result: Result) -> bool:
    """Whether nothing at all went wrong."""
    findings, ledger = result.findings, result.ledger
    wrong = (
        findings.lost
        + findings.resurrected
        + findings.different
        + findings.unexpected
        + ledger.dirty
        + ledger.stale
        + result.tally.errors
        + result.outcome.verification.mismatches
    )
    in_number = findings.unknown > 0 or result.documents == findings.expected
    return not wrong and in_number and result.switch is not None


def faults(result: Result) -> list[str]:
    """The first things that went wrong, one line each."""
    lines = [
        f"mismatch: {found.key}: {found.kind} in the target"
        for found in result.outcome.verification.differences[:_MOST_EXAMPLES]
    ]
    lines += result.findings.examples[:_MOST_EXAMPLES]
    lines += result.ledger.examples[:_MOST_EXAMPLES]
    lines += result.tally.examples[:_MOST_EXAMPLES]
    return lines


def show_title(console: Console, settings: Settings) -> None:
    """What is about to happen, and where."""
    console.print(
        f"[bold]Moving the world's airports to another store[/bold] while {READERS} readers, "
        f"{WRITERS} writers and {FEEDS} feeds use them",
        highlight=False,
        soft_wrap=True,
    )
    for word, place in (("from", settings.source), ("to", settings.target)):
        fate = "kept" if settings.keep else "emptied in the end"
        note = f"[dim]({'temporary' if place.temporary else fate})[/dim]"
        console.print(f"  {word:<5}{escape(place.name)}  {note}", highlight=False, soft_wrap=True)
    console.print(f"  seed {settings.seed}\n", highlight=False)


def show(console: Console, settings: Settings, result: Result) -> None:
    """The tables, and the verdict last."""
    console.print()
    console.print(_latencies(result.tally))
    console.print(_facts(result))
    _show_kept(console, settings, result)
    console.print()
    for line in faults(result):
        console.print(f"  {escape(line)}", style="red", highlight=False, soft_wrap=True)
    console.print(_verdict(result), highlight=False, soft_wrap=True)


def _latencies(tally: Tally) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=True)
    table.add_column("")
    for kind in KINDS:
        table.add_column(f"{kind}s", justify="right")
        table.add_column("p50 ms", justify="right")
        table.add_column("p99 ms", justify="right")
    for phase in PHASES:
        cells = []
        for kind in KINDS:
            took = tally.latency([phase], kind)
            cells += [f"{took['count']:,}", f"{took['p50_ms']:.1f}", f"{took['p99_ms']:.1f}"]
        table.add_row(phase, *cells)
    return table


def _facts(result: Result) -> Table:
    tally, findings, ledger, switch = result.tally, result.findings, result.ledger, result.switch
    outcome, verification = result.outcome, result.outcome.verification
    slowest = max((step.seconds for step in outcome.steps), default=0.0)
    table = Table.grid(padding=(0, 2))
    table.add_row(
        "  requests",
        f"{tally.operations:,}: {tally.acknowledged:,} writes acknowledged, {tally.conflicts:,} "
        f"conflicts, {tally.errors:,} errors",
    )
    table.add_row(
        "  copied",
        f"{outcome.copied:,} records by the backfill; what was written meanwhile went to both "
        "stores",
    )
    table.add_row(
        "  verified",
        f"{verification.compared:,} records compared under traffic, {verification.mismatches:,} "
        "mismatches",
    )
    if outcome.turned_back:
        table.add_row(
            "  rollback",
            f"after {outcome.turned_back:,} documents had been handed off: all were handed back, "
            "and verified again",
        )
    if outcome.complete:
        table.add_row(
            "  handoff", f"{outcome.handed_off:,} documents, one by one, while the clients went on"
        )
    table.add_row(
        "  steps",
        f"{len(outcome.steps)}, each taken by {PROCESSES} processes within {slowest:.1f} s",
    )
    table.add_row(
        "  restart",
        "not made: the service stayed on the source"
        if switch is None
        else f"on the target alone: {switch.held} requests waited, at most "
        f"{switch.seconds * 1000:.0f} ms",
    )
    table.add_row(
        "  audit",
        f"lost {findings.lost:,}, resurrected {findings.resurrected:,}, different "
        f"{findings.different:,}, unexpected {findings.unexpected:,}; dirty reads "
        f"{ledger.dirty:,}, stale reads {ledger.stale:,}",
    )
    return table


def _show_kept(console: Console, settings: Settings, result: Result) -> None:
    """What is left of it where the user can find it."""
    moved = "marked as moved" if result.switch is not None else "still the one that counts"
    stores = [
        (settings.source, f"the source, {moved}"),
        (settings.target, f"the target, {result.documents:,} documents"),
    ]
    kept = [(place.name, what) for place, what in stores if settings.keep and not place.temporary]
    if settings.keep_ledger:
        kept.append((str(settings.ledger), "the ledger"))
    for name, what in kept:
        console.print(f"  kept      {escape(name)}: {what}", highlight=False, soft_wrap=True)


def _verdict(result: Result) -> str:
    counts = (
        f"lost {result.findings.lost:,}, mismatches {result.outcome.verification.mismatches:,}, "
        f"{result.seconds:.0f} s"
    )
    if passed(result):
        return (
            f"[bold green]{result.documents:,} documents moved under {result.tally.operations:,} "
            f"operations: {counts}[/bold green]"
        )
    return (
        f"[bold red]FAILED with {result.documents:,} documents in the target under "
        f"{result.tally.operations:,} operations: {counts}[/bold red]"
    )
