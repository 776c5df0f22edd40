"""The command line as a whole: what it needs, how it fails, what it says of itself."""

import subprocess
import sys
from importlib import import_module

import pytest

from aiostore.cli import main
from aiostore.errors import StoreError


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    """The exit code, stdout and stderr of one call."""
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    captured = capsys.readouterr()
    return exited.value.code, captured.out, captured.err


def run_without(package: str) -> tuple[int, str, str]:
    """The demo in a Python where `package` is not installed."""
    program = (
        f"import sys; sys.modules[{package!r}] = None; "
        "from aiostore.cli import main; main(['demo'])"
    )
    done = subprocess.run(  # noqa: S603  # a program of this file's
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "command", [[], ["demo"], ["check"], ["dynamodb"], ["dynamodb", "cost"], ["migrate"]]
)
def test_help(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    """Every command tells how it is used."""
    code, out, _ = run(capsys, *command, "--help")
    assert code == 0
    assert " ".join(["Usage: aiostore", *command]) in out


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A stranger finds the commands."""
    _, out, _ = run(capsys, "--help")
    assert "demo" in out
    assert "check" in out
    assert "dynamodb" in out
    assert "migrate" in out


def test_without_the_cli_extra() -> None:
    """Without the extra, the command says in one line what to install."""
    assert run_without("typer") == (
        2,
        "",
        (
            "aiostore: the command line needs the package 'typer', which is not installed: "
            "pip install 'aiostore-db[cli]'\n"
        ),
    )


@pytest.mark.parametrize("package", ["airportsdata", "aiofiles"])
def test_without_the_demo_extra(package: str) -> None:
    """The demo says what it needs besides."""
    assert run_without(package) == (
        2,
        "",
        (
            f"aiostore: the demo needs the package {package!r}, which is not installed: "
            "pip install 'aiostore-db[demo]'\n"
        ),
    )


@pytest.mark.parametrize("module", ["aiostore.cli.app", "aiostore.cli.demo.move"])
def test_a_broken_package_of_ours_is_not_taken_for_a_missing_extra(module: str) -> None:
    """Only what others publish can be installed."""
    code, _, err = run_without(module)
    assert code == 1
    assert "ModuleNotFoundError" in err


@pytest.mark.parametrize("option", ["--from", "--to"])
@pytest.mark.parametrize("url", ["nothing", "nosuch://x", "sqlite:///a.db?no=1", "file://host/x"])
def test_a_wrong_url(capsys: pytest.CaptureFixture[str], option: str, url: str) -> None:
    """A wrong URL is one line on stderr, and exit code 2."""
    code, out, err = run(capsys, "demo", "--json", option, url)
    assert (code, out) == (2, "")
    assert err.startswith("aiostore: ")
    assert err.count("\n") == 1


def test_an_error_of_many_lines_is_told_in_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever an engine says, the command's error is one line."""

    def fails(*_: object, **__: object) -> None:
        raise StoreError("the engine\n  is angry", store="memory://")

    monkeypatch.setattr(import_module("aiostore.cli.app"), "app", fails)
    code, _, err = run(capsys, "demo")
    assert (code, err) == (2, "aiostore: the engine is angry (store 'memory://')\n")


def test_as_a_module() -> None:
    """`python -m aiostore` is the same command."""
    done = subprocess.run(  # a constant command
        [sys.executable, "-m", "aiostore", "demo", "--to", "nothing"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("aiostore: a store's URL begins with its scheme")
