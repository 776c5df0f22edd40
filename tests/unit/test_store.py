import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.channel import CONTROL_ID
from aiostore.errors import (
    BatchError,
    ClosedError,
    ConfigurationError,
    CorruptRecordError,
    InvalidKeyError,
    MigrationError,
    StoreError,
    UnavailableError,
)
from aiostore.filters import F
from aiostore.protocols import DocumentId, Mark, Newer, Outcome, Record, Write
from aiostore.store import Store
from aiostore.versions import VersionClock

ID = DocumentId("users", "alice")


class Gated(MemoryAdaptor):
    """Memory whose every step waits for its gate, and which counts its openings and closings."""

    def __init__(self) -> None:
        super().__init__("gated://")
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = asyncio.Event()
        self.failure: Exception | None = None
        self.opened = self.closed = 0

    async def pass_gate(self) -> None:
        self.waiting.set()
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure

    async def open(self) -> None:
        self.opened += 1
        await self.pass_gate()

    async def aclose(self) -> None:
        await self.gate.wait()
        self.closed += 1

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        await self.pass_gate()
        return await super().read(ids, consistent=consistent)

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        await self.pass_gate()
        return await super().write(writes)

    def shut(self) -> None:
        self.gate.clear()
        self.waiting.clear()


def record(id_: DocumentId, body: str | None, mark: Mark = Mark.LIVE) -> Record:
    """A record as another process would have left it."""
    return Record(id_, body, VersionClock().next(), created_at=0, updated_at=0, mark=mark)


async def poke(adaptor: MemoryAdaptor, standing: Record) -> None:
    """Put a record there behind the store's back."""
    await MemoryAdaptor.write(adaptor, [Write(standing, Newer())])


async def first_of_scan(store: Store) -> object:
    """Begin a scan and leave it."""
    return await anext(store.collection("users").scan())


async def transact(store: Store) -> None:
    """Write without having read."""
    async with store.transaction() as tx:
        tx.put(store.collection("users"), "alice", {})


VERBS: dict[str, Callable[[Store], Awaitable[object]]] = {
    "collections": lambda store: store.collections(),
    "get": lambda store: store.collection("users").get("alice", default=None),
    "get_many": lambda store: store.collection("users").get_many(["alice"]),
    "create": lambda store: store.collection("users").create("alice", {}),
    "put": lambda store: store.collection("users").put("alice", {}),
    "put_many": lambda store: store.collection("users").put_many({"alice": {}}),
    "put nothing": lambda store: store.collection("users").put_many({}),
    "replace": lambda store: store.collection("users").replace("alice", {}, version="1"),
    "update": lambda store: store.collection("users").update("alice", dict),
    "delete": lambda store: store.collection("users").delete("alice"),
    "delete exactly": lambda store: store.collection("users").delete("alice", version="1"),
    "delete_many": lambda store: store.collection("users").delete_many(["alice"]),
    "scan": first_of_scan,
    "find in order": lambda store: anext(store.collection("users").find(order_by="n")),
    "count some": lambda store: store.collection("users").count(F.n == 1),
    "transact": transact,
}
every_verb = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)


@every_verb
async def test_a_store_that_is_not_open_says_so(verb: Callable[[Store], Awaitable[object]]) -> None:
    """Before `open` every verb raises `ClosedError` with how to open."""
    with pytest.raises(ClosedError, match=r"async with open_store\(...\).*'memory://'"):
        await verb(Store(MemoryAdaptor()))


@every_verb
async def test_a_closed_store_says_so(verb: Callable[[Store], Awaitable[object]]) -> None:
    """After `aclose` every verb raises `ClosedError`."""
    async with Store(MemoryAdaptor()) as store:
        await store.collection("users").put("alice", {})
    with pytest.raises(ClosedError, match=r"the store is closed.*'memory://'"):
        await verb(store)


@every_verb
async def test_a_store_belongs_to_one_loop(verb: Callable[[Store], Awaitable[object]]) -> None:
    """From another event loop every verb raises a `StoreError` that says what to do."""

    async def elsewhere() -> None:
        await verb(store)

    async with Store(MemoryAdaptor()) as store:
        with pytest.raises(StoreError, match=r"one store for each loop.*'memory://'"):
            await asyncio.to_thread(asyncio.run, elsewhere())


async def test_another_loop_cannot_close_a_store() -> None:
    """Nor once it is being closed; the store stays as it is."""
    async with Store(MemoryAdaptor()) as store:
        with pytest.raises(StoreError, match="one store for each loop"):
            await asyncio.to_thread(asyncio.run, store.aclose())
        assert await store.collections() == []
    with pytest.raises(StoreError, match="one store for each loop"):
        await asyncio.to_thread(asyncio.run, store.aclose())


@every_verb
async def test_a_store_being_opened_refuses(verb: Callable[[Store], Awaitable[object]]) -> None:
    """Until `open` has returned nothing may be asked of the store, closing included."""
    adaptor = Gated()
    adaptor.shut()
    store = Store(adaptor)
    opening = asyncio.create_task(store.open())
    await adaptor.waiting.wait()
    with pytest.raises(ClosedError, match="still being opened"):
        await verb(store)
    with pytest.raises(ClosedError, match="being opened"):
        await store.aclose()
    adaptor.gate.set()
    assert await opening is store
    await store.aclose()


async def test_a_store_is_opened_once() -> None:
    """Neither an open nor a closed store opens again."""
    async with Store(MemoryAdaptor()) as store:
        with pytest.raises(ClosedError, match="opened once"):
            await store.open()
    with pytest.raises(ClosedError, match="opened once"):
        await store.open()


async def test_closing_is_idempotent() -> None:
    """Closing twice, at once or one after another, closes the adaptor once."""
    adaptor = Gated()
    store = await Store(adaptor).open()
    await asyncio.gather(store.aclose(), store.aclose())
    await store.aclose()
    assert (adaptor.opened, adaptor.closed) == (1, 1)


async def test_a_store_that_was_never_opened_can_be_closed() -> None:
    """There is nothing to close then, and it does not open any more."""
    adaptor = Gated()
    store = Store(adaptor)
    await store.aclose()
    with pytest.raises(ClosedError, match="opened once"):
        await store.open()
    assert (adaptor.opened, adaptor.closed) == (0, 0)


async def test_an_error_inside_the_block_closes_the_store() -> None:
    """It passes, and the store is closed."""
    adaptor = Gated()
    with pytest.raises(ZeroDivisionError):
        async with Store(adaptor):
            raise ZeroDivisionError
    assert adaptor.closed == 1


@every_verb
async def test_closing_waits_for_what_is_under_way(
    verb: Callable[[Store], Awaitable[object]],
) -> None:
    """An operation that has begun ends before the adaptor is closed; new ones are refused."""
    adaptor = Gated()
    store = await Store(adaptor).open()
    adaptor.shut()
    put = asyncio.create_task(store.collection("users").put("alice", {"age": 1}))
    await adaptor.waiting.wait()
    closing = asyncio.create_task(store.aclose())
    await asyncio.sleep(0)
    with pytest.raises(ClosedError, match="being closed"):
        await verb(store)
    assert adaptor.closed == 0
    adaptor.gate.set()
    await closing
    assert (await put).value == {"age": 1}
    assert adaptor.closed == 1


async def test_a_cancelled_caller_is_let_go() -> None:
    """Cancellation passes at once, and closing does not wait for the one who left."""
    adaptor = Gated()
    store = await Store(adaptor).open()
    adaptor.shut()
    put = asyncio.create_task(store.collection("users").put("alice", {}))
    await adaptor.waiting.wait()
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    adaptor.gate.set()
    await store.aclose()
    assert adaptor.closed == 1


async def test_closing_waits_for_the_last() -> None:
    """One of two operations that ends does not let the adaptor be closed under the other."""
    adaptor = Gated()
    store = await Store(adaptor).open()
    users = store.collection("users")
    adaptor.shut()
    first, second = (asyncio.create_task(users.put(key, {})) for key in "ab")
    await adaptor.waiting.wait()
    await asyncio.sleep(0)
    closing = asyncio.create_task(store.aclose())
    first.cancel()
    await asyncio.wait([first])
    assert not closing.done()
    adaptor.gate.set()
    await closing
    assert (await second).key == "b"


async def test_cancelling_a_close_does_not_stop_it() -> None:
    """The store goes on closing; who closes again waits for the end of it."""
    adaptor = Gated()
    store = await Store(adaptor).open()
    adaptor.shut()
    closing = asyncio.create_task(store.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert adaptor.closed == 0
    adaptor.gate.set()
    await store.aclose()
    assert adaptor.closed == 1


async def test_an_error_while_closing_is_told() -> None:
    """To everyone who closes, and the store counts as closed."""

    class Stubborn(MemoryAdaptor):
        async def aclose(self) -> None:
            raise UnavailableError("does not answer")

    store = await Store(Stubborn()).open()
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await store.aclose()
    with pytest.raises(ClosedError, match="the store is closed"):
        await store.collections()


async def test_a_failed_open_leaves_nothing() -> None:
    """The adaptor is closed, the error names the store, and the store cannot be used."""
    adaptor = Gated()
    adaptor.failure = ConfigurationError("wrong folder")
    store = Store(adaptor)
    with pytest.raises(ConfigurationError, match=r"wrong folder \(store 'gated://'\)"):
        await store.open()
    assert adaptor.closed == 1
    await store.aclose()
    assert adaptor.closed == 1
    with pytest.raises(ClosedError):
        await store.collections()


async def test_a_cancelled_open_leaves_nothing() -> None:
    """The adaptor is closed before cancellation passes."""
    adaptor = Gated()
    adaptor.shut()
    opening = asyncio.create_task(Store(adaptor).open())
    await adaptor.waiting.wait()
    opening.cancel()
    await asyncio.sleep(0)
    adaptor.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert adaptor.closed == 1


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ('{"refusal":"finish the migration first"}', MigrationError, "finish the migration"),
        ("{", CorruptRecordError, "is not JSON"),
        ('{"refusal":5}', CorruptRecordError, "does not fit"),
    ],
)
async def test_a_store_in_the_hands_of_a_migration_does_not_open(
    body: str, error: type[StoreError], message: str
) -> None:
    """A plain store on such data refuses with the migration's words, and is closed again."""
    adaptor = Gated()
    await poke(adaptor, record(CONTROL_ID, body))
    with pytest.raises(error, match=message) as caught:
        await Store(adaptor).open()
    assert caught.value.store == "gated://"
    assert adaptor.closed == 1


@pytest.mark.parametrize("body", ["{}", '{"refusal":null,"phase":"dual-write"}'])
async def test_a_migration_that_permits_it_lets_a_plain_store_open(body: str) -> None:
    """What a migration leaves behind does not hinder, and is not among the collections."""
    adaptor = MemoryAdaptor()
    await poke(adaptor, record(CONTROL_ID, body))
    async with Store(adaptor) as store:
        await store.collection("b").put("k", {})
        await store.collection("a").put("k", {})
        assert await store.collections() == ["a", "b"]


MARKED = [
    *("get", "get_many", "create", "put", "replace", "update", "delete", "delete exactly", "scan"),
    *("find in order", "count some", "transact"),
]


@pytest.mark.parametrize("body", ["{}", None], ids=["document", "born moved"])
@pytest.mark.parametrize("verb", MARKED)
async def test_a_marked_document_belongs_to_a_migration(verb: str, body: str | None) -> None:
    """A plain store neither reads nor overwrites what a migration has moved elsewhere."""
    adaptor = MemoryAdaptor()
    moved = record(ID, body, Mark.MOVED)
    if body is None:
        moved = replace(moved, version="0" * 32)
    await poke(adaptor, moved)
    async with Store(adaptor) as store:
        with pytest.raises(MigrationError, match="marked it 'moved'; this process") as caught:
            await VERBS[verb](store)
        assert (caught.value.store, caught.value.collection, caught.value.key) == (
            "memory://",
            "users",
            "alice",
        )
    assert await adaptor.read([ID]) == [moved]


async def test_of_many_writes_only_those_that_meet_a_mark_are_refused() -> None:
    """The others are done, and the error tells each from the other."""
    adaptor = MemoryAdaptor()
    await poke(adaptor, record(ID, "{}", Mark.MOVED))
    async with Store(adaptor) as store:
        users = store.collection("users")
        with pytest.raises(BatchError) as caught:
            await users.put_many({"alice": {}, "bob": {"n": 1}})
        assert type(caught.value.errors["alice"]) is MigrationError
        assert (await users.get("bob")).value == {"n": 1}


@pytest.mark.parametrize(
    "purge",
    [
        lambda store: store.collection("users").clear(),
        lambda store: store.collection("users").purge_expired(),
        lambda store: store.purge_expired(),
    ],
)
async def test_nothing_is_purged_that_a_migration_has_claimed(
    purge: Callable[[Store], Awaitable[object]],
) -> None:
    """A store that was opened before a migration needs its records leaves them alone then."""
    adaptor = MemoryAdaptor()
    born_moved = replace(record(ID, None, Mark.MOVED), version="0" * 32)
    async with Store(adaptor) as store:
        await poke(adaptor, born_moved)
        await poke(adaptor, record(CONTROL_ID, '{"refusal":"use the other one"}'))
        with pytest.raises(MigrationError, match="use the other one"):
            await purge(store)
    assert await adaptor.read([ID]) == [born_moved]


async def test_an_adaptors_error_gets_the_stores_name() -> None:
    """An error that the adaptor raised without a name is told with it; another name is kept."""
    adaptor = Gated()
    async with Store(adaptor) as store:
        adaptor.failure = UnavailableError("does not answer")
        with pytest.raises(UnavailableError, match="'gated://'"):
            await store.collection("users").get("alice")
        adaptor.failure = UnavailableError("does not answer", store="behind it")
        with pytest.raises(UnavailableError, match="'behind it'"):
            await store.collection("users").get("alice")


async def test_an_unknown_error_passes_as_it_is() -> None:
    """A fault of the adaptor's own is not dressed up."""
    adaptor = Gated()
    async with Store(adaptor) as store:
        adaptor.failure = ZeroDivisionError()
        with pytest.raises(ZeroDivisionError):
            await store.collection("users").get("alice")


async def test_a_store_may_be_closed_during_a_scan() -> None:
    """The scan is told at its next step, and what it held is released."""
    async with Store(MemoryAdaptor()) as store:
        users = store.collection("users")
        await users.put_many({f"{number:04}": {} for number in range(1000)})
        scan = users.scan()
        assert (await anext(scan)).key == "0000"
    with pytest.raises(ClosedError):
        async for _ in scan:
            pass
    with pytest.raises(StopAsyncIteration):
        await anext(scan)


async def test_what_a_store_tells_of_itself() -> None:
    """Its name and its capabilities are the adaptor's."""
    adaptor = MemoryAdaptor("memory://one")
    store = Store(adaptor)
    assert store.name == "memory://one"
    assert store.capabilities is adaptor.capabilities
    assert repr(store) == "<Store memory://one>"
    assert repr(store.collection("users")) == "<Collection 'users' of memory://one>"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("a/b",), InvalidKeyError),
        ((".aiostore",), InvalidKeyError),
        (("a", int), ConfigurationError),
    ],
)
def test_a_collection_is_checked_when_it_is_made(
    arguments: tuple[Any, ...], error: type[StoreError]
) -> None:
    """A name or a type that cannot be is told before the store is opened."""
    with pytest.raises(error):
        Store(MemoryAdaptor()).collection(*arguments)
