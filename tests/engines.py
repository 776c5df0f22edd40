"""A memory store that shows what it is sent, and lets a test decide when and how it answers."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from msgspec.structs import replace

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.codecs import decode_plain
from aiostore.errors import StoreError, UnavailableError, UnsupportedError
from aiostore.filters import Filter, Path, matches, paths_of
from aiostore.protocols import (
    Absent,
    Capabilities,
    Check,
    Condition,
    DocumentId,
    Newer,
    Outcome,
    Record,
    Scan,
    Write,
)
from aiostore.versions import VersionClock

CLOCK = VersionClock()


class GatedMemory(MemoryAdaptor):
    """The real memory adaptor behind a gate.

    Attributes:
        gate: what is sent waits for it; open at first.
        reads: the keys of each call of `read`, as they came.
        writes: likewise of `write`.
        atomics: likewise of `write_atomic`.
        fates: how the next calls end, one word each: "lost" fails before anything is done,
            "unanswered" after it, "refused" with another error before it; "" and all calls beyond
            the last word succeed.
        poison: keys that fail every call that they are part of, and how.
        between: called before each call takes effect.
    """

    def __init__(self, *, max_batch: int = 4, read_lanes: int = 1, write_lanes: int = 1) -> None:
        super().__init__("gated://")
        self._can = replace(
            super().capabilities,
            max_batch=max_batch,
            read_lanes=read_lanes,
            write_lanes=write_lanes,
        )
        self.gate = asyncio.Event()
        self.gate.set()
        self.reads: list[list[str]] = []
        self.writes: list[list[str]] = []
        self.atomics: list[list[str]] = []
        self.fates: list[str] = []
        self.poison: dict[str, type[Exception]] = {}
        self.between: Callable[[], object] = lambda: None
        self.closed = False

    @property
    def capabilities(self) -> Capabilities:
        return self._can

    async def aclose(self) -> None:
        self.closed = True

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        fate = await self._pass(self.reads, [id_.key for id_ in ids])
        records = await super().read(ids, consistent=consistent)
        _lose_answer(fate)
        return records

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        fate = await self._pass(self.writes, [write.record.id.key for write in writes])
        outcomes = await super().write(writes)
        _lose_answer(fate)
        return outcomes

    async def write_atomic(self, items: Sequence[Write | Check], /) -> Sequence[Outcome]:
        ids = [item.id if isinstance(item, Check) else item.record.id for item in items]
        fate = await self._pass(self.atomics, [id_.key for id_ in ids])
        outcomes = await super().write_atomic(items)
        _lose_answer(fate)
        return outcomes

    async def _pass(self, calls: list[list[str]], keys: list[str]) -> str:
        calls.append(keys)
        await self.gate.wait()
        fate = self.fates.pop(0) if self.fates else ""
        self.between()
        if fate == "lost":
            raise UnavailableError("no way through")
        if fate == "refused":
            raise StoreError("the engine refused")
        for key in keys:
            if key in self.poison:
                raise self.poison[key](f"choked on {key}")
        return fate

    def held(self, key: str) -> Record | None:
        """What stands there."""
        return self._standing(doc(key))


def doc(key: str) -> DocumentId:
    """The place of a document."""
    return DocumentId("c", key)


def put(
    key: str,
    body: str | None = "{}",
    *,
    condition: Condition | None = None,
    erase: bool = False,
    expires_at: int | None = None,
) -> Write:
    """A write with a fresh version."""
    record = Record(doc(key), body, CLOCK.next(), 1, 1, expires_at)
    return Write(record, Newer() if condition is None else condition, erase=erase)


def create(key: str) -> Write:
    """A write for where nothing stands."""
    return put(key, condition=Absent())


async def turns(number: int = 10) -> None:
    """Let the event loop turn."""
    for _ in range(number):
        await asyncio.sleep(0)


def _lose_answer(fate: str) -> None:
    if fate == "unanswered":
        raise UnavailableError("the answer was lost")


class TerseMemory(MemoryAdaptor):
    """Memory that tells of an atomic write what it has to, and no more."""

    async def write_atomic(self, items: Sequence[Write | Check], /) -> Sequence[Outcome]:
        return tersely(items, await super().write_atomic(items))


def tersely(items: Sequence[Write | Check], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes of an atomic write, without what an adaptor need not tell."""
    done = all(outcome.applied for outcome in outcomes)
    return [
        replace(outcome, record=_sent(item) if done else None) if outcome.applied else outcome
        for item, outcome in zip(items, outcomes, strict=True)
    ]


def _sent(item: Write | Check) -> Record | None:
    return None if isinstance(item, Check) or item.erase else item.record


class IndexingMemory(MemoryAdaptor):
    """Memory that narrows scans down and says it has indexes, and remembers what it was asked.

    Attributes:
        gate: the making of an index waits for it; open at first.
        begun: the indexes that have been asked for, as they came.
        made: those that were made.
        errors: how the next attempts to make one fail; None for one that succeeds.
        scans: the scans that have been asked for.
        chunks: how many chunks they have yielded.
    """

    def __init__(self, *, indexes: bool = True) -> None:
        super().__init__("indexing://")
        self._can = replace(
            super().capabilities,
            indexes=indexes,
            filters=frozenset({"equal", "compare", "in", "prefix", "and"}),
        )
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun: list[tuple[str, Path]] = []
        self.made: list[tuple[str, Path]] = []
        self.errors: list[Exception | None] = []
        self.scans: list[Scan] = []
        self.chunks = 0

    @property
    def capabilities(self) -> Capabilities:
        return self._can

    async def index(self, collection: str, path: Path, /) -> None:
        self.begun.append((collection, path))
        await self.gate.wait()
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        self.made.append((collection, path))

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        self.scans.append(request)
        async with aclosing(super().scan(request)) as chunks:
            async for chunk in chunks:
                kept = [one for one in chunk if _is_wanted(one, request.where)]
                if kept:
                    self.chunks += 1
                    yield kept


class SparseIndexes(MemoryAdaptor):
    """Memory with indexes that are fixed, serve `==` and `in_` alone, and lag behind.

    What has been written since the last scan by an index is found by the next but one.

    Attributes:
        by_index: how many scans went by an index.
    """

    fixed: tuple[Path, ...] = (("v",), ("in", "v"), ("w",))

    def __init__(self) -> None:
        super().__init__("sparse://")
        self._can = replace(
            super().capabilities,
            orders=False,
            filters=frozenset({"equal", "in"}),
            filters_need_index=True,
            indexes=True,
            indexes_lag=True,
        )
        self._known: dict[str, dict[str, Record]] = {}
        self.by_index = 0

    @property
    def capabilities(self) -> Capabilities:
        return self._can

    async def index(self, collection: str, path: Path, /) -> None:
        if path not in self.fixed:
            raise UnsupportedError("these are fixed", store=self.name, collection=collection)

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        where = request.where
        if where is None or not paths_of(where) <= {*self.fixed}:
            async with aclosing(super().scan(request)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        self.by_index += 1
        known = self._known.get(request.collection, {})
        found = {key for key, record in known.items() if _is_wanted(record, where)}
        self._known[request.collection] = dict(self._collections.get(request.collection, {}))
        async with aclosing(super().scan(request)) as chunks:
            async for chunk in chunks:
                if kept := [record for record in chunk if record.id.key in found]:
                    yield kept


def _is_wanted(record: Record, where: Filter | None) -> bool:
    if where is None:
        return True
    return record.body is not None and matches(where, decode_plain(record.body))
