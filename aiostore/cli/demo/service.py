"""The small service that is moved: handlers over a store, and a restart that no client notices."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiostore.cli.demo.airports import COLLECTION, Airport
from aiostore.collection import Collection
from aiostore.documents import Document
from aiostore.protocols import Adaptor
from aiostore.store import Store


@dataclass(frozen=True, slots=True)
class Restart:
    """What a restart cost.

    Attributes:
        seconds: how long the gate was closed.
        held: how many requests waited before it.
    """

    seconds: float
    held: int


class AirportService:
    """The airports, for many clients at once; which store they are in is configuration.

    A restart is what a deployment does, within one process: new requests wait at a gate until
    those under way have ended, the old store is closed, the new one opened, the gate opens.
    """

    def __init__(self) -> None:
        self._store: Store | None = None
        self._airports: Collection[Airport] | None = None
        self._open = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._under_way = 0
        self._held = 0

    async def get(self, key: str) -> Document[Airport] | None:
        """One airport, or None."""
        async with self._request() as airports:
            return await airports.get(key, default=None)

    async def get_many(self, keys: Sequence[str]) -> dict[str, Document[Airport]]:
        """Those of some airports that exist."""
        async with self._request() as airports:
            return await airports.get_many(keys)

    async def create(self, key: str, airport: Airport) -> Document[Airport]:
        """A new airport."""
        async with self._request() as airports:
            return await airports.create(key, airport)

    async def put(self, key: str, airport: Airport) -> Document[Airport]:
        """An airport, new or not."""
        async with self._request() as airports:
            return await airports.put(key, airport)

    async def replace(self, key: str, airport: Airport, version: str) -> Document[Airport]:
        """An airport in place of the version that the client has read."""
        async with self._request() as airports:
            return await airports.replace(key, airport, version=version)

    async def update(self, key: str, change: Callable[[Airport], Airport]) -> Document[Airport]:
        """An airport, changed; again if somebody else came between."""
        async with self._request() as airports:
            return await airports.update(key, change)

    async def delete(self, key: str, version: str) -> None:
        """No airport in place of the version that the client has read."""
        async with self._request() as airports:
            await airports.delete(key, version=version)

    async def put_many(self, values: Mapping[str, Airport]) -> dict[str, Document[Airport]]:
        """Some airports, new or not; each stands alone."""
        async with self._request() as airports:
            return await airports.put_many(values)

    async def delete_many(self, keys: Sequence[str]) -> None:
        """No airports there, whatever stood there."""
        async with self._request() as airports:
            await airports.delete_many(keys)

    async def restart(
        self, adaptor: Adaptor, *, last: Callable[[], Awaitable[None]] | None = None
    ) -> Restart:
        """Go on with another store.

        Args:
            adaptor: the one to go on with.
            last: is awaited when no request is under way and the old store is still open. If it
                fails, the service goes on with the old store.
        """
        self._open.clear()
        started, self._held = time.perf_counter(), 0
        await self._idle.wait()
        if last is not None:
            try:
                await last()
            except BaseException:
                self._open.set()
                raise
        if self._store is not None:
            await self._store.aclose()
        self._store = await Store(adaptor).open()
        self._airports = self._store.collection(COLLECTION)
        self._open.set()
        return Restart(time.perf_counter() - started, self._held)

    async def aclose(self) -> None:
        """Close the store; requests wait for ever from now on."""
        self._open.clear()
        await self._idle.wait()
        if self._store is not None:
            await self._store.aclose()

    @asynccontextmanager
    async def _request(self) -> AsyncGenerator[Collection[Airport], None]:
        if not self._open.is_set():
            self._held += 1
        while not self._open.is_set() or self._airports is None:
            await self._open.wait()
        self._under_way += 1
        self._idle.clear()
        try:
            yield self._airports
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()
