"""Adaptors that are wrong in one way each, which the kit must find by exactly one check."""

import asyncio
import unicodedata
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from msgspec.structs import replace

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.conditions import decide, is_doomed, place_of
from aiostore.errors import StoreError, TooLargeError, UnsupportedError
from aiostore.filters import Compare, Filter, Not, Path, Text, matches, value_at
from aiostore.orders import Coarse, coarse_at
from aiostore.protocols import (
    Absent,
    Adaptor,
    Capabilities,
    Check,
    DocumentId,
    Exactly,
    Mark,
    Newer,
    Outcome,
    Purge,
    Record,
    Scan,
    Sort,
    Write,
)
from aiostore.testing import Harness
from aiostore.testing.records import version
from aiostore.versions import now_in_microseconds

_DAY = 24 * 60 * 60 * 1_000_000


# Reads and writes.


class GroupsByCollection(MemoryAdaptor):
    """Asks one collection after the other, and answers in that order."""

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        collections = list(dict.fromkeys(id_.collection for id_ in ids))
        grouped = sorted(ids, key=lambda id_: collections.index(id_.collection))
        return await super().read(grouped, consistent=consistent)


class AsksACopyThatAnswersInItsOrder(MemoryAdaptor):
    """Has copies for reads that need not be consistent, and takes what comes as it comes."""

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        return await super().read(ids if consistent else sorted(ids), consistent=consistent)


class RemovesTheLongExpired(MemoryAdaptor):
    """Has an engine that removes what expired a day ago by itself."""

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        long_ago = now_in_microseconds() - _DAY
        return [
            None if record is None or _expired(record, long_ago) else record
            for record in await super().read(ids, consistent=consistent)
        ]


class ForgetsCreation(MemoryAdaptor):
    """Stores its own moment of creation every time."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await super().write([replace(write, keep_created_at=False) for write in writes])


class KnowsNoTimeBefore1970(MemoryAdaptor):
    """Keeps moments in an unsigned column."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await super().write([_with(write, created_at=_unsigned) for write in writes])


# Conditions.


class AbsentIgnoresTombstones(MemoryAdaptor):
    """Takes a tombstone for nothing."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        changed = []
        for write in writes:
            standing = self._standing(write.record.id)
            tombstone = standing is not None and standing.body is None
            takes = tombstone and isinstance(write.condition, Absent)
            changed.append(replace(write, condition=Newer()) if takes else write)
        return await super().write(changed)


class ExpiresTooLate(MemoryAdaptor):
    """Lets a document be replaced at the very moment at which it expires."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        changed = []
        for write in writes:
            condition = write.condition
            if isinstance(condition, Exactly) and condition.unexpired_at is not None:
                condition = replace(condition, unexpired_at=condition.unexpired_at - 1)
            changed.append(replace(write, condition=condition))
        return await super().write(changed)


class NewerTakesEquals(MemoryAdaptor):
    """Overwrites a record of the same version."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        changed = []
        for write in writes:
            standing = self._standing(write.record.id)
            equal = standing is not None and standing.version == write.record.version
            takes = equal and isinstance(write.condition, Newer)
            condition = Exactly(write.record.version) if takes else write.condition
            changed.append(replace(write, condition=condition))
        return await super().write(changed)


class IgnoresMarks(MemoryAdaptor):
    """Never looks at the mark."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await super().write([replace(write, mark=None) for write in writes])


class ScansWithoutMarks(MemoryAdaptor):
    """Yields every record as if no migration had marked it."""

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        async for chunk in super().scan(request):
            yield [replace(record, mark=Mark.LIVE) for record in chunk]


class ErasesWhateverTheMark(MemoryAdaptor):
    """Looks at the mark where it replaces, not where it erases."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await super().write(
            [replace(write, mark=None) if write.erase else write for write in writes]
        )


# Batches.


class StopsAtTheFirstRefusal(MemoryAdaptor):
    """Leaves the rest of a batch unwritten once a condition fails."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for write in writes:
            if outcomes and not outcomes[-1].applied:
                outcomes.append(Outcome(applied=False, record=self._standing(write.record.id)))
            else:
                outcomes += await super().write([write])
        return outcomes


class ForgetsTheEndOfLongBatches(MemoryAdaptor):
    """Takes larger batches than its engine does."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, max_batch=5000)

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        return [*await super().read(ids[:999], consistent=consistent), *[None] * len(ids[999:])]


# Scans.


class SortsAsUTF16(MemoryAdaptor):
    """Has an engine whose texts are UTF-16."""

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        async for chunk in super().scan(request):
            if request.order is not None:
                yield chunk
            else:
                yield sorted(chunk, key=lambda record: record.id.key.encode("utf-16-be"))


class YieldsEmptyChunks(MemoryAdaptor):
    """Ends every scan with a chunk of nothing."""

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        async for chunk in super().scan(request):
            yield chunk
        yield []


class HidesTombstones(MemoryAdaptor):
    """Yields only what a reader would see."""

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        async for chunk in super().scan(request):
            shown = [record for record in chunk if record.body is not None]
            if shown:
                yield shown


class IgnoresSegments(MemoryAdaptor):
    """Yields everything for every segment."""

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        async for chunk in super().scan(replace(request, segment=0, segments=1)):
            yield chunk


class ScansACopyWithoutItsOrder(MemoryAdaptor):
    """Has copies for scans that need not be consistent, and does not sort what they yield."""

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        async for chunk in super().scan(request):
            yield chunk if request.consistent else chunk[::-1]


class StartsBeforeThePrefix(MemoryAdaptor):
    """Begins at the key it is given, though the prefix begins later."""

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        if request.start_after is not None and request.start_after < request.prefix:
            request = replace(request, prefix="")
        async for chunk in super().scan(request):
            yield chunk


class ScansByOffset(MemoryAdaptor):
    """Asks for the next chunk by how many records came before it."""

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        if request.order is not None:
            async for chunk in super().scan(request):
                yield chunk
            return
        offset = 0
        while chunk := (await _everything(super().scan(request)))[offset : offset + request.chunk]:
            yield chunk
            offset += request.chunk


class CountsTheExpiring(MemoryAdaptor):
    """Counts what expires at the very moment."""

    async def count(self, collection: str, /, *, alive_at: int | None = None) -> int:
        return await super().count(collection, alive_at=None if alive_at is None else alive_at - 1)


# Queries and pages.


class _Narrowing(MemoryAdaptor):
    """Leaves out of its scans what does not match, by the kinds of filters that it names."""

    kinds: frozenset[str] = frozenset({"equal", "compare"})

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, filters=self.kinds)

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        async for chunk in super().scan(request):
            kept = [
                record
                for record in chunk
                if request.where is None
                or (record.body is not None and self.keeps(request.where, record))
            ]
            if kept:
                yield kept

    def keeps(self, where: Filter, record: Record) -> bool:
        """Whether a record is yielded."""
        return matches(where, _value(record))


class LeavesOutTheExpired(_Narrowing):
    """Leaves what has expired out of filtered scans, by the system's clock."""

    def keeps(self, where: Filter, record: Record) -> bool:
        return super().keeps(where, record) and not _expired(record, now_in_microseconds())


class OnlyPretendsToNarrow(_Narrowing):
    """Names kinds of filters and heeds none."""

    def keeps(self, where: Filter, record: Record) -> bool:
        return True


class ComparesNumbersAsTexts(_Narrowing):
    """Does not find 1 where 1.0 is asked for."""

    def keeps(self, where: Filter, record: Record) -> bool:
        if isinstance(where, Compare) and type(where.value) is float:
            wanted = msgspec.json.encode(where.value)
            return where.operator != "==" or wanted in (record.body or "").encode()
        return super().keeps(where, record)


class NegatesAsSQL(_Narrowing):
    """Finds neither a filter nor its negation true where something is missing."""

    kinds = frozenset({"equal", "compare", "not"})

    def keeps(self, where: Filter, record: Record) -> bool:
        if isinstance(where, Not) and isinstance(where.part, Compare):
            return where.part.path[0] in _value(record) and super().keeps(where, record)
        return super().keeps(where, record)


class FoldsASCIIAlone(_Narrowing):
    """Knows no other letters than those of ASCII in texts."""

    kinds = frozenset({"text"})

    def keeps(self, where: Filter, record: Record) -> bool:
        assert isinstance(where, Text)
        return where.text.encode().lower() in (record.body or "").encode().lower()


class ResumesByOffset(MemoryAdaptor):
    """Remembers how far down the collection each key was, and goes on from there."""

    def __init__(self) -> None:
        super().__init__()
        self._offsets: dict[DocumentId, int] = {}

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        collection = Scan(request.collection)
        records = await _everything(super().scan(collection))
        self._offsets |= {
            record.id: offset
            for offset, record in enumerate(records)
            if record.id not in self._offsets
        }
        start = DocumentId(request.collection, request.start_after or "")
        if start in self._offsets:
            left = {record.id for record in records[self._offsets[start] + 1 :]}
            async for chunk in super().scan(replace(request, start_after=None)):
                if kept := [record for record in chunk if record.id in left]:
                    yield kept
        else:
            async for chunk in super().scan(request):
                yield chunk


# Orders and indexes.


class TrimsTexts(MemoryAdaptor):
    """Sorts texts as if they had no spaces at their ends."""

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        if request.order is None:
            async for chunk in super().scan(request):
                yield chunk
            return
        path, descending = request.order.path, request.order.descending
        found = await _everything(super().scan(request))
        found.sort(key=lambda one: _trimmed(coarse_at(_value(one), path)), reverse=descending)
        for start in range(0, len(found), request.chunk):
            yield found[start : start + request.chunk]


class StartsByWholeTexts(MemoryAdaptor):
    """Compares the whole of a text to the beginning that an order is to start at."""

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        async for chunk in super().scan(request):
            kept = [one for one in chunk if not self._is_longer(one, request.order)]
            if kept:
                yield kept

    def _is_longer(self, record: Record, order: Sort | None) -> bool:
        if order is None or order.start is None or not order.descending:
            return False
        value = value_at(_value(record), order.path)
        return isinstance(value, str) and order.start.rank == 4 and value > order.start.text


class TakesPrefixesForPatterns(MemoryAdaptor):
    """Looks for a prefix by LIKE in its ordered scans."""

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        if request.order is not None:
            request = replace(request, prefix=request.prefix.partition("%")[0])
        async for chunk in super().scan(request):
            yield chunk


class OrdersByOffset(MemoryAdaptor):
    """Asks for the next chunk of an order by how many records came before it."""

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        if request.order is None:
            async for chunk in super().scan(request):
                yield chunk
            return
        offset = 0
        while found := (await _everything(super().scan(request)))[offset : offset + request.chunk]:
            yield found
            offset += request.chunk


class OrdersHundreds(MemoryAdaptor):
    """Sorts no more than so many."""

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        count = 0
        async for chunk in super().scan(request):
            count += len(chunk)
            if request.order is not None and count > 400:
                return
            yield chunk


class _Indexing(MemoryAdaptor):
    """Says that it has indexes."""

    def __init__(self) -> None:
        super().__init__()
        self.indexed: dict[tuple[str, Path], list[Record]] = {}

    @property
    def capabilities(self) -> Capabilities:
        kinds = frozenset({"equal", "compare", "in", "prefix", "and"})
        return replace(super().capabilities, indexes=True, filters=kinds)

    async def index(self, collection: str, path: Path, /) -> None:
        records = self._collections.get(collection, {})
        self.indexed.setdefault((collection, path), list(records.values()))

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        async for chunk in super().scan(request):
            kept = [
                one
                for one in chunk
                if request.where is None or (one.body and matches(request.where, _value(one)))
            ]
            if kept:
                yield kept


class IndexesOnce(_Indexing):
    """Makes an index that is there already, and fails; but not after a moment."""

    async def index(self, collection: str, path: Path, /) -> None:
        there = (collection, path) in self.indexed
        await super().index(collection, path)
        if there:
            raise StoreError("the index exists already")


class LeavesIndexesAsTheyWere(_Indexing):
    """Finds by an index what stood there when it was made."""

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        then = {
            record.id.key: record
            for (collection, _), records in self.indexed.items()
            for record in records
            if collection == request.collection
        }
        by_index = isinstance(request.where, Compare)
        async for chunk in super().scan(request):
            kept = [one for one in chunk if not by_index or then.get(one.id.key, one) == one]
            if kept:
                yield kept


class PretendsToIndex(MemoryAdaptor):
    """Has no indexes, and makes none without a word."""

    async def index(self, collection: str, path: Path, /) -> None:
        pass


# Expiry and purging.


class NeverShortensALife(MemoryAdaptor):
    """Keeps the later of two moments of expiry."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        changed = []
        for write in writes:
            standing = self._standing(write.record.id)
            record = write.record
            if write.keep_created_at and standing is not None:
                moments = (standing.expires_at, record.expires_at)
                if None not in moments:
                    latest = max(moment for moment in moments if moment is not None)
                    record = replace(record, expires_at=latest)
            changed.append(replace(write, record=record))
        return await super().write(changed)


class PurgesTooMuch(MemoryAdaptor):
    """Takes what expires at the very moment along."""

    async def purge(self, request: Purge, /) -> int:
        before = request.expired_before
        later = None if before is None else before + 1
        return await super().purge(replace(request, expired_before=later))


class PurgesWhatItSawBefore(MemoryAdaptor):
    """Looks for what is to go, and removes it a moment later, whatever stands there then."""

    async def purge(self, request: Purge, /) -> int:
        records = self._collections.get(request.collection, {})
        doomed = [record.id.key for record in records.values() if is_doomed(record, request)]
        await asyncio.sleep(0)
        for key in doomed:
            records.pop(key, None)
        return len(doomed)


# Transactions.


class WritesBeforeItKnows(MemoryAdaptor):
    """Stores all but what it refuses, if the refusal is for a larger version."""

    async def write_atomic(self, items: Sequence[Write | Check], /) -> Sequence[Outcome]:
        outcomes = await super().write_atomic(items)
        for item, outcome in zip(items, outcomes, strict=True):
            if not isinstance(item, Write) or item.mark is not None:
                continue
            if not outcome.applied and item.condition == Newer():
                await self.write([other for other in items if isinstance(other, Write)])
        return outcomes


class ChecksNoMarks(MemoryAdaptor):
    """Looks at the mark of what it writes, not of what it checks."""

    async def write_atomic(self, items: Sequence[Write | Check], /) -> Sequence[Outcome]:
        return await super().write_atomic(
            [replace(item, mark=None) if isinstance(item, Check) else item for item in items]
        )


class WritesTogetherWhateverTheMark(MemoryAdaptor):
    """Looks at the mark of what it checks, not of what it writes."""

    async def write_atomic(self, items: Sequence[Write | Check], /) -> Sequence[Outcome]:
        return await super().write_atomic(
            [replace(item, mark=None) if isinstance(item, Write) else item for item in items]
        )


class ChecksAfterwards(MemoryAdaptor):
    """Takes what it has just read for what stands there when it writes."""

    async def write_atomic(self, items: Sequence[Write | Check], /) -> Sequence[Outcome]:
        outcomes = [decide(item, self._standing(place_of(item))) for item in items]
        if any(isinstance(item, Check) for item in items):
            await asyncio.sleep(0)
        if all(outcome.applied for outcome in outcomes):
            for item, outcome in zip(items, outcomes, strict=True):
                if isinstance(item, Write):
                    self._store(item, outcome)
        return outcomes


# Keys and values.


class NormalizesKeys(MemoryAdaptor):
    """Has an engine that takes a letter with its accent for one character."""

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        return await super().read([_normalized(id_) for id_ in ids], consistent=consistent)

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await super().write([_with(write, id=_normalized) for write in writes])


class FoldsCollections(MemoryAdaptor):
    """Takes a collection for another one whose name differs in its capitals alone."""

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        return await super().read([_folded(id_) for id_ in ids], consistent=consistent)

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await super().write([_with(write, id=_folded) for write in writes])

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        async for chunk in super().scan(replace(request, collection=request.collection.lower())):
            yield chunk


class RoundsNumbers(MemoryAdaptor):
    """Stores 1.0 as 1."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await super().write([_with(write, body=_rounded) for write in writes])


class TakesNoLargeBodies(MemoryAdaptor):
    """Has an engine that stores less than the contract allows."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        if any(len(write.record.body or "") > 300 * 1024 for write in writes):
            raise TooLargeError("300 KiB are the most", store=self.name)
        return await super().write(writes)


# The adaptor's own life, and what it says of itself.


class ForgetsEverything(MemoryAdaptor):
    """Says that it is persistent, and is empty after each opening."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, persistent=True, shared=True)

    async def open(self) -> None:
        self._collections.clear()


class ClosesOnce(MemoryAdaptor):
    """Is at a loss when it is closed a second time."""

    def __init__(self) -> None:
        super().__init__()
        self._open = False

    async def open(self) -> None:
        self._open = True

    async def aclose(self) -> None:
        if not self._open:
            raise RuntimeError("it is not open")
        self._open = False


class LeavesATask(MemoryAdaptor):
    """Goes on with something after it was closed."""

    async def open(self) -> None:
        self._task = asyncio.get_running_loop().create_task(asyncio.sleep(60), name="left over")


class TellsItsNameLate(MemoryAdaptor):
    """Knows its name once it is open."""

    async def open(self) -> None:
        self._name = "memory://now"

    async def aclose(self) -> None:
        self._name = "memory://"


class CountsWhatItHasNot(MemoryAdaptor):
    """Tells how much it can do at once of what it cannot do at all."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, atomic_writes=False)

    async def write_atomic(self, _: Sequence[Write | Check], /) -> Sequence[Outcome]:
        raise UnsupportedError("there are no atomic writes", store=self.name)


class CanMoreThanItSays(MemoryAdaptor):
    """Writes atomically, and says that it does not."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, atomic_writes=False, max_atomic=0)


# Concurrency, cancellation and errors.


class LastOfRivalsWins(MemoryAdaptor):
    """Decides a condition at one moment and stores at another."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        if not all(write.condition == Exactly(version(1)) for write in writes):
            return await super().write(writes)
        outcomes = [decide(write, self._standing(write.record.id)) for write in writes]
        await asyncio.sleep(0)
        for write, outcome in zip(writes, outcomes, strict=True):
            self._store(write, outcome)
        return outcomes


class SwallowsCancellation(MemoryAdaptor):
    """Goes on counting, whoever asks it to stop."""

    async def count(self, collection: str, /, *, alive_at: int | None = None) -> int:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            return 0
        return await super().count(collection, alive_at=alive_at)


class LeavesAPartWhenCancelled(MemoryAdaptor):
    """Has written the beginning of a batch's bodies when it is cancelled."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if len(writes) > 1:
                await super().write([_with(write, body=_beginning) for write in writes])
            raise
        return await super().write(writes)


class TellsTheEnginesOwnErrors(MemoryAdaptor):
    """Lets through what its engine raises; see `harness_of`."""

    def __init__(self) -> None:
        super().__init__()
        self.reachable = True

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        if not self.reachable:
            raise ConnectionResetError
        return await super().write(writes)


class OpensAnything(MemoryAdaptor):
    """Finds out with the first operation that its place is none; see `harness_of`."""


BROKEN: dict[type[MemoryAdaptor], str] = {
    GroupsByCollection: "reads-order_of_ids",
    AsksACopyThatAnswersInItsOrder: "reads-older_states",
    RemovesTheLongExpired: "reads-the_dead",
    ForgetsCreation: "writes-keeps_created_at",
    KnowsNoTimeBefore1970: "writes-verbatim",
    AbsentIgnoresTombstones: "conditions-absent",
    ExpiresTooLate: "conditions-exactly_unexpired",
    NewerTakesEquals: "conditions-newer",
    IgnoresMarks: "conditions-marks",
    ErasesWhateverTheMark: "conditions-marks",
    ScansWithoutMarks: "conditions-plain_stores",
    StopsAtTheFirstRefusal: "batches-neighbours",
    ForgetsTheEndOfLongBatches: "batches-largest",
    SortsAsUTF16: "scans-order",
    YieldsEmptyChunks: "scans-chunks",
    HidesTombstones: "scans-holds_everything",
    IgnoresSegments: "scans-segments",
    ScansACopyWithoutItsOrder: "scans-older_states",
    StartsBeforeThePrefix: "scans-prefix_and_start",
    ScansByOffset: "scans-writes_meanwhile",
    CountsTheExpiring: "scans-count",
    LeavesOutTheExpired: "queries-scans_keep_what_matches",
    OnlyPretendsToNarrow: "queries-scans_narrow_down",
    ComparesNumbersAsTexts: "queries-find_answers",
    NegatesAsSQL: "queries-find_negated",
    FoldsASCIIAlone: "queries-find_text",
    ResumesByOffset: "pages-inserts_and_deletes",
    NeverShortensALife: "expiry-update",
    PurgesTooMuch: "purging-expired",
    PurgesWhatItSawBefore: "purging-spares_fresh_writes",
    WritesBeforeItKnows: "transactions-none",
    ChecksNoMarks: "transactions-marks",
    WritesTogetherWhateverTheMark: "transactions-marks",
    ChecksAfterwards: "transactions-one_of_rivals",
    TrimsTexts: "orders-coarse",
    StartsByWholeTexts: "orders-start",
    TakesPrefixesForPatterns: "orders-prefix_and_where",
    OrdersByOffset: "orders-writes_meanwhile",
    OrdersHundreds: "orders-first",
    IndexesOnce: "indexes-made",
    LeavesIndexesAsTheyWere: "indexes-answers",
    PretendsToIndex: "indexes-lacking",
    NormalizesKeys: "keys-hostile_keys",
    FoldsCollections: "keys-collections_are_apart",
    RoundsNumbers: "values-round_trip",
    TakesNoLargeBodies: "values-largest",
    ForgetsEverything: "lifecycle-outlives_the_adaptor",
    ClosesOnce: "lifecycle-closes_twice",
    LeavesATask: "lifecycle-leaves_nothing_behind",
    TellsItsNameLate: "capabilities-constant",
    CountsWhatItHasNot: "capabilities-consistent",
    CanMoreThanItSays: "capabilities-no_atomic_writes",
    LastOfRivalsWins: "concurrency-one_replaces",
    SwallowsCancellation: "cancellation-passes",
    LeavesAPartWhenCancelled: "cancellation-write",
    TellsTheEnginesOwnErrors: "errors-outage_is_told",
    OpensAnything: "errors-unusable_place",
}
"""Each wrong adaptor, and the check that must find it."""


def harness_of(kind: type[MemoryAdaptor]) -> Harness:
    """A harness over a wrong adaptor, with the hooks without which its mistake does not show."""
    adaptor = kind()
    if isinstance(adaptor, OpensAnything):
        return Harness(lambda: adaptor, unusable=kind)
    if not isinstance(adaptor, TellsTheEnginesOwnErrors):
        return Harness(lambda: adaptor)
    breaking = adaptor

    @asynccontextmanager
    async def outage() -> AsyncIterator[Adaptor]:
        breaking.reachable = False
        try:
            yield breaking
        finally:
            breaking.reachable = True

    return Harness(lambda: breaking, outage=outage)


async def _everything(scan: AsyncGenerator[Sequence[Record], None]) -> list[Record]:
    return [record async for chunk in scan for record in chunk]


def _with(write: Write, **changes: Callable[[Any], Any]) -> Write:
    """The same write with some fields of its record changed."""
    changed = {name: change(getattr(write.record, name)) for name, change in changes.items()}
    return replace(write, record=replace(write.record, **changed))


def _trimmed(place: Coarse) -> Coarse:
    return place._replace(text=place.text.rstrip(" "))


def _value(record: Record) -> dict[str, Any]:
    return msgspec.json.decode(record.body or "{}", type=dict[str, Any])


def _expired(record: Record, moment: int) -> bool:
    return record.expires_at is not None and record.expires_at <= moment


def _unsigned(moment: int) -> int:
    return max(moment, 0)


def _normalized(id_: DocumentId) -> DocumentId:
    return DocumentId(id_.collection, unicodedata.normalize("NFC", id_.key))


def _folded(id_: DocumentId) -> DocumentId:
    return DocumentId(id_.collection.lower(), id_.key)


def _rounded(body: str | None) -> str | None:
    return None if body is None else body.replace("1.0,", "1,")


def _beginning(body: str | None) -> str | None:
    return None if body is None else body[: len(body) // 2]
