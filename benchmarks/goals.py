"""What is to be reached: our rate as a multiple of another's, with documents of 1 KB."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from benchmarks.measuring import TASKS, Measured, ratios
from benchmarks.variants import OURS

SIZE = "1 KB"


class Goal(Struct, frozen=True):
    """One row of the table.

    Attributes:
        engine: its name.
        operation: as in `measuring.OPERATIONS`.
        rival: the variant that we are compared with.
        least: the multiple to be reached, for each of `TASKS`.
    """

    engine: str
    operation: str
    rival: str
    least: tuple[float, float, float]

    @property
    def name(self) -> str:
        """For the report."""
        return f"{self.engine} {self.operation} / {self.rival}"


GOALS = (
    Goal("PostgreSQL", "get", "asyncpg", (0.9, 1.4, 2.0)),
    Goal("PostgreSQL", "replace", "asyncpg", (0.85, 2.5, 4.0)),
    Goal("PostgreSQL", "get", "py-key-value-aio", (2.0, 4.0, 5.5)),
    Goal("PostgreSQL", "put", "py-key-value-aio", (1.5, 3.5, 6.0)),
    Goal("PostgreSQL", "get", "SQLAlchemy Core", (3.5, 9.0, 15.0)),
    Goal("SQLite", "get", "aiosqlite", (2.3, 3.5, 4.0)),
    Goal("SQLite", "put", "aiosqlite", (1.2, 8.0, 9.0)),
    Goal("DynamoDB", "get", "aiobotocore", (1.0, 4.0, 7.0)),
    Goal("DynamoDB", "put", "aiobotocore", (1.0, 1.5, 2.0)),
    Goal("files", "get", "aiofiles", (2.5, 2.4, 2.8)),
    Goal("memory", "get", "py-key-value-aio", (1.5, 1.5, 1.5)),
    Goal("memory", "put", "py-key-value-aio", (1.5, 1.5, 1.5)),
)


class Ratio(Struct, frozen=True):
    """One cell of the table.

    Attributes:
        name: the goal's.
        tasks: how many asked at the same time.
        ratio: the median over the rounds.
        goal: what is to be reached.
        lowest: of the rounds.
        highest: of the rounds.
    """

    name: str
    tasks: int
    ratio: float
    goal: float
    lowest: float
    highest: float


def cells(measured: Iterable[Measured]) -> Sequence[Ratio]:
    """The cells of all engines that were measured."""
    known = {
        (one.engine, one.operation, one.tasks, one.variant): one
        for one in measured
        if one.size == SIZE
    }
    found: list[Ratio] = []
    for goal in GOALS:
        for tasks, least in zip(TASKS, goal.least, strict=True):
            ours = known.get((goal.engine, goal.operation, tasks, OURS))
            theirs = known.get((goal.engine, goal.operation, tasks, goal.rival))
            if ours is not None and theirs is not None:
                each = sorted(ratios(ours, theirs))
                middle = each[len(each) // 2]
                found.append(Ratio(goal.name, tasks, middle, least, each[0], each[-1]))
    return found
