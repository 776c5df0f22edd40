"""The page "Write an adaptor": its code is taken from there, and does what is said of it."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from broken import BROKEN

from aiostore.protocols import Adaptor
from aiostore.testing import Harness, all_checks
from aiostore.testing.plugin import Conformance

PAGE = (Path(__file__).parent.parent / "docs" / "write-an-adaptor.md").read_text()
ADAPTOR, CONFTEST, TESTS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
[TABLE] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
[COMMANDS] = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the files that the page shows, and the entry point as pip would install it."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name, content in (
        ("onefile.py", ADAPTOR),
        ("conftest.py", CONFTEST),
        ("test_onefile.py", TESTS),
    ):
        (folder / name).write_text(content)
    points = tomllib.loads(TABLE)["project"]["entry-points"]["aiostore.adaptors"]
    installed = folder / "onefile-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: onefile\nVersion: 1\n")
    lines = ["[aiostore.adaptors]", *(f"{name} = {place}" for name, place in points.items())]
    (installed / "entry_points.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture
def harness(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Harness:
    """The page's adaptor."""
    monkeypatch.syspath_prepend(project)
    monkeypatch.delitem(sys.modules, "onefile", raising=False)
    make: Callable[[Path], Adaptor] = import_module("onefile").OneFileAdaptor
    return Harness(
        lambda: make(tmp_path / "store.json"),
        unusable=lambda: make(tmp_path / "no such folder" / "store.json"),
    )


async def test_conformance(conformance: Conformance) -> None:
    """The page's adaptor keeps every promise, and blocks the event loop at no time."""
    await conformance()


def run(project: Path, *command: str) -> str:
    """Run a command in the page's project; what it printed."""
    path = os.pathsep.join([str(project), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(  # noqa: S603  # the page's own commands
        [sys.executable, "-m", *command],
        cwd=project,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tests_of_the_page_run(project: Path) -> None:
    """The fixture and the test that the page shows are tests of pytest, by topic."""
    printed = run(project, "pytest", "-p", "no:cacheprovider", "-v", "-k", "conditions or errors")
    assert "test_conformance[conditions-absent] PASSED" in printed
    assert "test_conformance[errors-unusable_place] PASSED" in printed


def test_the_commands_of_the_page_run(project: Path) -> None:
    """The entry point makes the scheme known to the command line."""
    lines = COMMANDS.splitlines()
    assert len(lines) == 2
    for line in lines:
        program, *arguments = line.split()
        assert program == "aiostore"
        if "--topic" not in arguments:
            arguments += ["--topic", "reads"]
        assert "passed" in run(project, program, *arguments)


def test_what_the_page_says_is_true() -> None:
    """The adaptor is small, and the mistakes that the page names are those that the kit finds."""
    assert len(list(filter(None, ADAPTOR.splitlines()))) < 120
    names = {f"{check.topic}-{check.name}" for check in all_checks()}
    told = set(re.findall(r"`([a-z]+-[a-z_]+)`", PAGE.partition("## What goes wrong first")[2]))
    assert len(told) > 10
    assert told <= names & set(BROKEN.values())
