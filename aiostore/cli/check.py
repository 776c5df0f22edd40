"""`aiostore check URL`: the conformance kit against a live engine."""

import asyncio
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from aiostore.errors import ConfigurationError
from aiostore.opening import DISTRIBUTION, open_adaptor
from aiostore.protocols import Adaptor
from aiostore.testing import Check, CheckResult, Harness, all_checks, run_checks

_SIGNS = {
    "passed": "[green]passed[/]",
    "failed": "[red]failed[/]",
    "broken": "[red]broken[/]",
    "skipped": "[yellow]skipped[/]",
}


def check(
    url: Annotated[str, typer.Argument(help="The store, as in sqlite:///app.db.")],
    topics: Annotated[
        list[str] | None,
        typer.Option("--topic", help="Only this topic, as in queries; may be given several times."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,  # noqa: FBT002  # an option's default
) -> None:
    """Check that a store keeps every promise.

    Works in collections of its own, named check-…, which it empties afterwards; documents that are
    there already are not touched. Exits with 1 if a promise is broken.
    """
    checks = _chosen(topics or [])
    make = _maker(url)
    first = make()
    results = asyncio.run(_results(Harness(make), first.name, checks, quiet=json))
    counts = {sign: sum(result.outcome == sign for result in results) for sign in _SIGNS}
    if json:
        answer: dict[str, Any] = {
            "store": first.name,
            "versions": {"aiostore": version(DISTRIBUTION), "python": platform.python_version()},
            "capabilities": msgspec.to_builtins(first.capabilities, order="deterministic"),
            **counts,
            "results": results,
        }
        sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    else:
        _print(first.name, results, counts)
    if counts["failed"] or counts["broken"]:
        raise typer.Exit(1)


def _chosen(topics: list[str]) -> list[Check]:
    checks = all_checks()
    known = sorted({check.topic for check in checks})
    unknown = sorted(set(topics).difference(known))
    if unknown:
        raise ConfigurationError(
            f"there is no topic {unknown[0]!r} in the kit: there are {', '.join(known)}"
        )
    return [check for check in checks if not topics or check.topic in topics]


async def _results(
    harness: Harness, name: str, checks: list[Check], *, quiet: bool
) -> list[CheckResult]:
    async with harness.adaptor():
        """Tell a wrong configuration once, not with every check."""
    console = Console(stderr=True)
    results = []
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(f"Checking {escape(name)}", total=len(checks))
        async for result in run_checks(harness, checks):
            results.append(result)
            bar.advance(task)
    return results


def _maker(url: str) -> Callable[[], Adaptor]:
    first = open_adaptor(url)
    if first.capabilities.persistent:
        return lambda: open_adaptor(url)
    return lambda: first


def _print(name: str, results: list[CheckResult], counts: dict[str, int]) -> None:
    console = Console()
    table = Table("topic", "check", "outcome", "", title=f"Conformance of {escape(name)}")
    for result in results:
        detail = result.detail if result.outcome == "skipped" else ""
        table.add_row(result.topic, result.name, _SIGNS[result.outcome], detail)
    console.print(table)
    for result in results:
        if result.outcome in ("failed", "broken"):
            console.print(f"[bold]{result.topic}: {result.name}[/]")
            console.print(result.detail, markup=False, highlight=False)
    console.print(", ".join(f"{count} {sign}" for sign, count in counts.items() if count))
