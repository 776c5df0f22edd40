"""Numbers as people write them: `10M` documents of `1KB`."""

import re
from decimal import Decimal

from aiostore.errors import ConfigurationError

_WRITTEN = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([A-Za-z]*)")

_COUNTS = {"": 1, "K": 10**3, "k": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}

_BYTES = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "KiB": 2**10,
    "MiB": 2**20,
}


def count(text: str) -> int:
    """A number of things: `250`, `10M`, `1.5B`.

    Raises:
        ConfigurationError: it is none, or not a whole one.
    """
    return _number(text, _COUNTS, "a number such as 250, 20K, 10M or 1.5B")


def size(text: str) -> int:
    """A number of bytes: `800`, `1KB` (1,000), `1KiB` (1,024); likewise."""
    return _number(text, _BYTES, "a size such as 800, 1KB (1,000 bytes) or 1KiB (1,024)")


def _number(text: str, units: dict[str, int], wanted: str) -> int:
    found = _WRITTEN.fullmatch(text)
    unit = None if found is None else units.get(found[2])
    if found is None or unit is None:
        raise ConfigurationError(f"{text!r:.40} is not {wanted}")
    number = Decimal(found[1]) * unit
    if number != int(number):
        raise ConfigurationError(f"{text!r:.40} is not a whole number")
    return int(number)
