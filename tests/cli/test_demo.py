"""The demo, small: it proves a sound library sound, and finds a broken one."""

import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from harnesses import SERVED
from msgspec.structs import replace
from servers import shared_server

from aiostore.cli import main
from aiostore.cli.demo import plans
from aiostore.errors import UnavailableError
from aiostore.migration import MigrationAdaptor, Verification, rows
from aiostore.opening import open_adaptor, open_store
from aiostore.protocols import Absent, Adaptor, DocumentId, Exactly, Mark, Record, Write

FAULTS = (
    "errors",
    "mismatches",
    "unsettled",
    "lost",
    "resurrected",
    "different",
    "unexpected",
    "dirty",
    "stale",
)
COURSE = ["handoff", "dual-write", "handoff", "target"]  # once back, half way
COPYING = sys.modules["aiostore.migration.backfill"]  # the package's name of it is the function


class Demo:
    """Runs the command in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """The exit code, stdout and stderr."""
        code: Any = 0
        try:
            main(["demo", *arguments])
        except SystemExit as exited:
            code = exited.code
        captured = self._capsys.readouterr()
        return code, captured.out, captured.err

    def figures(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """The exit code and the JSON object."""
        code, out, err = self("--json", "--seed", "1", *arguments)
        assert err == ""
        assert out.count("\n") == 1
        return code, json.loads(out)


@pytest.fixture
def demo(capsys: pytest.CaptureFixture[str]) -> Demo:
    """The command."""
    return Demo(capsys)


def option_of(kind: str) -> str:
    """What the demo is told for a kind of store: for a server's, an empty database of it."""
    return shared_server(kind).fresh() if kind in SERVED else kind


async def contents(url: str) -> dict[str, int]:
    """How many records each collection of a store holds, the library's own included."""
    adaptor = open_adaptor(url)
    await adaptor.open()
    try:
        return {name: await adaptor.count(name) for name in await adaptor.collections()}
    finally:
        await adaptor.aclose()


async def documents_in(url: str) -> int:
    """How many documents of the demo's there are."""
    async with open_store(url) as store:
        return await store.collection("demo-airports").count()


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("file:a", "sqlite:///b.db"),
        ("memory://", "file"),
        ("sqlite", "postgresql"),
        ("postgresql", "mariadb"),
        ("mariadb", "memory"),
    ],
)
def test_a_sound_library(
    demo: Demo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, target: str
) -> None:
    """Any pair of stores: nothing is lost, the figures agree, and stores of one's own are left."""
    monkeypatch.chdir(tmp_path)
    options = option_of(source), option_of(target)
    arguments = ("--documents", "1000", "--seconds", "0.3")
    code, figures = demo.figures(*arguments, "--from", options[0], "--to", options[1])
    assert {name: figures[name] for name in FAULTS} == dict.fromkeys(FAULTS, 0)
    assert code == 0
    assert figures["passed"] is True
    assert figures["switched"] is True
    assert figures["seed"] == 1
    assert figures["loaded"] == 1000
    assert figures["documents"] == figures["expected_documents"]
    assert 0 < figures["copied"] <= figures["compared"]
    assert [step["to"] for step in figures["steps"]] == COURSE
    assert 0 < figures["handed_off_before_rollback"] < figures["handed_off"]
    assert 0 < figures["switch_seconds"] < figures["seconds"]
    assert 0 < figures["conflicts"] + figures["acknowledged"] < figures["operations"]
    counted = dict.fromkeys(figures["latency"], 0)
    for phase in counted:
        for kind in ("read", "write"):
            latency = figures["latency"][phase][kind]
            assert 0 < latency["p50_ms"] <= latency["p99_ms"]
            counted[phase] += latency["count"]
    assert counted["before"] + counted["during"] + counted["after"] == figures["operations"]
    assert counted["during"] == counted["dual-write"] + counted["handoff"] + counted["target"]
    for option, role in zip(options, ("from", "to"), strict=True):
        if ":" in option:
            assert figures[role] == open_adaptor(option).name
            assert asyncio.run(contents(option)) == {}


def test_passwords_are_not_shown(demo: Demo) -> None:
    """Neither to people nor in the figures."""
    urls = option_of("postgresql"), option_of("mariadb")
    options = ("--documents", "20", "--seconds", "0", "--from", urls[0], "--to", urls[1])
    told = [demo(*options), demo("--json", *options)]
    for code, out, err in told:
        assert (code, err) == (0, "")
        for url in urls:
            assert open_adaptor(url).name in out
            password = urlsplit(url).password
            if password is not None:
                assert password not in out
                assert unquote(password) not in out


def test_for_people(demo: Demo, tmp_path: Path) -> None:
    """The tables, what is kept where, the seed to repeat it by, and the verdict last."""
    source, target = f"file:{tmp_path}/a", f"sqlite:///{tmp_path}/b.db"
    ledger = tmp_path / "ledger.jsonl"
    code, out, err = demo(
        *("--documents", "300", "--seconds", "0.2", "--from", source, "--to", target),
        *("--ledger", str(ledger), "--keep"),
    )
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].startswith("Moving the world's airports to another store")
    assert lines[1] == f"  from {source}  (kept)"
    assert lines[2] == f"  to   {target}  (kept)"
    assert lines[3].startswith("  seed ")
    assert f"  kept      {source}: the source, marked as moved" in lines
    assert (
        f"  kept      {target}: the target, {asyncio.run(documents_in(target))} documents" in lines
    )
    assert f"  kept      {ledger}: the ledger" in lines
    assert "documents moved under" in lines[-1]
    assert "lost 0, mismatches 0" in lines[-1]
    entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert [entry["kind"] for entry in entries[:300]] == ["load"] * 300
    assert sum("answer" in entry for entry in entries) * 2 == len(entries)


FOUND = ("  lost: ", "  resurrected: ", "  different: ", "  unexpected: ", "  dirty: ", "  stale: ")
IN_HAND = 0.3  # seconds, in which many of them are written
RIGHTLY_COPIED = COPYING._copy
RIGHTLY_FROZEN = rows.frozen

_SEEDS = ("1", "2", "3")  # the first one finds each bug, unless the machine is in the way


async def without_a_condition(target: Adaptor, records: Sequence[Record]) -> int:
    """A backfill that covers whatever stands in the target."""
    if not records:
        return 0
    await asyncio.sleep(IN_HAND)
    standing = await target.read([record.id for record in records])
    outcomes = await target.write(
        [
            Write(rows.mirror(record), Absent() if there is None else Exactly(there.version))
            for record, there in zip(records, standing, strict=True)
        ]
    )
    return sum(outcome.applied for outcome in outcomes)


async def late(target: Adaptor, records: Sequence[Record]) -> int:
    """A backfill that takes a while between reading and writing."""
    await asyncio.sleep(IN_HAND)
    copied: int = await RIGHTLY_COPIED(target, records)
    return copied


def erased_in_current(write: Write) -> Write:
    """A deletion that leaves no tombstone."""
    return replace(write, mark=Mark.LIVE)


def erased_in_target(write: Write) -> Write:
    """A deletion that leaves no tombstone."""
    return replace(write, record=replace(write.record, mark=Mark.MIRROR), mark=Mark.MIRROR)


async def blind(migration: MigrationAdaptor, **_: object) -> Verification:
    """A verification that finds nothing."""
    await migration.control.change(lambda now: replace(now, verified=now.generation))
    return Verification()


def break_the_backfill(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Returns the options under which it is sure to show in a few seconds."""
    monkeypatch.setattr(COPYING, "_copy", without_a_condition)
    return ("--documents", "3000", "--seconds", "0.2", "--to", "memory://")


def break_the_deletions(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Returns the options under which it is sure to show in a few seconds."""
    monkeypatch.setattr(COPYING, "_copy", late)
    monkeypatch.setattr(rows, "for_current", erased_in_current)
    monkeypatch.setattr(rows, "for_target", erased_in_target)
    return ("--documents", "3000", "--seconds", "0.2")


@pytest.mark.parametrize("broken", [break_the_backfill, break_the_deletions])
def test_a_broken_library(demo: Demo, monkeypatch: pytest.MonkeyPatch, broken: Any) -> None:
    """The verification finds the bug, the ledger agrees, and nothing is handed off."""
    options = broken(monkeypatch)
    runs = (demo.figures("--seed", seed, *options) for seed in _SEEDS)
    figures = next(figures for code, figures in runs if code == 1)
    assert figures["passed"] is False
    assert figures["switched"] is False
    assert figures["switch_seconds"] is None
    assert figures["steps"] == []
    assert figures["mismatches"] > 0
    assert figures["lost"] + figures["resurrected"] > 0


@pytest.mark.parametrize("broken", [break_the_backfill, break_the_deletions])
def test_what_a_verification_overlooks_is_repaired(
    demo: Demo, monkeypatch: pytest.MonkeyPatch, broken: Any
) -> None:
    """A copy that differs does no harm: the hand-off compares each document by itself."""
    monkeypatch.setattr("aiostore.cli.demo.course.verify", blind)
    code, figures = demo.figures(*broken(monkeypatch), "--documents", "1500")
    assert {name: figures[name] for name in FAULTS} == dict.fromkeys(FAULTS, 0)
    assert code == 0


def trusting(id_: DocumentId, target: Record | None, current: Record | None) -> Record:
    """A hand-off that takes whatever the target holds for what the current store holds."""
    return RIGHTLY_FROZEN(id_, target, current if target is None else target)


@pytest.mark.parametrize("broken", [break_the_backfill, break_the_deletions])
def test_a_broken_library_that_does_not_notice(
    demo: Demo, monkeypatch: pytest.MonkeyPatch, broken: Any
) -> None:
    """Though the library finds itself sound and goes all the way, the ledger does not."""
    monkeypatch.setattr("aiostore.cli.demo.course.verify", blind)
    monkeypatch.setattr(rows, "frozen", trusting)
    options = broken(monkeypatch)
    runs = (demo("--seed", seed, *options) for seed in _SEEDS)
    out = next(out for code, out, _ in runs if code == 1)
    assert "FAILED" in out.splitlines()[-1]
    found = [line for line in out.splitlines() if line.startswith(FOUND)]
    assert found != []


@pytest.mark.parametrize("option", ["--from", "--to"])
def test_a_store_in_use_is_refused(demo: Demo, tmp_path: Path, option: str) -> None:
    """The demo neither moves nor marks what is somebody's."""
    url = f"sqlite:///{tmp_path}/mine.db"

    async def fill() -> None:
        async with open_store(url) as store:
            await store.collection("demo-airports").put("LOWW", {"mine": True})

    asyncio.run(fill())
    code, out, err = demo("--json", option, url)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "holds the collection 'demo-airports': nothing was changed" in err
    assert asyncio.run(contents(url)) == {"demo-airports": 1}


@pytest.mark.parametrize("option", ["--from", "--to"])
def test_a_store_of_a_migration_is_refused(demo: Demo, tmp_path: Path, option: str) -> None:
    """Even if there is no document in it yet."""
    urls = {"current": f"file:{tmp_path}/current", "target": f"file:{tmp_path}/target"}

    async def migrate() -> None:
        async with open_store({**urls, "migration": "mine"}):
            """Opening it marks both stores."""

    asyncio.run(migrate())
    for url in urls.values():
        before = asyncio.run(contents(url))
        code, out, err = demo("--json", option, url)
        assert (code, out) == (2, "")
        assert "holds what a migration keeps there" in err
        assert "nothing was changed" in err
        assert asyncio.run(contents(url)) == before == {".aiostore": 2}


async def interrupted(*_: object, **__: object) -> Verification:
    """Ctrl-C, in the midst of the migration."""
    signal.raise_signal(signal.SIGINT)
    await asyncio.Event().wait()
    raise AssertionError("not reached")


async def failing(*_: object, **__: object) -> Verification:
    """An engine's failure, in the midst of the migration."""
    raise UnavailableError("gone")


@pytest.mark.parametrize(("broken", "expected"), [(interrupted, 130), (failing, 2)])
def test_stores_of_ones_own_are_left_empty_anyhow(
    demo: Demo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken: Any, expected: int
) -> None:
    """Also when the demo is interrupted or fails, with half of it done."""
    monkeypatch.setattr("aiostore.cli.demo.course.verify", broken)
    urls = f"sqlite:///{tmp_path}/a.db", f"file:{tmp_path}/b"
    code, out, _ = demo(
        *("--json", "--documents", "300", "--seconds", "0"),
        *("--from", urls[0], "--to", urls[1]),
    )
    assert (code, out) == (expected, "")
    assert [asyncio.run(contents(url)) for url in urls] == [{}, {}]


def test_what_cannot_be_removed_is_told(
    demo: Demo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A store that is not left empty is named, and the other one is emptied all the same."""

    async def refuse(*_: object) -> int:
        raise UnavailableError("gone")

    monkeypatch.setattr("aiostore.adaptors.files.FileAdaptor.purge", refuse)
    urls = f"sqlite:///{tmp_path}/a.db", f"file:{tmp_path}/b"
    code, out, err = demo(
        *("--json", "--documents", "20", "--seconds", "0"),
        *("--from", urls[0], "--to", urls[1]),
    )
    assert (code, out) == (2, "")
    assert err == (
        f"aiostore: what the demo has put there could not be removed: gone (store '{urls[1]}')\n"
    )
    assert asyncio.run(contents(urls[0])) == {}


@pytest.mark.parametrize("kind", ["postgresql", "mariadb", "mysql"])
def test_a_server_needs_a_url(demo: Demo, kind: str) -> None:
    """The demo starts no server, and says what to name instead."""
    code, out, err = demo("--to", kind)
    assert (code, out) == (2, "")
    assert f"{kind}://user:password@host/database" in err


def test_one_store_is_not_two(demo: Demo, tmp_path: Path) -> None:
    """Nothing is made where nothing can be moved."""
    url = f"file:{tmp_path}/one"
    code, out, err = demo("--json", "--from", url, "--to", url)
    assert (code, out) == (2, "")
    assert err == (
        "aiostore: the demo moves documents from one store to another: name two stores\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_an_older_ledger_is_not_overwritten(demo: Demo, tmp_path: Path) -> None:
    """A ledger is a new file."""
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text("mine")
    code, _, err = demo("--ledger", str(ledger))
    assert code == 2
    assert "does not exist" in err
    assert ledger.read_text() == "mine"


def test_the_seed_fixes_what_clients_ask_for() -> None:
    """The same seed and client: the same requests; another client: others."""
    keys = plans.Keys([f"{number:04}" for number in range(1000)], 1)
    frontier = plans.Frontier()

    def asked(seed: int, client: str) -> list[plans.Step]:
        sequences = (
            plans.reads(seed, client, keys),
            plans.writes(seed, client, keys),
            plans.feed(seed, client, keys, frontier),
        )
        return [next(sequence) for sequence in sequences for _ in range(200)]

    assert asked(1, "a") == asked(1, "a")
    assert asked(1, "a") != asked(2, "a")
    assert asked(1, "a") != asked(1, "b")
    assert plans.Keys(keys.every, 1).hot == keys.hot
    assert plans.Keys(keys.every, 2).hot != keys.hot


def test_feeds_follow_the_backfill() -> None:
    """What they ask for lies just ahead of what has been copied."""
    keys = plans.Keys([f"{number:04}" for number in range(1000)], 1)
    frontier = plans.Frontier()
    feed = plans.feed(1, "a", keys, frontier)
    for passed in (0.0, 0.25, 0.5):
        frontier.move(passed)
        wanted = next(feed).keys
        assert all(passed * 1000 <= int(key) < passed * 1000 + 200 for key in wanted)
