"""`aiostore migrate plan`, from the command line."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from led import Caller
from servers import shared_server

from aiostore.cli.migrate.planning import _told
from aiostore.opening import open_store


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Caller:
    """Calls commands."""
    return Caller(capsys)


async def _fill(url: str, contents: dict[str, dict[str, Any]]) -> None:
    async with open_store(url, limits=None) as store:
        for collection, values in contents.items():
            await store.collection(collection).put_many(values)


def which(tmp_path: Path, contents: dict[str, dict[str, Any]], target: str = "") -> list[str]:
    """The options for a migration from a folder with these documents."""
    current = f"file:{tmp_path}/a"
    asyncio.run(_fill(current, contents))
    there = target or f"sqlite:///{tmp_path}/b.db"
    return ["--current", current, "--target", there, "--migration", "test"]


def test_a_plan_for_a_person(tmp_path: Path, call: Caller) -> None:
    """Sizes, times if they were measured, what is different, and the verdict last."""
    contents = {f"c{n:02}": {"k": {"n": n}} for n in range(22)}
    options = which(tmp_path, contents)
    answer = call("plan", *options)
    lines = answer.out.splitlines()
    assert (answer.code, answer.err) == (0, "")
    assert lines[0].startswith("test: file:")
    assert lines[1] == f"22 records, {22 * 8 + 12} bytes, the largest 9"
    assert lines[2] == "  c00: 1 records, 8 bytes"
    assert "  and 2 more collections" in lines
    assert "time: not measured (--measure)" in lines
    assert lines[-1] == "nothing is in the way"
    measured = call("plan", *options, "--measure").out
    assert "time: the backfill about " in measured
    assert call("plan", *options, "--measure", "--dry-run").out.count("would ") == 2


def test_what_is_in_the_way_exits_with_1(tmp_path: Path, call: Caller) -> None:
    """For scripts; with what is to be done."""
    options = which(tmp_path, {"c": {"big": {"text": "x" * 360_000}}})
    answer = call("plan", *options)
    assert answer.code == 1
    assert "stop: c: 1 documents beyond the portability contract" in answer.out
    assert "  → shorten or split them" in answer.out
    assert answer.out.splitlines()[-1] == "not before what says stop has been mended"
    found = call("plan", *options, "--json", "--sample", "5")
    assert found.code == 1
    assert found.json["can_go_on"] is False
    assert found.json["findings"][0]["level"] == "stop"
    assert found.json["largest"] > 360_000
    assert found.json["status"]["state"] == "not begun"


def test_what_dynamodb_charges_is_told(tmp_path: Path, call: Caller) -> None:
    """Into it, and out of it, in its own units."""
    url = shared_server("dynamodb").fresh()
    options = which(tmp_path, {"c": {f"k{n}": {"n": n} for n in range(50)}}, url)
    into = call("plan", *options)
    assert "DynamoDB, as the target: " in into.out
    units = call("plan", *options, "--json").json["dynamodb"]
    assert units["target"]["write"] == 51
    asyncio.run(_fill(url, {"c": {"k": {}}}))
    back = ["--current", url, "--target", f"sqlite:///{tmp_path}/c.db", "--migration", "back"]
    units = call("plan", *back, "--json").json["dynamodb"]
    assert units["current"]["read"] > 0
    assert units["current"]["write"] == 0
    empty = ["--current", f"file:{tmp_path}/e", "--target", url, "--migration", "empty"]
    assert call("plan", *empty, "--json").json["dynamodb"] == {}


@pytest.mark.parametrize(
    ("seconds", "text"), [(7.4, "7 s"), (61, "1 min"), (3599, "1 h 0 min"), (9000, "2 h 30 min")]
)
def test_times_are_rounded(seconds: float, text: str) -> None:
    """To what a person can plan with."""
    assert _told(seconds) == text
