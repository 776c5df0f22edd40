"""`aiostore migrate run` beside a service, while this or that is killed."""

import asyncio
import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from led import Caller, Migration, acknowledged
from servers import server

from aiostore.opening import open_store


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Caller:
    """Calls commands."""
    return Caller(capsys)


@pytest.fixture(params=["sqlite", "postgresql"])
def move(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Migration]:
    """From a SQLite to another one, or to a server; 6,000 documents are to be moved."""
    current = f"sqlite:///{tmp_path}/a.db"
    if request.param == "sqlite":
        move = Migration(tmp_path, current, f"sqlite:///{tmp_path}/b.db")
        move.fill(6000)
        yield move
        return
    engine = server("postgresql")
    name = f"led_{tmp_path.name}".replace("-", "_").lower()[:60]
    try:
        move = Migration(tmp_path, current, engine.create_database(name))
        move.fill(6000)
        yield move
    finally:
        engine.drop_database(name)


@contextmanager
def running(move: Migration, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command in a process of its own, which is killed at the end if it still runs."""
    command = move.command(*arguments, "--json")
    with subprocess.Popen(  # noqa: S603  # our own command
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(process: subprocess.Popen[str], step: str, *, done: int = 0) -> dict[str, Any]:
    """Its first progress of a step that is so far at least."""
    assert process.stdout is not None
    for line in process.stdout:
        progress: dict[str, Any] = json.loads(line).get("progress", {})
        if progress.get("step") == step and progress["done"] >= done:
            return progress
    raise AssertionError(f"no {step} was reported")


async def _held(url: str) -> dict[str, int]:
    async with open_store(url) as store:
        documents = store.collection("airports").scan()
        return {document.key: document.value["n"] async for document in documents}


def test_a_run_that_is_killed_goes_on(move: Migration, call: Caller) -> None:
    """Killed while it copies, and again while it hands off, the same command goes on and ends."""
    with move.service() as service:
        with running(move, "run") as first:
            before = until(first, "backfill", done=2000)
            first.kill()
        with running(move, "run", "--to", "target") as second:
            again = until(second, "backfill")
            assert again["done"] >= before["done"]
            until(second, "handoff")
            second.kill()
        ended = call("run", "--complete", "--json", "--config", str(move.config))
        assert ended.code == 0
        assert ended.json["state"] == "completed"
        assert service.poll() is None
        service.kill()
        told = acknowledged(service)
    held = asyncio.run(_held(move.target))
    assert {key: number for key, number in held.items() if key.startswith("old-")} == {
        f"old-{n:06}": n for n in range(6000)
    }
    # One write may have been under way when the service was killed.
    assert all(held[key] in (number, number + 20) for key, number in told.items())


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_ends_in_order(
    sign: signal.Signals, move: Migration, call: Caller
) -> None:
    """It says so in one line, and leaves no process behind that others would have to wait for.

    Paused, so that no write is under way: one that may still land has to be waited for.
    """
    for command in (("start",), ("pause", "--reason", "the sale")):
        assert call(*command, "--config", str(move.config)).code == 0
    with running(move, "run") as process:
        assert process.stdout is not None
        assert any("paused: the sale" in line for line in process.stdout)
        process.send_signal(sign)
        _, err = process.communicate()
        assert process.returncode == 2
        assert err.splitlines()[-1].startswith("aiostore: interrupted: what was done stays done")
    status = call("status", "--json", "--config", str(move.config)).json
    assert (status["state"], status["processes"]) == ("running", [])


def test_a_process_of_the_service_that_is_killed_is_waited_out(
    move: Migration, call: Caller
) -> None:
    """Status tells that it is silent, a step waits for its lease and grace, and goes on."""
    with move.service() as one, move.service() as other:
        assert call("run", "--config", str(move.config)).code == 0
        one.kill()
        told = acknowledged(one)
        answer = call("run", "--to", "target", "--config", str(move.config))
        assert answer.code == 0
        status = call("status", "--json", "--config", str(move.config)).json
        assert [item["process"].rpartition(":")[2] for item in status["processes"]] == [
            str(other.pid)
        ]
        assert call("complete", "--config", str(move.config)).code == 0
        other.kill()
        told_other = acknowledged(other)
    held = asyncio.run(_held(move.target))
    assert set(told) | set(told_other) <= set(held)


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["line", "json"])
def test_a_status_is_watched_until_it_is_told_to_stop(form: list[str], move: Migration) -> None:
    """A page at first, then a line each time; Ctrl-C is how it ends, and no failure."""
    command = [*move.command("status", "--watch", "0.1"), *form]
    with move.service(), subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:  # noqa: S603  # our own command
        assert watching.stdout is not None
        lines = []
        for line in watching.stdout:
            lines.append(line)
            if sum("dual-write (gen" in one or one.startswith("{") for one in lines) > 3:
                break
        watching.send_signal(signal.SIGINT)
        watching.communicate()
        assert watching.returncode == 0
    last = lines[-1]
    if form:
        assert json.loads(last)["state"] == "running"
    else:
        assert last.startswith("dual-write (generation 1) · ")
        assert "processes: 1 of 1 acknowledged" in last


def test_a_run_is_seen_by_others_and_led_by_them(move: Migration, call: Caller) -> None:
    """Its progress, its pace and what holds it back are in the status, from anywhere."""
    which = ["--config", str(move.config)]
    assert call("start", *which).code == 0
    assert call("throttle", "--documents-per-second", "500", *which).code == 0
    with running(move, "run") as process:
        until(process, "backfill")
        # A process tells of itself several times a lease.
        while not (status := call("status", "--json", *which).json)["throttle"]:
            pass
        assert status["throttle"] == "limited to 500 documents/s"
        assert status["moving"]["step"] == "backfill"
        assert 0 < status["moving"]["done"] < status["moving"]["total"] == 6000
        page = call("status", *which).out
        assert re.search(r"^backfill: [\d,]+ of 6,000 \(\d+\.\d %\), \d+/s", page, re.MULTILINE)
        assert call("pause", "--reason", "the sale", *which).code == 0
        assert process.poll() is None
        assert call("throttle", "--off", *which).code == 0
        assert call("resume", *which).code == 0
        process.communicate()
        assert process.returncode == 0
    assert call("status", "--json", *which).json["control"]["verified"] == 1
