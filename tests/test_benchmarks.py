"""The benchmarks run, and believe no answer that is wrong."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from servers import shared_server
from typer.testing import CliRunner

from aiostore.collection import Collection
from benchmarks import __main__ as command
from benchmarks import memory, migration
from benchmarks.documents import Content, Value
from benchmarks.figures import Figure
from benchmarks.goals import GOALS, TASKS
from benchmarks.library import LibraryDocuments
from benchmarks.machine import machine
from benchmarks.measuring import Pace
from benchmarks.operations import OPERATIONS, WrongAnswerError
from benchmarks.running import Report, Say, Settings, cases, measure_engine
from benchmarks.servers import SERVED
from benchmarks.variants import LIBRARY, Place, Variant

Part = Callable[[Place, migration.MigrationSettings, Say], Awaitable[list[Figure]]]

TINY = Settings(
    documents=140,
    found=140,
    sizes=(1,),
    pace=Pace(timedelta(milliseconds=1), repetitions=1, most_documents=128),
)
"""One call of each task."""


def place_of(engine: str, folder: Path) -> Place:
    """An empty one."""
    return Place(folder, shared_server(engine).fresh) if engine in SERVED else Place(folder)


def report_of(settings: Settings) -> Report:
    """One with nothing in it."""
    return Report(command="", began="", machine=machine("asyncio"), versions={}, settings=settings)


@pytest.mark.parametrize("name", command.ENGINES)
async def test_every_engine_is_measured(name: str, tmp_path: Path) -> None:
    """Each case of the library's has figures, each cell of the goals a ratio, all answers right."""
    engine, report = command.ENGINES[name], report_of(TINY)
    await measure_engine(engine, place_of(name, tmp_path), TINY, report, lambda _: None)
    report.conclude()
    measured = [
        (each.operation, each.size, each.tasks)
        for each in report.measurements
        if each.variant == LIBRARY
    ]
    assert measured == [(each.operation, each.size, each.tasks) for each in cases(engine, TINY)]
    assert all(each.rate > 0 and each.p99_ms > 0 for each in report.measurements)
    expected = [(goal.name, tasks) for goal in GOALS if goal.engine == name for tasks in TASKS]
    assert [(ratio.name, ratio.tasks) for ratio in report.ratios] == expected


SMALL = migration.MigrationSettings(
    moved=200,
    moves=1,
    pace=Pace(timedelta(milliseconds=1), repetitions=1, most_documents=20),
    served=20_000,
    spell=timedelta(milliseconds=50),
    spells=1,
    growth=(200, 400),
)


@pytest.mark.parametrize("part", migration.PARTS)
async def test_every_part_of_a_migration_is_measured(part: Part, tmp_path: Path) -> None:
    """Each has figures, and so has each goal."""
    place = place_of(migration.SERVER, tmp_path)
    figures = await part(place, SMALL, lambda _: None)
    assert all(figure.low <= figure.value <= figure.high for figure in figures)
    assert any(figure.goal is not None for figure in figures)


def test_the_goals_are_about_what_is_measured() -> None:
    """Every goal names an engine and an operation that there are."""
    assert {goal.engine for goal in GOALS} <= set(command.ENGINES)
    assert {goal.operation for goal in GOALS} <= set(OPERATIONS)


def test_the_command_keeps_what_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The JSON holds the ratios, and the page the command and the plots."""
    monkeypatch.setattr(command, "QUICK", TINY)
    monkeypatch.setattr("sys.argv", ["benchmarks", "--quick"])
    arguments = ["--quick", "--only", "memory", "--loop", "uvloop"]
    kept = ["--json", str(tmp_path / "out.json"), "--results", str(tmp_path)]
    done = CliRunner().invoke(command.app, [*arguments, *kept])
    assert done.exit_code == 0, done.output
    found = msgspec.json.decode((tmp_path / "out.json").read_bytes())
    assert {"machine", "versions", "measurements"} <= set(found)
    assert found["machine"]["loop"] == "uvloop"
    assert [(ratio["name"], ratio["tasks"]) for ratio in found["ratios"]] == [
        (f"memory {operation} / py-key-value", tasks)
        for operation in ("get", "put")
        for tasks in TASKS
    ]
    assert all({"name", "tasks", "ratio", "goal"} <= set(ratio) for ratio in found["ratios"])
    page = (tmp_path / "RESULTS.md").read_text()
    assert "python -m benchmarks --quick" in page
    assert "plots/memory.svg" in page
    assert (tmp_path / "plots" / "memory.svg").read_text().startswith("<?xml")


def test_an_engine_that_nobody_knows_is_refused() -> None:
    """The message names those that there are."""
    done = CliRunner().invoke(command.app, ["--only", "paper"])
    assert done.exit_code == 2
    assert "paper" in done.output


class Forgetful(LibraryDocuments):
    """Acknowledges puts and stores nothing."""

    async def put(self, key: str, value: Value) -> str | None:
        del key, value
        return "0"


class Stale(LibraryDocuments):
    """Answers with the document as it was at first."""

    async def get(self, key: str) -> Value:
        return {**await super().get(key), "revision": -1}


class Careless(LibraryDocuments):
    """Replaces whatever version is there."""

    async def replace(self, key: str, value: Value, version: str) -> str | None:
        del version
        return await self.put(key, value)


class Disorderly(LibraryDocuments):
    """Has the right documents in the wrong order."""

    async def scan(self, prefix: str) -> Sequence[tuple[str, Value]]:
        return list(reversed(await super().scan(prefix)))


@pytest.mark.parametrize(
    ("wrong", "operation"),
    [(Forgetful, "put"), (Stale, "get"), (Careless, "replace"), (Disorderly, "scan")],
)
async def test_a_wrong_answer_ends_the_run(
    wrong: type[LibraryDocuments],
    operation: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A variant that does not do what it says has no figures."""
    opened = memory.opened

    @asynccontextmanager
    async def with_a_wrong_one(place: Place) -> AsyncIterator[Sequence[Variant]]:
        async with opened(place) as [ours, *_]:
            yield [Variant("wrong", lambda name: wrong(_collection_of(ours, name)))]

    monkeypatch.setattr(memory, "opened", with_a_wrong_one)
    settings = msgspec.structs.replace(TINY, operations=(operation,))
    with pytest.raises(WrongAnswerError):
        await measure_engine(memory, Place(tmp_path), settings, report_of(settings), lambda _: None)


def _collection_of(variant: Variant, name: str) -> Collection[Value]:
    documents = variant.open_documents(name)
    assert isinstance(documents, LibraryDocuments)
    return documents._collection


@pytest.mark.parametrize("size", [1, 10])
def test_documents_are_as_large_as_they_are_said_to_be(size: int) -> None:
    """A kilobyte, or ten, in the middle."""
    content = Content("airports", 1024 * size, 60_000)
    chance = random.Random(0)
    sizes = sorted(
        len(msgspec.json.encode(content.value(number, 0)))
        for number in chance.sample(range(60_000), 1000)
    )
    assert sizes[500] == pytest.approx(1024 * size, rel=0.15)


def test_a_region_has_its_keys_in_order() -> None:
    """The keys that a scan of a region must give are those with its prefix."""
    content = Content("airports", 1024, 1100)
    region = content.region(content.keys[700])
    assert content.keys_in(region) == sorted(key for key in content.keys if key.startswith(region))
