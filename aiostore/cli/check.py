"""`aiostore check URL`: the conformance kit against a live engine."""

import asyncio
import sys
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from aiostore.opening import open_adaptor
from aiostore.protocols import Adaptor
from aiostore.testing import CheckResult, Harness, all_checks, run_checks

_SIGNS = {
    "passed": "[green]passed[/]",
    "failed": "[red]failed[/]",
    "broken": "[red]broken[/]",
    "skipped": "[yellow]skipped[/]",
}


def check(
    url: Annotated[str, typer.Argument(help="The store, as in sqlite:///app.db.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,  # noqa: FBT002  # an option's default
) -> None:
    """Check that a store keeps every promise.

    Works in collections of its own, named check-…, which it empties afterwards; documents that are
    there already are not touched. Exits with 1 if a promise is broken.
    """
    results = asyncio.run(_results(url, quiet=json))
    counts = {sign: sum(result.outcome == sign for result in results) for sign in _SIGNS}
    if json:
        answer: dict[str, Any] = {"url": url, **counts, "results": results}
        sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    else:
        _print(url, results, counts)
    if counts["failed"] or counts["broken"]:
        raise typer.Exit(1)


async def _results(url: str, *, quiet: bool) -> list[CheckResult]:
    harness = Harness(_maker(url))
    async with harness.adaptor():
        """Tell a wrong configuration once, not with every check."""
    console = Console(stderr=True)
    results = []
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(f"Checking {escape(url)}", total=len(all_checks()))
        async for result in run_checks(harness):
            results.append(result)
            bar.advance(task)
    return results


def _maker(url: str) -> Callable[[], Adaptor]:
    first = open_adaptor(url)
    if first.capabilities.persistent:
        return lambda: open_adaptor(url)
    return lambda: first


def _print(url: str, results: list[CheckResult], counts: dict[str, int]) -> None:
    console = Console()
    table = Table("topic", "check", "outcome", "", title=f"Conformance of {escape(url)}")
    for result in results:
        detail = result.detail if result.outcome == "skipped" else ""
        table.add_row(result.topic, result.name, _SIGNS[result.outcome], detail)
    console.print(table)
    for result in results:
        if result.outcome in ("failed", "broken"):
            console.print(f"[bold]{result.topic}: {result.name}[/]")
            console.print(result.detail, markup=False, highlight=False)
    console.print(", ".join(f"{count} {sign}" for sign, count in counts.items() if count))
