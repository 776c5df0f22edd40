"""`python -m benchmarks.profile`: where the CPU time of an operation goes.

One task, the memory adaptor, documents of 1 KB; so what is seen is the library's own time, coding
and decoding included. The profiler makes all of it slower, and small functions most; what an
operation takes is measured without it.
"""

import asyncio
import cProfile
import gc
import pstats
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from io import StringIO
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from benchmarks.documents import Content
from benchmarks.goals import CPU_GOALS, SIZE
from benchmarks.library import library
from benchmarks.operations import OPERATIONS
from benchmarks.variants import Call, Documents

_DOCUMENTS = 2000
_ROUNDS = 15


def main(
    lines: Annotated[int, typer.Option(min=1, help="How many functions to show.")] = 20,
) -> None:
    """Show what a get and a put take, and in which functions."""
    asyncio.run(_profile(Console(), lines))


async def _profile(console: Console, lines: int) -> None:
    async with library("memory://") as variant:
        content = Content("airports", 1024 * SIZE, _DOCUMENTS)
        documents = variant.open_documents(content.collection)
        values = {key: content.value(content.numbers[key], 0) for key in content.keys}
        body = msgspec.json.encode(values[content.keys[0]])
        await documents.fill(values)
        console.print(
            f"msgspec alone: decoding {_alone(lambda: msgspec.json.decode(body)):.1f} µs, "
            f"encoding {_alone(lambda: msgspec.json.encode(values[content.keys[0]])):.1f} µs"
        )
        for name, goal in CPU_GOALS.items():
            calls = OPERATIONS[name].calls(content, _DOCUMENTS, random.Random(0))  # noqa: S311  # no secret
            taken = await _taken(documents, name, calls)
            console.rule(f"{name}: {taken:.1f} µs of CPU an operation; to be below {goal:g}")
            console.print(
                await _functions(documents, name, calls, lines), markup=False, soft_wrap=True
            )


async def _taken(documents: Documents, name: str, calls: Sequence[Call]) -> float:
    method = getattr(documents, name)
    taken = []
    for _ in range(_ROUNDS):
        gc.collect()
        began = time.process_time()
        await _all(method, calls)
        taken.append(1_000_000 * (time.process_time() - began) / len(calls))
    return statistics.median(taken)


async def _functions(documents: Documents, name: str, calls: Sequence[Call], lines: int) -> str:
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        await _all(getattr(documents, name), calls)
    finally:
        profiler.disable()
    text = StringIO()
    pstats.Stats(profiler, stream=text).strip_dirs().sort_stats("tottime").print_stats(lines)
    return text.getvalue()


async def _all(method: Callable[..., Awaitable[Any]], calls: Sequence[Call]) -> None:
    for call in calls:
        await method(*call)


def _alone(work: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(_DOCUMENTS):
        work()
    return 1_000_000 * (time.process_time() - began) / _DOCUMENTS


if __name__ == "__main__":
    typer.run(main)
