"""Closed loops: so many tasks, each of which asks again as soon as it is answered.

All variants of an engine are measured in one run, by turns and several times over, each time for a
fraction of a second: a machine has slow and fast spells, which then meet all of them alike. What is
compared is each variant's rate with that of its neighbours of the same round.
"""

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable, Sequence
from statistics import median, quantiles
from time import perf_counter

from msgspec import Struct

from benchmarks.documents import Documents
from benchmarks.variants import COUNTRY, Variant

TASKS = (1, 16, 128)
OPERATIONS = ("get", "put", "replace", "get_many", "page", "scan", "find")

_MANY = 20
_PAGE = 50

Call = Callable[[int], Awaitable[None]]
"""One operation of the task of that number, its answer checked."""


class WrongAnswerError(Exception):
    """A variant answered something else than what was stored: its figures are worth nothing."""


class Measured(Struct, frozen=True):
    """One variant's figures for one operation.

    Attributes:
        engine: its name.
        size: of the documents.
        operation: one of `OPERATIONS`.
        tasks: how many asked at the same time.
        variant: its name.
        rates: operations a second, in each round.
        p99: of the operations' durations over all rounds, in milliseconds.
    """

    engine: str
    size: str
    operation: str
    tasks: int
    variant: str
    rates: list[float]
    p99: float

    @property
    def rate(self) -> float:
        """The median."""
        return median(self.rates)


def ratios(ours: Measured, theirs: Measured) -> list[float]:
    """How many times theirs our rate is, in each round."""
    return [mine / other for mine, other in zip(ours.rates, theirs.rates, strict=True)]


class Bench:
    """The operations over one set of documents.

    Args:
        engine: the engine's name.
        size: of the documents.
        documents: what all variants hold.
        rounds: how often each is measured.
        seconds: for how long each time.
    """

    def __init__(
        self, engine: str, size: str, documents: Documents, *, rounds: int, seconds: float
    ) -> None:
        self._engine = engine
        self._size = size
        self._documents = dict(documents)
        self._keys = sorted(documents)
        self._rounds = rounds
        self._seconds = seconds
        self._choices = random.Random(7)  # noqa: S311  # no secret
        self._revision = 0

    async def measure(
        self, operation: str, tasks: int, variants: Sequence[Variant]
    ) -> list[Measured]:
        """The figures of all variants that can do it.

        Raises:
            WrongAnswerError: one of them does not.
        """
        able = [one for one in variants if getattr(one, operation) is not None]
        rates: dict[str, list[float]] = {one.name: [] for one in able}
        times: dict[str, list[float]] = {one.name: [] for one in able}
        for number in range(-1, self._rounds):  # the first warms up
            turn = number % len(able)
            for variant in [*able[turn:], *able[:turn]]:
                seconds = self._seconds if number >= 0 else self._seconds / 4
                rate, taken = await self._round(operation, tasks, variant, seconds)
                if number >= 0:
                    rates[variant.name].append(rate)
                    times[variant.name] += taken
        return [
            Measured(
                self._engine,
                self._size,
                operation,
                tasks,
                one.name,
                rates[one.name],
                1000 * _percentile(times[one.name]),
            )
            for one in able
        ]

    async def _round(
        self, operation: str, tasks: int, variant: Variant, seconds: float
    ) -> tuple[float, list[float]]:
        written: dict[str, int] = {}
        call = self._call(operation, tasks, variant, written)
        times: list[float] = []
        gc.collect()
        began = perf_counter()
        end = began + seconds

        async def loop(task: int) -> None:
            before = perf_counter()
            while True:
                await call(task)
                after = perf_counter()
                times.append(after - before)
                before = after
                if after >= end:
                    return

        try:
            async with asyncio.TaskGroup() as group:
                for task in range(tasks):
                    group.create_task(loop(task))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        taken = perf_counter() - began
        for key in list(written)[:100]:
            _expect((await variant.get(key))["revision"], written[key], variant, operation)
        return len(times) / taken, times

    def _call(self, operation: str, tasks: int, variant: Variant, written: dict[str, int]) -> Call:
        make = getattr(self, f"_{operation}")
        call: Call = make(getattr(variant, operation), variant, tasks, written)
        return call

    def _get(self, get: Callable[..., Awaitable[object]], variant: Variant, *_: object) -> Call:
        keys, documents, choose = self._keys, self._documents, self._choices.choice

        async def call(_: int) -> None:
            key = choose(keys)
            value = await get(key)
            if value["key"] != key or len(value) != len(documents[key]):  # type: ignore[index, arg-type]  # a variant's `get` gives a dict
                _expect(value, documents[key], variant, "get")

        return call

    def _put(
        self,
        put: Callable[..., Awaitable[object]],
        variant: Variant,
        tasks: int,
        written: dict[str, int],
    ) -> Call:
        keys, documents = self._keys, self._documents
        places = list(range(tasks))

        async def call(task: int) -> None:
            place = places[task]
            places[task] = (place + tasks) % (len(keys) // tasks * tasks)
            key = keys[place]
            self._revision = revision = self._revision + 1
            answer = await put(key, {**documents[key], "revision": revision})
            if answer is False:
                raise WrongAnswerError(
                    f"{variant.name}, replace: refused, though nobody came between"
                )
            written[key] = revision

        return call

    _replace = _put

    def _get_many(
        self, get_many: Callable[..., Awaitable[object]], variant: Variant, *_: object
    ) -> Call:
        async def call(_: int) -> None:
            keys = self._choices.sample(self._keys, min(_MANY, len(self._keys)))
            values = await get_many(keys)
            _expect(set(values), set(keys), variant, "get_many")  # type: ignore[call-overload]  # it gives a mapping

        return call

    def _page(self, page: Callable[..., Awaitable[object]], variant: Variant, *_: object) -> Call:
        async def call(_: int) -> None:
            place = self._choices.randrange(max(1, len(self._keys) - _PAGE))
            found = await page(self._keys[place], _PAGE)
            _expect(found, self._keys[place + 1 : place + 1 + _PAGE], variant, "page")

        return call

    def _scan(self, scan: Callable[..., Awaitable[object]], variant: Variant, *_: object) -> Call:
        async def call(_: int) -> None:
            _expect(await scan(), len(self._keys), variant, "scan")

        return call

    def _find(self, find: Callable[..., Awaitable[object]], variant: Variant, *_: object) -> Call:
        there = sum(one["country"] == COUNTRY for one in self._documents.values())

        async def call(_: int) -> None:
            _expect(await find(), there, variant, "find")

        return call


def _expect(actual: object, expected: object, variant: Variant, operation: str) -> None:
    if actual != expected:
        raise WrongAnswerError(
            f"{variant.name}, {operation}: {expected!r:.100} was expected, not {actual!r:.100}"
        )


def _percentile(times: Sequence[float]) -> float:
    return quantiles(times, n=100)[98] if len(times) > 1 else times[0]
