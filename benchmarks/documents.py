"""What is stored: real airports, grown to the sizes of documents that services keep."""

from collections.abc import Mapping
from itertools import cycle, islice
from typing import Any

import airportsdata
import msgspec

Value = dict[str, Any]
Documents = Mapping[str, Value]

SIZES = {"1 KB": 1024, "10 KB": 10 * 1024}
"""Bytes of JSON, about."""


def documents(number: int, size: int) -> dict[str, Value]:
    """So many documents of about that size by key: each an airport with those that follow it.

    There are some 28,000 airports; beyond that they come again, under other keys.
    """
    airports = list(airportsdata.load("ICAO").values())
    # Half of what is added is text, the other half numbers and their names, as in the airports.
    average = sum(len(msgspec.json.encode(one)) for one in airports) / len(airports)
    neighbours = round(size / average) - 1
    made: dict[str, Value] = {}
    around = list(islice(cycle(airports), len(airports) + neighbours))
    for index in range(number):
        place = index % len(airports)
        key = f"{airports[place]['icao']}-{index:06}"
        near = around[place + 1 : place + 1 + neighbours]
        made[key] = {**airports[place], "key": key, "revision": 0, "near": near}
    return made
