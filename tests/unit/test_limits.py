import sys
from enum import Enum, StrEnum
from typing import Any

import pytest

from aiostore.errors import InvalidKeyError, InvalidValueError, TooLargeError
from aiostore.limits import (
    PORTABLE,
    SYSTEM_COLLECTION,
    UNLIMITED,
    Limits,
    check_body,
    check_collection,
    check_key,
    check_value,
    check_version,
)


class Text(str):
    __slots__ = ()


class Colour(StrEnum):
    RED = "red"


class Number(int, Enum):
    ONE = 1


def nested(levels: int) -> dict[str, Any]:
    """A document of so many levels, alternately arrays and objects."""
    inside: Any = []
    for level in range(levels - 2):
        inside = {"in": inside} if level % 2 else [inside]
    return {"in": inside}


@pytest.mark.parametrize("name", ["a", "Users_2-b", "0", "_", "-", "x" * 64])
def test_names_of_collections(name: str) -> None:
    """1 to 64 characters of a-z A-Z 0-9 _ - are a collection's name."""
    assert check_collection(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "x" * 65, "a b", "a.b", "a/b", "ä", "a\n", "\0", SYSTEM_COLLECTION, None, 1, Text("a")],
)
def test_other_names_are_refused(name: object) -> None:
    """All else is no collection's name, the library's own collection included."""
    with pytest.raises(InvalidKeyError, match="1 to 64 characters"):
        check_collection(name)


@pytest.mark.parametrize(
    "key",
    ["a", " ", "../x", ".", "\n", "\x01", "\x7f", "ä" * 256, "👩‍🚀", "\U0010ffff" * 128, "x" * 512],
)
def test_keys(key: str) -> None:
    """A key is 1 to 512 bytes of UTF-8, any character but NUL."""
    assert check_key(key, PORTABLE, "users") == key


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "at least one character"),
        ("a\0b", "NUL"),
        ("\ud800", "surrogate"),
        ("x" * 513, "513 bytes"),
        ("ä" * 257, "514 bytes"),
        (b"a", "not bytes"),
        (1, "not int"),
        (None, "not NoneType"),
        (Text("a"), "not Text"),
        (Colour.RED, "not Colour"),
    ],
)
def test_other_keys_are_refused(key: object, reason: str) -> None:
    """What some store could not keep as it is, is no key; the error tells why and where."""
    with pytest.raises(InvalidKeyError, match=reason) as caught:
        check_key(key, PORTABLE, "users")
    assert caught.value.collection == "users"


def test_the_length_of_keys_can_be_lifted() -> None:
    """Without limits a key may be of any length, but NUL stays forbidden."""
    assert len(check_key("x" * 100_000, UNLIMITED, "users")) == 100_000
    with pytest.raises(InvalidKeyError):
        check_key("\0", UNLIMITED, "users")


@pytest.mark.parametrize("version", ["", "x", "ä", "0" * 10_000])
def test_any_text_may_be_asked_for_as_a_version(version: str) -> None:
    """A version is opaque: one that never was is only never found."""
    assert check_version(version) == version


@pytest.mark.parametrize("version", ["a\0b", "\ud800", None, 1, b"a", Text("a")])
def test_versions_that_not_every_store_can_compare_are_refused(version: object) -> None:
    """SQLite would take what stands before a NUL for the whole."""
    with pytest.raises(InvalidValueError, match="version"):
        check_version(version)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"": ""},
        {"a": [1, 1.5, "x", True, None, {"b": []}]},
        {"least": -(2**63), "most": 2**63 - 1},
        {"floats": [-0.0, 5e-324, sys.float_info.max, 1e16]},
        {"text": "\x01\n\x7f\u2028\ufffe\uffff\U0010ffff"},
        nested(32),
    ],
)
def test_values(value: dict[str, Any]) -> None:
    """Every JSON object within the limits is a value; checking it changes nothing."""
    before = repr(value)
    check_value(value, PORTABLE)
    assert repr(value) == before


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ([], "a document is a JSON object, not list"),
        ("a", "a document is a JSON object, not str"),
        (None, "a document is a JSON object, not NoneType"),
        ({"a": {"b": [0, 2**63]}}, r"at \$\.a\.b\[1\]: the integer does not fit"),
        ({"a": -(2**63) - 1}, r"at \$\.a: the integer does not fit"),
        ({"a": float("nan")}, r"at \$\.a: nan is no JSON number"),
        ({"a": float("-inf")}, r"at \$\.a: -inf is no JSON number"),
        ({"a": "x\0"}, r"at \$\.a: the text holds a NUL"),
        ({"a": "\udfff"}, r"at \$\.a: the text holds a lone surrogate"),
        ({1: "a"}, r"at \$: the name 1 is a int, not a str"),
        ({True: "a"}, r"at \$: the name True is a bool"),
        ({"a": {Text("b"): 1}}, r"at \$\.a: the name 'b' is a Text"),
        ({"a\0": 1}, r"at \$: the name 'a\\x00' holds a NUL"),
        ({"\ud800": 1}, r"at \$: the name '\\ud800' holds a lone surrogate"),
        ({"a": (1, 2)}, r"at \$\.a: tuple is not a JSON type"),
        ({"a": {1}}, r"at \$\.a: set is not a JSON type"),
        ({"a": b""}, r"at \$\.a: bytes is not a JSON type"),
        ({"a": Text("x")}, r"at \$\.a: Text is not a JSON type"),
        ({"a": Colour.RED}, r"at \$\.a: Colour is not a JSON type"),
        ({"a": Number.ONE}, r"at \$\.a: Number is not a JSON type"),
        (nested(33), r"nested deeper than 32 levels"),
    ],
)
def test_other_values_are_refused(value: object, fault: str) -> None:
    """What would not come back as it went is refused, with its path and what to do."""
    with pytest.raises(InvalidValueError, match=fault):
        check_value(value, PORTABLE)


def test_a_document_that_holds_itself_is_refused() -> None:
    """Also where no limit on nesting stops it."""
    document: dict[str, Any] = {}
    document["self"] = [document]
    with pytest.raises(InvalidValueError, match="deep"):
        check_value(document, PORTABLE)
    with pytest.raises(InvalidValueError, match="holds itself"):
        check_value(document, UNLIMITED)


def test_nesting_can_be_lifted() -> None:
    """Without limits a document may be nested deeper than every store can keep."""
    check_value(nested(100), UNLIMITED)
    with pytest.raises(InvalidValueError):
        check_value({"a": {}}, Limits(nesting=1))


@pytest.mark.parametrize("text", ["x" * 350 * 1024, "ä" * 175 * 1024, "€" * (350 * 1024 // 3)])
def test_the_size_is_counted_in_bytes(text: str) -> None:
    """350 KiB of UTF-8 are allowed, and one character more is not."""
    check_body(text, PORTABLE)
    check_body(text + "xxx", UNLIMITED)
    with pytest.raises(TooLargeError, match="bytes of encoded JSON"):
        check_body(text + "xxx", PORTABLE)
