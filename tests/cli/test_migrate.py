"""`aiostore migrate`, from the command line, beside a service in a process of its own."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from led import Called, Caller, Migration, bytes_of

from aiostore.opening import open_store


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Caller:
    """Calls commands."""
    return Caller(capsys)


@pytest.fixture
def move(tmp_path: Path) -> Migration:
    """From one SQLite to another, which is not there yet; 120 documents are to be moved."""
    stores = tmp_path / "stores"
    stores.mkdir()
    move = Migration(tmp_path, f"sqlite:///{stores}/a.db", f"sqlite:///{stores}/b.db")
    move.fill(120)
    return move


def on(move: Migration, call: Caller, *arguments: str) -> Called:
    """Call a command on a migration."""
    return call(*arguments, "--config", str(move.config))


async def _held(url: str) -> dict[str, int]:
    async with open_store(url) as store:
        documents = store.collection("airports").scan()
        return {document.key: document.value["n"] async for document in documents}


def held(url: str) -> dict[str, int]:
    """What a plain store holds."""
    return asyncio.run(_held(url))


def test_a_migration_from_its_start_to_its_end(move: Migration, call: Caller) -> None:
    """Each command does its part, while the service goes on; then the target opens plainly."""
    assert on(move, call, "status", "--json").json["state"] == "not begun"
    started = on(move, call, "start")
    assert started.code == 0
    assert "next: aiostore migrate run" in started.out
    with move.service() as service:
        assert on(move, call, "run").code == 0
        status = on(move, call, "status", "--json").json
        assert status["control"]["phase"] == "dual-write"
        assert status["control"]["verified"] == 1
        assert [one["acknowledged"] for one in status["processes"]] == [True]
        assert on(move, call, "advance", "--to", "handoff").code == 0
        assert on(move, call, "run", "--to", "handoff").code == 0
        assert on(move, call, "advance", "--to", "target").code == 0
        found = on(move, call, "complete")
        assert (found.code, service.poll()) == (0, None)
        assert "next: configure sqlite" in found.out
    wanted = {f"old-{n:06}": n for n in range(120)}
    contents = held(move.target)
    assert contents | wanted == contents
    assert len(contents) > 120


def test_a_migration_and_its_way_back(move: Migration, call: Caller) -> None:
    """All the way forward and all the way back: the source has everything, the target nothing."""
    with move.service():
        assert on(move, call, "run", "--to", "target").code == 0
        assert on(move, call, "rollback").code == 0
        status = on(move, call, "status", "--json").json
        assert status["control"]["phase"] == "dual-write"
        assert on(move, call, "rollback", "--to", "current").code == 0
        assert on(move, call, "abort").code == 0
    assert on(move, call, "status", "--json").json["state"] == "aborted"
    contents = held(move.current)
    wanted = {f"old-{n:06}": n for n in range(120)}
    assert contents | wanted == contents
    assert held(move.target) == {}


COMMANDS = [
    ["status"],
    ["plan", "--measure"],
    ["start"],
    ["run", "--complete"],
    ["pause"],
    ["resume"],
    ["throttle", "--off"],
    ["verify"],
    ["repair"],
    ["advance", "--to", "handoff", "--force"],
    ["rollback"],
    ["abort"],
    ["complete"],
]


@pytest.mark.parametrize("begun", [False, True], ids=["not begun", "begun"])
def test_a_dry_run_writes_nothing(*, begun: bool, move: Migration, call: Caller) -> None:
    """Whatever it says, both stores are left as they are, byte by byte."""
    if begun:
        assert on(move, call, "start").code == 0
    before = bytes_of(move.folder / "stores")
    for command in COMMANDS:
        for form in ([], ["--json"]):
            answer = on(move, call, *command, "--dry-run", *form)
            assert answer.code in (0, 1), command
            assert answer.err == "", command
    assert bytes_of(move.folder / "stores") == before


def test_a_dry_run_tells_what_is_in_the_way(move: Migration, call: Caller) -> None:
    """It names what would be done and what has to be done before, and exits with 1."""
    before = on(move, call, "advance", "--to", "handoff", "--dry-run")
    assert before.code == 1
    assert "not now: the migration has not been begun: start it" in before.out
    on(move, call, "start")
    answer = on(move, call, "advance", "--to", "handoff", "--dry-run", "--json")
    assert answer.code == 1
    assert answer.json["would"] == [
        "go from dual-write to handoff, and wait for 0 processes to follow"
    ]
    [obstacle] = answer.json["obstacles"]
    assert "not known to be complete" in obstacle
    refused = on(move, call, "advance", "--to", "handoff")
    assert (refused.code, refused.out) == (2, "")
    assert "not known to be complete" in refused.err
    assert on(move, call, "advance", "--to", "handoff", "--force", "--dry-run").code == 0
    assert on(move, call, "advance", "--to", "dual-write", "--dry-run").out == (
        "there is nothing to do\n"
    )


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["advance", "--to", "target"], "no step leads from 'dual-write' to 'target'"),
        (["rollback", "--to", "handoff"], "'handoff' lies ahead: advance it"),
        (["abort"], "takes the phase 'current', and the migration is in 'dual-write'"),
        (["complete"], "takes the phase 'target', and the migration is in 'dual-write'"),
    ],
)
def test_a_step_that_cannot_be_taken_is_refused(
    command: list[str], reason: str, move: Migration, call: Caller
) -> None:
    """With a reason, in one line, and nothing is changed."""
    on(move, call, "start")
    before = on(move, call, "status", "--json").json
    answer = on(move, call, *command)
    assert (answer.code, answer.out) == (2, "")
    assert reason in answer.err
    assert answer.err.count("\n") == 1
    assert on(move, call, "status", "--json").json == before


@pytest.mark.parametrize(
    "command", [one for one in COMMANDS if one[0] not in ("status", "plan", "start", "run")]
)
def test_what_has_not_been_begun_is_not_led(
    command: list[str], move: Migration, call: Caller
) -> None:
    """Only `start` and `run`, and the service itself, begin a migration."""
    answer = on(move, call, *command)
    assert (answer.code, answer.out) == (2, "")
    assert "has not been begun: start it" in answer.err
    assert on(move, call, "status", "--json").json["state"] == "not begun"


def test_the_work_is_paused_and_limited_from_outside(move: Migration, call: Caller) -> None:
    """The control document has it, for every process; a limit that is not named is lifted."""
    on(move, call, "start")
    paused = on(move, call, "pause", "--reason", "the sale")
    assert (paused.code, paused.out) == (0, "paused: the sale\n")
    limited = on(move, call, "throttle", "--documents-per-second", "50", "--json")
    control = limited.json["control"]
    assert (control["paused"], control["documents_per_second"]) == ("the sale", 50.0)
    assert on(move, call, "resume").out == "limited to 50 documents/s\n"
    assert on(move, call, "throttle", "--bytes-per-second", "4096").out == (
        "limited to 4,096 bytes/s\n"
    )
    assert on(move, call, "throttle", "--off").out == "not limited\n"
    assert on(move, call, "status", "--json").json["processes"] == []


@pytest.mark.parametrize(
    "limits",
    [[], ["--off", "--documents-per-second", "5"], ["--bytes-per-second", "0"]],
)
def test_a_wrong_limit_is_refused(limits: list[str], move: Migration, call: Caller) -> None:
    """None, both, or one of nothing."""
    answer = on(move, call, "throttle", *limits)
    assert (answer.code, answer.out) == (2, "")
    assert "limit" in answer.err


def test_a_migration_is_named_in_three_ways(
    move: Migration, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a file, by a URL, by three options; by the file that is looked for if none is given."""
    on(move, call, "start")
    url = f"migration:move?current={quote(move.current, safe='')}&target={quote(move.target)}"
    three = ["--current", move.current, "--target", move.target, "--migration", "move"]
    monkeypatch.chdir(move.folder)
    (move.folder / "aiostore.toml").write_text(move.config.read_text())
    for which in (["--config", "service.toml"], ["--url", url], three, []):
        assert call("status", "--json", *which).json["state"] == "running"
    both = call("status", "--url", url, *three)
    assert both.code == 2
    assert "by --config, by --url, or by --current, --target and --migration" in both.err


def test_what_is_no_migration_is_told(
    move: Migration, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file, one store, half of the options: each says what to give."""
    monkeypatch.chdir(move.folder)
    assert "there is no aiostore.toml here: name the migration" in call("status").err
    assert "a migration has two" in call("status", "--url", move.current).err
    assert "missing: ['migration', 'target']" in call("status", "--current", move.current).err


def test_a_store_in_memory_is_led_from_its_own_process(call: Caller) -> None:
    """The error names the way that there is."""
    answer = call("status", "--url", "migration:move?current=memory:&target=file:data")
    assert answer.code == 2
    assert "MigrationAdaptor.of(store)" in answer.err


def test_files_are_led_by_one_process_at_a_time(tmp_path: Path, call: Caller) -> None:
    """While the service has them open the error names the other way; afterwards they can be."""
    move = Migration(tmp_path, f"file:{tmp_path}/a", f"sqlite:///{tmp_path}/b.db")
    with move.service():
        answer = on(move, call, "status")
        assert answer.code == 2
        assert "in use by another process" in answer.err
        assert "MigrationAdaptor.of(store)" in answer.err
    assert on(move, call, "run").code == 0


def test_another_migrations_stores_are_told(move: Migration, call: Caller) -> None:
    """A wrong name, or the two exchanged, is told; nothing is written."""
    on(move, call, "start")
    before = bytes_of(move.folder / "stores")
    other = ["--current", move.current, "--target", move.target, "--migration", "other"]
    assert "part of the migration 'move': look at that one" in call("status", *other).err
    swapped = ["--current", move.target, "--target", move.current, "--migration", "move"]
    assert "exchange current and target" in call("status", *swapped).err
    assert bytes_of(move.folder / "stores") == before


def lose(move: Migration, key: str) -> None:
    """Remove a document from the target, behind everybody's back."""
    with closing(sqlite3.connect(move.target.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("DELETE FROM aiostore_documents WHERE key = ?", [key])


def test_what_differs_is_told_and_mended(move: Migration, call: Caller) -> None:
    """`verify` names it and exits with 1, `status` has its age, `repair` makes both equal."""
    assert on(move, call, "run").code == 0
    for number in range(25):
        lose(move, f"old-{number:06}")
    found = on(move, call, "verify")
    assert found.code == 1
    assert found.out.splitlines()[:2] == [
        "120 compared, 25 differ",
        "airports/old-000000: missing",
    ]
    assert found.out.splitlines()[-1] == "and 5 more (--json lists the first 1,000)"
    again = on(move, call, "verify", "--json")
    assert again.code == 1
    assert again.json["mismatches"] == len(again.json["differences"]) == 25
    status = on(move, call, "status").out
    assert "mismatches: 25, the oldest for" in status
    assert "not proven equal" in status
    mended = on(move, call, "repair")
    assert (mended.code, mended.out) == (0, "120 compared, 0 differ\n")
    assert on(move, call, "repair", "--json").json["clean"] is True
    assert on(move, call, "verify").code == 0
    assert "proven equal" in on(move, call, "status").out


def test_a_dry_run_tells_the_whole_course(move: Migration, call: Caller) -> None:
    """From wherever the migration is to where it is told to go."""
    forward = ["go from dual-write to handoff", "hand off every document"]
    copying = [
        "copy every document that is not in the target yet",
        "compare both stores and mend what differs, until they are equal",
    ]
    assert course(move, call, "run") == ["begin the migration move", *copying]
    assert on(move, call, "run").code == 0
    assert on(move, call, "run", "--dry-run").out == "there is nothing to do\n"
    assert course(move, call, "run", "--to", "handoff") == forward
    assert course(move, call, "run", "--complete") == [
        *forward,
        "go from handoff to target",
        "complete the migration, after which there is no way back",
    ]
    assert on(move, call, "run", "--to", "handoff").code == 0
    assert course(move, call, "run", "--to", "target") == ["go from handoff to target"]
    assert course(move, call, "rollback", "--to", "current") == [
        "go from handoff to dual-write",
        "hand every document back",
        "go from dual-write to current",
    ]
    assert on(move, call, "advance", "--to", "dual-write").code == 0
    assert course(move, call, "rollback") == ["hand every document back"]
    assert course(move, call, "run")[0] == "hand every document back"
    assert on(move, call, "run", "--to", "target").code == 0
    assert course(move, call, "rollback") == [
        "go from target to handoff, and wait for 0 processes to follow",
        "go through all documents, to find those that were created in the target",
        "go from handoff to dual-write",
        "hand every document back",
    ]


def course(move: Migration, call: Caller, *command: str) -> list[str]:
    """What a command would do."""
    would: list[str] = on(move, call, *command, "--dry-run", "--json").json["would"]
    return would


def test_what_is_over_goes_no_further(move: Migration, call: Caller) -> None:
    """Back at its beginning a migration can only be aborted; then nothing is left to be done."""
    on(move, call, "start")
    assert on(move, call, "rollback", "--to", "current").code == 0
    refused = on(move, call, "run")
    assert (refused.code, refused.out) == (2, "")
    assert "come back to its beginning: abort it" in refused.err
    assert on(move, call, "abort").code == 0
    for command in COMMANDS[2:]:
        answer = on(move, call, *command)
        assert (answer.code, answer.out) == (2, ""), command
        assert "was aborted: begin a new one" in answer.err
    assert on(move, call, "status").out.splitlines()[1] == "aborted"
