"""What the raw SQL drivers of `sqlite` and `postgresql` share: rows of aiostore's own table."""

import time
from collections.abc import Callable
from itertools import count

import msgspec

from benchmarks.documents import Value
from benchmarks.variants import COLLECTION

COLUMNS = "collection, key, body, version, mark, created_at, updated_at, expires_at"

encode = msgspec.json.Encoder().encode
decode: Callable[[str | bytes], Value] = msgspec.json.Decoder(dict).decode

_numbers = count(1)


def new_version() -> str:
    """One that nobody else makes in this process, as cheap as can be."""
    return f"{next(_numbers):032x}"


def row(key: str, value: Value, version: str) -> tuple[str, str, str, str, str, int, int, None]:
    """The values of `COLUMNS`."""
    now = time.time_ns() // 1000
    return COLLECTION, key, encode(value).decode(), version, "live", now, now, None
