"""The data: real airports, each grown by the records of its neighbours in the list of all."""

from bisect import bisect_left
from collections import defaultdict
from functools import cache
from itertools import accumulate
from typing import Any

import airportsdata
import msgspec

Value = dict[str, Any]

REGION = 500
"""How many documents share the prefix of their keys."""

FIELD = "city"
"""What documents are found by."""

FINDING = "finding"
"""The one collection that they are found in, and that has an index."""


class Content:
    """What stands in a collection, as far as its writers have been told.

    A document is fixed by its number and its revision, so that what an answer must be is known
    without being kept. Its key is `REGION/ICAO`, with `REGION` documents a region.

    Args:
        collection: its name.
        size: bytes of a document's JSON, on average half an airport's more.
        count: how many documents there are.

    Attributes:
        keys: by number.
        numbers: by key.
        revisions: by number, of what stands there.
        versions: likewise; None where the writer was not told.
    """

    def __init__(self, collection: str, size: int, count: int) -> None:
        self.collection = collection
        self.size = size
        self.count = count
        airports = _airports()
        self.keys = [key_of(number) for number in range(count)]
        self.numbers = {key: number for number, key in enumerate(self.keys)}
        self.revisions = [0] * count
        self.versions: list[str | None] = [None] * count
        self._by_field: dict[str, list[str]] = defaultdict(list)
        for number, key in enumerate(self.keys):
            self._by_field[airports[number % len(airports)][FIELD]].append(key)

    def value(self, number: int, revision: int) -> Value:
        """The document of a number, as its `revision`-th writer stores it."""
        return value_of(number, self.size, revision)

    def standing(self, key: str) -> Value:
        """The document that must be under a key."""
        number = self.numbers[key]
        return self.value(number, self.revisions[number])

    def accept(self, key: str, revision: int, version: str | None) -> None:
        """Take note of a write that was acknowledged."""
        number = self.numbers[key]
        self.revisions[number] = revision
        self.versions[number] = version

    def region(self, key: str) -> str:
        """The prefix that a key shares with its neighbours."""
        return key[: key.index("/") + 1]

    def keys_in(self, region: str) -> list[str]:
        """The keys with that prefix, in order."""
        first = int(region.removesuffix("/")) * REGION
        return sorted(self.keys[first : first + REGION])

    def found(self, text: str) -> list[str]:
        """The keys of the documents with that text in `FIELD`, in order."""
        return sorted(self._by_field[text])


def key_of(number: int) -> str:
    """The key of a document."""
    airports = _airports()
    return f"{number // REGION:04d}/{airports[number % len(airports)]['icao']}"


def value_of(number: int, size: int, revision: int = 0) -> Value:
    """The document of a number; see `Content`."""
    airports, ends = _airports(), _ends()
    first = number % len(airports)
    end = bisect_left(ends, ends[first] + size - (ends[first + 1] - ends[first]))
    neighbours = [airports[each % len(airports)] for each in range(first + 1, end)]
    return {**airports[first], "revision": revision, "neighbours": neighbours}


@cache
def _airports() -> list[Value]:
    return [dict(airport) for airport in airportsdata.load("ICAO").values()]


@cache
def _ends() -> list[int]:
    """Where each airport would begin, were their JSON in one line, twice over."""
    sizes = [len(msgspec.json.encode(airport)) + 1 for airport in _airports()]
    return [0, *accumulate(sizes + sizes)]
