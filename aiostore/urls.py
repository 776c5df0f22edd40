"""Store URLs: `SCHEME:REST?OPTION=VALUE&…`, split and checked the same way for every adaptor."""

import re
from typing import TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec

from aiostore.errors import ConfigurationError

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")  # RFC 3986 section 3.1

_HOST = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:@]+))(?::(?P<port>[0-9]{1,5}))?"
)

OptionsT = TypeVar("OptionsT", bound=msgspec.Struct)


class StoreURL(msgspec.Struct, frozen=True):
    """A store's URL.

    Attributes:
        scheme: the kind of store.
        rest: what stands between the scheme's colon and the options, decoded.
        query: the options, as text.
        encoded: `rest` as it was written, for what has to be split before it is decoded.
    """

    scheme: str
    rest: str
    query: dict[str, str]
    encoded: str = ""

    def __repr__(self) -> str:
        return f"<StoreURL {self.scheme}:…>"  # the rest may hold a password

    def options(self, type_: type[OptionsT]) -> OptionsT:
        """The options as a struct that forbids unknown fields; texts become its fields' types.

        Raises:
            ConfigurationError: an option is unknown or has a wrong value.
        """
        try:
            return msgspec.convert(self.query, type_, strict=False)
        except msgspec.ValidationError as error:
            known = ", ".join(field.name for field in msgspec.structs.fields(type_)) or "none"
            raise ConfigurationError(
                f"an option of the {self.scheme} URL is wrong: {error}; known: {known}"
            ) from error


def parse(url: str) -> StoreURL:
    """Split a URL.

    Raises:
        ConfigurationError: it has no scheme, or an option without a value or given twice.
    """
    scheme, colon, rest = url.partition(":")
    if not colon or _SCHEME.fullmatch(scheme) is None:
        # Without the text: it may hold a password.
        raise ConfigurationError(
            "a store's URL begins with its scheme, as in sqlite:///app.db, and this one has none"
        )
    rest, _, query = rest.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise ConfigurationError(
            f"the options of the {scheme} URL are not ?NAME=VALUE&…: {error}"
        ) from error
    if len(pairs) != len(dict(pairs)):
        raise ConfigurationError(f"the options of the {scheme} URL name one twice")
    return StoreURL(scheme, unquote(rest), dict(pairs), rest)


def path_of(url: StoreURL, example: str) -> str:
    """The path of a URL without a host: `scheme:path` or `scheme:///path`.

    Raises:
        ConfigurationError: it names a host, or no path, or one that no file can have.
    """
    path = url.rest
    if path.startswith("//"):
        host, slash, path = path[2:].partition("/")
        path = slash + path
        if host:
            raise ConfigurationError(
                f"a {url.scheme} URL has no host, and this one names {host!r}: write {example}"
            )
    if not path.strip("/") or "\0" in path:
        raise ConfigurationError(f"the {url.scheme} URL names no path: write {example}")
    return path


class Address(msgspec.Struct, frozen=True):
    """Where a server's database is.

    Attributes:
        hosts: names or addresses, and ports.
        database: the database's name.
        user: None if the URL names none.
        password: likewise.
    """

    hosts: tuple[tuple[str, int], ...]
    database: str
    user: str | None
    password: str | None

    def __repr__(self) -> str:
        return f"<Address {self.hosts} {self.database!r}>"


def address_of(url: StoreURL, port: int) -> Address:
    """The address in `scheme://user:password@host:port,host:port/database`.

    Args:
        url: its user, password and database are percent-encoded where that is needed.
        port: for hosts without one.

    Raises:
        ConfigurationError: a host or the database is missing, or a port is no number.
    """
    example = f"{url.scheme}://user:password@host:{port}/database"
    authority, _, database = url.encoded.removeprefix("//").partition("/")
    login, _, hosts = authority.rpartition("@")
    user, colon, password = login.partition(":")
    if not url.encoded.startswith("//") or not hosts or not database or "/" in database:
        raise ConfigurationError(f"a {url.scheme} URL names a host and a database: write {example}")
    return Address(
        tuple(_host_of(one, port, example) for one in hosts.split(",")),
        unquote(database),
        unquote(user) if user else None,
        unquote(password) if colon else None,
    )


def _host_of(text: str, port: int, example: str) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found["port"] or port) < 65_536:
        # Without the text: a password with an @ that was not encoded would show.
        raise ConfigurationError(
            "a host of the URL is not NAME, NAME:PORT or [IPV6]:PORT, or a special character "
            f"before it is not percent-encoded: write {example}"
        )
    return (found["ipv6"] or found["name"], int(found["port"] or port))
