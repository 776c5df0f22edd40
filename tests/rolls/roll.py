"""A service of several processes that moves to another store under load, while processes die.

The clients run here; the processes, the operator's worker and the servers are processes of the
system. Nothing is known of them here but what HTTP tells, and the ledger keeps all of it.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from audit import audit
from clients import Balancer, Client, UnansweredError, WrongError
from ledger import Ledger
from local_processes import LocalProcess
from msgspec import Struct
from service_process import ServiceProcess

Config = str | Mapping[str, Any]

PAUSE = 0.2
"""Seconds after which the operator repeats a step that has failed."""

LEASE = 2.0
"""Seconds; short, as a step waits for what is dead until its lease and the grace are over."""

GRACE = 1.5
"""Seconds; nothing that is sent to a server on this machine takes as long."""

OUTAGE = 1.0
"""Seconds for which a server is away."""


class How(Struct, frozen=True, kw_only=True):
    """How large it is.

    Attributes:
        processes: how many the service has. If it is one the operator's steps are taken by it:
            nobody else may have its store open.
        clients: how many ask at the same time.
        documents: how many keys there are; each is there from the start.
        pause: seconds that a client waits between its requests, at most.
        life: seconds between the deaths of two processes, at least and at most.
    """

    processes: int = 3
    clients: int = 12
    documents: int = 300
    pause: float = 0.15
    life: tuple[float, float] = (2.0, 6.0)


class Roll:
    """The service while it is moved; made by `rolling`.

    Attributes:
        how: how large it is.
        ledger: of all clients.
        balancer: the way to the service.
        killed: how often a process was killed.
        told: what happened, each with the seconds since the beginning.
    """

    def __init__(self, how: How, seed: int, store: Config, ledger: Ledger, folder: Path) -> None:
        self.how = how
        self.ledger = ledger
        self.killed = 0
        self._choices = random.Random(seed)
        self.told: list[str] = []
        self._began = time.monotonic()
        self._processes = [
            ServiceProcess(store, folder / f"service-{number}.log")
            for number in range(how.processes)
        ]
        alone = how.processes == 1
        self._beside = [] if alone else [ServiceProcess(store, folder / "worker.log")]
        self._worker = self._processes[0] if alone else self._beside[0]
        self._locks = {one: asyncio.Lock() for one in (*self._processes, *self._beside)}
        self._keys = [f"k{number:04}" for number in range(how.documents)]
        self.balancer = Balancer(self._processes)
        self._clients = [self._client(f"c{number}") for number in range(how.clients)]

    async def start(self) -> None:
        """Start the processes, and fill the store."""
        await asyncio.gather(*(asyncio.to_thread(one.start) for one in self._locks))
        shares = [self._keys[n :: self.how.clients] for n in range(self.how.clients)]
        await asyncio.gather(*map(_fill, self._clients, shares))

    async def close(self) -> None:
        """End everything for ever."""
        await self.balancer.aclose()
        for process in self._locks:
            await asyncio.to_thread(process.close)

    async def migrate(self, current: str, target: str) -> None:
        """A rolling restart into a migration."""
        stores = {"current": current, "target": target, "migration": "roll"}
        await self.restart({**stores, "lease": LEASE, "grace": GRACE})

    async def restart(self, store: Config) -> None:
        """A rolling restart into another configuration: one process after the other.

        What is started meanwhile for another reason has the new one too.
        """
        for process in self._locks:
            process.store = store
        await asyncio.gather(*map(self._restart, self._beside), self._restart(*self._processes))

    async def step(self, step: str, *, die_at: float | None = None) -> Any:
        """Let the worker take a step of the operator's until it is done; returns what it says.

        Args:
            step: see `steps`.
            die_at: at this part of it the worker is killed, once, and takes the step again.
        """
        path = f"/steps/{step}"
        if die_at is not None:
            async with self._locks[self._worker]:
                self._worker.ending = True
                try:
                    said = await self.balancer.ask(
                        "POST", path, to=self._worker, params={"die_at": die_at}
                    )
                except UnansweredError:
                    await asyncio.to_thread(self._worker.fall)
                else:
                    raise WrongError(f"{step} has not come to {die_at}: {said.text}")
                self.killed += 1
                await self._start(self._worker)
        while True:
            try:
                said = await self.balancer.ask("POST", path, to=self._worker)
            except UnansweredError:  # the worker has been killed
                continue
            self.tell(f"{step}: {said.status_code} {said.text}")
            if said.status_code == 200:
                return said.json()
            if said.status_code != 503:  # then a store was away
                raise WrongError(f"{step}: {said.status_code} {said.text}")
            await asyncio.sleep(PAUSE)

    async def _restart(self, *processes: ServiceProcess) -> None:
        for process in processes:
            async with self._locks[process]:
                await asyncio.to_thread(process.restart)
                self.tell(f"restarted {process.log.name}")

    async def _start(self, process: ServiceProcess) -> None:
        """As a supervisor does: again and again, as long as a server is away that it needs."""
        while True:
            began = asyncio.get_running_loop().time()
            try:
                return await asyncio.to_thread(process.start)
            except RuntimeError:
                if not self.balancer.had_outage(since=began):
                    raise

    async def unavailable_without(self, server: LocalProcess) -> None:
        """Likewise, a server that the service cannot do without."""
        async with self.balancer.outage():
            await self.without(server)
            # A process may lose its lease by it, a little later, and what was under way then.
            await asyncio.sleep(LEASE)

    async def without(self, server: LocalProcess) -> None:
        """A server is killed, and started again after a while."""
        await asyncio.to_thread(server.kill)
        self.tell(f"killed {server.name}")
        await asyncio.sleep(OUTAGE)
        await asyncio.to_thread(server.start)
        self.tell(f"started {server.name}")

    async def work(self, ended: asyncio.Event) -> None:
        """Clients ask and processes are killed until it is to end; then all documents are read."""
        choices = (random.Random(self._choices.random()) for _ in self._clients)
        pauses = zip(self._clients, choices, strict=True)
        tasks = [self._ask(client, ended, pause) for client, pause in pauses]
        await asyncio.gather(*tasks, self._walk(ended), self._kill(ended))
        reader = self._client("end")
        for process in self._processes:
            for key in self._keys:
                await reader.ask("get", key, to=process)
        await reader.walk()

    def tell(self, what: object) -> None:
        """Note what has happened now."""
        self.told.append(f"{time.monotonic() - self._began:7.2f} {what}")

    def findings(self) -> list[str]:
        """All that was wrong, in words."""
        return [*self.ledger.wrong, *audit(self.ledger)]

    async def _ask(self, client: Client, ended: asyncio.Event, choices: random.Random) -> None:
        while not ended.is_set():
            await client.step()
            await asyncio.sleep(choices.uniform(0, self.how.pause))

    async def _walk(self, ended: asyncio.Event) -> None:
        walker = self._client("walk")
        while not ended.is_set():
            await walker.walk()
            await asyncio.sleep(1)

    async def _kill(self, ended: asyncio.Event) -> None:
        choices = random.Random(self._choices.random())
        while not await _within(choices.uniform(*self.how.life), ended):
            process = choices.choice(self._processes)
            async with self._locks[process]:
                await asyncio.to_thread(process.kill)
                self.killed += 1
                self.tell(f"killed {process.log.name}")
                await self._start(process)

    def _client(self, name: str) -> Client:
        choices = random.Random(self._choices.random())
        return Client(name, self.balancer, self.ledger, self._keys, choices)


@asynccontextmanager
async def rolling(how: How, seed: int, store: Config, folder: Path) -> AsyncIterator[Roll]:
    """The service at work, which ends with this context; the ledger is kept in the folder.

    Args:
        how: see there.
        seed: fixes what the clients ask and which processes are killed, but no moment of it.
        store: its first configuration.
        folder: where the ledger is kept.
    """
    with (folder / "ledger.jsonl").open("w") as file:
        roll = Roll(how, seed, store, Ledger(file), folder)
        try:
            await roll.start()
            ended = asyncio.Event()
            work = asyncio.create_task(roll.work(ended))
            try:
                yield roll
            finally:
                ended.set()
                await work
        finally:
            await roll.close()


async def _fill(client: Client, keys: list[str]) -> None:
    for key in keys:
        await client.ask("create", key)


async def _within(seconds: float, event: asyncio.Event) -> bool:
    """Whether an event comes within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
