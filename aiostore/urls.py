"""Store URLs: `SCHEME:REST?OPTION=VALUE&…`, split and checked the same way for every adaptor."""

from typing import TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec

from aiostore.errors import ConfigurationError

OptionsT = TypeVar("OptionsT", bound=msgspec.Struct)


class StoreURL(msgspec.Struct, frozen=True):
    """A store's URL.

    Attributes:
        scheme: the kind of store.
        rest: what stands between the scheme's colon and the options, decoded.
        query: the options, as text.
    """

    scheme: str
    rest: str
    query: dict[str, str]

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
    if not colon or not scheme.isidentifier():
        raise ConfigurationError(
            f"a store's URL begins with its scheme, as in sqlite:///app.db; {url!r:.120} has none"
        )
    rest, _, query = rest.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise ConfigurationError(f"the options ?{query:.120} of the URL: {error}") from error
    if len(pairs) != len(dict(pairs)):
        raise ConfigurationError(f"the options ?{query:.120} of the URL name one twice")
    return StoreURL(scheme, unquote(rest), dict(pairs))


def path_of(url: StoreURL, example: str) -> str:
    """The path of a URL without a host: `scheme:path` or `scheme:///path`.

    Raises:
        ConfigurationError: it names a host, or no path.
    """
    path = url.rest
    if path.startswith("//"):
        host, slash, path = path[2:].partition("/")
        path = slash + path
        if host:
            raise ConfigurationError(
                f"a {url.scheme} URL has no host, and this one names {host!r}: write {example}"
            )
    if not path.strip("/"):
        raise ConfigurationError(f"the {url.scheme} URL names no path: write {example}")
    return path
