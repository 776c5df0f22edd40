"""The wrapper that a service runs on while it moves: phase `dual-write`.

Stored shape: the current store's, with tombstones for what is deleted; the target's the same.
Consistency: the current store's. Reads use it alone; a write goes to both stores at the same time,
with the same version under the same condition, and the current store's answer is the answer.
Limits: the smaller of the two stores'; no `write_atomic` yet; purging waits for the end.
Cost: a write costs one in each store, at the same time; one that the target was not ready for costs
a second one there.

What keeps both stores equal, after `docs/migration.md`:

* a write that the current store applied and the target refused is issued again as `Newer`;
* a write that the current store refused and the target accepted is settled: what the current store
  holds is put back in its place;
* where an answer is missing the document is a suspect, mended as soon as that is safe.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Self

from aiostore.errors import (
    ConfigurationError,
    MigrationError,
    StoreError,
    UnavailableError,
    UnsupportedError,
)
from aiostore.filters import Path, name_of
from aiostore.limits import check_collection
from aiostore.migration import control, rows
from aiostore.migration.legs import Leg, Mirror
from aiostore.migration.repair import Repair
from aiostore.protocols import (
    Adaptor,
    Capabilities,
    Check,
    DocumentId,
    Mark,
    Newer,
    Outcome,
    Purge,
    Record,
    Scan,
    Write,
)
from aiostore.store import Store
from aiostore.versions import PROCESS_CLOCK

_logger = logging.getLogger("aiostore.migration")


class MigrationAdaptor:
    """Two stores as one: the current one, and a target that is becoming its equal.

    Args:
        current: the store that answers.
        target: the store that is to take over; empty, or this migration's from before.
        name: the migration's, 1 to 64 characters of `a-z A-Z 0-9 _ -`; the same in every process.
        current_deadline: how long the current store may take over a write.
        target_deadline: how long the target may; a write waits no longer for it.
        grace: after this long no request of any process can still land in a store.
        rest: how long to wait before a failed repair or connection is tried again.

    Raises:
        ConfigurationError: both are the same store.
        InvalidKeyError: the name is not allowed.
    """

    def __init__(
        self,
        current: Adaptor,
        target: Adaptor,
        *,
        name: str,
        current_deadline: timedelta = timedelta(seconds=30),
        target_deadline: timedelta = timedelta(seconds=2),
        grace: timedelta = timedelta(seconds=40),
        rest: timedelta = timedelta(seconds=1),
    ) -> None:
        same_place = current.capabilities.persistent and current.name == target.name
        if current is target or same_place:
            raise ConfigurationError(
                "a migration's current and target are two stores, not one", store=current.name
            )
        self.migration = check_collection(name)
        self.current = current
        self.target = target
        self.verified = False
        self.connected = asyncio.Event()
        self._rest = rest
        self._finished = False
        self._current = Leg(current, current_deadline)
        self._mirror = Mirror(target, target_deadline)
        self.repair = Repair(self._current, self._mirror, grace)
        self._jobs: set[asyncio.Task[None]] = set()
        self._upkeep: asyncio.Task[None] | None = None
        ours, theirs = current.capabilities, target.capabilities
        self._capabilities = Capabilities(
            persistent=ours.persistent and theirs.persistent,
            shared=ours.shared and theirs.shared,
            atomic_writes=False,
            max_batch=min(ours.max_batch, theirs.max_batch),
            filters=ours.filters,
            orders=ours.orders,
            filters_need_index=ours.filters_need_index,
            indexes=ours.indexes,
            indexes_lag=ours.indexes_lag,
            read_lanes=ours.read_lanes,
            write_lanes=min(ours.write_lanes, theirs.write_lanes),
        )

    @classmethod
    def of(cls, store: Store) -> Self:
        """The migration that a store runs on.

        Raises:
            MigrationError: it runs on a plain adaptor.
        """
        if not isinstance(store.adaptor, cls):
            raise MigrationError(
                "the store is not configured as a migration: open it with current, target and "
                "migration",
                store=store.name,
            )
        return store.adaptor

    @property
    def name(self) -> str:
        return f"{self.current.name} → {self.target.name}"

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def complete(self) -> bool:
        """Whether both stores are equal for all that is known: verified, and nothing in doubt."""
        return self.verified and not self.repair.suspects and not self.repair.overflowed

    @property
    def target_failures(self) -> int:
        """How many mirrored writes failed or were left out since the start."""
        return self._mirror.failures

    async def open(self) -> None:
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self.current.aclose)
            await self.current.open()
            undo.push_async_callback(self.target.aclose)
            try:
                await self._connect()
            except UnavailableError as error:
                _logger.warning("the target cannot be reached yet: %s", error)
            self._upkeep = asyncio.create_task(self._keep_up(), name="aiostore: migration upkeep")
            undo.pop_all()

    async def aclose(self) -> None:
        await self.drain()
        upkeep, self._upkeep = self._upkeep, None
        if upkeep is not None:
            upkeep.cancel()
            await asyncio.wait([upkeep])
        self.connected.clear()
        self._mirror.connected = False
        async with AsyncExitStack() as both:
            both.push_async_callback(self.current.aclose)
            both.push_async_callback(self.target.aclose)

    def refuse_writes(self) -> None:
        """Let no write through any more."""
        self._finished = True

    async def drain(self) -> None:
        """Wait until every write that is under way now has ended in both stores."""
        if self._jobs:
            await asyncio.wait(set(self._jobs))

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        return await self.current.read(ids, consistent=consistent)

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        if self._finished:
            raise MigrationError(
                f"the migration {self.migration!r} is finished: configure the target's URL alone",
                store=self.name,
            )
        # The legs belong to the store: a caller that is cancelled leaves neither of them behind.
        answer: asyncio.Future[Sequence[Outcome]] = asyncio.get_running_loop().create_future()
        job = asyncio.create_task(self._answer(writes, answer), name="aiostore: dual write")
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return await answer

    async def write_atomic(self, _: Sequence[Write | Check], /) -> Sequence[Outcome]:
        raise UnsupportedError(
            "documents cannot be written atomically together during a migration yet",
            store=self.name,
        )

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        chunks = self.current.scan(request)
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()

    async def index(self, collection: str, path: Path, /) -> None:
        """In the current store, and then in the target, so that it is not slow when it takes over.

        Where the target has no indexes, is away or fails it is left out: whoever asks for the index
        when it is the store makes it then.
        """
        if not self._capabilities.indexes:
            raise UnsupportedError(
                "the current store has no indexes", store=self.name, collection=collection
            )
        await self.current.index(collection, path)
        if not (self.target.capabilities.indexes and self.connected.is_set()):
            return
        try:
            await self.target.index(collection, path)
        except Exception as error:  # noqa: BLE001  # of whatever kind, the target fails nobody
            _logger.warning("the target has no index on %s yet: %r", name_of(path), error)

    async def count(self, collection: str, /, *, alive_at: int | None = None) -> int:
        return await self.current.count(collection, alive_at=alive_at)

    async def collections(self) -> Sequence[str]:
        return await self.current.collections()

    async def purge(self, request: Purge, /) -> int:
        """Put off, but for `everything`, which becomes a tombstone for each document.

        A tombstone that is removed while copies are under way lets one of them resurrect.
        """
        if not request.everything:
            return 0
        removed = 0
        async for chunk in self.scan(Scan(request.collection, chunk=self._capabilities.max_batch)):
            tombstones = [_deletion(record) for record in chunk if record.body is not None]
            if tombstones:
                removed += sum(outcome.applied for outcome in await self.write(tombstones))
        return removed

    async def _answer(
        self, writes: Sequence[Write], answer: "asyncio.Future[Sequence[Outcome]]"
    ) -> None:
        try:
            await self._write(writes, answer)
        finally:
            if not answer.done():  # the event loop is being torn down
                answer.set_exception(
                    UnavailableError("abandoned: it is not known whether the write took effect")
                )

    async def _write(
        self, writes: Sequence[Write], answer: "asyncio.Future[Sequence[Outcome]]"
    ) -> None:
        current, target = await asyncio.gather(
            self._current.write([rows.for_current(write) for write in writes]),
            self._mirror.try_write([rows.for_target(write) for write in writes]),
            return_exceptions=True,
        )
        if isinstance(current, BaseException):
            # Not known whether it took effect, so not settled before the grace. Whoever sends it
            # again sends it with the same version.
            self.repair.suspect((write.record.id for write in writes), landing=True)
            if not answer.done():
                answer.set_exception(current)
            return
        if not answer.done():
            answer.set_result(current)
        if not isinstance(target, BaseException):  # a cancelled loop is all that it could be
            await self._follow_up(writes, current, target)

    async def _follow_up(
        self,
        writes: Sequence[Write],
        current: Sequence[Outcome],
        target: Sequence[Outcome | None],
    ) -> None:
        """Make the target's leg agree with what the current store answered."""
        again: list[Write] = []
        dead: dict[DocumentId, str] = {}
        for write, here, there in zip(writes, current, target, strict=True):
            id_, version = write.record.id, write.record.version
            # A write that is sent again, its answer having been lost, is refused by itself.
            accepted = here.applied or _is_itself(here, write.record)
            if not accepted and isinstance(write.condition, Newer):
                continue  # what stands in the current store is newer, and so wins in the target
            if there is None:
                self.repair.suspect([id_], landing=not accepted)
            elif not accepted and (there.applied or _holds(there, version)):
                dead[id_] = version
            elif accepted and not there.applied and here.record is not None:
                # Though the target may hold it: a repair may be taking the first attempt out.
                again.append(rows.copy(here.record))
        if again:
            await self._issue_again(again)
        if dead:
            await self._settle(dead)

    async def _issue_again(self, copies: Sequence[Write]) -> None:
        outcomes = await self._mirror.try_write(copies)
        unknown = [w.record.id for w, o in zip(copies, outcomes, strict=True) if o is None]
        self.repair.suspect(unknown, landing=False)

    async def _settle(self, dead: dict[DocumentId, str]) -> None:
        try:
            await self.repair.settle(dead)
        except Exception as error:  # noqa: BLE001  # of either store; it must not be forgotten
            _logger.warning("a rejected write will be settled later: %r", error)
            self.repair.suspect(dead, landing=True)

    async def _connect(self) -> None:
        await self.target.open()
        await control.start(self.current, self.target, self.migration)
        self._mirror.connected = True
        self.connected.set()

    async def _keep_up(self) -> None:
        while not self.connected.is_set():
            await asyncio.sleep(self._rest.total_seconds())
            try:
                await self._connect()
            except StoreError as error:
                _logger.warning("the target cannot be used yet: %s", error)
                await self.target.aclose()
        await self.repair.run(self._rest)


def _holds(outcome: Outcome, version: str) -> bool:
    """Whether a write was refused by a record of its own version."""
    return outcome.record is not None and outcome.record.version == version


def _is_itself(outcome: Outcome, record: Record) -> bool:
    """Whether the record that refused a write is that write's own, from an earlier attempt."""
    return (
        outcome.record is not None
        and outcome.record.version == record.version
        and outcome.record.body == record.body
    )


def _deletion(record: Record) -> Write:
    now = PROCESS_CLOCK.now()
    version = PROCESS_CLOCK.next(record.version)
    tombstone = Record(record.id, None, version, now, now)
    return Write(tombstone, Newer(), Mark.LIVE)
