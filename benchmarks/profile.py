"""`python -m benchmarks.profile`: what one operation costs above the driver, and where it goes.

On the memory adaptor, by one task, with documents of 1 KB: the time of this thread's processor for
each operation, the smallest of several rounds; then a profile, whose own cost is in its figures.
"""

import asyncio
import cProfile
import pstats
import time
from collections.abc import Awaitable, Callable
from statistics import median

import typer

import aiostore
from benchmarks.documents import SIZES, documents
from benchmarks.engines.ours import ours
from benchmarks.variants import Variant

_ROUNDS = 21
_DOCUMENTS = 500
_LINES = 25

Operation = Callable[[str], Awaitable[object]]


def main(lines: int = _LINES) -> None:
    """Measure and profile get, put and a compare-and-set."""
    held = documents(_DOCUMENTS, SIZES["1 KB"])

    def operations(variant: Variant) -> dict[str, Operation]:
        replace = variant.replace
        assert replace is not None  # noqa: S101  # for mypy; ours has them all
        return {
            "get": variant.get,
            "put": lambda key: variant.put(key, held[key]),
            "replace": lambda key: replace(key, held[key]),
        }

    async def measure() -> None:
        async with ours(aiostore.open_store("memory://"), held) as variant:
            for name, operation in operations(variant).items():
                rounds = [await _round(operation, list(held)) for _ in range(_ROUNDS)]
                typer.echo(f"{name:8} {min(rounds):6.2f} µs, median {median(rounds):6.2f} µs")
            for name, operation in operations(variant).items():
                profile = cProfile.Profile()
                profile.enable()
                for _ in range(_ROUNDS):
                    await _round(operation, list(held))
                profile.disable()
                typer.echo(f"\n{name}")
                pstats.Stats(profile).sort_stats("tottime").print_stats(lines)

    asyncio.run(measure())


async def _round(operation: Operation, keys: list[str]) -> float:
    """Microseconds for each."""
    began = time.thread_time()
    for key in keys:
        await operation(key)
    return (time.thread_time() - began) / len(keys) * 1e6


if __name__ == "__main__":
    typer.run(main)
