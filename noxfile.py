"""Every task of the project: `nox` runs lint, types and tests; `nox -s demo` the demo."""

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
        session.run("pytest", "-n", "2", "--cov", "--cov-report=term", "--cov-report=html")


@nox.session
def demo(session: nox.Session) -> None:
    """A live migration of real data on embedded stores; arguments go to `aiostore demo`."""
    session.install(".[demo]")
    session.run("aiostore", "demo", *session.posargs)
