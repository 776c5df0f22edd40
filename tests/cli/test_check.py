"""`aiostore check`, from the command line."""

import json
from importlib.metadata import version
from pathlib import Path

import msgspec
import pytest

import aiostore.cli.check as command
from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.cli import main
from aiostore.opening import open_adaptor
from aiostore.protocols import Capabilities, Purge
from aiostore.testing import all_checks


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    """Run the command; returns its exit code and what it printed."""
    with pytest.raises(SystemExit) as ended:
        main(["check", *arguments])
    printed = capsys.readouterr()
    return ended.value.code, printed.out, printed.err


@pytest.mark.parametrize("url", ["memory://", "file:{}/store", "sqlite:///{}/store.db"])
def test_every_store_conforms(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each kind of store passes, every check is accounted for, and what is skipped says why."""
    code, out, err = run(capsys, url.format(tmp_path), "--json")
    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert (answer["failed"], answer["broken"]) == (0, 0)
    assert answer["passed"] + answer["skipped"] == len(answer["results"]) == len(all_checks())
    assert answer["store"].startswith(url.partition(":")[0])
    assert answer["versions"]["aiostore"] == version("aiostore-db")
    declared = open_adaptor(url.format(tmp_path)).capabilities
    assert msgspec.convert(answer["capabilities"], Capabilities) == declared
    skipped = [result for result in answer["results"] if result["outcome"] == "skipped"]
    assert all(result["detail"] for result in skipped)


def test_a_topic_may_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    """Only the checks of the topics that are named are run; a wrong name tells the right ones."""
    code, out, _ = run(capsys, "memory://", "--topic", "pages", "--topic", "keys", "--json")
    results = json.loads(out)["results"]
    chosen = [check for check in all_checks() if check.topic in ("pages", "keys")]
    assert code == 0
    assert [(result["topic"], result["name"]) for result in results] == [
        (check.topic, check.name) for check in chosen
    ]
    code, out, err = run(capsys, "memory://", "--topic", "paging")
    assert (code, out) == (2, "")
    assert "no topic 'paging'" in err
    assert "pages" in err


def test_leaves_a_store_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A check works in collections of its own and leaves none of them."""
    code, out, _ = run(capsys, f"file:{tmp_path}/store")
    assert code == 0
    assert "passed" in out
    left = sorted(path.name for path in (tmp_path / "store").iterdir())
    assert left == ["aiostore.json", "aiostore.lock"]


def test_a_broken_promise_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store that breaks a promise makes the command exit with 1 and name it."""

    class NeverPurges(MemoryAdaptor):
        async def purge(self, request: Purge, /) -> int:
            return 0

    monkeypatch.setattr(command, "open_adaptor", lambda _: NeverPurges())
    code, out, _ = run(capsys, "memory://")
    assert code == 1
    assert "purging: everything" in out
    assert "failed" in out


def test_a_store_that_cannot_be_opened_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong place is one line and exit code 2, not a failure of every check."""
    code, out, err = run(capsys, f"file:{tmp_path}/no/such/place")
    assert (code, out) == (2, "")
    assert err.startswith("aiostore: ")
    assert err.count("\n") == 1
