"""What is measured: one way of doing an engine's operations, aiostore's or another's."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from msgspec import Struct, field

from benchmarks.documents import Documents, Value

OURS = "aiostore"
COLLECTION = "airports"
COUNTRY = "DE"
"""Of the airports that `find` looks for."""


class Variant(Struct, kw_only=True):
    """One way of doing the operations; None for what it cannot.

    Attributes:
        name: as the report calls it.
        get: the value at a key.
        put: store a value at a key, durably where the engine is durable.
        replace: store a value if what stands there is what this variant has last written or read,
            by a version; returns whether it was. Tasks have keys of their own.
        get_many: the values at some keys, by key.
        page: the keys of so many documents that follow a key, with their values decoded.
        scan: how many documents there are, each of them decoded.
        find: how many are in `COUNTRY`, each of those decoded.
    """

    name: str
    get: Callable[[str], Awaitable[Value]]
    put: Callable[[str, Value], Awaitable[object]]
    replace: Callable[[str, Value], Awaitable[bool]] | None = None
    get_many: Callable[[Sequence[str]], Awaitable[Mapping[str, Value]]] | None = None
    page: Callable[[str, int], Awaitable[Sequence[str]]] | None = None
    scan: Callable[[], Awaitable[int]] | None = None
    find: Callable[[], Awaitable[int]] | None = None


class Place(Struct, frozen=True):
    """Where an engine may keep what it stores.

    Attributes:
        folder: an empty folder on the disk that is measured.
        servers: URLs of servers by the engine's name, of databases that are empty.
    """

    folder: Path
    servers: Mapping[str, str] = field(default_factory=dict)


class Engine(Protocol):
    """A module of `engines`."""

    NAME: str
    """As reports call it."""

    NEEDS: str | None
    """The server that it takes; None for none."""

    def variants(
        self, place: Place, documents: Documents
    ) -> AbstractAsyncContextManager[Sequence[Variant]]:
        """The variants, aiostore's first, each over a place of its own that holds `documents`."""
        ...
