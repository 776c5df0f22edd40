"""Copying what was there before: conditional, resumable, in constant memory.

Each record of the current store is written to the target as `Newer`, so that it never covers what
a live write has put there meanwhile, in any order, any number of times. Tombstones are copied
like documents: without them a copy on its way could resurrect what was deleted.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import timedelta

import msgspec
import stamina

from aiostore.codecs import codec_for
from aiostore.errors import UnavailableError
from aiostore.limits import SYSTEM_COLLECTION
from aiostore.migration import rows
from aiostore.migration.adaptor import MigrationAdaptor
from aiostore.migration.progress import Progress, Report, silent
from aiostore.protocols import Adaptor, DocumentId, Newer, Record, Scan, Write
from aiostore.versions import PROCESS_CLOCK

_PATIENCE = timedelta(minutes=5)


class Checkpoint(msgspec.Struct, frozen=True):
    """How far one collection is: every key up to `after` has been handled, `done` of them."""

    after: str | None = None
    done: int = 0
    copied: int = 0
    finished: bool = False


_CODEC = codec_for(Checkpoint)


def checkpoint_id(migration: str, collection: str) -> DocumentId:
    """Where a migration's backfill of one collection keeps, in the target, how far it is."""
    return DocumentId(SYSTEM_COLLECTION, f"backfill/{migration}/{collection}")


async def backfill(
    migration: MigrationAdaptor,
    *,
    report: Report = silent,
    chunk: int = 500,
    patience: timedelta = _PATIENCE,
) -> int:
    """Copy every collection; goes on where an earlier run of the same migration was interrupted.

    Waits for the target to be connected. A call that fails is repeated with growing pauses.

    Args:
        migration: the open wrapper; the service may be using it.
        report: is called after each chunk.
        chunk: records a step; the stores' own limits lower it.
        patience: how long to repeat a failing call.

    Returns:
        How many records were copied, those of earlier runs included; the others were in the target
        already, written live.

    Raises:
        UnavailableError: a store did not answer for longer than `patience`.
    """
    await migration.connected.wait()
    chunk = min(chunk, migration.capabilities.max_batch)
    patient = stamina.AsyncRetryingCaller(
        attempts=None, timeout=patience, wait_max=timedelta(seconds=10)
    ).on(UnavailableError)
    copied = 0
    for collection in filter(rows.is_users, await migration.current.collections()):
        checkpoint = await patient(_load, migration, collection)
        total = await migration.current.count(collection)
        async with aclosing(_Source(migration.current, collection, chunk)) as source:
            while not checkpoint.finished:
                records = await patient(source.after, checkpoint.after)
                applied = await patient(_copy, migration.target, records) if records else 0
                checkpoint = Checkpoint(
                    after=records[-1].id.key if records else checkpoint.after,
                    done=checkpoint.done + len(records),
                    copied=checkpoint.copied + applied,
                    finished=not records,
                )
                await patient(_save, migration, collection, checkpoint)
                total = max(total, checkpoint.done)
                report(Progress("backfill", collection, checkpoint.done, total))
                await asyncio.sleep(0)  # a store in memory never lets the service in by itself
        copied += checkpoint.copied
    return copied


class _Source:
    """A collection of the current store, chunk by chunk; a failed scan is begun again in place."""

    def __init__(self, adaptor: Adaptor, collection: str, chunk: int) -> None:
        self._adaptor = adaptor
        self._collection = collection
        self._chunk = chunk
        self._chunks: AsyncGenerator[Sequence[Record], None] | None = None

    async def after(self, key: str | None) -> Sequence[Record]:
        """The records that follow `key`, which is the last one of the call before; or none."""
        if self._chunks is None:
            self._chunks = self._adaptor.scan(
                Scan(self._collection, start_after=key, chunk=self._chunk)
            )
        try:
            records = await anext(self._chunks, None)
        except UnavailableError:
            await self.aclose()
            raise
        return [] if records is None else records

    async def aclose(self) -> None:
        chunks, self._chunks = self._chunks, None
        if chunks is not None:
            await chunks.aclose()


async def _copy(target: Adaptor, records: Sequence[Record]) -> int:
    outcomes = await target.write([rows.copy(record) for record in records])
    return sum(outcome.applied for outcome in outcomes)


async def _load(migration: MigrationAdaptor, collection: str) -> Checkpoint:
    [record] = await migration.target.read([checkpoint_id(migration.migration, collection)])
    if record is None or record.body is None:
        return Checkpoint()
    return _CODEC.decode(record.body)


async def _save(migration: MigrationAdaptor, collection: str, checkpoint: Checkpoint) -> None:
    now = PROCESS_CLOCK.now()
    id_ = checkpoint_id(migration.migration, collection)
    body = msgspec.json.encode(checkpoint).decode()
    record = Record(id_, body, PROCESS_CLOCK.next(), now, now)
    await migration.target.write([Write(record, Newer())])
