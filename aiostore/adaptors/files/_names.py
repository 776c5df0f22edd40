"""What the files of keys and collections are called."""

import hashlib
import re
from urllib.parse import unquote

SUFFIX = ".json"
_LONGEST_NAME = 200  # bytes; common file systems allow 255


def file_name(text: str) -> str:
    """An injective, portable file name (without suffix) for a key or a collection.

    `a-z A-Z 0-9 _ -` stand for themselves, all else is percent-encoded UTF-8. Capitals are told by
    a mask behind `~`, so that names differ where the file system folds case. Long names end in
    `~~` and the SHA-256 of the text.
    """
    escaped = re.sub(
        rb"[^A-Za-z0-9_-]", lambda match: b"%%%02x" % match.group()[0], text.encode()
    ).decode()
    capitals = sum(1 << i for i, character in enumerate(escaped) if character.isupper())
    name = f"{escaped}~{capitals:x}" if capitals else escaped
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{escaped[:100]}~~{hashlib.sha256(text.encode()).hexdigest()}"


def key_in(name: str) -> str | None:
    """The key that a file's name tells, or None if it is a hash."""
    stem = name.removesuffix(SUFFIX)
    return None if "~~" in stem else unquote(_without_case_mask(stem))


def collection_in(name: str) -> str:
    """The collection that a folder's name tells."""
    return unquote(_without_case_mask(name))


def _without_case_mask(name: str) -> str:
    return name.partition("~")[0]
