"""An adaptor that misbehaves as it is told: for tests of what stands above an engine.

By hand (`adaptor.down = True`), or at random as a seed fixes it (`adaptor.faults = Faults(...)`).
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from typing import TypeVar

from msgspec import Struct, field

from aiostore.conditions import place_of
from aiostore.errors import StoreError, UnavailableError
from aiostore.filters import Path
from aiostore.limits import SYSTEM_COLLECTION
from aiostore.protocols import (
    Adaptor,
    Capabilities,
    Check,
    DocumentId,
    Outcome,
    Purge,
    Record,
    Scan,
    Write,
)

R = TypeVar("R")


async def turns(number: int) -> None:
    """Let the event loop go round so many times."""
    for _ in range(number):
        await asyncio.sleep(0)


class Faults(Struct, frozen=True, kw_only=True):
    """What goes wrong at random, each thing with its own probability (0 never, 1 always).

    Attributes:
        choices: where the chances are drawn from; a seeded one makes them repeat.
        failing: a call raises `UnavailableError` before anything has taken effect.
        losing: a call takes effect, and raises `UnavailableError` instead of answering.
        late: a write raises `UnavailableError`, and takes effect after that.
        pauses: one of these is waited for before each call, and one after it.
        wait: how that is done; by default a pause is a number of turns of the event loop.
    """

    choices: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311  # no secret
    failing: float = 0.0
    losing: float = 0.0
    late: float = 0.0
    pauses: Sequence[int] = ()
    wait: Callable[[int], Awaitable[None]] = turns


class FaultyAdaptor:
    """Any adaptor behind a network that can be told to misbehave; until then it only forwards.

    Calls that are about the library's own records alone never fail, so that a store can be opened
    and what is told concerns documents; they are slow, and hang, like all others. Opening fails
    while it is `down`, and by no other fault.

    Args:
        adaptor: the engine or the stack of wrappers that it stands before.
        faults: what goes wrong at random.

    Attributes:
        adaptor: as given.
        faults: as given; may be changed at any time.
        down: every call raises `UnavailableError` before it does anything.
        loses_answers: every call takes effect and raises `UnavailableError`.
        hangs: every call first waits for this event, if there is one.
        calls: how many calls reached the adaptor, by the name of the operation; each step of a
            scan is one.
    """

    def __init__(self, adaptor: Adaptor, faults: Faults | None = None) -> None:
        self.adaptor = adaptor
        self.faults = Faults() if faults is None else faults
        self.down = False
        self.loses_answers = False
        self.hangs: asyncio.Event | None = None
        self.calls: Counter[str] = Counter()
        self._late: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """The adaptor's own."""
        return self.adaptor.name

    @property
    def capabilities(self) -> Capabilities:
        """The adaptor's own."""
        return self.adaptor.capabilities

    async def open(self) -> None:
        """Open the adaptor, unless it is down."""
        if self.down:
            raise UnavailableError("down")
        await self.adaptor.open()

    async def aclose(self) -> None:
        """Let late writes land, and close the adaptor."""
        try:
            while self._late:
                await self._late.pop()
        finally:
            await self.adaptor.aclose()

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        """Read, or fail."""
        names = (id_.collection for id_ in ids)
        return await self._call(
            "read", names, lambda: self.adaptor.read(ids, consistent=consistent)
        )

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        """Write, or fail."""
        names = (write.record.id.collection for write in writes)
        return await self._call("write", names, lambda: self.adaptor.write(writes))

    async def write_atomic(self, items: Sequence[Write | Check], /) -> Sequence[Outcome]:
        """Write atomically, or fail."""
        names = (place_of(item).collection for item in items)
        return await self._call("write_atomic", names, lambda: self.adaptor.write_atomic(items))

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        """Scan; each step may fail."""
        names = [request.collection]
        async with aclosing(self.adaptor.scan(request)) as chunks:
            while chunk := await self._call("scan", names, lambda: anext(chunks, None)):
                yield chunk

    async def index(self, collection: str, path: Path, /) -> None:
        """Index, or fail."""
        await self._call("index", [collection], lambda: self.adaptor.index(collection, path))

    async def count(self, collection: str, /, *, alive_at: int | None = None) -> int:
        """Count, or fail."""
        return await self._call(
            "count", [collection], lambda: self.adaptor.count(collection, alive_at=alive_at)
        )

    async def collections(self) -> Sequence[str]:
        """Name the collections, or fail."""
        return await self._call("collections", [""], self.adaptor.collections)

    async def purge(self, request: Purge, /) -> int:
        """Purge, or fail."""
        return await self._call("purge", [request.collection], lambda: self.adaptor.purge(request))

    async def _call(
        self, operation: str, collections: Iterable[str], call: Callable[[], Awaitable[R]]
    ) -> R:
        mortal = any(name != SYSTEM_COLLECTION for name in collections)
        await self._pause()
        if self.hangs is not None:
            await self.hangs.wait()
        if mortal and (self.down or self._happens(self.faults.failing)):
            raise UnavailableError("down")
        self.calls[operation] += 1
        if mortal and operation in _WRITES and self._happens(self.faults.late):
            self._late.add(asyncio.create_task(self._land(call), name="aiostore: a late write"))
            raise UnavailableError("no answer in time")
        answer = await call()
        if mortal and (self.loses_answers or self._happens(self.faults.losing)):
            raise UnavailableError("the answer was lost")
        await self._pause()
        return answer

    async def _land(self, call: Callable[[], Awaitable[object]]) -> None:
        await self._pause()
        with suppress(StoreError):  # an answer that nobody hears
            await call()

    async def _pause(self) -> None:
        if self.faults.pauses:
            await self.faults.wait(self.faults.choices.choice(self.faults.pauses))

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self.faults.choices.random() < probability


_WRITES = frozenset({"write", "write_atomic"})
