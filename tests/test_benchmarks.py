"""The benchmarks run: once through each engine, so that they cannot rot."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from servers import shared_server

from benchmarks import __main__ as command
from benchmarks.documents import SIZES, Value, documents
from benchmarks.goals import GOALS, cells
from benchmarks.measuring import OPERATIONS, TASKS, Bench, WrongAnswerError
from benchmarks.variants import OURS, Place, Variant

FEW = 200
PLAN = command.Plan(FEW, 1, 0.001, ("1 KB",))


@pytest.mark.parametrize("name", command.ENGINES)
def test_every_operation_of_every_variant_answers_right(name: str, tmp_path: Path) -> None:
    """Whatever one can do it does, by one task and by many; and no cell of the table is missing."""
    engine = command._engine(name)
    urls = {} if engine.NEEDS is None else {engine.NEEDS: shared_server(engine.NEEDS).fresh()}
    measured = asyncio.run(command._measure(PLAN, engine, "1 KB", Place(tmp_path, urls)))
    assert {one.operation for one in measured if one.variant == OURS} == set(OPERATIONS)
    asked = [(goal.name, tasks) for goal in GOALS if goal.engine == engine.NAME for tasks in TASKS]
    assert [(one.name, one.tasks) for one in cells(measured)] == asked


@pytest.mark.parametrize("operation", ["get", "put", "replace", "scan", "page"])
def test_a_wrong_answer_is_no_figure(operation: str) -> None:
    """A variant that is fast because it does not do its work is found out."""
    held = documents(FEW, SIZES["1 KB"])
    bench = Bench("memory", "1 KB", held, rounds=1, seconds=0.001)
    with pytest.raises(WrongAnswerError, match=operation):
        asyncio.run(bench.measure(operation, 1, [_lazy(held)]))


def test_the_command_writes_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table on the terminal, JSON with a row for each cell, and a page with a plot."""
    monkeypatch.setattr(command, "QUICK", PLAN)
    monkeypatch.chdir(tmp_path)
    command.main(
        quick=True, only=["memory"], operation=["get", "put"], json=tmp_path / "a", results=tmp_path
    )
    assert "memory get" in capsys.readouterr().out
    report = json.loads((tmp_path / "a").read_bytes())
    assert [row["tasks"] for row in report["ratios"]] == [*TASKS, *TASKS]
    assert all({"name", "tasks", "ratio", "goal"} <= set(row) for row in report["ratios"])
    assert "| memory get / py-key-value-aio | 16 |" in (tmp_path / "RESULTS.md").read_text()
    assert (tmp_path / "memory.svg").exists()


def _lazy(held: Mapping[str, Value]) -> Variant:
    """One that does nothing, and says it has; what it gets is the first document, always."""
    first = next(iter(held.values()))

    async def get(_: str) -> Value:
        return first

    async def put(_: str, __: Value) -> bool:
        return True

    async def page(_: str, __: int) -> list[str]:
        return []

    async def scan() -> int:
        return 0

    return Variant(name="lazy", get=get, put=put, replace=put, page=page, scan=scan)
