"""What lies between processes and stores: calls take time, fail, lose answers, land late.

A request that is on its way belongs to nobody: it lands though its sender has given up, or died.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextvars import Context
from typing import Any, TypeVar

from msgspec import Struct

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.errors import UnavailableError
from aiostore.filters import Path
from aiostore.limits import SYSTEM_COLLECTION
from aiostore.protocols import (
    Capabilities,
    Check,
    DocumentId,
    Outcome,
    Purge,
    Record,
    Scan,
    Write,
)
from aiostore.testing.simulation.loop import Process, SimulatedLoop
from aiostore.testing.simulation.trace import Trace

R = TypeVar("R")

Landed = Callable[[str, Sequence[Write], Sequence[Outcome]], None]
"""Is told each write at the moment when it takes effect: the store's name, what, and how."""

LONGEST = 1.6
"""Seconds after which no request lands any more."""

_FARTHEST = 0.3  # seconds for one way from a process that is far away
_ANSWERLESS = 1.2  # seconds, after which a driver gives up


class Weather(Struct, frozen=True, kw_only=True):
    """What goes wrong on the way to one store, each thing with its own probability.

    Attributes:
        failing: a call fails, and never takes effect.
        losing: it takes effect, and its answer is lost.
        late: it fails, and takes effect after that.
        silent: a failure is noticed only when the driver gives up.
        slow: one way takes long, which is no failure.
        sluggish: a write waits before it takes effect, which is none either.
        longest: for at most so many seconds.
    """

    failing: float = 0.0
    losing: float = 0.0
    late: float = 0.0
    silent: float = 0.1
    slow: float = 0.05
    sluggish: float = 0.0
    longest: float = 0.32

    @property
    def calm(self) -> bool:
        """Whether every call is answered."""
        return not (self.failing or self.losing or self.late)


class Delays:
    """How long things take, and what happens to them: all the chances of a network.

    Args:
        choices: where they are drawn from.
    """

    def __init__(self, choices: random.Random) -> None:
        self.choices = choices

    def way(self, weather: Weather, what: object) -> float:  # noqa: ARG002  # for those who choose
        """Seconds for one way of a call about something."""
        drawn = self.choices.random()
        if drawn < weather.slow:
            return 0.02 + 0.15 * self.choices.random()
        return 0.0005 + 0.01 * drawn * drawn

    def wait(self, weather: Weather) -> float:
        """Seconds for which a write waits."""
        waits = self.choices.random() < weather.sluggish
        return weather.longest * self.choices.random() if waits else 0.0

    def fate(self, weather: Weather, what: object) -> str:  # noqa: ARG002  # likewise
        """What happens to a call about something: `failing`, `losing`, `late`, or nothing."""
        if weather.calm:
            return ""
        drawn = self.choices.random()
        for name, chance in (
            ("failing", weather.failing),
            ("losing", weather.losing),
            ("late", weather.late),
        ):
            if drawn < chance:
                return name
            drawn -= chance
        return ""

    def failure(self, weather: Weather) -> float:
        """Seconds until a failure is noticed."""
        if self.choices.random() < weather.silent:
            return _ANSWERLESS
        return 0.001 + 0.02 * self.choices.random()

    def lateness(self) -> float:
        """Seconds until a late request lands."""
        drawn = self.choices.random()
        return LONGEST * drawn * drawn * drawn

    def survives(self) -> bool:
        """Whether a request on its way from a process that dies lands."""
        return self.choices.random() < 0.6


class Network:
    """The ways to all stores.

    Args:
        loop: where they are.
        stores: the current one, and the target.
        delays: its chances.
        trace: is told what is sent, lands and is answered.
        landed: is told each write that takes effect, or is refused.
        purged: is called when records have been removed.
    """

    def __init__(
        self,
        loop: SimulatedLoop,
        stores: Sequence[MemoryAdaptor],
        delays: Delays,
        trace: Trace,
        *,
        landed: Landed,
        purged: Callable[[], None],
    ) -> None:
        self.loop = loop
        self.stores = stores
        self.delays = delays
        self.trace = trace
        self.landed = landed
        self.purged = purged
        self.weather: dict[str, Weather] = {}
        self.nobody = Context()

    def wire(self, process: Process, store: MemoryAdaptor) -> "Wire":
        """A process's way to one store."""
        return Wire(self, process, store)


class Wire:
    """One process's way to one store: an adaptor.

    Attributes:
        cut: what keeps the processes in step fails, and what writes a document lands late.
        pace: how many times as long as usual a way takes.
        watch: is called at each call.
    """

    def __init__(self, network: Network, process: Process, store: MemoryAdaptor) -> None:
        self.process = process
        self.store = store
        self.cut = False
        self.pace = 1.0
        self.watch: Callable[[], None] | None = None
        self._network = network

    @property
    def name(self) -> str:
        """The store's own."""
        return self.store.name

    @property
    def capabilities(self) -> Capabilities:
        """The store's own."""
        return self.store.capabilities

    async def open(self) -> None:
        """There is nothing to connect to."""

    async def aclose(self) -> None:
        """There is nothing to release."""

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        """Read, or fail."""
        return await self._call(
            "read", ids, lambda: at_once(self.store.read(ids, consistent=consistent))
        )

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        """Write, or fail."""

        def land() -> Sequence[Outcome]:
            outcomes = at_once(self.store.write(writes))
            self._network.landed(self.name, writes, outcomes)
            return outcomes

        return await self._call("write", writes, land, lasting=True)

    async def write_atomic(self, items: Sequence[Write | Check], /) -> Sequence[Outcome]:
        """Write atomically, or fail."""

        def land() -> Sequence[Outcome]:
            outcomes = at_once(self.store.write_atomic(items))
            if all(outcome.applied for outcome in outcomes):
                pairs = [
                    (item, outcome)
                    for item, outcome in zip(items, outcomes, strict=True)
                    if isinstance(item, Write)
                ]
                self._network.landed(self.name, [w for w, _ in pairs], [o for _, o in pairs])
            return outcomes

        return await self._call("write_atomic", items, land, lasting=True)

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        """Scan; each step may fail."""
        chunks = self.store.scan(request)
        try:
            while chunk := await self._call("scan", request, lambda: at_once(anext(chunks, None))):
                yield chunk
                if len(chunk) < request.chunk and request.segments == 1:
                    return  # as an engine knows by itself
        finally:
            at_once(chunks.aclose())

    async def index(self, collection: str, path: Path, /) -> None:
        """Index, or fail."""
        await self._call("index", collection, lambda: at_once(self.store.index(collection, path)))

    async def count(self, collection: str, /, *, alive_at: int | None = None) -> int:
        """Count, or fail."""
        return await self._call(
            "count", collection, lambda: at_once(self.store.count(collection, alive_at=alive_at))
        )

    async def collections(self) -> Sequence[str]:
        """Name the collections, or fail."""
        return await self._call("collections", (), lambda: at_once(self.store.collections()))

    async def purge(self, request: Purge, /) -> int:
        """Purge, or fail."""

        def land() -> int:
            number = at_once(self.store.purge(request))
            self._network.purged()
            return number

        return await self._call("purge", request, land, lasting=True)

    def way(self, what: object) -> float:
        """Seconds for one way of a call about something."""
        network = self._network
        seconds = network.delays.way(network.weather[self.name], what)
        return seconds if self.pace == 1.0 else min(seconds * self.pace, _FARTHEST)

    async def _call(
        self, operation: str, what: object, land: Callable[[], R], *, lasting: bool = False
    ) -> R:
        network, loop = self._network, self._network.loop
        if loop.over:
            raise UnavailableError("the run is over", store=self.name)
        if self.watch is not None:
            self.watch()
        delays, weather = network.delays, network.weather[self.name]
        answer: asyncio.Future[R] = loop.create_future()
        call = _Request(self, operation, what, land, answer)
        call.sent()
        fate = self._fate_when_cut(what, lasting) if self.cut else delays.fate(weather, what)
        there = self.way(what)
        if lasting and weather.sluggish:
            there += delays.wait(weather)
        context = network.nobody
        if fate in ("", "losing"):
            loop.call_later(there, call.land, fate == "", lasting, context=context)
        if fate:
            noticed = delays.failure(weather) + (there if fate == "losing" else 0.0)
            loop.call_later(noticed, call.fail, fate, context=context)
            if fate == "late" and lasting:
                landing = min(noticed + delays.lateness(), LONGEST)
                loop.call_later(landing, call.land, False, lasting, context=context)  # noqa: FBT003
        return await answer

    @staticmethod
    def _fate_when_cut(what: object, lasting: bool) -> str:  # noqa: FBT001  # as it was given
        match what:
            case [DocumentId(collection=collection), *_] | Scan(collection=collection):
                pass
            case [Write(record=Record(id=DocumentId(collection=collection))), *_]:
                pass
            case _:
                return ""
        if collection == SYSTEM_COLLECTION:
            return "failing"
        return "late" if lasting else ""


class _Request:
    """One call on its way."""

    def __init__(
        self,
        wire: Wire,
        operation: str,
        what: object,
        land: Callable[[], Any],
        answer: "asyncio.Future[Any]",
    ) -> None:
        self._wire = wire
        self._network = wire._network  # noqa: SLF001  # both are of this module
        self._operation = operation
        self._what = what
        self._land = land
        self._answer = answer
        self._number = 0
        self._since = 0.0
        self._delayed = False

    def sent(self) -> None:
        self._since = self._network.loop.time()
        self._number = self._network.trace.sent(
            self._wire.process.name, self._wire.name, self._operation, self._what
        )

    def land(self, answered: bool, lasting: bool) -> None:  # noqa: FBT001  # as timers pass it
        """It comes to the store."""
        network, process = self._network, self._wire.process
        if process.dead and not self._delayed:
            if not lasting or not network.delays.survives():
                network.trace.note(self._number, "never lands, for its sender is dead")
                return
            self._delayed = True
            landing = min(network.loop.time() + network.delays.lateness(), self._since + LONGEST)
            network.loop.call_at(landing, self.land, False, lasting, context=network.nobody)  # noqa: FBT003
            return
        result = self._land()
        network.trace.landed(self._number, result)
        if answered:
            back = self._wire.way(self._what)
            network.loop.call_later(back, self._tell, result, context=network.nobody)

    def fail(self, fate: str) -> None:
        """Its sender is told that there is no answer."""
        if not self._answer.done():
            self._network.trace.note(self._number, f"no answer ({fate})")
            self._answer.set_exception(UnavailableError(fate, store=self._wire.name))

    def _tell(self, result: Any) -> None:
        if not self._answer.done():
            self._network.trace.answered(self._number)
            self._answer.set_result(result)


def at_once(call: Awaitable[R]) -> R:
    """What a memory answers, which never waits.

    Raises:
        RuntimeError: it has waited.
    """
    steps = call.__await__()
    try:
        next(steps)
    except StopIteration as end:
        value: R = end.value
        return value
    raise RuntimeError("a memory has waited")
