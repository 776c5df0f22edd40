"""What drivers raise, and what it means."""

from collections.abc import Container, Iterator
from contextlib import contextmanager
from ssl import SSLCertVerificationError

from sqlalchemy.exc import DBAPIError

from aiostore.adaptors.sql._dialects import Code, Dialect, Meaning
from aiostore.errors import ConfigurationError, StoreError, UnavailableError

_UNTRUSTED: Meaning = (
    ConfigurationError,
    "the server's certificate is not trusted: check sslrootcert, and that it names the host",
)

_PACKAGES = frozenset({"sqlalchemy", "sqlite3", "asyncpg", "asyncmy"})


class OvertakenError(Exception):
    """Another has put something where nothing stood a moment ago; the transaction is over."""


class Errors:
    """The errors of one database.

    Args:
        dialect: which kind of database.
        store: the store's name.
    """

    def __init__(self, dialect: Dialect, store: str) -> None:
        self._dialect = dialect
        self._store = store

    @contextmanager
    def translated(self, *, opening: bool = False) -> Iterator[None]:
        """Errors of drivers become the library's, by their codes; `opening` the store or later."""
        try:
            yield
        except Exception as error:
            self.translate(error, opening=opening)
            raise

    def translate(self, error: Exception, *, opening: bool = False) -> None:
        """Raise it as the library's, if it is a driver's."""
        if _is_of_driver(error):
            kind, advice = self._meaning(error, opening=opening)
            cause = str(_cause_of(error))
            raise kind(f"{advice}: {cause}" if cause else advice, store=self._store) from error

    def is_lost(self, error: BaseException) -> bool:
        """Whether the connection is of no more use: so it is without a code of the driver's."""
        if isinstance(error, OvertakenError | StoreError):
            return False
        code = code_of(error)
        return code is None or _is_among(code, self._dialect.lost)

    def is_contention(self, error: BaseException) -> bool:
        """Whether the transaction is over because of others, and may be tried again."""
        return isinstance(error, OvertakenError) or _is_among(
            code_of(error), self._dialect.contention
        )

    def _meaning(self, error: Exception, *, opening: bool) -> Meaning:
        code = code_of(error)
        if opening and _is_among(code, self._dialect.read_only):
            return ConfigurationError, "the database takes no writes: it is a replica, or read-only"
        if isinstance(error, OvertakenError):
            return UnavailableError, "other writers were faster each time"
        if isinstance(_cause_of(error).__cause__ or error, SSLCertVerificationError):
            return _UNTRUSTED
        if isinstance(error, TimeoutError):
            return UnavailableError, "the server did not answer in time"
        if code is None:  # nobody said that nothing was done
            return UnavailableError, "the server cannot be reached, or went away"
        meanings = self._dialect.errors
        unknown: Meaning = StoreError, "the database refused"
        return meanings.get(code) or meanings.get(_class_of(code), unknown)


def code_of(error: BaseException) -> Code | None:
    """The code that a driver's error carries: SQLite's primary code, the server's, or SQLSTATE."""
    error = _cause_of(error)
    if isinstance(error, OSError):
        return None
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return int(code) & 0xFF
    if error.args and type(error.args[0]) is int:
        return error.args[0]
    return getattr(error, "sqlstate", None)


def _is_of_driver(error: Exception) -> bool:
    """Whether it comes from a driver, which is not imported before it is needed, or the network."""
    package = type(error).__module__.partition(".")[0]
    return package in _PACKAGES or isinstance(error, OSError | EOFError | OvertakenError)


def _cause_of(error: BaseException) -> BaseException:
    """The driver's own error, which SQLAlchemy may have wrapped."""
    return (error.orig or error) if isinstance(error, DBAPIError) else error


def _is_among(code: Code | None, codes: Container[Code]) -> bool:
    return code is not None and (code in codes or _class_of(code) in codes)


def _class_of(code: Code | None) -> str:
    """The first two characters of a SQLSTATE."""
    return code[:2] if isinstance(code, str) else ""
