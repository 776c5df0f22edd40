"""What the DynamoDB adaptor and the store above it send again, how often, and what comes of it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
from dynamodb_proxy import ALWAYS, ANY, Fault, FaultProxy
from dynamodb_stores import AT_ONCE, Table, place, proxied_table, put, record
from msgspec.structs import replace
from servers import DYNAMODB_ENGINES

from aiostore import sending
from aiostore.adaptors.dynamodb import _connections
from aiostore.adaptors.dynamodb._batches import together
from aiostore.collection import Collection
from aiostore.documents import Document
from aiostore.errors import (
    AlreadyExistsError,
    BatchError,
    ConflictError,
    CorruptRecordError,
    NotFoundError,
    StoreError,
    UnavailableError,
)
from aiostore.filters import F
from aiostore.protocols import Absent, Check, Exactly, Newer, Scan, Write
from aiostore.store import Store
from aiostore.transaction import Transaction

Users = Collection[dict[str, Any]]

LOST = ["lost-request", "lost-answer"]


@pytest.fixture(params=DYNAMODB_ENGINES)
def table(request: pytest.FixtureRequest) -> Table:
    """A table on each engine."""
    return proxied_table(request.param)


@pytest.fixture
def complete() -> Table:
    """A table on the engine that lacks nothing. It does not remember tokens of transactions."""
    return proxied_table("dynamodb")


class Waits:
    """Time that passes by pauses alone; for the modules that the adaptor and the store take it of.

    Attributes:
        longest: of each pause, how long it might have been at most.
    """

    def __init__(self) -> None:
        self.longest: list[float] = []
        self._now = 1_000.0

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    def monotonic(self) -> float:
        return self._now

    def get_running_loop(self) -> "Waits":
        return self

    def time(self) -> float:
        return self._now

    def uniform(self, least: float, most: float) -> float:
        assert least == 0  # full jitter
        self.longest.append(most)
        return most

    async def sleep(self, seconds: float) -> None:
        self._now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """Pauses take no time, and are as long as they may be."""
    waits = Waits()
    for name in ("asyncio", "random", "time"):
        monkeypatch.setattr(_connections, name, waits)
    monkeypatch.setattr(sending, "asyncio", waits)
    return waits


async def stored(table: Table) -> dict[str, Document[dict[str, Any]]]:
    """All users, read past the proxy."""
    async with table.store() as store:
        return {document.key: document async for document in store.collection("users").scan()}


async def heard(proxy: FaultProxy, operation: str, number: int) -> None:
    """Wait for so many requests of an operation."""
    while proxy.counts[operation] < number:  # noqa: ASYNC110  # a proxy's requests are a plain list
        await asyncio.sleep(0)


Ask = Callable[[Users, str], Awaitable[Document[dict[str, Any]]]]

WRITES: dict[str, tuple[str, Ask]] = {
    "create": ("PutItem", lambda users, key: users.create(key, {"n": 2})),
    "put": ("PutItem", lambda users, key: users.put(key, {"n": 2})),
    "put over": ("PutItem", lambda users, key: users.put(key, {"n": 2})),
    "update": ("UpdateItem", lambda users, key: users.update(key, lambda value: {"n": 2})),
}
"""The verbs that write one document: by which request, and how. The last two need one."""


async def before(users: Users) -> dict[str, Document[dict[str, Any]]]:
    """Documents for the verbs that need one, each under the verb's own name."""
    return await users.put_many({"put over": {"n": 1}, "update": {"n": 1}})


@pytest.mark.parametrize("word", [*LOST, "truncated", "garbled"])
async def test_a_write_that_was_lost_takes_effect_once(table: Table, word: str) -> None:
    """It is sent again as it was, and the second answer is recognised to be about itself."""
    async with table.behind_proxy() as (store, proxy):
        users = store.collection("users")
        old = await before(users)
        documents = {}
        for verb, (operation, ask) in WRITES.items():
            proxy.requests.clear()
            proxy.script(operation, word, word)
            documents[verb] = await ask(users, verb)
            bodies = [each.body for each in proxy.requests if each.operation == operation]
            assert bodies == [bodies[0]] * 3
    assert await stored(table) == documents
    assert {document.value["n"] for document in documents.values()} == {2}
    assert documents["update"].created_at == old["update"].created_at


async def test_a_write_that_was_lost_overwrites_nobody(table: Table) -> None:
    """If another has written since, nobody can know what became of it, and that is said."""
    async with table.behind_proxy() as (store, proxy), table.store() as other:
        users = store.collection("users")
        await before(users)
        for verb, (operation, ask) in WRITES.items():
            proxy.requests.clear()
            again = asyncio.Event()
            proxy.faults = [Fault(operation, "lost-answer"), Fault(operation, "slow", until=again)]
            asking = asyncio.ensure_future(ask(users, verb))
            await heard(proxy, operation, 2)
            theirs = await other.collection("users").update(verb, lambda value: {"then": value})
            assert theirs.value == {"then": {"n": 2}}
            again.set()
            with pytest.raises(UnavailableError, match="not known whether the write took effect"):
                await asking
            assert await users.get(verb) == theirs


async def test_what_cannot_be_noticed(table: Table) -> None:
    """A creation that was lost, and whose document another has removed since, is done again.

    Nothing is left to recognise it by; this is the one limit that `aiostore.sending` names.
    """
    async with table.behind_proxy() as (store, proxy), table.store() as other:
        users = store.collection("users")
        await users.put("old", {})
        proxy.requests.clear()
        again = asyncio.Event()
        proxy.faults = [Fault("PutItem", "lost-answer"), Fault("PutItem", "slow", until=again)]
        creating = asyncio.ensure_future(users.create("new", {}))
        await heard(proxy, "PutItem", 2)
        await other.collection("users").delete("new")
        again.set()
        document = await creating
    assert (await stored(table))["new"] == document


@pytest.mark.parametrize("word", LOST)
async def test_the_first_write_of_a_collection(table: Table, word: str) -> None:
    """What is done before it, once, is repeated likewise."""
    async with table.behind_proxy() as (store, proxy):
        users = store.collection("users")
        proxy.faults = [Fault(ANY, word, times=2), Fault("PutItem", "pass"), Fault("PutItem", word)]
        document = await users.create("a", {})
        assert [each.word for each in proxy.requests if each.operation == "PutItem"] == [
            *("pass", word, "pass")
        ]
        assert await store.collections() == ["users"]
    assert await stored(table) == {"a": document}


async def test_a_deletion_that_was_lost(table: Table) -> None:
    """A request that was lost is made up for; a deletion leaves no trace to recognise it by."""
    async with table.behind_proxy() as (store, proxy):
        users = store.collection("users")
        documents = await users.put_many({key: {} for key in "abcd"})
        proxy.script("DeleteItem", "lost-request")
        await users.delete("a", version=documents["a"].version)
        proxy.script("DeleteItem", "lost-answer")
        await users.delete("b", missing_ok=True)
        proxy.script("DeleteItem", "lost-answer")
        await users.delete_many(["c", "x"])
        proxy.script("DeleteItem", "lost-answer")
        with pytest.raises(UnavailableError, match="not known"):
            await users.delete("d")
    assert await stored(table) == {}


@pytest.mark.parametrize("word", LOST)
async def test_a_batch_that_was_lost_in_part(table: Table, word: str) -> None:
    """What took effect recognises itself, what did not is made up for."""
    async with table.behind_proxy() as (store, proxy):
        users = store.collection("users")
        await users.put("b", {"n": 0})
        proxy.requests.clear()
        proxy.script("PutItem", "pass", word, "pass", word)
        values = {key: {"n": 1} for key in "abcde"}
        documents = await users.put_many(values)
        assert proxy.counts["PutItem"] == 10
    assert await stored(table) == documents
    assert {key: document.value for key, document in documents.items()} == values


READS: dict[str, tuple[str, Callable[[Store, Users], Awaitable[object]]]] = {
    "get": ("GetItem", lambda _, users: users.get("k1")),
    "get_many": ("BatchGetItem", lambda _, users: users.get_many(["k1", "k2", "x"])),
    "find": ("Query", lambda _, users: collected(users.find(F.n == 3))),
    "find the documents": ("BatchGetItem", lambda _, users: collected(users.find(F.n == 3))),
    "count": ("Query", lambda _, users: users.count()),
    "collections": ("Query", lambda store, _: store.collections()),
}


async def collected(documents: Any) -> list[Document[dict[str, Any]]]:
    """All of them."""
    return [document async for document in documents]


@pytest.mark.parametrize("word", LOST)
async def test_a_read_that_was_lost(table: Table, word: str) -> None:
    """It is asked for again, and answered as ever."""
    async with table.behind_proxy(index="n") as (store, proxy):
        users = store.collection("users", indexes=["n"])
        await users.put_many({f"k{number}": {"n": number % 5} for number in range(20)})
        await users.ensure_indexes()
        for operation, ask in READS.values():
            expected = await ask(store, users)
            proxy.requests.clear()
            proxy.script(operation, word, word)
            assert await ask(store, users) == expected
            assert [each.word for each in proxy.requests].count(word) == 2


@pytest.mark.parametrize("word", LOST)
async def test_a_scan_that_breaks_off_goes_on(table: Table, word: str) -> None:
    """Behind what has come: nothing is missing, and nothing comes twice."""
    async with table.behind_proxy() as (store, proxy):
        documents = await store.collection("users").put_many({f"k{n:03}": {} for n in range(150)})
        sender = sending.Sender(store.adaptor, AT_ONCE)

        async def found() -> list[str]:
            proxy.requests.clear()
            scan = Scan("users", chunk=10)
            return [one.id.key async for chunk in sender.scan(scan) for one in chunk]

        assert await found() == list(documents)
        asked = len(proxy.requests)
        assert asked > 8
        for number in range(0, asked - 1, 2):
            proxy.faults = [Fault("Query", "pass", times=number + 1), Fault("Query", word, times=3)]
            assert await found() == list(documents)
            assert word in [each.word for each in proxy.requests]


async def test_a_purge_that_was_lost(table: Table) -> None:
    """What has expired goes, and is not counted where the answer was lost; what has not stays."""
    async with table.behind_proxy() as (store, proxy):
        expired = [replace(record(f"k{number}"), expires_at=9) for number in range(10)]
        await store.adaptor.write([Write(one, Newer()) for one in expired])
        fresh = await store.collection("users").put("fresh", {})
        proxy.script("DeleteItem", "lost-answer", "lost-request")
        assert await store.collection("users").purge_expired() <= 9
        assert await store.adaptor.count("users") == 1
    assert await stored(table) == {"fresh": fresh}


async def test_a_purge_removes_nothing_fresh(table: Table) -> None:
    """What has been written since the purge looked stays."""
    async with table.behind_proxy() as (store, proxy), table.store() as other:
        await store.adaptor.write([Write(replace(record("a"), expires_at=9), Newer())])
        on = asyncio.Event()
        proxy.faults = [Fault("DeleteItem", "slow", until=on)]
        purging = asyncio.ensure_future(store.collection("users").purge_expired())
        await heard(proxy, "DeleteItem", 1)
        fresh = await other.collection("users").put("a", {})
        on.set()
        assert await purging == 0
    assert await stored(table) == {"a": fresh}


async def test_what_refused_a_write_may_go() -> None:
    """Where a refusal does not tell what it met, and it has gone since, it is written again."""
    table = proxied_table("dynalite")
    async with table.behind_proxy() as (store, proxy), table.store() as other:
        users = store.collection("users")
        await users.put("a", {"n": 1})
        on = asyncio.Event()
        proxy.requests.clear()
        proxy.faults = [Fault("GetItem", "slow", until=on)]
        creating = asyncio.ensure_future(users.create("a", {"n": 2}))
        await heard(proxy, "GetItem", 1)
        await other.collection("users").delete("a")
        on.set()
        document = await creating
        assert [each.operation for each in proxy.requests] == ["PutItem", "GetItem", "PutItem"]
    assert await stored(table) == {"a": document}


@pytest.mark.parametrize("word", LOST)
async def test_a_clearing_that_was_lost(table: Table, word: str) -> None:
    """It is not repeated, as what was written meanwhile would go with it; it may be asked again."""
    async with table.behind_proxy() as (store, proxy):
        users = store.collection("users")
        await users.put_many({f"k{number}": {} for number in range(40)})
        proxy.script("BatchWriteItem", word)
        with pytest.raises(UnavailableError):
            await users.clear()
        await users.clear()
    assert await stored(table) == {}


Change = Callable[[Transaction, Users], None]

CHANGES: dict[str, Change] = {
    "create": lambda tx, users: _ignored(tx.create(users, "new", {"n": 2})),
    "put over": lambda tx, users: _ignored(tx.put(users, "b", {"n": 2})),
    "replace": lambda tx, users: _ignored(tx.replace(users, "a", {"n": 2})),
    "delete": lambda tx, users: tx.delete(users, "b", missing_ok=True),
}
"""What a transaction may do, beside the document `a` that it has read."""


def _ignored(_: object) -> None:
    """For calls whose answer does not matter."""


MIXTURES = [
    *(["create"], ["put over"], ["replace"], ["create", "delete"]),
    *(["replace", "delete"], ["create", "put over", "replace"]),
]


@pytest.mark.parametrize("word", LOST)
@pytest.mark.parametrize("mixture", MIXTURES, ids="+".join)
async def test_a_transaction_that_was_lost_takes_effect_once(
    complete: Table, mixture: Sequence[str], word: str
) -> None:
    """It is recognised by the versions that it has written, also where no token is remembered."""
    async with complete.behind_proxy() as (store, proxy):
        users = store.collection("users")
        await users.put_many({"a": {"n": 1}, "b": {"n": 1}})
        proxy.requests.clear()
        proxy.script("TransactWriteItems", word, word)
        async with store.transaction() as tx:
            await tx.get(users, "a")
            for change in mixture:
                CHANGES[change](tx, users)
        sent = [each.body for each in proxy.requests if each.operation == "TransactWriteItems"]
        assert sent == [sent[0]] * 3
        assert "ClientRequestToken" in sent[0]
    expected = {"a": 1, "b": 1}
    for change, (key, value) in {
        "create": ("new", 2),
        "put over": ("b", 2),
        "replace": ("a", 2),
        "delete": ("b", None),
    }.items():
        if change in mixture and value is None:
            del expected[key]
        elif change in mixture and value is not None:
            expected[key] = value
    assert {key: one.value["n"] for key, one in (await stored(complete)).items()} == expected


async def test_a_transaction_of_deletions_that_was_lost(complete: Table) -> None:
    """It leaves no trace, so where no token is remembered it is not known what became of it."""
    async with complete.behind_proxy() as (store, proxy):
        users = store.collection("users")
        sender = sending.Sender(store.adaptor, AT_ONCE)
        for word in LOST:
            documents = await users.put_many({"a": {}, "b": {}})
            proxy.script("TransactWriteItems", word)
            items: list[Write | Check] = [
                Write(record(key, None), Exactly(documents[key].version), erase=True)
                for key in "ab"
            ]
            if word == "lost-request":
                assert all(outcome.applied for outcome in await sender.write_atomic(items))
            else:
                with pytest.raises(UnavailableError, match="not known"):
                    await sender.write_atomic(items)
            assert await users.get_many("ab") == {}
        tokens = [
            each.body["ClientRequestToken"]
            for each in proxy.requests
            if each.operation == "TransactWriteItems"
        ]
        assert tokens == [tokens[0], tokens[0], tokens[2], tokens[2]]  # which DynamoDB remembers


async def test_a_transaction_overwrites_nobody(complete: Table) -> None:
    """If another has written since to all of its documents, that is said, and theirs stand."""
    async with complete.behind_proxy() as (store, proxy), complete.store() as other:
        users = store.collection("users")
        again = asyncio.Event()
        proxy.faults = [
            Fault("TransactWriteItems", "lost-answer"),
            Fault("TransactWriteItems", "slow", until=again),
        ]

        async def create() -> None:
            async with store.transaction() as tx:
                for key in "ab":
                    tx.create(users, key, {"n": 1})

        creating = asyncio.ensure_future(create())
        await heard(proxy, "TransactWriteItems", 2)
        theirs = await other.collection("users").put_many({key: {"n": 2} for key in "ab"})
        again.set()
        with pytest.raises(UnavailableError, match="not known"):
            await creating
    assert await stored(complete) == theirs


async def test_transactions_that_differ_by_their_versions_have_two_tokens(complete: Table) -> None:
    """Two that delete the same are two, and one of them fails: DynamoDB takes one token for one."""
    async with complete.behind_proxy() as (store, proxy):
        standing = record("a")
        await store.adaptor.write([Write(standing, Newer())])
        proxy.requests.clear()
        erasures = [
            Write(record("a", None), Exactly(standing.version, unexpired_at=5), erase=True)
            for _ in range(2)
        ]
        outcomes = [(await store.adaptor.write_atomic([each]))[0] for each in erasures]
        assert [outcome.applied for outcome in outcomes] == [True, False]
        tokens = [each.body["ClientRequestToken"] for each in proxy.requests]
        assert len(set(tokens)) == 2


Call = Callable[[Store, Users], Awaitable[object]]


async def in_a_transaction(store: Store, users: Users) -> None:
    """Read one document, and write two."""
    async with store.transaction() as tx:
        await tx.get(users, "a")
        tx.put(users, "b", {})
        tx.create(users, "new", {})


CALLS: dict[str, tuple[str, Call]] = {
    "get": ("GetItem", lambda _, users: users.get("a")),
    "get_many": ("BatchGetItem", lambda _, users: users.get_many("abx")),
    "collections": ("Query", lambda store, _: store.collections()),
    "put": ("PutItem", lambda _, users: users.put("b", {})),
    "update": ("UpdateItem", lambda _, users: users.update("a", lambda value: {})),
    "delete": ("DeleteItem", lambda _, users: users.delete("a")),
    "clear": ("BatchWriteItem", lambda _, users: users.clear()),
    "transaction": ("TransactWriteItems", in_a_transaction),
}
"""A verb for each operation."""


def calls_of(table: Table) -> dict[str, tuple[str, Call]]:
    """Those that its engine has."""
    has = table.adaptor().capabilities.atomic_writes
    return {name: each for name, each in CALLS.items() if has or name != "transaction"}


async def test_what_was_throttled_is_sent_again(table: Table, waits: Waits) -> None:
    """After pauses, each of a random part of what grows from 25 milliseconds to 2 seconds."""
    async with table.behind_proxy() as (store, proxy):
        users = store.collection("users")
        for operation, call in calls_of(table).values():
            await users.clear()
            await users.put("a", {})
            proxy.requests.clear()
            waits.longest.clear()
            proxy.faults = [Fault(operation, "throttled", times=9)]
            await call(store, users)
            assert waits.longest == [0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
            words = [each.word for each in proxy.requests if each.operation == operation]
            assert words[:10] == ["throttled"] * 9 + ["pass"]


async def test_what_was_throttled_has_done_nothing(table: Table, waits: Waits) -> None:
    """A write that was throttled at first is one write: it is not taken for one that was lost."""
    async with table.behind_proxy() as (store, proxy), table.store() as other:
        users = store.collection("users")
        await users.put("a", {})
        theirs = await other.collection("users").put("b", {"n": 1})
        proxy.faults = [Fault("PutItem", "throttled", times=3)]
        with pytest.raises(AlreadyExistsError) as caught:
            await users.create("b", {})
        assert caught.value.current == theirs


async def test_a_table_that_is_opened_is_waited_for(table: Table, waits: Waits) -> None:
    """A table that is busy is opened a little later."""
    async with table.opened():
        pass
    async with FaultProxy(table.server.endpoint) as proxy:
        proxy.faults = [Fault(ANY, "throttled", times=5)]
        adaptor = table.adaptor_at(proxy.url)
        await adaptor.open()
        await adaptor.aclose()
    assert len(waits.longest) == 5


# Of 25 milliseconds doubled up to 2 seconds the first eleven pauses make ten seconds, the last of
# them cut short; so there are twelve requests.
IN_TEN_SECONDS = 12


@pytest.mark.parametrize("call", ["get", "put", "collections", "transaction"])
async def test_a_table_that_is_busy_for_ever(complete: Table, waits: Waits, call: str) -> None:
    """Who has waited for ten seconds is told, and the store above does not begin again.

    It repeats for five seconds at most, and those have passed.
    """
    operation, ask = CALLS[call]
    async with complete.behind_proxy() as (store, proxy):
        users = store.collection("users")
        await users.put("a", {})
        proxy.requests.clear()
        proxy.faults = [Fault(operation, "throttled", times=ALWAYS)]
        began = waits.monotonic()
        with pytest.raises(UnavailableError, match="raise it, or spread the load"):
            await ask(store, users)
        assert waits.monotonic() - began == pytest.approx(10)
        assert proxy.counts[operation] == IN_TEN_SECONDS


async def test_short_patience_is_the_stores(table: Table, waits: Waits) -> None:
    """Without patience of the adaptor's own the store repeats as what was lost: four attempts."""
    async with table.behind_proxy(throttle_patience=0) as (store, proxy):
        users = store.collection("users")
        await users.put("a", {})
        proxy.requests.clear()
        proxy.faults = [Fault(ANY, "throttled", times=ALWAYS)]
        for asking in (users.get("a"), users.put("a", {})):
            with pytest.raises(UnavailableError):
                await asking
        assert proxy.counts == {"GetItem": 4, "PutItem": 4}
        assert waits.longest == []


FOR_EVER: dict[str, dict[str, Any]] = {
    "it fails": {"word": "error", "status": 500},
    "it is away": {"word": "lost-request"},
    "its answers are lost": {"word": "lost-answer"},
    "its answers are damaged": {"word": "garbled"},
}


async def test_attempts_do_not_multiply(table: Table, waits: Waits) -> None:
    """Four requests for one document: the store's attempts, and the driver's and ours are one each.

    Of a batch there are as many, and then each document by itself, until two were in vain.
    """
    async with table.behind_proxy() as (store, proxy):
        users = store.collection("users")
        await users.put("a", {})

        async def asked(call: Awaitable[object], fault: Fault) -> dict[str, int]:
            proxy.requests.clear()
            proxy.faults = [fault]
            with pytest.raises((UnavailableError, BatchError)):
                await call
            proxy.heal()
            return dict(proxy.counts)

        keys = "abcde"
        for what in FOR_EVER.values():
            fault = Fault(ANY, times=ALWAYS, **what)
            assert await asked(users.get("a"), fault) == {"GetItem": 4}
            assert await asked(users.put("a", {}), fault) == {"PutItem": 4}
            assert await asked(users.get_many(keys), fault) == {"BatchGetItem": 4, "GetItem": 2}
            putting = users.put_many({key: {} for key in keys})
            assert await asked(putting, fault) == {"PutItem": 4 * 5 + 2}
            assert await asked(store.collections(), fault) == {"Query": 4}
    assert waits.longest == []


async def test_a_part_of_a_batch_of_reads(table: Table, waits: Waits) -> None:
    """What was left over is asked for at once if anything was answered, even that it is missing."""
    async with table.behind_proxy() as (store, proxy):
        users = store.collection("users")
        documents = await users.put_many({key: {"by": key} for key in "abcde"})
        for keys in ("abcde", "vwxyz", "vwabz"):
            proxy.requests.clear()
            proxy.faults = [Fault("BatchGetItem", "partial", keep=1, times=ALWAYS)]
            found = {key: documents[key] for key in keys if key in documents}
            assert await users.get_many(keys) == found
            asked = [each.body["RequestItems"][table.name]["Keys"] for each in proxy.requests]
            assert [len(each) for each in asked] == [5, 4, 3, 2, 1]
            assert waits.longest == []


async def test_a_batch_of_reads_without_progress(table: Table, waits: Waits) -> None:
    """There are pauses before what was left over is asked for, and an end of patience."""
    async with table.behind_proxy() as (store, proxy):
        users = store.collection("users")
        documents = await users.put_many({key: {"by": key} for key in "abcde"})
        proxy.faults = [
            Fault("BatchGetItem", "partial", keep=2),
            Fault("BatchGetItem", "partial", keep=0, times=3),
        ]
        assert await users.get_many("abcde") == documents
        assert waits.longest == [0.025, 0.05, 0.1]
        proxy.requests.clear()
        proxy.faults = [Fault("BatchGetItem", "partial", keep=0, times=ALWAYS)]
        with pytest.raises(UnavailableError, match="raise it, or spread the load"):
            await store.adaptor.read([place(key) for key in "abcde"])
        assert proxy.counts == {"BatchGetItem": IN_TEN_SECONDS}


async def test_a_part_of_a_batch_of_removals(table: Table, waits: Waits) -> None:
    """Likewise: nothing is forgotten, and what is busy for ever is told so."""
    async with table.behind_proxy() as (store, proxy):
        users = store.collection("users")
        await users.put_many({f"k{number:02}": {} for number in range(40)})
        proxy.faults = [Fault("BatchWriteItem", "partial", keep=3, times=8)]
        assert await users.clear() == 40
        assert waits.longest == []
        assert await store.adaptor.count("users") == 0
        await users.put_many({f"k{number:02}": {} for number in range(5)})
        proxy.faults = [Fault("BatchWriteItem", "partial", keep=0, times=2)]
        assert await users.clear() == 5
        assert len(waits.longest) == 2
        await users.put("a", {})
        proxy.requests.clear()
        proxy.faults = [Fault("BatchWriteItem", "partial", keep=0, times=ALWAYS)]
        with pytest.raises(UnavailableError, match="raise it, or spread the load"):
            await users.clear()
        assert proxy.counts["BatchWriteItem"] == IN_TEN_SECONDS
    assert set(await stored(table)) == {"a"}


def cancelled(*codes: str, items: Mapping[int, Mapping[str, Any]] | None = None) -> Fault:
    """A transaction that is cancelled for these reasons, one for each of its items."""
    reasons = [
        {"Code": code, "Message": f"it says {code}"}
        | ({"Item": items[number]} if items is not None and number in items else {})
        for number, code in enumerate(codes)
    ]
    details = {"CancellationReasons": reasons}
    code = "TransactionCanceledException"
    return Fault("TransactWriteItems", "error", code=code, details=details)


@pytest.mark.parametrize(
    "fault",
    [
        cancelled("None", "TransactionConflict"),
        cancelled("ConditionalCheckFailed", "TransactionConflict"),
        cancelled("ThrottlingError", "None"),
        cancelled("ProvisionedThroughputExceeded", "ThrottlingError"),
        Fault("TransactWriteItems", "error", code="TransactionInProgressException"),
        Fault("TransactWriteItems", "throttled"),
    ],
    ids=lambda fault: "+".join(_codes_of(fault)),
)
async def test_a_transaction_that_is_to_be_sent_again(
    complete: Table, waits: Waits, fault: Fault
) -> None:
    """Nothing was done, and it was not the fault of a condition alone: it is decided anew."""
    async with complete.behind_proxy() as (store, proxy):
        users = store.collection("users")
        await users.put("c", {})
        for times, writes in ((3, "ab"), (ALWAYS, "de")):
            fault.times = times
            proxy.faults = [fault]
            proxy.requests.clear()
            waits.longest.clear()
            items: list[Write | Check] = [put(key) for key in writes]
            if times == 3:
                outcomes = await store.adaptor.write_atomic(items)
                assert [outcome.applied for outcome in outcomes] == [True, True]
                assert waits.longest == [0.025, 0.05, 0.1]
            else:
                with pytest.raises(UnavailableError):
                    await store.adaptor.write_atomic(items)
                assert len(proxy.requests) == IN_TEN_SECONDS
            bodies = [each.body for each in proxy.requests]
            assert bodies == [bodies[0]] * len(bodies)
    assert set(await stored(complete)) == {"a", "b", "c"}


def _codes_of(fault: Fault) -> list[str]:
    reasons = (fault.details or {}).get("CancellationReasons", [])
    return [reason["Code"] for reason in reasons] or [fault.code]


@pytest.mark.parametrize(
    "fault",
    [
        cancelled("None", "ValidationError"),
        cancelled("ConditionalCheckFailed", "ValidationError"),
        cancelled("ItemCollectionSizeLimitExceeded", "None"),
        cancelled("ThrottlingError", "ValidationError"),
        cancelled("None", "None"),
        cancelled(),
        Fault("TransactWriteItems", "error", code="IdempotentParameterMismatchException"),
    ],
    ids=lambda fault: "+".join(_codes_of(fault)),
)
async def test_a_transaction_that_is_refused_for_good(
    complete: Table, waits: Waits, fault: Fault
) -> None:
    """It is no conflict, and sent once: nothing was done, and nothing would be."""
    async with complete.behind_proxy() as (store, proxy):
        users = store.collection("users")
        await users.put("c", {})
        fault.times = ALWAYS
        proxy.faults = [fault]
        proxy.requests.clear()
        for write in (
            store.adaptor.write_atomic([put("a"), put("b")]),
            in_a_transaction(store, users),
        ):
            with pytest.raises(StoreError, match="DynamoDB refused") as caught:
                await write
            assert type(caught.value) is StoreError
            await users.put("a", {})
        assert proxy.counts["TransactWriteItems"] == 2


async def test_reasons_are_told_by_item(complete: Table) -> None:
    """Which of its conditions have failed, and what stands there; of the others nothing is said."""
    async with complete.behind_proxy() as (store, _):
        standing = record("a")
        await store.adaptor.write([Write(standing, Newer())])
        new, other = record("b"), record("a")
        outcomes = await store.adaptor.write_atomic(
            [
                Write(new, Absent()),
                Write(other, Absent()),
                Check(place("c"), Exactly("7")),
                Check(place("d"), Absent()),
            ]
        )
        assert [outcome.applied for outcome in outcomes] == [True, False, False, True]
        assert [outcome.record for outcome in outcomes[1:3]] == [standing, None]


async def test_a_refusal_that_does_not_tell_what_it_met(complete: Table) -> None:
    """A server may leave the item out: then nothing is known to stand there."""
    async with complete.behind_proxy() as (store, proxy):
        users = store.collection("users")
        await users.put("a", {})
        proxy.faults = [cancelled("ConditionalCheckFailed", "None", "None")]
        with pytest.raises(ConflictError) as caught:
            await in_a_transaction(store, users)
        assert caught.value.current is None


async def test_a_write_that_meets_a_transaction(table: Table, waits: Waits) -> None:
    """A conflict with a transaction says nothing of the document: the write is sent again."""
    async with table.behind_proxy() as (store, proxy):
        users = store.collection("users")
        await users.put("a", {})
        for code in ("TransactionConflictException", "ReplicatedWriteConflictException"):
            for operation, ask in (
                ("PutItem", users.create("b", {})),
                ("UpdateItem", users.update("b", lambda value: {})),
                ("DeleteItem", users.delete("b")),
            ):
                waits.longest.clear()
                proxy.faults = [Fault(operation, "error", code=code, times=2)]
                await ask
                assert waits.longest == [0.025, 0.05]


@pytest.mark.parametrize("verb", ["put_many", "delete_many"])
async def test_one_of_a_batch_fails_for_good(table: Table, verb: str) -> None:
    """What is wrong with one document is its own: the others are done."""
    async with table.store() as store:
        users = store.collection("users")
        await users.put_many({key: {"n": 1} for key in "abc"})
        await damage(table, "b")
        values = {key: {"n": 2} for key in "abc"}
        with pytest.raises(BatchError) as caught:
            await (users.put_many(values) if verb == "put_many" else users.delete_many(values))
        assert list(caught.value.errors) == ["b"]
        assert set(caught.value.done) == {"a", "c"}
        error = caught.value.errors["b"]
        assert isinstance(error.__cause__ or error, CorruptRecordError)
        with pytest.raises(CorruptRecordError):
            await users.get("b")
        if verb == "put_many":
            assert [(await users.get(key)).value for key in "ac"] == [{"n": 2}] * 2
        else:
            with pytest.raises(NotFoundError):
                await users.get("a")


async def damage(table: Table, key: str) -> None:
    """Make an item one that is no record of ours, and that no version is smaller than."""
    [item] = [each for each in (await table.call("scan"))["Items"] if each["sk"]["S"] == key]
    await table.call("put_item", Item=item | {"version": {"S": "z"}, "created": {"N": "0.5"}})


@pytest.mark.parametrize("code", ["AccessDeniedException", "ValidationException"])
async def test_one_of_a_batch_is_refused_at_first(table: Table, code: str) -> None:
    """To the adaptor's caller it is not known what a batch has done; the store finds it out."""
    async with table.behind_proxy() as (store, proxy):
        users = store.collection("users")
        await users.put("x", {})
        proxy.faults = [Fault("PutItem", "pass"), Fault("PutItem", "error", code=code)]
        with pytest.raises(UnavailableError, match="a part of the batch was refused"):
            await store.adaptor.write([put("a"), put("b"), put("c")])
        proxy.faults = [Fault("PutItem", "pass"), Fault("PutItem", "error", code=code)]
        documents = await users.put_many({key: {} for key in "abc"})
    assert await stored(table) == documents | {"x": (await stored(table))["x"]}


@pytest.mark.parametrize("turns", range(4))
async def test_a_cancellation_outweighs_an_error(turns: int) -> None:
    """Who is cancelled when one of several requests fails is cancelled, and not told the error."""
    fails = asyncio.Event()
    left = 0

    async def failing() -> None:
        await fails.wait()
        raise UnavailableError("away")

    async def waiting() -> None:
        nonlocal left
        left += 1
        try:
            await asyncio.sleep(60)
        finally:
            left -= 1

    task = asyncio.create_task(together([failing(), waiting(), waiting()]))
    while left < 2:  # noqa: ASYNC110  # a plain number
        await asyncio.sleep(0)
    fails.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    assert task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left == 0


async def test_an_error_of_many_requests_is_no_cancellation() -> None:
    """Nothing of it stays on the caller's task, so a timeout around it still ends as one."""

    async def failing() -> None:
        await asyncio.sleep(0)
        raise UnavailableError("away")

    task = asyncio.current_task()
    assert task is not None
    with pytest.raises(UnavailableError):
        await together([failing(), asyncio.sleep(60)])
    assert task.cancelling() == 0
