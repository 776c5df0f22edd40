"""Every task of the project: `nox` runs lint, types and tests; `nox -s demo` the demo."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.error_on_missing_interpreters = True
nox.needs_version = ">=2025.2.9"

PYPROJECT = nox.project.load_toml("pyproject.toml")


def install(session: nox.Session, group: str) -> None:
    """Install the project as a developer has it, with what one dependency group names."""
    names = nox.project.dependency_groups(PYPROJECT, group)
    others = [name for name in names if not name.startswith("aiostore-db")]
    session.install("-e", ".[all]", *others)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and imports that run down only."""
    install(session, "lint")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """The whole project under mypy's strict rules."""
    install(session, "types")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """The tests, against every engine there is; with arguments, only those, without coverage."""
    install(session, "test")
    if session.posargs:
        session.run("pytest", *session.posargs)
    else:
        # Measuring doubles the time, so what would add nothing to the measure goes without it.
        reports = ("--cov", "--cov-report=term", "--cov-report=html")
        session.run("pytest", "-n", "2", "-m", "not bulk", *reports)
        session.run("pytest", "-n", "2", "-m", "bulk")


@nox.session
def soak(session: nox.Session) -> None:
    """The state machine and the histories, at random and by the thousand; arguments are pytest's.

    For every night; two to three hours on two cores. `AIOSTORE_SOAK_EXAMPLES`, `…_SHARDS` (for each
    stack of adaptors) and `…_HISTORIES` (for each scenario) set how many there are, of which stacks
    with a server do every fourth, and `…_SEED` where they begin; `…_DOCUMENTS` how many are
    migrated there and back; `…_ROLLS` how often a service is moved, each way.
    """
    install(session, "test")
    many = {
        "EXAMPLES": "2000",
        "SHARDS": "8",
        "HISTORIES": "1000",
        "DOCUMENTS": "100000",
        "SIMULATIONS": "1000000",
    }
    many |= {"ROLLS": "3"}
    env = {f"AIOSTORE_SOAK_{name}": number for name, number in many.items()}
    env |= {name: os.environ[name] for name in env if name in os.environ}
    memory = Path("/dev/shm")  # noqa: S108  # a disk's slowness would add nothing
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        session.run(
            *("pytest", "-n", "2", "--dist", "worksteal", "-rP", "--show-capture=stdout"),
            *("--basetemp", f"{folder}/soak", "--durations=0", "--durations-min=1"),
            *(
                "tests/test_machine.py",
                "tests/soak_histories.py",
                "tests/soak_migration.py",
                "tests/migration/test_simulation.py",
            ),
            "tests/rolls/test_rolls.py",
            *session.posargs,
            env=env,
        )


@nox.session
def engines(session: nox.Session) -> None:
    """Real database servers for work by hand, until Ctrl-C: `nox -s engines -- up`.

    Prints their URLs, and the lines by which tests use them. They listen on this machine alone;
    `-- up --keep FOLDER` keeps their ports for the next time, and their data, but those of moto.
    """
    install(session, "test")
    arguments = session.posargs or ["up"]
    session.run(
        *("python", "tests/servers.py", *arguments),
        interrupt_timeout=120,  # it stops them in an orderly way
        terminate_timeout=120,
    )


@nox.session
def demo(session: nox.Session) -> None:
    """A live migration of real data; arguments go to `aiostore demo`."""
    session.install(".[demo,dynamodb,mariadb,postgresql]")
    session.run("aiostore", "demo", *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """The library beside the drivers by hand, and beside others; see `benchmarks/README.md`.

    Arguments go to `python -m benchmarks`: `nox -s benchmarks -- --quick --json out.json`.
    """
    install(session, "benchmarks")
    # The original's pins are older than what its rivals need, and it runs with newer ones, too.
    session.install("--no-deps", "object-store-abstraction")
    session.install("psycopg[binary]", "pyjwt", "pymysql", "python-dateutil", "pytz", "boto3")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def profile(session: nox.Session) -> None:
    """Where the CPU time of a get and of a put goes: one task, memory, documents of 1 KB."""
    install(session, "benchmarks")
    session.run("python", "-m", "benchmarks.profile", *session.posargs)
