"""`Harness`: how the kit gets at one adaptor."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any

from aiostore.protocols import Adaptor, Capabilities, DocumentId, Purge, Record
from aiostore.store import Store
from aiostore.versions import PROCESS_CLOCK, VersionClock

Peek = Callable[[DocumentId], Awaitable[Record | None]]
Poke = Callable[[Record], Awaitable[None]]
Damage = Callable[[DocumentId], AbstractAsyncContextManager[None]]
Outage = Callable[[], AbstractAsyncContextManager[Adaptor]]

BOUNDARY_FEATURES = frozenset({"marks", "purges"})


class Harness:
    """One engine, or one stack of wrappers, under test.

    Args:
        make: returns an adaptor, not yet open, over the same data at every call; for data that live
            in the adaptor object, the same object.
        without: of `marks` (keeps any mark) and `purges` (purges at once), what this one lacks.
        peek: reads a record behind the adaptor's back, when the adaptor is closed.
        poke: writes one likewise.
        damage: an asynchronous context in which a record that stands there cannot be read, entered
            and left when the adaptor is closed.
        unusable: returns an adaptor, not yet open, over a place where no store can be.
        outage: an asynchronous context that yields an open adaptor over the same data, to whose
            writes the engine does not answer before the context ends.

    Attributes:
        features: those that it does not lack; the names of the five hooks that are given; the true
            flags of the capabilities; and `filters`, if they name any.
    """

    def __init__(
        self,
        make: Callable[[], Adaptor],
        *,
        without: frozenset[str] = frozenset(),
        peek: Peek | None = None,
        poke: Poke | None = None,
        damage: Damage | None = None,
        unusable: Callable[[], Adaptor] | None = None,
        outage: Outage | None = None,
    ) -> None:
        self.make = make
        self._hooks = {
            "peek": peek,
            "poke": poke,
            "damage": damage,
            "unusable": unusable,
            "outage": outage,
        }
        self._token = secrets.token_hex(4)
        self._numbers = count(1)
        self._collections: list[str] = []
        features = {*BOUNDARY_FEATURES - without}
        features |= {name for name, hook in self._hooks.items() if hook is not None}
        features |= _features_of(make().capabilities)
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
    async def store(self, clock: VersionClock = PROCESS_CLOCK) -> AsyncIterator[Store]:
        """A store over the adaptor, open; closed afterwards."""
        async with Store(self.make(), clock=clock) as store:
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
        hook: Peek = self._hook("peek")
        return await hook(id_)

    async def poke(self, record: Record) -> None:
        """Put a record into the engine; for checks that need `poke`."""
        hook: Poke = self._hook("poke")
        await hook(record)

    def damage(self, id_: DocumentId) -> AbstractAsyncContextManager[None]:
        """A record that cannot be read; for checks that need `damage`."""
        hook: Damage = self._hook("damage")
        return hook(id_)

    def unusable(self) -> Adaptor:
        """An adaptor that cannot be opened; for checks that need `unusable`."""
        hook: Callable[[], Adaptor] = self._hook("unusable")
        return hook()

    def outage(self) -> AbstractAsyncContextManager[Adaptor]:
        """An engine that does not answer; for checks that need `outage`."""
        hook: Outage = self._hook("outage")
        return hook()

    async def clean(self) -> None:
        """Remove what the checks have left in the collections of this harness."""
        names, self._collections = self._collections, []
        async with self.adaptor() as adaptor:
            for name in names:
                await adaptor.purge(Purge(name, everything=True))

    def _hook(self, name: str) -> Any:
        hook = self._hooks[name]
        if hook is None:
            raise NotImplementedError(f"this harness has no {name}: the check has to need it")
        return hook


def _features_of(capabilities: Capabilities) -> set[str]:
    flags = {name for name in capabilities.__struct_fields__ if getattr(capabilities, name) is True}
    return {*flags, "filters"} if capabilities.filters else flags
