"""`Harness`: how the kit gets at one adaptor."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

from aiostore.protocols import Adaptor, Capabilities, DocumentId, Mark, Purge, Record
from aiostore.store import Store
from aiostore.versions import now_in_microseconds

Peek = Callable[[DocumentId], Awaitable[Record | None]]
Poke = Callable[[Record], Awaitable[None]]

BOUNDARY_FEATURES = frozenset({"marks", "purges"})


class Harness:
    """One engine, or one stack of wrappers, under test.

    Args:
        make: returns an adaptor, not yet open, over the same data at every call; for data that live
            in the adaptor object, the same object.
        peek: reads a record behind the adaptor's back, when the adaptor is closed.
        poke: writes one likewise.
        without: of `marks` (keeps any mark) and `purges` (purges at once), what this one lacks.

    Attributes:
        features: those, `peek` and `poke` if given, and the true flags of the capabilities.
    """

    def __init__(
        self,
        make: Callable[[], Adaptor],
        *,
        peek: Peek | None = None,
        poke: Poke | None = None,
        without: frozenset[str] = frozenset(),
    ) -> None:
        self.make = make
        self._peek = peek
        self._poke = poke
        self._token = secrets.token_hex(4)
        self._numbers = count(1)
        self._collections: list[str] = []
        features = {*BOUNDARY_FEATURES - without}
        features |= {name for name, given in (("peek", peek), ("poke", poke)) if given is not None}
        features |= {flag for flag, value in _flags(make().capabilities).items() if value is True}
        self.features = frozenset(features)

    @asynccontextmanager
    async def adaptor(self) -> AsyncIterator[Adaptor]:
        """The adaptor, open; closed afterwards. What it holds stays for the next one."""
        adaptor = self.make()
        try:
            await adaptor.open()
            yield adaptor
        finally:
            await adaptor.aclose()

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        """A store over the adaptor, open; closed afterwards."""
        async with Store(self.make()) as store:
            yield store

    def collection(self) -> str:
        """The name of a collection that nobody else uses; `clean` empties it."""
        name = f"check-{self._token}-{next(self._numbers)}"
        self._collections.append(name)
        return name

    def collections_like(self, suffixes: list[str]) -> list[str]:
        """Such names that differ in what is appended to them alone."""
        base = self.collection()
        names = [base + suffix for suffix in suffixes]
        self._collections += names
        return names

    async def peek(self, id_: DocumentId) -> Record | None:
        """What the engine holds; for checks that need `peek`."""
        if self._peek is None:
            raise NotImplementedError("this harness cannot peek: the check has to need it")
        return await self._peek(id_)

    async def poke(self, record: Record) -> None:
        """Put a record into the engine; for checks that need `poke`."""
        if self._poke is None:
            raise NotImplementedError("this harness cannot poke: the check has to need it")
        await self._poke(record)

    async def clean(self) -> None:
        """Remove what the checks have left in the collections of this harness."""
        names, self._collections = self._collections, []
        async with self.adaptor() as adaptor:
            for name in names:
                await adaptor.purge(Purge(name, everything=True))


def _flags(capabilities: Capabilities) -> dict[str, object]:
    return {name: getattr(capabilities, name) for name in capabilities.__struct_fields__}


def version(number: int) -> str:
    """A version for checks: well-formed, and ordered by `number`, which is small."""
    return f"{number:012x}70008000000000000000"


def record(
    collection: str,
    key: str,
    number: int,
    *,
    body: str | None = '{"a":1}',
    created_at: int | None = None,
    expires_at: int | None = None,
    mark: Mark = Mark.LIVE,
) -> Record:
    """A record for checks; its version and its moments follow from `number`."""
    return Record(
        DocumentId(collection, key),
        body,
        version(number),
        NOW + number if created_at is None else created_at,
        NOW + number,
        expires_at,
        mark,
    )


NOW = now_in_microseconds()
"""A moment for checks, in microseconds since 1970 UTC."""
