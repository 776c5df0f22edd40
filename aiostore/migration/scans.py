"""Scans while the authority is moving from store to store, and after it."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import NamedTuple

from msgspec.structs import replace
from sortedcontainers import SortedList

from aiostore.codecs import coarse_in
from aiostore.filters import kinds_of
from aiostore.migration import rows
from aiostore.migration.authority import Authority
from aiostore.orders import Coarse, is_from
from aiostore.protocols import Adaptor, DocumentId, Record, Scan, Sort

Chunks = AsyncGenerator[Sequence[Record], None]


class Scans:
    """The scans of a migration.

    Args:
        current: the current store.
        target: the target.
        authority: finds where a document's authority is.
    """

    def __init__(self, current: Adaptor, target: Adaptor, authority: Authority) -> None:
        self._current = current
        self._target = target
        self._authority = authority

    async def of_current(self, request: Scan) -> Chunks:
        """While both are written: the current store's, but for what others hand off already."""
        async with aclosing(self._current.scan(request)) as chunks:
            async for chunk in chunks:
                if any(map(rows.is_moved, chunk)):
                    found = await self._authority.read_moved([record.id for record in chunk])
                    yield [record for record in found if record is not None]
                else:
                    yield chunk

    async def of_both(self, request: Scan) -> Chunks:
        """While documents are handed off: what either store knows, read where it has authority.

        With an order the places of all of them are held until the end.
        """
        if request.order is not None:
            async with aclosing(self._sorted(request, self.of_both)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        async with aclosing(ids_of_both(self._current, self._target, request)) as chunks:
            async for ids in chunks:
                found = await self._authority.read_moving(ids)
                records = [record for record in found if record is not None]
                if records:
                    yield records

    async def of_target(self, request: Scan) -> Chunks:
        """When the target is the authority of everything; what is left of copies is nothing.

        With an order that the target has not, the places of all are held until the end.
        """
        if request.order is not None and not self._target.capabilities.orders:
            chunks = self._sorted(request, self.of_target)
        else:
            chunks = self._target.scan(_for(self._target, request))
        async with aclosing(chunks):
            async for chunk in chunks:
                records = [
                    record
                    for record in chunk
                    if rows.is_authority(record) and not rows.is_unborn(record)
                ]
                if records:
                    yield records

    async def _sorted(self, request: Scan, scan: Callable[[Scan], Chunks]) -> Chunks:
        """The records of a scan in an order, of which the places alone are held.

        What has moved since then comes where it belongs now, if that is still to come.
        """
        order = request.order
        if order is None:
            raise ValueError("there is nothing to sort by")
        places: SortedList[_Place] = SortedList()
        async with aclosing(scan(replace(request, order=None))) as chunks:
            async for chunk in chunks:
                found = (_Place(coarse_in(one.body, order.path), one.id) for one in chunk)
                places.update(one for one in found if _is_from(one.coarse, order))
        next_ = -1 if order.descending else 0
        while places:
            some = [places.pop(next_) for _ in range(min(request.chunk, len(places)))]
            records = await self._authority.read_moving([place.id for place in some])
            chunk = []
            for place, record in zip(some, records, strict=True):
                if record is None:
                    continue
                now = _Place(coarse_in(record.body, order.path), record.id)
                if now.coarse == place.coarse:
                    chunk.append(record)
                elif is_from(now.coarse, some[-1].coarse, descending=order.descending):
                    places.add(now)
            if chunk:
                yield chunk


async def ids_of_both(
    current: Adaptor, target: Adaptor, request: Scan
) -> AsyncGenerator[Sequence[DocumentId], None]:
    """The ids of what stands in either store, in the order of keys, each once."""
    async with AsyncExitStack() as both:
        walks = [
            _Walk(await both.enter_async_context(aclosing(store.scan(_for(store, request)))))
            for store in (current, target)
        ]
        while ids := await _next(walks, request.chunk):
            yield ids


class _Walk:
    """One store's keys, as far as they have been read.

    Attributes:
        ids: what has been read and not yet been taken.
        ended: whether there is no more.
    """

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self.ids: list[DocumentId] = []
        self.ended = False

    async def read_on(self) -> None:
        """See to it that there is something to take, or that it has ended."""
        while not self.ids and not self.ended:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                self.ended = True
            else:
                self.ids = [record.id for record in chunk]


async def _next(walks: Iterable[_Walk], most: int) -> list[DocumentId]:
    """The next ids of both walks in the order of keys, each once; none at the end."""
    walks = list(walks)
    for walk in walks:
        await walk.read_on()
    last = min((walk.ids[-1] for walk in walks if not walk.ended), default=None)
    if last is None:
        return []
    found = sorted({id_ for walk in walks for id_ in walk.ids if id_ <= last})[:most]
    for walk in walks:
        walk.ids = [id_ for id_ in walk.ids if id_ > found[-1]]
    return found


class _Place(NamedTuple):
    """Where a document sorts."""

    coarse: Coarse
    id: DocumentId


def _is_from(place: Coarse, order: Sort) -> bool:
    return is_from(place, order.start, descending=order.descending)


def _for(store: Adaptor, request: Scan) -> Scan:
    """Without a filter that the store does not narrow down by."""
    if request.where is None or kinds_of(request.where) <= store.capabilities.filters:
        return request
    return replace(request, where=None)
