"""Adaptors that are wrong in one way each, which the kit must find."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from msgspec.structs import replace

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.conditions import decide
from aiostore.protocols import (
    Absent,
    Capabilities,
    Check,
    DocumentId,
    Exactly,
    Newer,
    Outcome,
    Purge,
    Record,
    Scan,
    Write,
)


class AbsentIgnoresTombstones(MemoryAdaptor):
    """Takes a tombstone for nothing."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        changed = []
        for write in writes:
            [standing] = await self.read([write.record.id])
            tombstone = standing is not None and standing.body is None
            takes = tombstone and isinstance(write.condition, Absent)
            changed.append(replace(write, condition=Newer()) if takes else write)
        return await super().write(changed)


class ExactlyIgnoresExpiry(MemoryAdaptor):
    """Lets an expired document be replaced."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await super().write(
            [
                replace(write, condition=Exactly(write.condition.version))
                if isinstance(write.condition, Exactly)
                else write
                for write in writes
            ]
        )


class NewerIsBlind(MemoryAdaptor):
    """Overwrites whatever stands there."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        for write in writes:
            if isinstance(write.condition, Newer) and write.mark is None:
                self._collections.get(write.record.id.collection, {}).pop(write.record.id.key, None)
        return await super().write(writes)


class IgnoresMarks(MemoryAdaptor):
    """Never looks at the mark."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await super().write([replace(write, mark=None) for write in writes])


class ForgetsCreation(MemoryAdaptor):
    """Stores its own moment of creation every time."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await super().write([replace(write, keep_created_at=False) for write in writes])


class StopsAtTheFirstRefusal(MemoryAdaptor):
    """Leaves the rest of a batch unwritten once a condition fails."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for write in writes:
            if outcomes and not outcomes[-1].applied:
                [standing] = await self.read([write.record.id])
                outcomes.append(Outcome(applied=False, record=standing))
            else:
                outcomes += await super().write([write])
        return outcomes


class FoldsCase(MemoryAdaptor):
    """Takes `A` for `a`."""

    async def read(self, ids: Sequence[DocumentId], /) -> Sequence[Record | None]:
        return await super().read([DocumentId(id_.collection, id_.key.lower()) for id_ in ids])

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await super().write(
            [
                replace(write, record=replace(write.record, id=_lower(write.record.id)))
                for write in writes
            ]
        )


class ScansBackwards(MemoryAdaptor):
    """Yields each chunk in the opposite order."""

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        async for chunk in super().scan(request):
            yield chunk[::-1]


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


class PurgesTooMuch(MemoryAdaptor):
    """Takes what expires at the very moment along."""

    async def purge(self, request: Purge, /) -> int:
        before = request.expired_before
        later = None if before is None else before + 1
        return await super().purge(replace(request, expired_before=later))


class AppliesHalfAtomically(MemoryAdaptor):
    """Writes one by one and calls it atomic."""

    async def write_atomic(self, items: Sequence[Write | Check], /) -> Sequence[Outcome]:
        return await self.write([item for item in items if isinstance(item, Write)])


class RoundsNumbers(MemoryAdaptor):
    """Stores 1.0 as 1."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await super().write(
            [replace(write, record=_rounded(write.record)) for write in writes]
        )


class ForgetsEverything(MemoryAdaptor):
    """Says that it is persistent, and is empty after each opening."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, persistent=True)

    async def open(self) -> None:
        self._collections.clear()


class LastOfRivalsWins(MemoryAdaptor):
    """Decides the condition at one moment and stores at another."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        outcomes = [decide(write, (await self.read([write.record.id]))[0]) for write in writes]
        await asyncio.sleep(0)
        for write, outcome in zip(writes, outcomes, strict=True):
            self._store(write, outcome)
        return outcomes


BROKEN: dict[type[MemoryAdaptor], str] = {
    AbsentIgnoresTombstones: "conditions-absent",
    ExactlyIgnoresExpiry: "conditions-exactly_unexpired",
    NewerIsBlind: "conditions-newer",
    IgnoresMarks: "conditions-marks",
    ForgetsCreation: "conditions-keeps_created_at",
    StopsAtTheFirstRefusal: "records-neighbours",
    FoldsCase: "keys-hostile_keys",
    ScansBackwards: "scans-order",
    HidesTombstones: "scans-holds_everything",
    IgnoresSegments: "scans-segments",
    PurgesTooMuch: "purging-expired",
    AppliesHalfAtomically: "atomic-none",
    RoundsNumbers: "values-round_trip",
    ForgetsEverything: "lifecycle-outlives_the_adaptor",
    LastOfRivalsWins: "concurrency-one_replaces",
}
"""Each wrong adaptor, and the check that must find it."""


def _lower(id_: DocumentId) -> DocumentId:
    return DocumentId(id_.collection, id_.key.lower())


def _rounded(record: Record) -> Record:
    body = None if record.body is None else record.body.replace('1.0,"', '1,"')
    return replace(record, body=body)
