"""Ranges and segments of keys, where an engine has none of its own.

Keys are ordered by code point, which is the order of their UTF-8 bytes and of Python's strings.
"""

from zlib import crc32

_LAST_CODE_POINT = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


def end_of_prefix(prefix: str) -> str | None:
    """The smallest text greater than all that begin with `prefix`; None if there is none."""
    for position in range(len(prefix) - 1, -1, -1):
        following = ord(prefix[position]) + 1
        if following in _SURROGATES:
            following = _SURROGATES.stop
        if following <= _LAST_CODE_POINT:
            return prefix[:position] + chr(following)
    return None


def segment_of(key: str, segments: int) -> int:
    """The segment of `key`, 0 to `segments` - 1: the same in every process, evenly spread."""
    return crc32(key.encode()) % segments
