"""What is to be reached, as ratios in one run."""

import statistics
from collections.abc import Iterable

from msgspec import Struct

from benchmarks.measuring import Measurement
from benchmarks.variants import LIBRARY

TASKS = (1, 16, 128)

SIZE = 1
"""Kilobytes of the documents that the goals are about."""


class Goal(Struct, frozen=True):
    """A row of the table of goals: the least ratio at 1, 16 and 128 tasks."""

    name: str
    engine: str
    operation: str
    rival: str
    least: tuple[float, float, float]


class Tail(Struct, frozen=True):
    """How long the slowest hundredth waits at 128 tasks, beside the driver by hand.

    Attributes:
        ratio: the driver's p99 by the library's: more is better, as with rates.
    """

    name: str
    tasks: int
    ratio: float
    goal: float = 1.0


class Ratio(Struct, frozen=True):
    """A cell of it, measured.

    Attributes:
        ratio: the library's rate by the rival's, the median of all turns.
        low: the lower quartile of the turns.
        high: the upper one.
    """

    name: str
    tasks: int
    ratio: float
    goal: float
    low: float
    high: float

    @property
    def reached(self) -> bool:
        """Whether it is as large as it is to be."""
        return self.ratio >= self.goal


GOALS = (
    Goal("PostgreSQL get / asyncpg", "postgresql", "get", "asyncpg", (0.9, 1.4, 2.0)),
    Goal(
        "PostgreSQL compare-and-set / asyncpg", "postgresql", "replace", "asyncpg", (0.85, 2.5, 4.0)
    ),
    Goal("PostgreSQL get / py-key-value", "postgresql", "get", "py-key-value", (2.0, 4.0, 5.5)),
    Goal("PostgreSQL put / py-key-value", "postgresql", "put", "py-key-value", (1.5, 3.5, 6.0)),
    Goal("PostgreSQL get / SQLAlchemy", "postgresql", "get", "SQLAlchemy", (3.5, 9.0, 15.0)),
    Goal("SQLite get / aiosqlite", "sqlite", "get", "aiosqlite", (2.3, 3.5, 4.0)),
    Goal("SQLite put / aiosqlite", "sqlite", "put", "aiosqlite", (1.2, 8.0, 9.0)),
    Goal("DynamoDB get / aiobotocore", "dynamodb", "get", "aiobotocore", (1.0, 4.0, 7.0)),
    Goal("DynamoDB put / aiobotocore", "dynamodb", "put", "aiobotocore", (1.0, 1.5, 2.0)),
    Goal("file get / aiofiles", "files", "get", "aiofiles", (2.5, 2.4, 2.8)),
    Goal("memory get / py-key-value", "memory", "get", "py-key-value", (1.5, 1.5, 1.5)),
    Goal("memory put / py-key-value", "memory", "put", "py-key-value", (1.5, 1.5, 1.5)),
)

RAW = {
    "postgresql": "asyncpg",
    "sqlite": "aiosqlite",
    "mariadb": "asyncmy",
    "dynamodb": "aiobotocore",
    "files": "aiofiles",
}
"""The driver by hand, of each engine that has one."""

CPU_GOALS = {"get": 8.0, "put": 15.0}
"""Microseconds of CPU that an operation in memory may take, of one task."""


def ratio_of(ours: Measurement, theirs: Measurement) -> tuple[float, float, float]:
    """The median and the quartiles of the ratios within each turn."""
    ratios = [mine / other for mine, other in zip(ours.rates, theirs.rates, strict=True)]
    if len(ratios) == 1:
        return ratios[0], ratios[0], ratios[0]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return middle, low, high


def ratios(measurements: Iterable[Measurement]) -> list[Ratio]:
    """A row for each cell of the goals whose engine was measured."""
    found = _of_one_size(measurements)
    rows = []
    for goal in GOALS:
        for tasks, least in zip(TASKS, goal.least, strict=True):
            ours = found.get((goal.engine, goal.operation, tasks, LIBRARY))
            theirs = found.get((goal.engine, goal.operation, tasks, goal.rival))
            if ours is not None and theirs is not None:
                middle, low, high = ratio_of(ours, theirs)
                rows.append(Ratio(goal.name, tasks, middle, least, low, high))
    return rows


def tails(measurements: Iterable[Measurement]) -> list[Tail]:
    """A row for each operation that the driver by hand has, too."""
    found = _of_one_size(measurements)
    rows = []
    for (engine, operation, tasks, variant), ours in found.items():
        theirs = found.get((engine, operation, tasks, RAW.get(engine, "")))
        if (tasks, variant) == (max(TASKS), LIBRARY) and theirs is not None:
            name = f"{engine} {operation} p99 / {theirs.variant}"
            rows.append(Tail(name, tasks, theirs.p99_ms / ours.p99_ms))
    return rows


def _of_one_size(
    measurements: Iterable[Measurement],
) -> dict[tuple[str, str, int, str], Measurement]:
    return {
        (each.engine, each.operation, each.tasks, each.variant): each
        for each in measurements
        if each.size == SIZE
    }
