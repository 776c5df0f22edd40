"""Which database a store is in, and how it is reached."""

import os
import sqlite3
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from msgspec import Struct
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from aiostore.adaptors.sql._dialects import MARIADB, MYSQL, POSTGRESQL, SQLITE, Dialect
from aiostore.errors import ConfigurationError

SYNCHRONOUS = ("full", "normal", "off")

_OLDEST_SQLITE = (3, 35, 0)  # the first with RETURNING
_EFFECTIVE_IDS = os.access in os.supports_effective_ids


class Database(Protocol):
    """A database: a file of SQLite's, or one that a server has."""

    @property
    def name(self) -> str:
        """As a person knows it, without secrets."""
        ...

    @property
    def dialect(self) -> Dialect:
        """What kind of database it is."""
        ...

    @property
    def setup(self) -> tuple[str, ...]:
        """Statements for every new connection."""
        ...

    @property
    def pool(self) -> "Pool":
        """The limits of its connections."""
        ...

    @property
    def connect_timeout(self) -> timedelta | None:
        """How long one attempt to connect may take; None for any time."""
        ...

    def engine(self) -> AsyncEngine:
        """What makes its connections; may read files.

        Raises:
            ConfigurationError: it cannot be used as configured.
        """
        ...


class Pool(Struct, frozen=True):
    """The limits of a store's connections.

    Attributes:
        size: how many there are at most; they are made when they are needed, and kept.
        timeout: how long a piece of work waits for one of them to be free.
        statement_timeout: how long a statement may take; None for any time.
        reconnect_timeout: how long a server that went away is tried to be reached again before
            anything is sent to it.
    """

    size: int = 8
    timeout: timedelta = timedelta(seconds=30)
    statement_timeout: timedelta | None = None
    reconnect_timeout: timedelta = timedelta(0)


class SQLiteDatabase(Struct, frozen=True):
    """A file of SQLite's, made at the first use.

    Attributes:
        path: of the file; its folder must exist.
        synchronous: SQLite's own setting of that name. `full`: an acknowledged write survives a
            power failure; `normal`: only a crash of the process; `off`: neither.
        busy_timeout: how long to wait for another process's lock before `UnavailableError`.
        pool: the limits of its connections.
    """

    path: str
    synchronous: Literal["full", "normal", "off"] = "full"
    busy_timeout: timedelta = timedelta(seconds=5)
    pool: Pool = Pool()
    connect_timeout: ClassVar[None] = None

    def __post_init__(self) -> None:
        if self.synchronous not in SYNCHRONOUS:
            raise ConfigurationError(
                f"synchronous is one of {', '.join(SYNCHRONOUS)}, not {self.synchronous!r}"
            )

    @property
    def name(self) -> str:
        return f"sqlite:///{self.path}"

    @property
    def dialect(self) -> Dialect:
        return SQLITE

    @property
    def setup(self) -> tuple[str, ...]:
        milliseconds = self.busy_timeout // timedelta(milliseconds=1)
        return (
            f"PRAGMA busy_timeout = {milliseconds}",
            f"PRAGMA synchronous = {self.synchronous}",
        )

    def engine(self) -> AsyncEngine:
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise ConfigurationError(
                f"SQLite {sqlite3.sqlite_version} is too old, 3.35 is needed: use a Python that "
                "comes with a newer one"
            )
        path = Path(self.path)
        if path.exists() and not os.access(path, os.W_OK, effective_ids=_EFFECTIVE_IDS):
            # SQLite would open it and only refuse to write.
            kind, advice = SQLITE.errors[sqlite3.SQLITE_READONLY]
            raise kind(advice)
        # aiosqlite would leave a thread behind when it cannot connect.
        sqlite3.connect(path).close()
        return _engine(URL.create(SQLITE.driver, database=self.path), {})


class TLS(Struct, frozen=True):
    """How a connection is encrypted; the words are libpq's.

    Attributes:
        mode: `disable`: not at all; `require`: whoever the server is; `verify-ca`: its certificate
            is signed by an authority that is trusted; `verify-full`: and names the host. None for
            what the driver does by itself: PostgreSQL's encrypts if the server can, the others'
            do not.
        root: the file of the authorities that are trusted; None for the system's.
        certificate: the file of the client's certificate.
        key: the file of its key, if that is another.
    """

    mode: Literal["disable", "require", "verify-ca", "verify-full"] | None = None
    root: str | None = None
    certificate: str | None = None
    key: str | None = None

    def context(self) -> ssl.SSLContext | bool | None:
        """What drivers take; reads the files.

        Raises:
            ConfigurationError: a file is missing or is none of this kind.
        """
        if self.mode is None or self.mode == "disable":
            return None if self.mode is None else False
        try:
            context = ssl.create_default_context(cafile=self.root)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except OSError as error:  # what is wrong with a certificate is one, too
            files = [name for name in (self.root, self.certificate, self.key) if name is not None]
            raise ConfigurationError(
                f"TLS cannot be set up with {', '.join(files)}: {error.strerror or error}"
            ) from error
        context.check_hostname = self.mode == "verify-full"
        if self.mode == "require":
            context.verify_mode = ssl.CERT_NONE
        return context


class Secret(str):
    """A text that does not show in a repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class ServerDatabase(Struct, frozen=True):
    """A database that a server has.

    Attributes:
        dialect: which kind of server.
        database: its name.
        hosts: names and ports. With several (PostgreSQL alone) the one that takes writes is used.
        user: None for the driver's default.
        password: None for none.
        tls: how the connection is encrypted.
        connect_timeout: how long one attempt to connect may take.
        pool: the limits of its connections.
    """

    dialect: Dialect
    database: str
    hosts: tuple[tuple[str, int], ...]
    user: str | None = None
    password: Secret | None = None
    tls: TLS = TLS()
    connect_timeout: timedelta = timedelta(seconds=10)
    pool: Pool = Pool(
        statement_timeout=timedelta(seconds=30), reconnect_timeout=timedelta(seconds=10)
    )

    @property
    def name(self) -> str:
        scheme = self.dialect.driver.partition("+")[0]
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{scheme}://{hosts}/{self.database}"

    @property
    def setup(self) -> tuple[str, ...]:
        return self.dialect.setup

    def engine(self) -> AsyncEngine:
        connect = _ARGUMENTS[self.dialect.driver](self)
        connect["ssl"] = self.tls.context()
        if self.user is not None:
            connect["user"] = self.user
        if self.password is not None:
            # As text asyncmy would send it in Latin-1, as bytes asyncpg would not take it.
            text = str(self.password)
            connect["password"] = text if self.dialect is POSTGRESQL else text.encode()
        return _engine(URL.create(self.dialect.driver), connect)


def _asyncpg(database: ServerDatabase) -> dict[str, Any]:
    return {
        "host": [host for host, _ in database.hosts],
        "port": [port for _, port in database.hosts],
        "database": database.database,
        "timeout": database.connect_timeout.total_seconds(),
        "server_settings": {"application_name": "aiostore"},
        "target_session_attrs": "read-write" if len(database.hosts) > 1 else "any",
    }


def _asyncmy(database: ServerDatabase) -> dict[str, Any]:
    [(host, port)] = database.hosts
    return {
        "host": host,
        "port": port,
        "db": database.database,
        "charset": "utf8mb4",
        # Without FOUND_ROWS, by which an INSERT that met a row would count as one that did not.
        "client_flag": 0,
        "connect_timeout": database.connect_timeout.total_seconds(),
    }


_ARGUMENTS = {POSTGRESQL.driver: _asyncpg, MARIADB.driver: _asyncmy, MYSQL.driver: _asyncmy}


def _engine(url: URL, arguments: dict[str, Any]) -> AsyncEngine:
    return create_async_engine(
        url,
        connect_args=arguments,
        poolclass=NullPool,  # connections are kept by `Connections`
        isolation_level="AUTOCOMMIT",  # transactions begin and end by statements of ours
        hide_parameters=True,  # documents do not belong into messages
    )
