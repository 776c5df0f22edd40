"""The data: the world's airports, real records from the package `airportsdata`."""

from itertools import islice
from typing import Any

import airportsdata

COLLECTION = "demo-airports"

Airport = dict[str, Any]


def load(first: int) -> dict[str, Airport]:
    """The `first` so many airports by ICAO code; reads files, so not on a loop."""
    airports = airportsdata.load("ICAO")
    return {key: dict(airport) for key, airport in islice(airports.items(), first)}


def revised(airport: Airport, key: str, revision: str) -> Airport:
    """The airport as one write stores it: `revision` is in no other write's value."""
    return {**airport, "icao": key, "revision": revision}
