"""The small service that is moved: handlers over a store, in several processes at once."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Self

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


class Process:
    """One of the service's processes, as far as the library can tell: with a store of its own.

    Args:
        store: an open one.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._airports = store.collection(COLLECTION)
        self._idle = asyncio.Event()
        self._idle.set()
        self._under_way = 0

    @classmethod
    async def start(cls, adaptor: Adaptor) -> Self:
        """A new one over this store."""
        return cls(await Store(adaptor).open())

    async def stop(self) -> None:
        """End when no request is under way any more; nobody sends it another one."""
        await self._idle.wait()
        await self._store.aclose()

    @contextmanager
    def request(self) -> Iterator[Collection[Airport]]:
        """What answers one request."""
        self._under_way += 1
        self._idle.clear()
        try:
            yield self._airports
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()


class AirportService:
    """The airports, for many clients at once; which store they are in is configuration.

    Requests go to its processes in turn. They share this Python process and its event loop, and
    nothing else that the library could know of.
    """

    def __init__(self) -> None:
        self._processes: list[Process] = []
        self._ending: list[Process] = []
        self._open = asyncio.Event()
        self._held = 0
        self._requests = 0

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

    async def switch(self, adaptors: Sequence[Adaptor]) -> None:
        """Go on with other processes, one for each of these stores, without a pause.

        New requests go to the new ones as soon as these are ready; the old ones end when what they
        have begun is answered.
        """
        fresh = await _started(adaptors)
        self._ending += self._processes
        self._processes = fresh
        await self._end()

    async def restart(self, adaptors: Sequence[Adaptor]) -> Restart:
        """Go on with other processes, which begin only when all the old ones have ended.

        Requests wait at a gate meanwhile.
        """
        started, self._held = time.perf_counter(), 0
        await self.aclose()
        self._processes = await _started(adaptors)
        self._open.set()
        return Restart(time.perf_counter() - started, self._held)

    async def aclose(self) -> None:
        """End all processes; requests wait at the gate from now on."""
        self._open.clear()
        self._ending += self._processes
        self._processes = []
        await self._end()

    async def _end(self) -> None:
        while self._ending:
            await self._ending[-1].stop()
            self._ending.pop()

    @asynccontextmanager
    async def _request(self) -> AsyncGenerator[Collection[Airport], None]:
        if not self._open.is_set():
            self._held += 1
        while not self._open.is_set():
            await self._open.wait()
        self._requests += 1
        with self._processes[self._requests % len(self._processes)].request() as airports:
            yield airports


async def _started(adaptors: Sequence[Adaptor]) -> list[Process]:
    processes = []
    async with AsyncExitStack() as undo:
        for adaptor in adaptors:
            processes.append(await Process.start(adaptor))
            undo.push_async_callback(processes[-1].stop)
        undo.pop_all()
    return processes
