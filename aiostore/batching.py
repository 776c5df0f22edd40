"""Concurrent operations leave together.

While a lane is free and nobody waits, an operation goes straight down in its caller's own task.
While every lane is busy, operations collect, and leave together as one batch as soon as one is
free: group commit for writes, one query for many reads. There is no window to wait for.

A lane is a delivery that may be under way at the same time as others. What waits is kept by id, in
the order in which it came: of reads of one id, one is sent and answers all; of writes, one at a
time, so that writes of this process to one document keep their order.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

from aiostore.errors import UnavailableError
from aiostore.metering import METERS
from aiostore.protocols import DocumentId
from aiostore.sending import copied

A = TypeVar("A")
T = TypeVar("T")

_MOST_BATCHES_WAITING = 10
_FEWEST_ITEMS_WAITING = 1000
"""How many items may wait: enough that every lane finds a full batch when it is free, few enough
that what is admitted is sent soon, and that the tables stay small. Who comes later waits with what
it brings, at the cost of one entry a call, until there is room."""


class _Call(Generic[T, A]):
    """Items of one caller, and the answers so far.

    Attributes:
        admitted: how many of the items have been let in, from the first on.
        missing: how many have no answer yet.
        ended: has a result once none is missing; is cancelled with the caller.
        meters: what the caller is charged on (`aiostore.metering`).
    """

    __slots__ = ("admitted", "answers", "ended", "ids", "items", "meters", "missing")

    def __init__(self, ids: Sequence[DocumentId], items: Sequence[T]) -> None:
        self.ids = ids
        self.items = items
        self.answers: list[Any] = [None] * len(items)
        self.admitted = 0
        self.missing = len(items)
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.meters = METERS.get()

    def answer(self, index: int, answer: A | Exception) -> None:
        """Give the item at `index` its answer."""
        self.answers[index] = answer
        self.missing -= 1
        if not self.missing and not self.ended.done():
            self.ended.set_result(None)


_Place: TypeAlias = tuple[_Call[T, A], int]
_Batch: TypeAlias = list[tuple[DocumentId, list[_Place[T, A]]]]


class Batcher(Generic[T, A]):
    """Items on their way to the adaptor: each about one id, all of them reads or all writes.

    Args:
        deliver: sends items about distinct ids, at most `max_batch`, and answers each, with an
            error where there is one; raises nothing.
        lanes: how many deliveries may be under way at once.
        max_batch: most items in one delivery.
        in_order: items about one id are delivered one after another (writes). Otherwise all that
            wait for an id are answered by one delivery of it (reads), and it may be under way in
            several lanes.
    """

    def __init__(
        self,
        deliver: Callable[[Sequence[T]], Awaitable[Sequence[A | Exception]]],
        *,
        lanes: int,
        max_batch: int,
        in_order: bool,
    ) -> None:
        self._deliver = deliver
        self._free = lanes
        self._max_batch = max_batch
        self._in_order = in_order
        self._room = max(_MOST_BATCHES_WAITING * max_batch, _FEWEST_ITEMS_WAITING)
        self._outside: OrderedDict[_Call[T, A], None] = OrderedDict()
        self._waiting: dict[DocumentId, OrderedDict[_Place[T, A], None]] = {}
        self._ready: OrderedDict[DocumentId, None] = OrderedDict()
        self._busy: set[DocumentId] = set()
        self._inside = 0
        self._starting: set[object] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, ids: Sequence[DocumentId], items: Sequence[T]) -> Sequence[A | Exception]:
        """The answers to `items`, any number of them, about distinct `ids`.

        A caller that is cancelled takes along what has not been sent. What went straight down is
        cancelled with it; a batch that has been sent goes on.
        """
        if not items:
            return []
        if self._is_clear(ids):
            self._free -= 1
            if self._in_order:
                self._busy.update(ids)
            try:
                return await self._deliver(items)
            finally:
                self._free += 1
                if self._in_order:
                    for id_ in ids:
                        self._release(id_)
                if self._outside or self._ready:
                    self._advance()
        call = _Call[T, A](ids, items)
        self._outside[call] = None
        self._advance()
        try:
            await call.ended
        finally:
            if call.missing:
                self._forget(call)
        return call.answers

    async def drain(self) -> None:
        """Wait for the batches that are under way, whoever has left them."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _is_clear(self, ids: Sequence[DocumentId]) -> bool:
        return (
            self._free > 0
            and not self._ready
            and not self._outside
            and len(ids) <= self._max_batch
            and self._busy.isdisjoint(ids)
        )

    def _advance(self) -> None:
        """Let in what waits outside, as far as there is room, and start the lanes it needs."""
        while self._outside:
            call = next(iter(self._outside))
            size = min(len(call.ids) - call.admitted, self._max_batch)
            if self._inside + size > self._room:
                break
            del self._outside[call]
            self._admit(call, size)
            if call.admitted < len(call.ids):
                self._outside[call] = None
                if self._in_order:  # a later call may be about an id that is still to come in
                    self._outside.move_to_end(call, last=False)
        while self._free and len(self._ready) > len(self._starting) * self._max_batch:
            self._start_lane()

    def _admit(self, call: _Call[T, A], size: int) -> None:
        for index in range(call.admitted, call.admitted + size):
            id_ = call.ids[index]
            places = self._waiting.get(id_)
            if places is None:
                places = self._waiting[id_] = OrderedDict()
            places[call, index] = None
            if id_ not in self._busy:
                self._ready[id_] = None
        call.admitted += size
        self._inside += size

    def _start_lane(self) -> None:
        self._free -= 1
        lane = object()
        self._starting.add(lane)
        # A lane serves many callers and outlives the one that starts it, so it has none's context;
        # but for each batch it has one's meters.
        task = asyncio.get_running_loop().create_task(
            self._serve(lane), name="aiostore: batches", context=Context()
        )
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, lane))

    async def _serve(self, lane: object) -> None:
        """Send batch after batch until nothing is ready."""
        self._starting.discard(lane)
        try:
            while batch := self._take():
                self._advance()
                await self._send(batch)
        except BaseException:
            self._abandon()
            raise
        finally:
            self._free += 1

    def _ended(self, lane: object, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if lane in self._starting:  # cancelled before its first step
            self._starting.discard(lane)
            self._free += 1
            self._abandon()

    def _take(self) -> _Batch[T, A]:
        batch: _Batch[T, A] = []
        while self._ready and len(batch) < self._max_batch:
            id_, _ = self._ready.popitem(last=False)
            places = self._waiting[id_]
            if self._in_order:
                taken = [places.popitem(last=False)[0]]
            else:
                taken = list(places)
                places.clear()
            if not places:
                del self._waiting[id_]
            self._inside -= len(taken)
            # A caller may have been cancelled this very moment, and not know it yet.
            awaited = [(call, index) for call, index in taken if not call.ended.done()]
            if awaited:
                batch.append((id_, awaited))
                if self._in_order:
                    self._busy.add(id_)
            elif places:
                self._ready[id_] = None
        return batch

    async def _send(self, batch: _Batch[T, A]) -> None:
        [(first, _), *_] = batch[0][1]
        METERS.set(first.meters)
        answers: Sequence[A | Exception] | None = None
        try:
            answers = await self._deliver([call.items[index] for _, [(call, index), *_] in batch])
        finally:
            if answers is None:
                answers = [_abandoned() for _ in batch]
            for (id_, places), answer in zip(batch, answers, strict=True):
                if self._in_order:
                    self._release(id_)
                [(call, index), *others] = places
                call.answer(index, answer)
                for other, place in others:
                    other.answer(place, copied(answer) if isinstance(answer, Exception) else answer)

    def _release(self, id_: DocumentId) -> None:
        self._busy.discard(id_)
        if id_ in self._waiting:
            self._ready[id_] = None

    def _forget(self, call: _Call[T, A]) -> None:
        """Take out what has not been sent."""
        self._outside.pop(call, None)
        for index, id_ in enumerate(call.ids[: call.admitted]):
            places = self._waiting.get(id_)
            if places is not None and (call, index) in places:
                del places[call, index]
                self._inside -= 1
                if not places:
                    del self._waiting[id_]
                    self._ready.pop(id_, None)
        self._advance()

    def _abandon(self) -> None:
        """Answer everyone who waits: the event loop is being torn down."""
        for places in self._waiting.values():
            for call, index in places:
                call.answer(index, _abandoned())
        for call in self._outside:
            for index in range(call.admitted, len(call.ids)):
                call.answer(index, _abandoned())
        self._waiting.clear()
        self._ready.clear()
        self._outside.clear()
        self._inside = 0


def _abandoned() -> UnavailableError:
    return UnavailableError(
        "abandoned, as the event loop is being torn down: of a write it is not known whether it "
        "took effect"
    )
