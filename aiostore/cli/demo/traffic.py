"""The traffic: all clients at once, each following the plan that the seed gives it."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

from aiostore.cli.demo import plans
from aiostore.cli.demo.airports import Airport
from aiostore.cli.demo.bars import Bars
from aiostore.cli.demo.clients import Client, Feed, Reader, Stage, Writer
from aiostore.cli.demo.ledger import Ledger
from aiostore.cli.demo.service import AirportService
from aiostore.cli.demo.tally import Tally

READERS = 8
WRITERS = 6
FEEDS = 2

_TICK = 0.05


class Traffic:
    """All clients at once, from the begin of `async with` to its end.

    Args:
        service: what they use.
        airports: what it holds at first.
        ledger: where they enter what they send, are told and see.
        seed: fixes what each of them asks for.

    Attributes:
        tally: what they met.
        frontier: where the backfill is, for those who go after it.
    """

    def __init__(
        self, service: AirportService, airports: Mapping[str, Airport], ledger: Ledger, seed: int
    ) -> None:
        self.tally = Tally()
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.frontier = plans.Frontier()
        keys = plans.Keys(airports, seed)
        stage = Stage(service, airports, ledger, self.tally, self.frontier)
        self._clients: list[tuple[Client, Iterator[plans.Step]]] = []
        for number in range(READERS):
            name = f"r{number}"
            self._clients.append((Reader(name, stage), plans.reads(seed, name, keys)))
        for number in range(WRITERS):
            name = f"w{number}"
            self._clients.append((Writer(name, stage), plans.writes(seed, name, keys)))
        for number in range(FEEDS):
            name = f"f{number}"
            plan = plans.feed(seed, name, keys, self.frontier)
            self._clients.append((Feed(name, stage), plan))

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(self._follow(client, plan), name="aiostore demo: client")
            for client, plan in self._clients
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        if error is not None:
            for task in self._tasks:
                task.cancel()
        await asyncio.wait(self._tasks)
        if error is None:
            for task in self._tasks:
                task.result()

    async def _follow(self, client: Client, plan: Iterator[plans.Step]) -> None:
        for step in plan:
            if self._stopping.is_set():
                return
            await client.do(step)
            await client.rest(step.pause)


async def spell(name: str, seconds: float, tally: Tally, bars: Bars) -> None:
    """Let the traffic go on for a while.

    Args:
        name: of the bar that shows it.
        seconds: how long.
        tally: what the clients meet.
        bars: where to show it.
    """
    bar = bars.add(name, timed=True)
    before, end = tally.operations, time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(left, _TICK))
        gone = seconds - max(0.0, end - time.monotonic())
        bar.show(gone, seconds, tally.operations - before)
