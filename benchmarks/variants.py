"""What is measured: the library and its rivals, all asked in the same words."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from benchmarks.documents import Value

LIBRARY = "aiostore"
"""The variant that the others are held against."""

HELD = "held by all"
"""The home of those that read and write the very same documents in turn."""


class Documents:
    """A collection as one variant sees it; what it does not override it does not offer.

    Methods return decoded values of the caller's own. Those that write return the new version, or
    None where the variant has none.
    """

    async def get(self, key: str) -> Value:
        """The document, which is there."""
        raise NotImplementedError

    async def put(self, key: str, value: Value) -> str | None:
        """Store a document, whatever was there."""
        raise NotImplementedError

    async def replace(self, key: str, value: Value, version: str) -> str | None:
        """Store it in place of exactly this version; None if another one stands there."""
        raise NotImplementedError

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, Value]:
        """Those at the keys, which are there."""
        raise NotImplementedError

    async def page(self, prefix: str, size: int) -> Sequence[tuple[str, Value]]:
        """The first so many with that prefix, in the order of their keys."""
        raise NotImplementedError

    async def scan(self, prefix: str) -> Sequence[tuple[str, Value]]:
        """All with that prefix, likewise."""
        raise NotImplementedError

    async def find(self, text: str) -> Sequence[tuple[str, Value]]:
        """All with that text in `FIELD`, likewise; by an index."""
        raise NotImplementedError

    async def fill(self, values: Mapping[str, Value]) -> Mapping[str, str | None]:
        """Store documents where there are none, however is quickest; their versions."""
        raise NotImplementedError

    async def index(self) -> None:
        """Make the index that `find` goes by."""
        raise NotImplementedError

    async def settle(self) -> None:
        """Have the engine know its tables, as it does after a while in use."""
        raise NotImplementedError

    def offers(self, method: str) -> bool:
        """Whether this variant has the method."""
        return getattr(type(self), method) is not getattr(Documents, method)


class Variant(Struct, frozen=True):
    """One way to the documents, open.

    Attributes:
        name: as the tables call it.
        open_documents: a collection by its name.
        home: where its documents are: those with the same home share them.
        remark: what a reader of its figures has to know.
    """

    name: str
    open_documents: Callable[[str], Documents]
    home: str = HELD
    remark: str = ""


class Place(Struct, frozen=True):
    """Where an engine may put what it stores.

    Attributes:
        folder: an empty one, on a disk.
        lend: the URL of an empty place on a server, another with each call; for an engine that
            has one.
    """

    folder: Path
    lend: Callable[[], str] = lambda: ""


class Engine(Protocol):
    """A module with one engine's variants.

    Attributes:
        NAME: as `--only` calls it.
        TITLE: as people do.
        DURABLE: whether its writes wait for the disk.
        LEFT_OUT: operations that are not measured, and why.
        DISTRIBUTIONS: the packages whose versions matter to its figures.
    """

    NAME: str
    TITLE: str
    DURABLE: bool
    LEFT_OUT: Mapping[str, str]
    DISTRIBUTIONS: Sequence[str]

    def opened(self, place: Place) -> AbstractAsyncContextManager[Sequence[Variant]]:
        """The variants, the library first, until the context ends."""
        ...


Opened = AsyncIterator[Sequence[Variant]]

Call = tuple[Any, ...]
