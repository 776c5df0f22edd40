"""From a URL, a mapping or a TOML file to a `Store`: changing the store is changing these.

| URL | store |
|---|---|
| `memory://` | this process's memory |
| `file:///srv/data`, `file:data` | a folder, absolute or relative |
| `sqlite:////srv/app.db`, `sqlite:///app.db` | a SQLite database, absolute or relative |
| `postgresql://user:password@host/database` | a PostgreSQL database |
| `mariadb://…`, `mysql://user:password@host/database` | a MariaDB or MySQL database |
| `dynamodb://table?region=eu-central-1` | a DynamoDB table |
| `migration:NAME?current=URL&target=URL` | a migration from one of these to another |

What a service is configured by all comes to one mapping: a URL to `{"url": URL}`, and that of a
migration to `{"current": URL, "target": URL, "migration": NAME}`; the table `[store]` of a TOML
file is such a mapping itself.

Other packages add schemes by an entry point of the group `aiostore.adaptors`: its name is the
scheme, its object a function from a `StoreURL` to an `Adaptor`.
"""

import tomllib
from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct, to_builtins

from aiostore.errors import ConfigurationError
from aiostore.limits import PORTABLE, Limits
from aiostore.protocols import Adaptor
from aiostore.sending import USUAL_RETRIES, Retries
from aiostore.store import Store
from aiostore.urls import StoreURL, parse
from aiostore.versions import PROCESS_CLOCK, VersionClock

Factory = Callable[[StoreURL], Adaptor]

ENTRY_POINTS = "aiostore.adaptors"
DISTRIBUTION = "aiostore-db"

_MOST_SECONDS = 3600
_MIGRATION = "migration"
_TABLE = "store"

_SHAPES = (
    '{"url": URL} or {"current": URL, "target": URL, "migration": NAME}, perhaps with "lease" and '
    '"grace" in seconds, and "shadow" from 0 to 1'
)
_TABLES = (
    'url = "sqlite:///app.db", or current = "…", target = "…" and migration = "NAME", perhaps with '
    "lease and grace in seconds"
)


class _BuiltIn(Struct, frozen=True):
    module: str
    extra: str | None


class _MigrationOptions(Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Those of a migration's URL."""

    current: str
    target: str
    lease: Annotated[float, Meta(gt=0, le=_MOST_SECONDS)] | None = None
    grace: Annotated[float, Meta(gt=0, le=_MOST_SECONDS)] | None = None
    shadow: Annotated[float, Meta(ge=0, le=1)] | None = None


_BUILT_IN = {
    "memory": _BuiltIn("aiostore.adaptors.memory", None),
    "file": _BuiltIn("aiostore.adaptors.files", "files"),
    "sqlite": _BuiltIn("aiostore.adaptors.sql.urls", "sqlite"),
    "postgresql": _BuiltIn("aiostore.adaptors.sql.urls", "postgresql"),
    "mariadb": _BuiltIn("aiostore.adaptors.sql.urls", "mariadb"),
    "mysql": _BuiltIn("aiostore.adaptors.sql.urls", "mariadb"),
    "dynamodb": _BuiltIn("aiostore.adaptors.dynamodb.urls", "dynamodb"),
}


def open_store(
    source: str | Path | Mapping[str, Any],
    *,
    limits: Limits | None = PORTABLE,
    clock: VersionClock = PROCESS_CLOCK,
    retries: Retries = USUAL_RETRIES,
) -> Store:
    """The store that `source` names, not yet connected: use it as `async with`, or `open` it.

    Imports the driver that the scheme needs, so it belongs to a service's start.

    Args:
        source: a URL; or a mapping `{"url": …}`; or a migration, `{"current": URL, "target": URL,
            "migration": NAME}`, perhaps with its `"lease"` and `"grace"` in seconds and its share
            of `"shadow"` reads (see `MigrationAdaptor`); or the path of a TOML file whose table
            `[store]` is such a mapping. As one URL a migration is
            `migration:NAME?current=URL&target=URL&lease=15&grace=40`, both URLs percent-encoded.
        limits: see `Store`.
        clock: see `Store`.
        retries: see `Store`.

    Raises:
        ConfigurationError: the URL, a scheme, an option or a name is wrong, an extra is missing, or
            the file is not there or not so.
    """
    return Store(open_adaptor(source, clock=clock), limits=limits, clock=clock, retries=retries)


def open_adaptor(
    source: str | Path | Mapping[str, Any], *, clock: VersionClock = PROCESS_CLOCK
) -> Adaptor:
    """The adaptor for `source`, not yet connected; arguments and errors as for `open_store`."""
    if isinstance(source, str):
        return _configured({"url": source}, clock)
    if isinstance(source, Path):
        table = _table_of(source)
        try:
            return _configured(table, clock)
        except ConfigurationError as error:
            raise ConfigurationError(f"the table [{_TABLE}] of {source}: {error}") from error
    if not isinstance(source, Mapping):
        raise ConfigurationError(
            "a store is named by a URL, a mapping or the path of a TOML file, not by "
            f"{type(source).__name__}"
        )
    return _configured(source, clock)


def schemes() -> list[str]:
    """The schemes that are known here, in order."""
    return sorted(
        {*_BUILT_IN, _MIGRATION, *(point.name for point in entry_points(group=ENTRY_POINTS))}
    )


def _table_of(path: Path) -> Mapping[str, Any]:
    """The table of a TOML file that names the store."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"the configuration {path} cannot be read ({error.strerror}): it is a TOML file with "
            f"a table [{_TABLE}] and in it {_TABLES}"
        ) from error
    except ValueError as error:  # of UTF-8 or of TOML
        raise ConfigurationError(f"the configuration {path} is not TOML: {error}") from error
    table = document.get(_TABLE)
    if not isinstance(table, dict):
        raise ConfigurationError(
            f"the configuration {path} has no table [{_TABLE}]: write [{_TABLE}] and under it "
            f"{_TABLES}"
        )
    return table


def _configured(source: Mapping[str, Any], clock: VersionClock) -> Adaptor:
    if set(source) != {"url"} or not isinstance(source["url"], str):
        return _migration(source, clock)
    url = parse(source["url"])
    if url.scheme != _MIGRATION:
        return _adaptor_of_url(url)
    options = to_builtins(url.options(_MigrationOptions))
    return _migration({**options, _MIGRATION: url.rest}, clock)


def _adaptor_of_url(url: StoreURL) -> Adaptor:
    built_in = _BUILT_IN.get(url.scheme)
    return _registered(url) if built_in is None else _built_in(url, built_in)


def _built_in(url: StoreURL, built_in: _BuiltIn) -> Adaptor:
    try:
        factory: Factory = import_module(built_in.module).from_url
        return factory(url)
    except ModuleNotFoundError as error:
        if built_in.extra is None or (error.name or "").partition(".")[0] == "aiostore":
            raise
        raise ConfigurationError(
            f"{url.scheme} stores need the package {error.name!r}, which is not installed: "
            f"pip install '{DISTRIBUTION}[{built_in.extra}]'"
        ) from error


def _registered(url: StoreURL) -> Adaptor:
    for point in entry_points(group=ENTRY_POINTS, name=url.scheme):
        factory: Factory = point.load()
        return factory(url)
    raise ConfigurationError(
        f"no adaptor is known for the scheme {url.scheme!r}: known are {', '.join(schemes())}"
    )


def _migration(source: Mapping[str, Any], clock: VersionClock) -> Adaptor:
    # Only services that migrate load it.
    from aiostore.migration import MigrationAdaptor  # noqa: PLC0415

    texts, seconds = {"current", "target", "migration"}, {"lease", "grace"}
    wrong = [
        name
        for name, value in source.items()
        if not (name in texts and type(value) is str)
        and not (name in seconds and type(value) in (int, float) and 0 < value <= _MOST_SECONDS)
        and not (name == "shadow" and type(value) in (int, float) and 0 <= value <= 1)
    ]
    missing = texts - set(source)
    if wrong or missing:
        raise ConfigurationError(
            f"a store is configured by {_SHAPES}; "
            + (
                f"not known, or not of this kind: {wrong}"
                if wrong
                else f"missing: {sorted(missing)}"
            )
        )
    durations: dict[str, Any] = {
        name: timedelta(seconds=source[name]) for name in seconds & set(source)
    }
    return MigrationAdaptor(
        _side(source, "current"),
        _side(source, "target"),
        name=source["migration"],
        clock=clock,
        shadow=source.get("shadow", 0.0),
        **durations,
    )


def _side(source: Mapping[str, Any], name: str) -> Adaptor:
    url = parse(source[name])
    if url.scheme == _MIGRATION:
        raise ConfigurationError(f"a migration's {name} is a store, not another migration")
    return _adaptor_of_url(url)
