"""The way from the verbs down to the adaptor.

One `Channel` a store: it knows whether the store is open and on which event loop, gives every error
the store's name, and closes when the last operation has ended. In between are the batches
(`aiostore.batching`) and the repetitions (`aiostore.sending`); beside them, in the background, the
indexes (`aiostore.indexing`).
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from enum import Enum, auto
from functools import partial

import msgspec

from aiostore.batching import Batcher
from aiostore.codecs import codec_for
from aiostore.errors import ClosedError, CorruptRecordError, MigrationError, StoreError
from aiostore.filters import Path
from aiostore.indexing import Indexer
from aiostore.limits import SYSTEM_COLLECTION
from aiostore.protocols import (
    Adaptor,
    Check,
    DocumentId,
    Mark,
    Outcome,
    Purge,
    Record,
    Scan,
    Write,
)
from aiostore.sending import USUAL_RETRIES, Retries, Sender

CONTROL_ID = DocumentId(SYSTEM_COLLECTION, "migration")
"""Where a migration keeps, in each of its stores, what it has made of it."""


class _Claim(msgspec.Struct, frozen=True):
    """The part of it that a plain store reads."""

    refusal: str | None = None


_CLAIM = codec_for(_Claim)


class _State(Enum):
    NEW = auto()
    OPENING = auto()
    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


class _UnderWay:
    """The operations that are under way: `with` it one is, and its errors get the store's name.

    Args:
        check_open: raises if nothing may begin.
        name: gives an error the store's name.
    """

    # Not a generator's, for every operation goes through it.

    def __init__(self, check_open: Callable[[], None], name: Callable[[StoreError], None]) -> None:
        self._check_open = check_open
        self._name = name
        self._number = 0
        self._idle = asyncio.Event()
        self._awaited = False

    def __enter__(self) -> None:
        self._check_open()
        self._number += 1

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, StoreError):
            self._name(error)
        self._number -= 1
        if self._awaited and not self._number:
            self._idle.set()

    async def end(self) -> None:
        """Wait until none is; nothing begins any more."""
        self._awaited = True
        if self._number:
            await self._idle.wait()


class Channel:
    """Operations on an adaptor, while the store is open and on its event loop.

    Every method raises `ClosedError` if the store is not open, and `StoreError` from another loop.
    """

    def __init__(self, adaptor: Adaptor, retries: Retries = USUAL_RETRIES) -> None:
        self.adaptor = adaptor
        can = adaptor.capabilities
        self._sender = Sender(adaptor, retries)
        self._reads: Batcher[DocumentId, Record | None] = Batcher(
            self._sender.read, lanes=can.read_lanes, max_batch=can.max_batch, in_order=False
        )
        # Apart from those, which must not be answered with an older state.
        self._older_reads: Batcher[DocumentId, Record | None] = Batcher(
            self._sender.read_older, lanes=can.read_lanes, max_batch=can.max_batch, in_order=False
        )
        self._writes: Batcher[Write, Outcome] = Batcher(
            self._sender.write, lanes=can.write_lanes, max_batch=can.max_batch, in_order=True
        )
        self._indexer = Indexer(self._index)
        self._state = _State.NEW
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Task[None] | None = None
        self._under_way = _UnderWay(self.check_open, self._name)

    def check_open(self) -> None:
        """Nothing, if the store is open and this is its event loop."""
        if self._state is not _State.OPEN:
            raise ClosedError(_REASONS[self._state], store=self.adaptor.name)
        self._check_loop()

    async def open(self) -> None:
        """Open the adaptor; once."""
        if self._state is not _State.NEW:
            raise ClosedError(
                "a store is opened once: make another with open_store", store=self.adaptor.name
            )
        self._loop = asyncio.get_running_loop()
        self._state = _State.OPENING
        try:
            with self._named():
                await self.adaptor.open()
        except BaseException:
            self._state = _State.CLOSED
            await asyncio.shield(asyncio.ensure_future(self.adaptor.aclose()))
            raise
        self._state = _State.OPEN

    async def aclose(self) -> None:
        """Refuse what comes, let what is under way end, close the adaptor. Idempotent.

        An index that nobody waits for is not made to the end.
        """
        if self._state is _State.NEW:
            self._state = _State.CLOSED
        if self._state is _State.OPENING:
            raise ClosedError("the store is being opened", store=self.adaptor.name)
        if self._state is _State.OPEN:
            self._check_loop()
            self._state = _State.CLOSING
            self._closing = asyncio.create_task(self._close(), name="aiostore: close")
        if self._closing is not None:
            self._check_loop()
            await asyncio.shield(self._closing)

    async def read_one(self, id_: DocumentId, *, consistent: bool = True) -> Record | None:
        """The record at `id_`; see `Adaptor.read`."""
        reads = self._reads if consistent else self._older_reads
        ids = [id_]
        with self._under_way:
            try:
                [record] = await reads.run(ids, ids)
                if isinstance(record, Exception):
                    raise record
            except StoreError as error:
                _locate(error, id_)
                raise
            _check_mark(record)
        return record

    async def read(
        self, ids: Sequence[DocumentId], *, consistent: bool = True
    ) -> list[Record | None]:
        """The records at `ids`, which may be any number of distinct ones; see `Adaptor.read`."""
        records: list[Record | None] = []
        reads = self._reads if consistent else self._older_reads
        with self._under_way:
            for record in await reads.run(ids, ids):
                if isinstance(record, Exception):
                    raise record
                _check_mark(record)
                records.append(record)
        return records

    async def write(self, write: Write) -> Outcome:
        """The outcome of one write."""
        id_ = write.record.id
        with self._under_way:
            try:
                [outcome] = await self._writes.run([id_], [write])
                if isinstance(outcome, Exception):
                    raise outcome
            except StoreError as error:
                _locate(error, id_)
                raise
            if not outcome.applied:
                _check_mark(outcome.record)
        return outcome

    async def write_many(self, writes: Sequence[Write]) -> list[Outcome | StoreError]:
        """The outcome of each of `writes`, any number of them on distinct ids, or its error."""
        answers: list[Outcome | StoreError] = []
        with self._under_way:
            ids = [write.record.id for write in writes]
            for answer in await self._writes.run(ids, writes):
                if isinstance(answer, StoreError):
                    self._name(answer)
                elif isinstance(answer, Exception):
                    raise answer
                elif not answer.applied and (error := _error_of_mark(answer.record)) is not None:
                    self._name(error)
                    answer = error  # noqa: PLW2901  # what the refusal means
                answers.append(answer)
        return answers

    async def write_atomic(self, items: Sequence[Write | Check]) -> list[Outcome]:
        """The outcomes of an atomic write, at most `max_atomic` items on distinct ids."""
        with self._under_way:
            outcomes = await self._sender.write_atomic(items)
            for outcome in outcomes:
                if not outcome.applied:  # of the others nobody knows what they tell
                    _check_mark(outcome.record)
        return outcomes

    async def scan(self, request: Scan) -> AsyncGenerator[Sequence[Record], None]:
        """The adaptor's chunks; the store may be closed between two of them."""
        async with aclosing(self._sender.scan(request)) as chunks:
            while True:
                with self._under_way:
                    chunk = await anext(chunks, None)
                    for record in chunk or ():
                        _check_mark(record)
                if chunk is None:
                    return
                yield chunk

    async def collections(self) -> Sequence[str]:
        """The adaptor's collections."""
        with self._under_way:
            return await self._sender.collections()

    async def count(self, collection: str, alive_at: int) -> int:
        """How many documents a collection holds."""
        with self._under_way:
            return await self._sender.count(collection, alive_at)

    async def purge(self, request: Purge) -> int:
        """How many records were removed; see `Sender.purge`.

        Not before the claim has been looked at again: what a migration keeps is no rubbish.
        """
        await self.check_claim()
        with self._under_way:
            return await self._sender.purge(request)

    async def check_claim(self) -> None:
        """Nothing, unless a migration keeps plain stores out of this one: a `MigrationError`."""
        with self._under_way:
            # Not in a batch: a wrapper answers this read by itself.
            [record] = await self._sender.patiently(partial(self.adaptor.read, [CONTROL_ID]))
            if record is None or record.body is None:
                return
            try:
                refusal = _CLAIM.decode(record.body).refusal
            except CorruptRecordError as error:
                error.collection, error.key = CONTROL_ID
                raise
            if refusal is not None:
                raise MigrationError(refusal)

    def begin_indexes(self, collection: str, paths: Sequence[Path]) -> None:
        """Have indexes made in the background, where there are any; see `Indexer.begin`."""
        self.check_open()
        if self.adaptor.capabilities.indexes:
            self._indexer.begin(collection, paths)

    async def ensure_indexes(self, collection: str, paths: Sequence[Path]) -> None:
        """Wait until indexes are made, where there are any."""
        with self._under_way:
            if self.adaptor.capabilities.indexes:
                await self._indexer.ensure(collection, paths)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            self._name(error)
            raise

    def _name(self, error: StoreError) -> None:
        if error.store is None:
            error.store = self.adaptor.name

    def _check_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise StoreError(
                "the store belongs to the event loop that opened it and was used from another: "
                "open one store for each loop",
                store=self.adaptor.name,
            )

    async def _index(self, collection: str, path: Path) -> None:
        with self._named():
            await self._sender.index(collection, path)

    async def _close(self) -> None:
        await self._under_way.end()
        await self._indexer.aclose()
        await self._reads.drain()
        await self._older_reads.drain()
        await self._writes.drain()
        try:
            await self.adaptor.aclose()
        finally:
            self._state = _State.CLOSED


_REASONS = {
    _State.NEW: "the store is not open: use `async with open_store(...) as store`",
    _State.OPENING: "the store is still being opened: await open() first",
    _State.CLOSING: "the store is being closed",
    _State.CLOSED: "the store is closed: make another with open_store",
}


def _locate(error: StoreError, id_: DocumentId) -> None:
    """Tell an error about which document it is, as far as it does not know."""
    error.collection = error.collection or id_.collection
    error.key = error.key or id_.key


def _check_mark(record: Record | None) -> None:
    error = _error_of_mark(record)
    if error is not None:
        raise error


def _error_of_mark(record: Record | None) -> MigrationError | None:
    """What it means to meet a record that a plain store has not written."""
    if record is None or record.mark is Mark.LIVE:
        return None
    return MigrationError(
        f"a migration is moving this document, and has marked it {record.mark.value!r}; this "
        "process is not configured for that: give it the migration's current, target and name, as "
        "all others have, or, if the migration is over, the URL of the store that it has ended in",
        collection=record.id.collection,
        key=record.id.key,
    )
