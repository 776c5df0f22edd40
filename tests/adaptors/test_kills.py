"""Servers and clients that are killed under load: what was acknowledged is there, whole."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from local_servers import LocalServer
from processes import TRANSFER, child
from servers import private_server

import aiostore
from aiostore.collection import Collection
from aiostore.errors import UnavailableError
from aiostore.opening import open_adaptor
from aiostore.protocols import DocumentId
from aiostore.store import Store

WRITERS = 6
KILLS = 3


@dataclass
class Counter:
    """A number that only grows, kept in documents.

    Attributes:
        attempted: the largest that was sent.
        acknowledged: the largest that was acknowledged.
        grown: set whenever one is.
    """

    attempted: int = 0
    acknowledged: int = 0
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    def acknowledge(self) -> None:
        """What was sent last has been acknowledged."""
        self.acknowledged = self.attempted
        self.grown.set()


@dataclass
class Load:
    """Writers on one store, each with documents of its own.

    Attributes:
        store: the store.
        puts: the counters of single documents, by key.
        pairs: those of pairs of documents that are written together, by the key of the first.
        unavailable: how many writes were not answered.
    """

    store: Store
    puts: dict[str, Counter] = field(default_factory=dict)
    pairs: dict[str, Counter] = field(default_factory=dict)
    unavailable: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the writers write; raises what any of them met but that nothing answered."""
        stopping = asyncio.Event()
        async with asyncio.TaskGroup() as writers:
            for number in range(WRITERS):
                put, pair = Counter(), Counter()
                self.puts[f"put{number}"], self.pairs[f"pair{number}"] = put, pair
                writers.create_task(self._put(f"put{number}", put, stopping))
                writers.create_task(self._put_pair(f"pair{number}", pair, stopping))
            try:
                yield
            finally:
                stopping.set()

    async def grow(self, times: int) -> None:
        """Wait until every writer's writes have been acknowledged so many more times."""
        for _ in range(times):
            for counter in (*self.puts.values(), *self.pairs.values()):
                counter.grown.clear()
            for counter in (*self.puts.values(), *self.pairs.values()):
                await counter.grown.wait()

    async def check(self) -> None:
        """All that was acknowledged is there, and no half of a pair."""
        numbers = self.store.collection("numbers")
        for key, counter in self.puts.items():
            found = (await numbers.get(key)).value["n"]
            assert counter.acknowledged <= found <= counter.attempted, key
        for key, counter in self.pairs.items():
            one, other = await numbers.get(key), await numbers.get(f"{key}'")
            assert one.value == other.value, key
            assert counter.acknowledged <= one.value["n"] <= counter.attempted, key

    async def _put(self, key: str, counter: Counter, stopping: asyncio.Event) -> None:
        numbers = self.store.collection("numbers")
        while not stopping.is_set():
            counter.attempted += 1
            try:
                await numbers.put(key, {"n": counter.attempted})
            except UnavailableError:
                self.unavailable += 1
            else:
                counter.acknowledge()

    async def _put_pair(self, key: str, counter: Counter, stopping: asyncio.Event) -> None:
        numbers = self.store.collection("numbers")
        while not stopping.is_set():
            counter.attempted += 1
            try:
                await put_pair(self.store, numbers, key, counter.attempted)
            except UnavailableError:
                self.unavailable += 1
            else:
                counter.acknowledge()


async def put_pair(
    store: Store, numbers: Collection[dict[str, int]], key: str, number: int
) -> None:
    """Write the same number into two documents at once."""
    async with store.transaction() as transaction:
        for one in (key, f"{key}'"):
            await transaction.get(numbers, one, default=None)
            transaction.put(numbers, one, {"n": number})


@pytest.fixture(params=["postgresql", "mariadb"])
def database(request: pytest.FixtureRequest) -> Iterator[LocalServer]:
    """A server that this test may kill, and that keeps what it has acknowledged."""
    with private_server(request.param) as started:
        yield started


@pytest.fixture
def store(database: LocalServer) -> Store:
    """A store there, not yet open."""
    return aiostore.open_store(f"{database.url}?reconnect_timeout=60")


async def test_a_server_that_is_killed_loses_nothing(database: LocalServer, store: Store) -> None:
    """It is waited for, and every acknowledged write is there, no pair of documents by half."""
    load = Load(store)
    async with store:
        async with load.running():
            await load.grow(3)
            for _ in range(KILLS):
                await asyncio.to_thread(database.kill)
                await asyncio.to_thread(database.restart)
                await load.grow(3)
        await load.check()


async def test_a_server_that_stays_away_is_told(database: LocalServer) -> None:
    """As `UnavailableError`, after the time allowed; when it is back, the store goes on."""
    url = f"{database.url}?reconnect_timeout=0.05"
    store = await asyncio.to_thread(aiostore.open_store, url)
    async with store:
        users = store.collection("users")
        document = await users.put("alice", {"n": 1})
        await asyncio.to_thread(database.kill)
        with pytest.raises(UnavailableError, match="cannot be reached, or went away"):
            await users.put("alice", {"n": 2})
        with pytest.raises(UnavailableError):
            await users.get("alice")
        await asyncio.to_thread(database.restart)
        assert await users.get("alice") == document
        assert (await users.replace("alice", {"n": 3}, version=document.version)).value == {"n": 3}


ENGINES = ["sqlite", "postgresql", "mariadb"]


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty store that keeps what it has acknowledged."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'app.db'}"
        return
    with private_server(request.param) as started:
        yield started.url


async def test_clients_that_are_killed_leave_no_half(url: str) -> None:
    """Of processes that move money, killed in the midst of it: none is lost, and no transfer."""
    accounts = [DocumentId(f"bank-{n % 3}", f"account-{n}") for n in range(6)]
    latest: dict[DocumentId, str] = {}
    for _ in range(3):
        with ExitStack() as running:
            clients = [running.enter_context(child(TRANSFER, url)) for _ in range(2)]
            for client in clients:
                assert client.stdout is not None
                lines = [await asyncio.to_thread(client.stdout.readline) for _ in range(20)]
                client.kill()
                lines += (await asyncio.to_thread(client.stdout.read)).splitlines(keepends=True)
                for line in lines:
                    if line.endswith("\n"):
                        collection, key, version = line.split()
                        id_ = DocumentId(collection, key)
                        latest[id_] = max(version, latest.get(id_, ""))
    adaptor = await asyncio.to_thread(open_adaptor, url)
    await adaptor.open()
    try:
        found = await adaptor.read(accounts)
        amounts = [msgspec.json.decode(one.body or "{}")["amount"] for one in found if one]
        assert len(amounts) == 6
        assert sum(amounts) == 600
        assert all(one.version >= latest.get(one.id, "") for one in found if one)
    finally:
        await adaptor.aclose()
