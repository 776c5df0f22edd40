"""Closed loops, in short rounds that take turns.

So many tasks each wait for an answer before they ask again. Every variant has a round, then every
one the next, each time in another order: a slow spell of the machine meets all of them alike, and
a ratio is the median of the ratios within one turn. What a round is asked is made before it, and
its answers are checked after it, so neither is measured.
"""

import asyncio
import gc
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from msgspec import Struct

from benchmarks.documents import Content
from benchmarks.operations import OPERATIONS, Operation, check_conflict, check_standing
from benchmarks.variants import Call, Documents

_READ_BACK = 100
_WARM_UP = 4


class Pace(Struct, frozen=True):
    """How long and how often is measured.

    Attributes:
        round: how long one lasts, about.
        repetitions: rounds of each variant.
        most_documents: of a round, for its answers are kept until it ends.
        patience: how long a case may take, about; what is slow has fewer rounds.
    """

    round: timedelta = timedelta(milliseconds=250)
    repetitions: int = 9
    most_documents: int = 10_000
    patience: timedelta = timedelta(minutes=1)


class Case(Struct, frozen=True):
    """What is measured of every variant side by side.

    Attributes:
        size: kilobytes of a document.
        tasks: that ask at the same time.
    """

    engine: str
    operation: str
    size: int
    tasks: int


class Measurement(Struct, frozen=True, kw_only=True):
    """One variant in one case; rates are calls a second.

    Attributes:
        rate: the median of its rounds.
        low: the slowest.
        high: the fastest.
        p50_ms: the latency of a call in the middle.
        p99_ms: of the slowest hundredth.
        cpu_us: the CPU time of this process for a call, the median of the rounds.
        rates: of each round, in turn.
        calls: how many there were.
    """

    engine: str
    operation: str
    size: int
    tasks: int
    variant: str
    rate: float
    low: float
    high: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    rates: list[float]
    calls: int


class Round(Struct, frozen=True):
    """What a closed loop has seen; times in seconds."""

    answers: list[Any]
    latencies: list[float]
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """Calls a second."""
        return len(self.answers) / self.seconds


async def closed_loop(
    call: Callable[..., Awaitable[Any]], calls: Sequence[Call], tasks: int
) -> Round:
    """Make the calls, so many at a time."""
    answers: list[Any] = [None] * len(calls)
    latencies = [0.0] * len(calls)
    waiting = iter(enumerate(calls))
    clock = time.perf_counter

    async def client() -> None:
        for number, arguments in waiting:
            asked = clock()
            answers[number] = await call(*arguments)
            latencies[number] = clock() - asked

    cpu, began = time.process_time(), clock()
    if tasks == 1:
        await client()
    else:
        async with asyncio.TaskGroup() as clients:
            for _ in range(tasks):
                clients.create_task(client())
    return Round(answers, latencies, clock() - began, time.process_time() - cpu)


class Runner:
    """One variant in one case.

    Args:
        name: the variant's.
        documents: its collection.
        content: what stands there.
        case: the case.
        pace: how long a round is.
    """

    def __init__(
        self, name: str, documents: Documents, content: Content, case: Case, pace: Pace
    ) -> None:
        self._name = name
        self._documents = documents
        self._content = content
        self._case = case
        self._seconds = pace.round.total_seconds()
        self._operation: Operation = OPERATIONS[case.operation]
        self._call = getattr(documents, case.operation)
        self._calls = case.tasks
        self._most = max(case.tasks, pace.most_documents // self._operation.documents)
        self._rounds: list[tuple[float, float]] = []
        self._latencies: list[float] = []
        self._written: list[str] = []

    async def warm_up(self, chance: random.Random) -> float:
        """Bring what is cached into caches, and learn how many calls make a round.

        Returns:
            The seconds that a round will take.
        """
        seen = await self._round(chance)
        while len(seen.answers) < self._most and seen.seconds * _WARM_UP < self._seconds:
            self._calls = min(_WARM_UP * self._calls, self._most)
            asked, seen = len(seen.answers), await self._round(chance)
            if len(seen.answers) == asked:  # there are no more documents
                break
        wanted = int(seen.rate * self._seconds)
        self._calls = max(self._case.tasks, min(wanted, self._most))
        return self._calls / seen.rate

    async def take_turn(self, chance: random.Random) -> None:
        """One round that counts."""
        seen = await self._round(chance)
        self._rounds.append((seen.rate, seen.cpu / len(seen.answers)))
        self._latencies += seen.latencies

    async def finish(self) -> Measurement:
        """The figures, after what was written is read back.

        Raises:
            WrongAnswerError: it is not there.
        """
        content = self._content
        if self._operation.writes and self._documents.offers("get"):
            await check_standing(self._documents, content, self._written)
        if self._case.operation == "replace":
            await check_conflict(self._documents, content, self._written[0])
        rates = [rate for rate, _ in self._rounds]
        ranked = sorted(self._latencies)
        return Measurement(
            engine=self._case.engine,
            operation=self._case.operation,
            size=self._case.size,
            tasks=self._case.tasks,
            variant=self._name,
            rate=statistics.median(rates),
            low=min(rates),
            high=max(rates),
            p50_ms=1000 * ranked[len(ranked) // 2],
            p99_ms=1000 * ranked[len(ranked) * 99 // 100],
            cpu_us=1_000_000 * statistics.median(cpu for _, cpu in self._rounds),
            rates=rates,
            calls=len(ranked),
        )

    async def _round(self, chance: random.Random) -> Round:
        operation, content = self._operation, self._content
        calls = operation.calls(content, self._calls, chance)
        gc.collect()
        seen = await closed_loop(self._call, calls, self._case.tasks)
        for call, answer in zip(calls, seen.answers, strict=True):
            operation.check(content, call, answer)
        self._written = [call[0] for call in calls[-_READ_BACK:]]
        return seen


async def compare(
    case: Case, variants: Mapping[str, tuple[Documents, Content]], pace: Pace
) -> list[Measurement]:
    """Measure variants in turn; each is its collection and what stands there, by its name."""
    runners = [
        Runner(name, documents, content, case, pace)
        for name, (documents, content) in variants.items()
    ]
    turn = sum([await runner.warm_up(random.Random(0)) for runner in runners])  # noqa: S311  # no secret
    for repetition in range(
        max(1, min(pace.repetitions, int(pace.patience.total_seconds() / turn)))
    ):
        first = repetition % len(runners)
        for runner in runners[first:] + runners[:first]:
            await runner.take_turn(random.Random(repetition))  # noqa: S311  # no secret
    return [await runner.finish() for runner in runners]
