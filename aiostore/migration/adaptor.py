"""The wrapper that a service runs on while it moves.

Stored shape: the two stores', with tombstones for what is deleted, and marks (`rows`) in which each
document's records tell which store is its authority.
Consistency: that of the store that is a document's authority. In the phase `dual-write` reads use
the current store, and a write goes to both at the same time (`dual_write`). In `handoff` a document
is handed off before it is written, and from then on the target is its authority (`handoff`,
`authority`); in `target` that is so for all of them.
Limits: the smaller of the two stores'; purging waits for the end; writing several documents in one
step takes two stores that can.
Cost: in `dual-write` a write costs one in each store, at the same time; one that the target was not
ready for costs a second one there. In `handoff` a read costs one in each store, and a document's
first write eight operations more.
"""

import asyncio
import logging
import os
import random
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Self

from aiostore.channel import CONTROL_ID
from aiostore.errors import (
    ConfigurationError,
    MigrationError,
    UnavailableError,
    UnsupportedError,
)
from aiostore.filters import Path, name_of
from aiostore.limits import check_collection
from aiostore.migration import rows
from aiostore.migration.atomic import AtomicWrite
from aiostore.migration.authority import Authority
from aiostore.migration.connections import Connections
from aiostore.migration.dual_write import DualWrite
from aiostore.migration.handoff import Handoff
from aiostore.migration.legs import Landing, Leg, Mirror
from aiostore.migration.members import Health, Members, Working
from aiostore.migration.phases import Phase
from aiostore.migration.presence import Presence
from aiostore.migration.progress import Progress
from aiostore.migration.reads import Reads
from aiostore.migration.repair import Repair
from aiostore.migration.scans import Scans
from aiostore.migration.shadow import Shadow
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
from aiostore.versions import PROCESS_CLOCK, VersionClock, right_after

_logger = logging.getLogger("aiostore.migration")

_TARGET = timedelta(seconds=2)


class MigrationAdaptor:
    """Two stores as one: the current one, and a target that is becoming its equal.

    Args:
        current: the store that answers.
        target: the store that is to take over; empty, or this migration's from before.
        name: the migration's, 1 to 64 characters of `a-z A-Z 0-9 _ -`; the same in every process.
        current_deadline: how long a call of the authority may take; by default three quarters of
            the grace.
        target_deadline: how long the target may take for its copy, and a write waits for it; by
            default 2 s, or as long as that if it is less.
        lease: a process that could not renew its lease for so long sends nothing any more.
        grace: after this long no request of any process can still land in a store.
        rest: how long to wait before a failed repair or connection is tried again.
        clock: makes the versions of its own records.
        shadow: which part of the reads in the phase `dual-write`, from 0 for none to 1 for all, the
            target is asked for too, in the background, to see whether it would answer the same.
        process: what a person knows this process by; by default its host and its id.

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
        current_deadline: timedelta | None = None,
        target_deadline: timedelta | None = None,
        lease: timedelta = timedelta(seconds=15),
        grace: timedelta = timedelta(seconds=40),
        rest: timedelta = timedelta(seconds=1),
        clock: VersionClock = PROCESS_CLOCK,
        shadow: float = 0.0,
        process: str | None = None,
    ) -> None:
        same_place = current.capabilities.persistent and current.name == target.name
        if current is target or same_place:
            raise ConfigurationError(
                "a migration's current and target are two stores, not one", store=current.name
            )
        self.migration = check_collection(name)
        self.current = current
        self.target = target
        self.progress: Progress | None = None
        self.lease = lease
        self.grace = grace
        self.now = clock.now
        self._rest = rest
        longest = grace * 3 / 4
        current_deadline = longest if current_deadline is None else current_deadline
        target_deadline = min(_TARGET, longest) if target_deadline is None else target_deadline
        self.deadline = current_deadline
        self.clock = clock
        self.landing = Landing(grace)
        self._current = Leg(current, current_deadline, self._check, self.landing)
        self._target = Leg(target, current_deadline, self._check, self.landing)
        self._mirror = Mirror(target, target_deadline, self._check, self.landing)
        self._connections = Connections(
            current,
            target,
            self._mirror,
            self.migration,
            clock=clock,
            deadline=lease / 3,
            rest=rest,
        )
        here, there = self._connections.here, self._connections.there
        self.claims = self._connections.claims
        self.control = self._connections.control
        self.connected = self._connections.target_reached
        self.members = Members(here, there, self.migration, clock)
        self.presence = Presence(
            self,
            clock.next(),
            f"{socket.gethostname()}:{os.getpid()}" if process is None else process,
            control=self.control,
            members=self.members,
            current=here,
            target=there,
            lease=lease,
            grace=grace,
            rest=rest,
        )
        self.repair = Repair(self._current, self._mirror, grace)
        self._shadow = Shadow(
            self._mirror,
            self.repair,
            share=shadow,
            verified=lambda: self.control.latest.is_verified,
            choices=random.Random(),  # noqa: S311  # no secret
        )
        self.handoff = Handoff(self._current, self._target)
        self._dual = DualWrite(self._current, self._mirror, self.repair)
        self._atomic = AtomicWrite(
            self._current,
            self._target,
            self._dual,
            self.handoff,
            repair=self.repair,
            are_returning=self._are_returning,
            returning=self.presence.returning,
            deferring=self.presence.deferring,
        )
        self._authority = Authority(self._current, self._target)
        self._reads = Reads(self._current, self._authority, self.presence, self.deadline)
        self._scans = Scans(current, target, self._reads, self.control)
        self._phase = self._reads.phase
        self._jobs: set[asyncio.Task[None]] = set()
        self._steps: set[asyncio.Event] = set()
        self._upkeep: set[asyncio.Task[None]] = set()
        self._capabilities = _both(current.capabilities, target.capabilities)

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
    def phase(self) -> Phase:
        """What is begun now is done as this phase has it."""
        return self._phase

    @property
    def complete(self) -> bool:
        """Whether both stores are equal for all that is known: verified, and nothing in doubt."""
        return (
            self.control.latest.is_verified
            and not self.repair.suspects
            and not self.repair.overflowed
        )

    @property
    def target_failures(self) -> int:
        """How many mirrored writes failed or were left out since the start."""
        return self._mirror.failures

    def health(self) -> Health:
        """How this process fares."""
        return Health(
            connected=self.connected.is_set(),
            suspects=self.repair.suspects,
            lag=self.repair.lag,
            target_failures=self.target_failures,
            read_ms=_most(self._current.reads),
            write_ms=_most(self._current.writes),
            shadows_matched=self._shadow.matched,
            shadows_behind=self._shadow.behind,
            shadows_different=self._shadow.different,
            working=None if self.progress is None else Working.of(self.progress),
        )

    async def open(self) -> None:
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._connections.aclose)
            await self._connections.open()
            await self.presence.join()
            self._keep(self.presence.run(), "lease")
            self._keep(self.repair.run(self._rest), "repair")
            self._keep(self._connections.complete(), "connections")
            undo.pop_all()

    async def aclose(self) -> None:
        await self._end()
        await self._shadow.aclose()
        upkeep, self._upkeep = self._upkeep, set()
        for task in upkeep:
            task.cancel()
        if upkeep:
            await asyncio.wait(upkeep)
        await self.presence.leave(landing=self.landing.left > 0)
        await self._connections.aclose()

    def begin(self, phase: Phase) -> None:
        """Begin everything from now on as `phase` has it."""
        self._phase = phase
        self._reads.begin(phase)

    async def settle(self) -> None:
        """Wait until nothing that has been begun before this call can still take effect.

        That takes the grace where a store did not answer: such a request may be on its way, and if
        it landed two steps later it could undo them.
        """
        await self._end()
        await asyncio.sleep(self.landing.left)

    async def abandon(self) -> None:
        """Stop all writes that are under way; it is not known whether they took effect."""
        jobs = set(self._jobs)
        for job in jobs:
            job.cancel()
        if jobs:
            await asyncio.wait(jobs)

    @asynccontextmanager
    async def step(self, *phases: Phase) -> AsyncGenerator[None, None]:
        """A part of background work, in one of these phases; the next step waits for its end.

        Raises:
            MigrationError: this process is in another phase.
            UnavailableError: its lease has run out and cannot be renewed.
        """
        await self.presence.ensure(self.deadline)
        if self._phase not in phases:
            wanted = " or ".join(repr(phase.value) for phase in phases)
            raise MigrationError(
                f"this takes the phase {wanted}, and the migration is in {self._phase.value!r}",
                store=self.name,
            )
        token, over = self.presence.bind(), asyncio.Event()
        self._steps.add(over)
        try:
            yield
        finally:
            self._steps.discard(over)
            over.set()
            self.presence.unbind(token)

    async def drain(self) -> None:
        """Wait until every write that is under way now has ended in both stores."""
        if self._jobs:
            await asyncio.wait(set(self._jobs))

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        if list(ids) == [CONTROL_ID]:
            return [None]  # the claim is the migration's own, and keeps plain stores out alone
        found = await self._reads.read(ids, consistent=consistent)
        if consistent and self._phase is Phase.DUAL_WRITE:
            self._shadow.sample(ids, found)
        return found

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        await self.presence.ensure(self.deadline)
        return await self._detached(partial(self._write, writes))

    async def write_atomic(self, items: Sequence[Write | Check], /) -> Sequence[Outcome]:
        if not self._capabilities.atomic_writes:
            raise UnsupportedError(
                "documents cannot be written atomically together: that takes two stores that can",
                store=self.name,
            )
        await self.presence.ensure(self.deadline)
        return await self._detached(partial(self._write_atomic, items))

    def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        return self._scans.scan(request)

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
        return await self._scans.count(collection, alive_at)

    async def collections(self) -> Sequence[str]:
        return await self._scans.collections()

    async def purge(self, request: Purge, /) -> int:
        """Put off, but for `everything`, which becomes a tombstone for each document.

        A tombstone that is removed while copies are under way lets one of them resurrect.
        """
        if not request.everything:
            return 0
        removed = 0
        async for chunk in self.scan(Scan(request.collection, chunk=self._capabilities.max_batch)):
            documents = [record for record in chunk if record.body is not None]
            tombstones = [_deletion(record, self.clock) for record in documents]
            if tombstones:
                removed += sum(outcome.applied for outcome in await self.write(tombstones))
        return removed

    async def _detached(
        self, work: Callable[["asyncio.Future[Sequence[Outcome]]"], Awaitable[None]]
    ) -> Sequence[Outcome]:
        """What `work` answers; it goes on though its caller be cancelled.

        The legs belong to the store: a caller that is gone leaves neither of them behind.
        """
        answer: asyncio.Future[Sequence[Outcome]] = asyncio.get_running_loop().create_future()
        job = asyncio.create_task(self._answer(work, answer), name="aiostore: migrating write")
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return await answer

    async def _end(self) -> None:
        """Wait until all has ended that has been begun before this call."""
        steps = set(self._steps)
        await self.drain()
        await self._reads.settle()
        await self.repair.settle_down()
        if self._phase is Phase.CURRENT:
            self.repair.forget()  # nothing is written to the target any more
        for step in steps:
            await step.wait()

    async def _answer(
        self,
        work: Callable[["asyncio.Future[Sequence[Outcome]]"], Awaitable[None]],
        answer: "asyncio.Future[Sequence[Outcome]]",
    ) -> None:
        self.presence.bind()
        try:
            await work(answer)
        except Exception as error:  # noqa: BLE001  # the caller's, if there is one
            if not answer.done():
                answer.set_exception(error)
        finally:
            if not answer.done():  # the event loop is being torn down
                answer.set_exception(
                    UnavailableError("abandoned: it is not known whether the write took effect")
                )

    async def _write(
        self, writes: Sequence[Write], answer: "asyncio.Future[Sequence[Outcome]]"
    ) -> None:
        phase = self._phase  # this write's until it has ended
        outcomes: dict[DocumentId, Outcome] = {}

        def decide(some: Sequence[Write], answers: Sequence[Outcome | None]) -> None:
            for write, outcome in zip(some, answers, strict=True):
                if outcome is not None:
                    outcomes[write.record.id] = _shown(outcome)
            if len(outcomes) == len(writes) and not answer.done():
                answer.set_result([outcomes[write.record.id] for write in writes])

        left = list(writes)
        while left:
            if phase is Phase.TARGET:
                decide(left, await self._authority.write_alone(left))
            elif phase is Phase.CURRENT:
                decide(left, await self._current.write([rows.for_current(one) for one in left]))
            else:
                if phase is Phase.HANDOFF:
                    ids = [write.record.id for write in left]
                    await self.handoff.forth(ids, unknown_too=True)
                else:
                    await self._dual.write(left, partial(_decide_unmoved, decide, left))
                moved = [write for write in left if write.record.id not in outcomes]
                if moved:
                    decide(moved, await self._write_moved(moved, phase))
            left = [write for write in left if write.record.id not in outcomes]

    async def _write_moved(self, writes: Sequence[Write], phase: Phase) -> list[Outcome | None]:
        """The target's outcomes; None where the current store has to be asked again."""
        outcomes = await self._authority.write(writes)
        pairs = zip(writes, outcomes, strict=True)
        undecided = [write.record.id for write, outcome in pairs if outcome is None]
        if undecided:
            await self._atomic.restore(undecided, phase)
        return outcomes

    async def _write_atomic(
        self, items: Sequence[Write | Check], answer: "asyncio.Future[Sequence[Outcome]]"
    ) -> None:
        def tell(outcomes: Sequence[Outcome]) -> None:
            if not answer.done():
                answer.set_result([_shown(outcome) for outcome in outcomes])

        await self._atomic.write(items, self._phase, tell)

    async def _are_returning(self) -> bool:
        return (await self.control.read()).is_returning

    def _check(self) -> None:
        self.presence.check()

    def _keep(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._upkeep.add(asyncio.create_task(work, name=f"aiostore: migration, {name}"))


def _both(ours: Capabilities, theirs: Capabilities) -> Capabilities:
    """What a migration can do between a current store and a target."""
    return Capabilities(
        persistent=ours.persistent and theirs.persistent,
        shared=ours.shared and theirs.shared,
        atomic_writes=ours.atomic_writes and theirs.atomic_writes,
        max_batch=min(ours.max_batch, theirs.max_batch),
        max_atomic=min(ours.max_atomic, theirs.max_atomic, ours.max_batch, theirs.max_batch),
        filters=ours.filters,
        orders=ours.orders,
        filters_need_index=ours.filters_need_index,
        indexes=ours.indexes,
        indexes_lag=ours.indexes_lag,
        read_lanes=ours.read_lanes,
        write_lanes=min(ours.write_lanes, theirs.write_lanes),
    )


def _decide_unmoved(
    decide: Callable[[Sequence[Write], Sequence[Outcome | None]], None],
    writes: Sequence[Write],
    outcomes: Sequence[Outcome],
) -> None:
    """What the current store has answered, but for documents whose authority it is no more."""
    decide(writes, [None if _is_by_moved(outcome) else outcome for outcome in outcomes])


def _most(seconds: Collection[float]) -> float | None:
    """How many milliseconds 95 % of these took at most."""
    return None if not seconds else 1000 * sorted(seconds)[len(seconds) * 95 // 100]


def _is_by_moved(outcome: Outcome) -> bool:
    return not outcome.applied and rows.is_moved(outcome.record)


def _shown(outcome: Outcome) -> Outcome:
    return Outcome(applied=outcome.applied, record=rows.shown(outcome.record))


def _deletion(record: Record, clock: VersionClock) -> Write:
    now = clock.now()
    # The store's clock may be behind this one, and what its writers make next is to be larger.
    tombstone = Record(record.id, None, right_after(record.version), now, now)
    return Write(tombstone, Newer(), Mark.LIVE)
