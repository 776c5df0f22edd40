from typing import Literal

import msgspec
import pytest

from aiostore.errors import ConfigurationError
from aiostore.urls import Address, address_of, parse, path_of


class Options(msgspec.Struct, forbid_unknown_fields=True):
    flag: bool = False
    seconds: float = 1.0
    mode: Literal["full", "off"] = "full"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("memory:", ("memory", "", {})),
        ("file:///srv/a%20b", ("file", "///srv/a b", {})),
        ("file:data?", ("file", "data", {})),
        ("sqlite:///a.db?x=1&y=", ("sqlite", "///a.db", {"x": "1", "y": ""})),
        ("sqlite:///a%3Fb?x=%26+z", ("sqlite", "///a?b", {"x": "& z"})),
        ("my-db+tls.2://host", ("my-db+tls.2", "//host", {})),
    ],
)
def test_urls_are_split_and_decoded(text: str, expected: tuple[str, str, dict[str, str]]) -> None:
    """Scheme, rest and options; percent-encoding is undone in each by itself."""
    url = parse(text)
    assert (url.scheme, url.rest, url.query) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "begins with its scheme"),
        ("app.db", "begins with its scheme"),
        ("/srv/app.db", "begins with its scheme"),
        ("://x", "begins with its scheme"),
        ("1a://x", "begins with its scheme"),
        ("Memory://", "begins with its scheme"),
        ("no scheme://x", "begins with its scheme"),
        ("sqlite:///a?x", r"NAME=VALUE"),
        ("sqlite:///a?x=1&&y=2", r"NAME=VALUE"),
        ("sqlite:///a?x=1&x=1", "name one twice"),
    ],
)
def test_other_urls_are_refused(text: str, reason: str) -> None:
    """A text that is no store's URL is told before anything is opened."""
    with pytest.raises(ConfigurationError, match=reason):
        parse(text)


@pytest.mark.parametrize("text", ["//ada:secret@host/db", "x?password=secret", "x:y?a=secret&a=1"])
def test_a_wrong_url_tells_no_secret(text: str) -> None:
    """The message does not repeat a text that may hold a password."""
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", Options()),
        ("?flag=true", Options(flag=True)),
        ("?flag=0&seconds=2&mode=off", Options(flag=False, seconds=2.0, mode="off")),
    ],
)
def test_options_take_the_types_of_their_fields(query: str, expected: Options) -> None:
    """An option's text becomes a number, a bool or one of the texts allowed."""
    assert parse("x:y" + query).options(Options) == expected


@pytest.mark.parametrize("query", ["flag=maybe", "seconds=soon", "mode=half", "colour=red"])
def test_wrong_options_are_refused(query: str) -> None:
    """A wrong value or an unknown option is told, with those that are known."""
    with pytest.raises(ConfigurationError, match=r"known: flag, seconds, mode"):
        parse("x:y?" + query).options(Options)


def test_no_options_are_known_as_none() -> None:
    """Where a URL has no options, the message says so."""

    class Nothing(msgspec.Struct, forbid_unknown_fields=True):
        pass

    with pytest.raises(ConfigurationError, match="known: none"):
        parse("x:y?a=1").options(Nothing)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("file:data", "data"),
        ("file:./data/a", "./data/a"),
        ("file:/srv/data", "/srv/data"),
        ("file:///srv/data", "/srv/data"),
        ("file:////srv/data", "//srv/data"),
        ("file:a%23b%20c", "a#b c"),
    ],
)
def test_the_path_of_a_url(text: str, path: str) -> None:
    """Relative without slashes, absolute with one or, behind an empty host, three."""
    assert path_of(parse(text), "file:data") == path


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("file:", "names no path: write file:data"),
        ("file:/", "names no path"),
        ("file://", "names no path"),
        ("file:///", "names no path"),
        ("file:a%00b", "names no path"),
        ("file://srv", "has no host, and this one names 'srv'"),
        ("file://srv/data", "has no host, and this one names 'srv': write file:data"),
    ],
)
def test_a_url_without_a_path_is_refused(text: str, reason: str) -> None:
    """A host, or nothing that a file could be called, is told with an example of how to write."""
    with pytest.raises(ConfigurationError, match=reason):
        path_of(parse(text), "file:data")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("db://host/name", Address((("host", 1234),), "name", None, None)),
        ("db://ada@host:5/name", Address((("host", 5),), "name", "ada", None)),
        ("db://ada:@host/name", Address((("host", 1234),), "name", "ada", "")),
        ("db://a%3Ab:p%40%2F%3A%25@h/n%2Fx", Address((("h", 1234),), "n/x", "a:b", "p@/:%")),
        ("db://[::1],[fe80::2]:6/n", Address((("::1", 1234), ("fe80::2", 6)), "n", None, None)),
        (
            "db://one:1,two:2,three/n?a=b",
            Address((("one", 1), ("two", 2), ("three", 1234)), "n", None, None),
        ),
    ],
)
def test_addresses_are_split_before_they_are_decoded(text: str, expected: Address) -> None:
    """User, password, hosts and database, with what each has percent-encoded."""
    assert address_of(parse(text), 1234) == expected


@pytest.mark.parametrize(
    "text",
    [
        "db:host/name",
        "db:///name",
        "db://host",
        "db://host/",
        "db://host/a/b",
        "db://host:x/n",
        "db://host:0/n",
        "db://host:65536/n",
        "db://host:/n",
        "db://,host/n",
        "db://::1/n",
        "db://ada:secret:5/n",
        "db://ada:p@secret:p@host:5:6/n",
    ],
)
def test_other_addresses_are_refused(text: str) -> None:
    """With what is right, and without what may be a password."""
    with pytest.raises(ConfigurationError, match="db://user:password@host:1234/database") as caught:
        address_of(parse(text), 1234)
    assert "secret" not in str(caught.value)


def test_a_url_and_an_address_do_not_show_their_secrets() -> None:
    """Wherever somebody prints them."""
    url = parse("db://ada:secret@host/name")
    assert "secret" not in repr(url)
    assert "secret" not in repr(address_of(url, 1))
    assert "host" in repr(address_of(url, 1))
