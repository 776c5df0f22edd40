"""The portability contract: what one store accepts, every store accepts.

Checked by `Store` before anything is sent, the same for memory as for any engine.

| what | limit | why |
|---|---|---|
| collection | 1-64 characters of `a-z A-Z 0-9 _ -` | a folder's name, a part of a partition key |
| key | 1-512 bytes of UTF-8, no NUL, no lone surrogate | longest index key that all engines share |
| value | a JSON object | |
| strings | no NUL, no lone surrogate | PostgreSQL's text and UTF-8 have neither |
| integers | 64 bits, signed | BSON, SQL; larger ones lose digits in many JSON readers |
| floats | finite | JSON has no NaN; it must not turn into null |
| nesting | 32 levels, the document itself being the first | DynamoDB's limit |
| size | 350 KiB of encoded JSON | DynamoDB's item limit of 400 KB less keys and dates |
"""

import re
import sys
from collections.abc import Iterable
from math import isfinite
from typing import Any

from msgspec import Struct

from aiostore.errors import InvalidKeyError, InvalidValueError, TooLargeError

SYSTEM_COLLECTION = ".aiostore"
"""Where the library keeps records of its own; no user's collection can have this name."""

_COLLECTION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SMALLEST_INTEGER = -(2**63)
_LARGEST_INTEGER = 2**63 - 1

Arrays = type[list[Any]] | tuple[type[list[Any]], type[tuple[Any, ...]]]


class Limits(Struct, frozen=True):
    """The three limits that can be lifted, each None for no limit."""

    key_bytes: int | None = 512
    nesting: int | None = 32
    body_bytes: int | None = 350 * 1024


PORTABLE = Limits()
UNLIMITED = Limits(key_bytes=None, nesting=None, body_bytes=None)


def check_collection(name: object) -> str:
    """The name, if it is one that a user may give.

    Raises:
        InvalidKeyError: it is not.
    """
    if type(name) is not str or _COLLECTION.fullmatch(name) is None:
        raise InvalidKeyError(
            f"a collection's name is 1 to 64 characters of a-z A-Z 0-9 _ -, not {name!r:.80}"
        )
    return name


def check_key(key: object, limits: Limits, collection: str) -> str:
    """The key, if the contract allows it.

    Raises:
        InvalidKeyError: it does not.
    """
    if type(key) is not str:
        raise InvalidKeyError(
            f"a key is a str, not {type(key).__name__}: convert it", collection=collection
        )
    if not key:
        raise InvalidKeyError("a key has at least one character", collection=collection)
    if not key.isascii() or "\0" in key:
        fault = _fault_of_text(key)
        if fault is not None:
            raise InvalidKeyError(f"the key {key!r:.80} {fault}", collection=collection)
    if limits.key_bytes is not None and len(key) * 4 > limits.key_bytes:
        size = len(key.encode())
        if size > limits.key_bytes:
            raise InvalidKeyError(
                f"the key {key!r:.80} has {size} bytes of UTF-8 and at most {limits.key_bytes} "
                "are portable: shorten it, or store its hash",
                collection=collection,
            )
    return key


def check_version(version: object) -> str:
    """The version, if it is a text that every store can compare; whatever else it may be.

    Raises:
        InvalidValueError: it is not.
    """
    if type(version) is not str:
        raise InvalidValueError(
            f"a version is a str, the `version` of a document, not {type(version).__name__}"
        )
    fault = _fault_of_text(version)
    if fault is not None:
        raise InvalidValueError(f"the version {version!r:.80} {fault}")
    return version


def check_value(value: object, limits: Limits, arrays: Arrays = list) -> None:
    """Nothing, if `value` is an object of JSON that every store gives back exactly.

    Args:
        value: anything.
        limits: see `Limits`.
        arrays: the classes that stand for JSON's arrays.

    Raises:
        InvalidValueError: it is not; the message holds the path of the fault.
    """
    if not isinstance(value, dict):
        raise InvalidValueError(f"a document is a JSON object, not {type(value).__name__}")
    most = sys.maxsize if limits.nesting is None else limits.nesting
    try:
        _check_node(value, 1, most, (dict, arrays))
    except _Fault as fault:
        raise InvalidValueError(str(fault)) from None
    except RecursionError as error:
        raise InvalidValueError("the document is nested too deep, or holds itself") from error


def is_sound(value: object, limits: Limits, arrays: Arrays = list) -> bool:
    """Whether `check_value` would find a fault in nothing but the texts.

    Several times as fast, and so for all that is written; what the texts hold shows when they are
    encoded. `check_value` says what is wrong.
    """
    most = sys.maxsize if limits.nesting is None else limits.nesting
    try:
        return isinstance(value, dict) and _is_sound(value, most, (dict, arrays))
    except RecursionError:
        return False


def check_scalar(value: object) -> None:
    """Nothing, if `value` is a text, a number, a boolean or None that a document could hold.

    Raises:
        InvalidValueError: it is not.
    """
    fault = _fault_of_leaf(value)
    if fault is not None:
        raise InvalidValueError(f"{value!r:.80}: {fault}")


def check_body(body: str, limits: Limits) -> None:
    """Nothing, if the encoded document is not too large.

    Raises:
        TooLargeError: it is.
    """
    most = limits.body_bytes
    if most is not None and len(body) * 4 > most:
        size = len(body.encode())
        if size > most:
            raise TooLargeError(
                f"the document has {size} bytes of encoded JSON and at most {most} are portable: "
                "split it, or keep large parts elsewhere"
            )


class _Fault(Exception):  # noqa: N818  # never seen outside
    """What is wrong with a node; the way to it is found while it is raised."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        self.steps: list[str] = []

    def __str__(self) -> str:
        return f"at ${''.join(reversed(self.steps)):.200}: {self.what}"


def _is_sound(node: Any, levels: int, containers: Any) -> bool:  # noqa: C901  # a call costs more than all that is done here for an item
    """Likewise of an object or array, which may have so many levels."""
    if not levels:
        return False
    if isinstance(node, dict):
        for name in node:
            if type(name) is not str:
                return False
        node = node.values()
    for item in node:
        kind = type(item)
        if kind is str:
            continue
        if kind is int:
            if not _SMALLEST_INTEGER <= item <= _LARGEST_INTEGER:
                return False
        elif kind is float:
            if not isfinite(item):
                return False
        elif kind is bool or item is None:
            continue
        elif not isinstance(item, containers) or not _is_sound(item, levels - 1, containers):
            return False
    return True


def _check_node(node: Any, depth: int, most: int, containers: Any) -> None:
    """Raise the `_Fault` of an object or array, if it has one."""
    if depth > most:
        raise _Fault(f"nested deeper than {most} levels: flatten it")
    if isinstance(node, dict):
        for name in node:
            _check_name(name)
        _check_items(node.items(), depth + 1, most, containers)
    else:
        _check_items(enumerate(node), depth + 1, most, containers)


def _check_items(
    items: Iterable[tuple[object, Any]], depth: int, most: int, containers: Any
) -> None:
    step: object = None
    try:
        for step, item in items:  # noqa: B007  # the handler reads it
            if isinstance(item, containers):
                _check_node(item, depth, most, containers)
            else:
                _check_leaf(item)
    except _Fault as fault:
        fault.steps.append(f"[{step}]" if type(step) is int else f".{step}")
        raise


def _check_leaf(node: object) -> None:
    fault = _fault_of_leaf(node)
    if fault is not None:
        raise _Fault(fault)


def _check_name(name: object) -> None:
    if type(name) is not str:
        raise _Fault(f"the name {name!r:.80} is a {type(name).__name__}, not a str")
    fault = _fault_of_text(name)
    if fault is not None:
        raise _Fault(f"the name {name!r:.80} {fault}")


def _fault_of_leaf(node: Any) -> str | None:
    kind = type(node)
    if kind is str:
        fault = _fault_of_text(node)
        return None if fault is None else f"the text {fault}"
    if kind is int:
        fits = _SMALLEST_INTEGER <= node <= _LARGEST_INTEGER
        return None if fits else "the integer does not fit 64 bits: store it as text"
    if kind is float:
        return None if isfinite(node) else f"{node} is no JSON number: store null or text instead"
    if kind is bool or node is None:
        return None
    return (
        f"{kind.__name__} is not a JSON type and would not come back as it went: convert it, "
        "or give the collection a type"
    )


def _fault_of_text(text: str) -> str | None:
    if "\0" in text:
        return "holds a NUL character, which not every store can keep"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "holds a lone surrogate, which UTF-8 cannot encode"
    return None
