"""How fast the target writes and reads, measured with documents like those that are to come."""

import asyncio
import secrets
from collections.abc import Sequence

from msgspec import Struct

from aiostore.errors import StoreError, UnavailableError
from aiostore.limits import SYSTEM_COLLECTION
from aiostore.protocols import Absent, Adaptor, DocumentId, Exactly, Record, Scan, Write
from aiostore.versions import VersionClock

_CHUNK = 100


class Rates(Struct, frozen=True):
    """What one worker, one request after the other, gets out of a target.

    Attributes:
        written: documents a second; None if there were none to measure with.
        read: likewise.
        refusal: what the target says to the largest document beyond the portability contract; None
            if it takes it, or there is none.
    """

    written: float | None
    read: float | None
    refusal: str | None = None


async def measured(
    target: Adaptor,
    migration: str,
    bodies: Sequence[str],
    doubtful: str | None,
    clock: VersionClock,
) -> Rates | None:
    """Write records of these bodies into the target's system collection, and remove them again.

    What an earlier run that was killed has left there is removed, too.

    Args:
        target: open.
        migration: whose; a part of the records' keys.
        bodies: of documents that every store takes.
        doubtful: of one that the target may refuse.
        clock: makes versions.

    Returns:
        None if there is nothing to measure with.

    Raises:
        UnavailableError: the target did not answer.
    """
    prefix = f"probe/{migration}/"
    await _remove(target, prefix)
    if not bodies and doubtful is None:
        return None
    here = f"{prefix}{secrets.token_hex(8)}/"
    probes = [_probe(f"{here}{number:06}", body, clock) for number, body in enumerate(bodies)]
    try:
        written, read = await _timed(target, probes) if probes else (None, None)
        refusal = None
        if doubtful is not None:
            try:
                await target.write([_probe(f"{here}doubtful", doubtful, clock)])
            except UnavailableError:
                raise
            except StoreError as error:
                refusal = str(error)
    finally:
        await _remove(target, prefix)
    return Rates(written, read, refusal)


async def _timed(target: Adaptor, probes: Sequence[Write]) -> tuple[float, float]:
    now = asyncio.get_running_loop().time
    step = min(_CHUNK, target.capabilities.max_batch)
    chunks = [probes[start : start + step] for start in range(0, len(probes), step)]
    started = now()
    for chunk in chunks:
        await target.write(chunk)
    between = now()
    for chunk in chunks:
        await target.read([write.record.id for write in chunk])
    return rate(len(probes), between - started), rate(len(probes), now() - between)


def rate(number: float, seconds: float) -> float:
    """So many a second; infinite where it took no time that could be measured."""
    return number / seconds if seconds > 0 else float("inf")


def _probe(key: str, body: str, clock: VersionClock) -> Write:
    now = clock.now()
    id_ = DocumentId(SYSTEM_COLLECTION, key)
    return Write(Record(id_, body, clock.next(), now, now), Absent())


async def _remove(target: Adaptor, prefix: str) -> None:
    step = min(_CHUNK, target.capabilities.max_batch)
    async for records in target.scan(Scan(SYSTEM_COLLECTION, prefix=prefix, chunk=step)):
        for start in range(0, len(records), step):
            some = records[start : start + step]
            await target.write([_removal(record) for record in some])


def _removal(record: Record) -> Write:
    tombstone = Record(record.id, None, record.version, 0, 0)
    return Write(tombstone, Exactly(record.version), erase=True)
