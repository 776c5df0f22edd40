"""Scans, counts and names of collections while the authority is moving, and after it.

A scan may take longer than a phase. Each chunk of it is resolved as the phase of now has it: what
comes in the order of keys is begun again behind the last key when a step has been taken, and what
comes in another order, from one store, is looked up where its authority is by then. So a document
that is unchanged is yielded once, whatever steps are taken meanwhile, and in whichever direction.

What the current store narrows down, sorts or counts by itself is right as long as no document has
ever been handed off: of one that has, it keeps an old state. Whether that is so only the control
document tells, for other processes may be a step ahead.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import NamedTuple

from msgspec.structs import replace
from sortedcontainers import SortedList

from aiostore.codecs import coarse_in
from aiostore.conditions import is_alive
from aiostore.filters import kinds_of
from aiostore.migration import rows
from aiostore.migration.control import ControlDocument
from aiostore.migration.phases import Phase
from aiostore.migration.reads import Reads
from aiostore.orders import Coarse, is_from
from aiostore.protocols import Adaptor, DocumentId, Record, Scan, Sort

Chunks = AsyncGenerator[Sequence[Record], None]

_PROBE = 50
"""So many records at a time are looked at to see whether a collection holds anything."""


class Scans:
    """The scans of a migration.

    Args:
        current: the current store.
        target: the target.
        reads: reads by the phase of now.
        control: what tells whether a document has ever been handed off.
    """

    def __init__(
        self, current: Adaptor, target: Adaptor, reads: Reads, control: ControlDocument
    ) -> None:
        self._current = current
        self._target = target
        self._reads = reads
        self._control = control

    async def scan(self, request: Scan) -> Chunks:
        """As `Adaptor.scan`.

        With an order that the store does not have which is the authority of everything, or where
        there is none, the places of all that is found are held until the end.
        """
        if request.order is None:
            chunks = self._by_key(request)
        elif (store := await self._sorting()) is not None:
            chunks = self._by_engine(store, request, request.order)
        else:
            chunks = self._sorted(request, request.order)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    async def count(self, collection: str, alive_at: int | None) -> int:
        """As `Adaptor.count`."""
        if alive_at is None:
            store = self._target if self._reads.phase is Phase.TARGET else self._current
            return await store.count(collection)
        if not self._moves:
            async with self._reads.reading():
                number = await self._current.count(collection, alive_at=alive_at)
            if await self._is_pristine():
                return number
        number = 0
        async with aclosing(self.scan(Scan(collection))) as chunks:
            async for chunk in chunks:
                number += sum(is_alive(record, alive_at) for record in chunk)
        return number

    async def collections(self) -> Sequence[str]:
        """As `Adaptor.collections`."""
        async with self._reads.reading():
            if not self._moves and await self._is_pristine():
                return await self._current.collections()
            names = set(await self._target.collections())
            if self._reads.phase is not Phase.TARGET:
                names |= set(await self._current.collections())
        return [name for name in sorted(names) if await self._holds_anything(name)]

    @property
    def _moves(self) -> bool:
        """Whether this process is in a phase in which documents are in the target."""
        return self._reads.phase in (Phase.HANDOFF, Phase.TARGET)

    async def _is_pristine(self) -> bool:
        """Whether the current store is the authority of everything, and has been up to now."""
        if self._moves:
            return False
        if self._reads.phase is Phase.CURRENT:
            return True  # everything has been handed back
        control = self._control.latest
        if control.pristine:
            control = await self._control.read()
        return control.pristine

    async def _holds_anything(self, collection: str) -> bool:
        """Whether a record is there for users; one may stand for nothing."""
        async with aclosing(self.scan(Scan(collection, chunk=_PROBE))) as chunks:
            return await anext(chunks, None) is not None

    async def _sorting(self) -> Adaptor | None:
        """The store that can sort and is the authority of everything; None if there is none."""
        if self._reads.phase is Phase.TARGET:
            return self._target if self._target.capabilities.orders else None
        return self._current if await self._is_pristine() else None

    async def _by_key(self, request: Scan) -> Chunks:
        """In the order of keys; begun again behind the last one when a step has been taken."""
        rest: Scan | None = request
        while rest is not None:
            stage, stores = self._reads.stage, await self._stores(request)
            begun, rest = rest, None
            async with aclosing(_walk(stores, begun)) as walk:
                while True:
                    async with self._reads.reading():
                        if self._reads.stage != stage:
                            rest = begun
                            break
                        chunk = await anext(walk, None)
                        if chunk is None:
                            break
                        if len(stores) == 1:
                            records = await self._resolved(chunk)
                        else:
                            records = await self._looked_up(chunk)
                    begun = replace(begun, start_after=chunk[-1].id.key)
                    if records:
                        yield records

    async def _stores(self, request: Scan) -> Sequence[Adaptor]:
        """Those that have to be walked through to find everything in this phase."""
        match self._reads.phase:
            case Phase.HANDOFF:
                return self._current, self._target
            case Phase.TARGET:
                return (self._target,)
            case _ if request.where is None or await self._is_pristine():
                return (self._current,)
            case _:
                return self._current, self._target

    async def _by_engine(self, store: Adaptor, request: Scan, order: Sort) -> Chunks:
        """In the order that a store has for everything that was there when the scan began.

        What has been written since, and sorts elsewhere by now, is left out.
        """
        stage = self._reads.stage
        async with aclosing(store.scan(_for(store, request))) as walk:
            while True:
                async with self._reads.reading():
                    chunk = await anext(walk, None)
                    if chunk is None:
                        return
                    if self._reads.stage == stage:
                        records = await self._resolved(chunk)
                    else:
                        records = await self._looked_up(chunk)
                places = {one.id: coarse_in(one.body, order.path) for one in chunk}
                records = [
                    one for one in records if coarse_in(one.body, order.path) == places[one.id]
                ]
                if records:
                    yield records

    async def _sorted(self, request: Scan, order: Sort) -> Chunks:
        """In an order, of which the places alone are held.

        What has moved since it was found comes where it belongs now, if that is still to come.
        """
        places: SortedList[_Place] = SortedList()
        async with aclosing(self._by_key(replace(request, order=None))) as chunks:
            async for chunk in chunks:
                found = (_Place(coarse_in(one.body, order.path), one.id) for one in chunk)
                places.update(one for one in found if _is_from(one.coarse, order))
        next_ = -1 if order.descending else 0
        while places:
            some = [places.pop(next_) for _ in range(min(request.chunk, len(places)))]
            async with self._reads.reading():
                records = await self._reads.resolve([place.id for place in some])
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

    async def _resolved(self, chunk: Sequence[Record]) -> Sequence[Record]:
        """What the store that is the authority of everything holds, but for what has moved."""
        if self._reads.phase is Phase.TARGET:
            return [one for one in chunk if rows.is_authority(one) and not rows.is_unborn(one)]
        if any(map(rows.is_moved, chunk)):
            return await self._looked_up(chunk)
        return chunk

    async def _looked_up(self, chunk: Sequence[Record]) -> list[Record]:
        """Each from its authority."""
        found = await self._reads.resolve([record.id for record in chunk])
        return [record for record in found if record is not None]


async def ids_of_both(
    current: Adaptor, target: Adaptor, request: Scan
) -> AsyncGenerator[Sequence[DocumentId], None]:
    """The ids of what stands in either store, in the order of keys, each once."""
    async with aclosing(_walk((current, target), request)) as walk:
        async for chunk in walk:
            yield [record.id for record in chunk]


async def _walk(stores: Sequence[Adaptor], request: Scan) -> Chunks:
    """What stands in any of these, in the order of keys, each id once."""
    async with AsyncExitStack() as all_:
        walks = [
            _Walk(await all_.enter_async_context(aclosing(store.scan(_for(store, request)))))
            for store in stores
        ]
        while chunk := await _next(walks, request.chunk):
            yield chunk


class _Walk:
    """One store's records, as far as they have been read.

    Attributes:
        records: what has been read and not yet been taken.
        ended: whether there is no more.
    """

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self.records: Sequence[Record] = ()
        self.ended = False

    async def read_on(self) -> None:
        """See to it that there is something to take, or that it has ended."""
        while not self.records and not self.ended:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                self.ended = True
            else:
                self.records = chunk


async def _next(walks: Sequence[_Walk], most: int) -> Sequence[Record]:
    """The next records of all walks in the order of keys, of each id one; none at the end."""
    for walk in walks:
        await walk.read_on()
    left = [walk for walk in walks if not walk.ended]
    if len(left) == 1:
        [walk] = left
        found, walk.records = walk.records, ()
        return found
    last = min((walk.records[-1].id for walk in left), default=None)
    if last is None:
        return ()
    found_by_id = {one.id: one for walk in left for one in walk.records if one.id <= last}
    found = [found_by_id[id_] for id_ in sorted(found_by_id)[:most]]
    for walk in left:
        walk.records = [one for one in walk.records if one.id > found[-1].id]
    return found


def _for(store: Adaptor, request: Scan) -> Scan:
    """Without a filter that the store does not narrow down by."""
    if request.where is None or kinds_of(request.where) <= store.capabilities.filters:
        return request
    return replace(request, where=None)


class _Place(NamedTuple):
    """Where a document sorts."""

    coarse: Coarse
    id: DocumentId


def _is_from(place: Coarse, order: Sort) -> bool:
    return is_from(place, order.start, descending=order.descending)
