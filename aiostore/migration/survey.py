"""One walk through a collection of the current store: what is there, and what may not fit."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from msgspec import Struct

from aiostore.codecs import decode_plain
from aiostore.conditions import is_alive
from aiostore.errors import StoreError
from aiostore.limits import PORTABLE, check_body, check_collection, check_key, check_value
from aiostore.migration import rows
from aiostore.protocols import Adaptor, Record, Scan

_CHUNK = 200
_MOST_SAMPLES = 200
_MOST_SAMPLED_BYTES = 4 * 2**20


class Window(Struct, frozen=True):
    """When a document must have been mirrored, if whoever wrote it did so.

    Attributes:
        since: microseconds since 1970 UTC; the migration has been running from then on.
        until: likewise; what was written later may be on its way.
    """

    since: int
    until: int


class Survey(Struct, kw_only=True):
    """What was found in one collection; of the records that were looked at, if not said otherwise.

    Attributes:
        collection: its name.
        records: how many it holds, as the store counts or estimates them: documents, tombstones and
            what has expired.
        looked_at: how many records were read.
        whole: whether these were all of them, and not only the first ones by key.
        bytes: of their keys and bodies.
        largest: bytes of the largest document, its key included.
        largest_key: its key.
        tombstones: of deleted documents.
        expired: documents that have expired and have not been removed.
        unportable: documents and keys beyond the portability contract.
        complaint: about the first of these.
        unmoved: records whose authority is the current store.
        unmirrored: how many were written during the migration, and not to the target.
        unmirrored_last: when the last of these was written; microseconds since 1970 UTC.
        unmirrored_key: its key.
        read_seconds: how long reading took.
    """

    collection: str
    records: int = 0
    looked_at: int = 0
    whole: bool = True
    bytes: int = 0
    largest: int = 0
    largest_key: str | None = None
    tombstones: int = 0
    expired: int = 0
    unportable: int = 0
    complaint: str | None = None
    unmoved: int = 0
    unmirrored: int = 0
    unmirrored_last: int | None = None
    unmirrored_key: str | None = None
    read_seconds: float = 0.0

    @property
    def all_bytes(self) -> int:
        """Of all records; extrapolated where not all were read."""
        if self.whole or not self.looked_at:
            return self.bytes
        return round(self.bytes / self.looked_at * self.records)


class Samples:
    """Some bodies as they are, to measure with; a few megabytes at most.

    Attributes:
        bodies: the first ones that were met.
        largest: the largest that is beyond the portability contract, if any.
    """

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.largest: str | None = None
        self._bytes = 0

    def take(self, body: str) -> None:
        """Keep it, while there is room."""
        if len(self.bodies) < _MOST_SAMPLES and self._bytes + len(body) <= _MOST_SAMPLED_BYTES:
            self.bodies.append(body)
            self._bytes += len(body)

    def take_unportable(self, body: str) -> None:
        """Keep it if it is the largest so far."""
        if self.largest is None or len(body) > len(self.largest):
            self.largest = body


async def survey(
    current: Adaptor,
    target: Adaptor,
    collection: str,
    *,
    sample: int | None,
    window: Window | None,
    now: int,
    samples: Samples,
) -> Survey:
    """Walk through one collection, in constant memory.

    Args:
        current: what is walked through.
        target: is read where a document ought to have been mirrored.
        collection: which one.
        sample: how many records to read, the first ones by key; None for all.
        window: when documents must have been mirrored; None if that cannot be told.
        now: microseconds since 1970 UTC.
        samples: gets some of the bodies.

    Raises:
        UnavailableError: a store did not answer.
    """
    found = Survey(collection=collection, records=await current.count(collection))
    _check_name(found)
    async with aclosing(_chunks(current, collection, sample, found)) as chunks:
        async for records in chunks:
            for record in records:
                _look(record, found, now, samples)
            if window is not None:
                await _look_for_unmirrored(target, records, found, window, now)
            await asyncio.sleep(0)  # a store in memory never lets the service in by itself
    found.records = found.looked_at if found.whole else max(found.records, found.looked_at)
    return found


async def _chunks(
    current: Adaptor, collection: str, sample: int | None, found: Survey
) -> AsyncGenerator[Sequence[Record], None]:
    """The records to look at; how long they took is noted."""
    clock = asyncio.get_running_loop().time
    chunk = min(_CHUNK, current.capabilities.max_batch)
    async with aclosing(current.scan(Scan(collection, chunk=chunk))) as chunks:
        while True:
            started = clock()
            records = await anext(chunks, None)
            found.read_seconds += clock() - started
            if records is None:
                return
            if sample is not None and found.looked_at + len(records) > sample:
                found.whole = False
                yield records[: sample - found.looked_at]
                return
            yield records


def _look(record: Record, found: Survey, now: int, samples: Samples) -> None:
    found.looked_at += 1
    found.unmoved += not rows.is_moved(record)
    size = len(record.id.key.encode()) + len((record.body or "").encode())
    found.bytes += size
    if record.body is None:
        found.tombstones += 1
        return
    found.expired += not is_alive(record, now)
    if size > found.largest:
        found.largest, found.largest_key = size, record.id.key
    try:
        check_key(record.id.key, PORTABLE, record.id.collection)
        check_body(record.body, PORTABLE)
        check_value(decode_plain(record.body), PORTABLE)
    except StoreError as error:
        samples.take_unportable(record.body)
        found.unportable += 1
        if found.complaint is None:
            found.complaint = f"{record.id.key!r:.80}: {error}"
    else:
        samples.take(record.body)


def _check_name(found: Survey) -> None:
    try:
        check_collection(found.collection)
    except StoreError as error:
        found.unportable += 1
        found.complaint = str(error)


async def _look_for_unmirrored(
    target: Adaptor, records: Sequence[Record], found: Survey, window: Window, now: int
) -> None:
    due = [
        record
        for record in records
        if window.since < record.updated_at <= window.until
        and not rows.is_moved(record)
        and (record.body is None or is_alive(record, now))
    ]
    step = target.capabilities.max_batch
    for start in range(0, len(due), step):
        some = due[start : start + step]
        standing = await target.read([record.id for record in some])
        for here, there in zip(some, standing, strict=True):
            if there is None or there.version < here.version:
                found.unmirrored += 1
                if found.unmirrored_last is None or here.updated_at > found.unmirrored_last:
                    found.unmirrored_last = here.updated_at
                    found.unmirrored_key = here.id.key
