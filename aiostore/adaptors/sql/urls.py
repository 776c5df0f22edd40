"""SQL adaptors from URLs."""

from datetime import timedelta
from importlib import import_module
from typing import Annotated, Literal

from msgspec import Meta, Struct

from aiostore.adaptors.sql._databases import TLS, Pool, Secret, ServerDatabase, SQLiteDatabase
from aiostore.adaptors.sql._dialects import MARIADB, MYSQL, POSTGRESQL, SQLITE, Dialect
from aiostore.adaptors.sql.adaptor import SQLAdaptor
from aiostore.errors import ConfigurationError
from aiostore.urls import StoreURL, address_of, path_of

Name = Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]{0,31}$")]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
SomeSeconds = Annotated[float, Meta(ge=0.001, le=86_400)]


class Options(Struct, forbid_unknown_fields=True, kw_only=True):
    """The options of every SQL store; durations in seconds."""

    table: Name | None = None
    prefix: Annotated[str, Meta(pattern="^([A-Za-z_][A-Za-z0-9_]{0,15})?$")] | None = None
    pool_size: Annotated[int, Meta(ge=1, le=1000)] = 8
    pool_timeout: Seconds = 30.0


class SQLiteOptions(Options):
    """Those of SQLite."""

    synchronous: Literal["full", "normal", "off"] = "full"
    busy_timeout: Seconds = 5.0
    shared: bool = False


class ServerOptions(Options):
    """Those of servers."""

    connect_timeout: SomeSeconds = 10.0
    statement_timeout: SomeSeconds = 30.0
    reconnect_timeout: Seconds = 10.0
    sslmode: Literal["disable", "require", "verify-ca", "verify-full"] | None = None
    sslrootcert: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None


def from_url(url: StoreURL) -> SQLAdaptor:
    """The database of a URL.

    `sqlite:////absolute/file`, `sqlite:///relative/file`, `postgresql://user:password@host/name`,
    and likewise `mariadb` and `mysql`.
    """
    if url.scheme == "sqlite":
        return _sqlite(url)
    return _server(url, *_SERVERS[url.scheme])


def _sqlite(url: StoreURL) -> SQLAdaptor:
    _import_driver(SQLITE)
    options = url.options(SQLiteOptions)
    path = path_of(url, "sqlite:////absolute/file or sqlite:///relative/file")
    if url.rest.startswith("//"):
        path = path[1:]  # as SQLAlchemy reads it: the third slash only ends the host
    if path == ":memory:":
        raise ConfigurationError("SQLite in memory is not a store of its own: use memory://")
    database = SQLiteDatabase(
        path,
        synchronous=options.synchronous,
        busy_timeout=timedelta(seconds=options.busy_timeout),
        pool=Pool(options.pool_size, timedelta(seconds=options.pool_timeout)),
    )
    return SQLAdaptor(database, prefix=_prefix(options), table=options.table, shared=options.shared)


def _server(url: StoreURL, dialect: Dialect, port: int) -> SQLAdaptor:
    _import_driver(dialect)
    options = url.options(ServerOptions)
    address = address_of(url, port)
    if len(address.hosts) > 1 and dialect is not POSTGRESQL:
        raise ConfigurationError(f"a {url.scheme} URL names one host")
    database = ServerDatabase(
        dialect,
        address.database,
        address.hosts,
        user=address.user,
        password=None if address.password is None else Secret(address.password),
        tls=TLS(options.sslmode, options.sslrootcert, options.sslcert, options.sslkey),
        connect_timeout=timedelta(seconds=options.connect_timeout),
        pool=Pool(
            options.pool_size,
            timedelta(seconds=options.pool_timeout),
            timedelta(seconds=options.statement_timeout),
            timedelta(seconds=options.reconnect_timeout),
        ),
    )
    return SQLAdaptor(database, prefix=_prefix(options), table=options.table)


_SERVERS = {
    "postgresql": (POSTGRESQL, 5432),
    "mariadb": (MARIADB, 3306),
    "mysql": (MYSQL, 3306),
}


def _prefix(options: Options) -> str:
    """A table that is named is named in full."""
    if options.prefix is not None:
        return options.prefix
    return "aiostore_" if options.table is None else ""


def _import_driver(dialect: Dialect) -> None:
    """A missing driver is told before anything opens."""
    import_module(dialect.driver.partition("+")[2])
