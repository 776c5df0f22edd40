"""Documents in this process's memory.

Stored shape: for each collection a mapping from key to record, sorted by key.
Consistency: every operation is one step on the event loop, so linearizable.
Limits: none but memory; nothing outlives the adaptor object, but it keeps its documents over
`aclose` and `open`, so that a store can be closed and another opened on the same object.
Cost: reads and writes O(log n); a scan O(log n) a chunk. A scan with an order decodes and sorts
the collection, and holds the list until it ends; what it yields is what stood there when it began.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from itertools import islice
from operator import itemgetter

from msgspec import Struct
from sortedcontainers import SortedDict

from aiostore.codecs import coarse_in
from aiostore.conditions import decide, is_alive, is_doomed, place_of
from aiostore.errors import ConfigurationError, UnsupportedError
from aiostore.filters import Path
from aiostore.keys import end_of_prefix, segment_of
from aiostore.orders import Coarse, is_beyond, is_from
from aiostore.protocols import (
    Capabilities,
    Check,
    DocumentId,
    Outcome,
    Purge,
    Record,
    Scan,
    Sort,
    Write,
)
from aiostore.urls import StoreURL

_CAPABILITIES = Capabilities(
    persistent=False,
    shared=False,
    atomic_writes=True,
    max_batch=1000,
    max_atomic=1000,
    orders=True,
)

_NOTHING: SortedDict[str, Record] = SortedDict()
"""A collection that is not there; never written."""


class MemoryAdaptor:
    """The reference: the contract with no engine under it."""

    def __init__(self, name: str = "memory://") -> None:
        self._name = name
        self._collections: SortedDict[str, SortedDict[str, Record]] = SortedDict()

    @property
    def name(self) -> str:
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        return _CAPABILITIES

    async def open(self) -> None:
        """There is nothing to connect to."""

    async def aclose(self) -> None:
        """There is nothing to release."""

    async def read(
        self,
        ids: Sequence[DocumentId],
        /,
        *,
        consistent: bool = True,  # noqa: ARG002  # every read is
    ) -> Sequence[Record | None]:
        return [self._standing(id_) for id_ in ids]

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        outcomes = []
        for write in writes:
            outcome = decide(write, self._standing(write.record.id))
            self._store(write, outcome)
            outcomes.append(outcome)
        return outcomes

    async def write_atomic(self, items: Sequence[Write | Check], /) -> Sequence[Outcome]:
        outcomes = [decide(item, self._standing(place_of(item))) for item in items]
        if all(outcome.applied for outcome in outcomes):
            for item, outcome in zip(items, outcomes, strict=True):
                if isinstance(item, Write):
                    self._store(item, outcome)
        return outcomes

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        records = self._collections.get(request.collection, _NOTHING)
        start, inclusive = request.prefix, True
        if request.start_after is not None and request.start_after >= start:
            start, inclusive = request.start_after, False
        end = end_of_prefix(request.prefix)
        if request.order is not None:
            found = [records[key] for key in records.irange(start, end, (True, False))]
            in_order = iter(_sorted(found, request.order))
            while chunk := list(islice(in_order, request.chunk)):
                yield chunk
            return
        while True:
            keys = list(islice(records.irange(start, end, (inclusive, False)), request.chunk))
            if not keys:
                return
            chunk = [
                records[key] for key in keys if segment_of(key, request.segments) == request.segment
            ]
            if chunk:
                yield chunk
            start, inclusive = keys[-1], False

    async def index(self, collection: str, _: Path, /) -> None:
        raise UnsupportedError("this store has no indexes", store=self.name, collection=collection)

    async def count(self, collection: str, /, *, alive_at: int | None = None) -> int:
        records = self._collections.get(collection, _NOTHING)
        if alive_at is None:
            return len(records)
        return sum(is_alive(record, alive_at) for record in records.values())

    async def collections(self) -> Sequence[str]:
        return [name for name, records in self._collections.items() if records]

    async def purge(self, request: Purge, /) -> int:
        records = self._collections.get(request.collection, _NOTHING)
        doomed = [record.id.key for record in records.values() if is_doomed(record, request)]
        for key in doomed:
            del records[key]
        return len(doomed)

    def _standing(self, id_: DocumentId) -> Record | None:
        records = self._collections.get(id_.collection)
        return None if records is None else records.get(id_.key)

    def _store(self, write: Write, outcome: Outcome) -> None:
        if not outcome.applied:
            return
        id_ = write.record.id
        records = self._collections.get(id_.collection)
        if records is None:
            records = self._collections[id_.collection] = SortedDict()
        if outcome.record is None:
            records.pop(id_.key, None)
        else:
            records[id_.key] = outcome.record


def _sorted(records: Iterable[Record], order: Sort) -> list[Record]:
    """Those from the order's start on, in its order; where they are alike, the first comes last.

    So who relies on more than the coarse order is found out here.
    """
    places = ((coarse_in(one.body, order.path), one) for one in records)
    found = [pair for pair in places if is_from(pair[0], order.start, descending=order.descending)]
    found.sort(key=itemgetter(0), reverse=order.descending)
    runs: list[list[tuple[Coarse, Record]]] = []
    for pair in found:
        if not runs or is_beyond(pair[0], runs[-1][0][0], descending=order.descending):
            runs.append([])
        runs[-1].append(pair)
    return [record for first, *others in runs for _, record in (*others, first)]


class _Options(Struct, forbid_unknown_fields=True):
    """A memory URL has none."""


def from_url(url: StoreURL) -> MemoryAdaptor:
    """A new, empty memory for `memory://`."""
    if url.rest.strip("/"):
        raise ConfigurationError("a memory URL names nothing: write memory://")
    url.options(_Options)
    return MemoryAdaptor()
