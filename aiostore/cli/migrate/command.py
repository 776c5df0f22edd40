"""What the commands have in common: which migration, how they run, how they answer."""

import asyncio
import inspect
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer

from aiostore.errors import ConfigurationError, MigrationError, StoreError
from aiostore.migration import MigrationAdaptor
from aiostore.migration.control import ControlDocument
from aiostore.migration.legs import Leg
from aiostore.migration.status import DEADLINE, Observer, Status, observed
from aiostore.opening import open_adaptor
from aiostore.store import Store
from aiostore.versions import PROCESS_CLOCK

R = TypeVar("R")

DEFAULT = Path("aiostore.toml")
_WHICH = "Which migration"
_API = "in the service's own process the Python API does the same, with MigrationAdaptor.of(store)"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What every command is given.

    Attributes:
        config: the configuration of the service.
        url: the migration's URL.
        current: the current store's.
        target: the target's.
        migration: the migration's name.
        json: whether to answer in JSON, for a program.
        dry_run: whether only to say what would be done.
    """

    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=_WHICH,
            help=f"TOML whose table \\[store] has current, target and migration; {DEFAULT} if none "
            "of these four is given.",
        ),
    ] = None
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", rich_help_panel=_WHICH, help="migration:NAME?current=URL&target=URL."
        ),
    ] = None
    current: Annotated[
        str | None,
        typer.Option(metavar="URL", rich_help_panel=_WHICH, help="The store that is moved from."),
    ] = None
    target: Annotated[
        str | None,
        typer.Option(metavar="URL", rich_help_panel=_WHICH, help="The store that is moved to."),
    ] = None
    migration: Annotated[
        str | None,
        typer.Option(metavar="NAME", rich_help_panel=_WHICH, help="The migration's name."),
    ] = None
    json: Annotated[bool, typer.Option("--json", help="Answer in JSON, one object a line.")] = False
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only say what would be done, and what is in its way. Writes nothing."
        ),
    ] = False

    def opened_by(self) -> MigrationAdaptor:
        """The migration that is meant, not yet connected; imports drivers.

        Raises:
            ConfigurationError: none is named, or a store of it is out of reach from here.
        """
        three = {"current": self.current, "target": self.target, "migration": self.migration}
        given = {name: value for name, value in three.items() if value is not None}
        ways = [bool(given), self.url is not None, self.config is not None]
        if sum(ways) > 1:
            raise ConfigurationError(
                "name the migration by --config, by --url, or by --current, --target and "
                "--migration"
            )
        migration = open_adaptor(given or self.url or self.config or self._default())
        if not isinstance(migration, MigrationAdaptor):
            raise ConfigurationError(
                "the service is configured with one store, and a migration has two: give "
                "current, target and migration",
                store=migration.name,
            )
        for store in (migration.current, migration.target):
            if not store.capabilities.persistent:
                raise ConfigurationError(
                    f"a store in memory is out of reach of other processes: {_API}",
                    store=store.name,
                )
        return migration

    def _default(self) -> Path:
        if not DEFAULT.exists():
            raise ConfigurationError(
                f"there is no {DEFAULT} here: name the migration by --config, by --url, or by "
                "--current, --target and --migration"
            )
        return DEFAULT

    def tell(self, text: str, **answer: Any) -> None:
        """Answer with a text for a person, or with these for a program."""
        if self.json:
            sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
        elif text:
            sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def command(app: typer.Typer, name: str | None = None) -> Callable[[Callable[..., None]], None]:
    """Register a function as a command; its first parameter, `options`, becomes those of `Options`.

    Typer makes the options of a command from its signature, so the common ones are put there.
    """
    common = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=field.type,
        )
        for field in msgspec.structs.fields(Options)
    ]

    def register(fn: Callable[..., None]) -> None:
        own = [one for one in inspect.signature(fn).parameters.values() if one.name != "options"]

        def run(**values: Any) -> None:
            options = Options(**{one.name: values.pop(one.name) for one in common})
            fn(options, **values)

        run.__doc__, run.__name__ = fn.__doc__, fn.__name__
        run.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]  # what Typer reads
        app.command(name)(run)

    return register


def perform(work: Coroutine[Any, Any, R]) -> R:
    """Run it to its end; Ctrl-C and SIGTERM end it in order.

    Raises:
        StoreError: it was interrupted.
    """
    try:
        return asyncio.run(_until_told(work))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise StoreError(
            "interrupted: what was done stays done, and the same command goes on from there"
        ) from None


def perform_until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run what has no end; Ctrl-C and SIGTERM are how it ends."""
    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_until_told(work))


async def _until_told(work: Coroutine[Any, Any, R]) -> R:
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


@asynccontextmanager
async def looking(migration: MigrationAdaptor) -> AsyncGenerator[Observer, None]:
    """Look at a migration without taking part; errors as of `observed`."""
    with _advised(migration):
        async with observed(migration) as observer:
            yield observer


async def status_of(migration: MigrationAdaptor) -> Status:
    """How a migration stands; errors as of `observed`."""
    async with looking(migration) as observer:
        return await observer.look()


@asynccontextmanager
async def taking_part(
    migration: MigrationAdaptor,
) -> AsyncGenerator[MigrationAdaptor, None]:
    """Be one of the processes of a migration; errors as of opening it."""
    with _advised(migration):
        async with Store(migration):
            yield migration


def check_running(status: Status) -> None:
    """Raise `MigrationError` unless the migration has been begun and is not over."""
    if (problem := status.closed) is not None:
        raise MigrationError(problem, store=f"{status.current} → {status.target}")


@asynccontextmanager
async def both_open(migration: MigrationAdaptor) -> AsyncGenerator[ControlDocument, None]:
    """Both stores open, and the control document, without taking part.

    Raises:
        UnavailableError: a store did not answer.
    """
    async with AsyncExitStack() as opened:
        with _advised(migration):
            for store in (migration.current, migration.target):
                opened.push_async_callback(store.aclose)
                await store.open()
        here, there = Leg(migration.current, DEADLINE), Leg(migration.target, DEADLINE)
        yield ControlDocument(here, there, migration.migration, PROCESS_CLOCK)


@contextmanager
def _advised(migration: MigrationAdaptor) -> Iterator[None]:
    """Say what to do where a store serves one process at a time."""
    try:
        yield
    except ConfigurationError as error:
        if migration.current.capabilities.shared and migration.target.capabilities.shared:
            raise
        raise ConfigurationError(f"{error}. While the service runs on it, {_API}") from error


def dry_run(
    options: Options, would: Sequence[str], status: Status, obstacles: Sequence[str]
) -> None:
    """Say what a command would do, and what is in its way.

    Raises:
        typer.Exit: something is: code 1.
    """
    lines = [f"would {one}" for one in would] or ["there is nothing to do"]
    options.tell(
        "\n".join([*lines, *(f"not now: {one}" for one in obstacles)]),
        would=would,
        obstacles=obstacles,
        status=status_as_json(status),
    )
    if obstacles:
        raise typer.Exit(1)


def status_as_json(status: Status) -> dict[str, Any]:
    """All of a status, for a program; what has its default value, too."""
    plain: dict[str, Any] = _plain(status)
    return plain | {
        "late": [one.process for one in status.late],
        "silent": [one.process for one in status.silent],
        "suspects": status.suspects,
        "lag": status.lag,
        "throttle": status.throttle,
        "target_failures": status.target_failures,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value
