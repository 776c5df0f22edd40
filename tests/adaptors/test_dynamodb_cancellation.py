"""A caller who goes away in the midst of a request: documents are whole, and nothing is left."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from dynamodb_proxy import ANY, Fault, FaultProxy
from dynamodb_stores import Table, proxied_table
from servers import DYNAMODB_ENGINES

from aiostore.collection import Collection
from aiostore.store import Store

Users = Collection[dict[str, Any]]
Values = dict[str, Any]

OLD: dict[str, Values] = {key: {"n": 1} for key in ("a", "b", "c")}
BEFORE_AND_AFTER = ["slow", "late"]
"""It reaches the server only when its caller has gone; or it was done, and nobody hears of it."""


@pytest.fixture(params=DYNAMODB_ENGINES)
def table(request: pytest.FixtureRequest) -> Table:
    """A table on each engine."""
    return proxied_table(request.param)


@pytest.fixture(autouse=True)
async def nothing_is_unclosed() -> AsyncIterator[None]:
    """A client or a connection that nobody has closed says so when it is collected."""
    yield
    gc.collect()


async def in_a_transaction(store: Store, users: Users) -> None:
    """Read one document, change it and another, and remove a third."""
    async with store.transaction() as tx:
        document = await tx.get(users, "a")
        tx.replace(users, "a", {"n": document.value["n"] + 1})
        tx.put(users, "b", {"n": 2})
        tx.delete(users, "c", missing_ok=True)


async def scanned(users: Users) -> None:
    """Walk through all."""
    async for _ in users.scan():
        pass


Call = Callable[[Store, Users], Awaitable[object]]

CALLS: dict[str, tuple[Call, dict[str, list[Values | None]]]] = {
    "put": (lambda _, users: users.put("a", {"n": 2}), {"a": [{"n": 1}, {"n": 2}]}),
    "create": (lambda _, users: users.create("d", {"n": 2}), {"d": [None, {"n": 2}]}),
    "update": (
        lambda _, users: users.update("a", lambda value: {"n": 2}),
        {"a": [{"n": 1}, {"n": 2}]},
    ),
    "delete": (lambda _, users: users.delete("a"), {"a": [{"n": 1}, None]}),
    "put_many": (
        lambda _, users: users.put_many({key: {"n": 2} for key in "abd"}),
        {"a": [{"n": 1}, {"n": 2}], "b": [{"n": 1}, {"n": 2}], "d": [None, {"n": 2}]},
    ),
    "get_many": (lambda _, users: users.get_many("ab"), {}),
    "scan": (lambda _, users: scanned(users), {}),
    "clear": (
        lambda _, users: users.clear(),
        {key: [{"n": 1}, None] for key in OLD},
    ),
    "transaction": (
        in_a_transaction,
        {"a": [{"n": 1}, {"n": 2}], "b": [{"n": 1}, {"n": 2}], "c": [{"n": 1}, None]},
    ),
}
"""Each with what may stand afterwards, where it is something else than before."""


async def cancelled_at(
    proxy: FaultProxy, number: int, word: str, call: Awaitable[object]
) -> asyncio.Event:
    """Cancel a call when one of its requests is under way; the event lets that go on."""
    on = asyncio.Event()
    proxy.requests.clear()
    proxy.faults = [Fault(ANY, "pass", times=number)] if number else []
    proxy.faults.append(Fault(ANY, word, until=on))
    calling = asyncio.ensure_future(call)
    while len(proxy.requests) <= number:  # noqa: ASYNC110  # a proxy's requests are a plain list
        await asyncio.sleep(0)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    proxy.heal()
    return on


async def closed(proxy: FaultProxy) -> None:
    """Wait until no connection of a client is left; the test ends in time, or never."""
    while proxy.connections:  # noqa: ASYNC110  # likewise
        await asyncio.sleep(0)


RUNS = [
    (engine, name)
    for engine in DYNAMODB_ENGINES
    for name in CALLS
    if (engine, name) != ("dynalite", "transaction")  # it has none
]


@pytest.mark.parametrize("word", BEFORE_AND_AFTER)
@pytest.mark.parametrize(("engine", "name"), RUNS)
async def test_a_caller_who_goes_away(engine: str, name: str, word: str) -> None:
    """At whichever of its requests: each document is the old or the new one, all goes on."""
    call, changed = CALLS[name]
    table = proxied_table(engine)
    async with FaultProxy(table.server.endpoint) as proxy:
        async with Store(table.adaptor_at(proxy.url)) as store:
            users = store.collection("users")

            async def renew() -> None:
                await users.clear()
                await users.put_many(OLD)

            await renew()
            proxy.requests.clear()
            await call(store, users)
            for number in range(len(proxy.requests)):
                await renew()
                on = await cancelled_at(proxy, number, word, call(store, users))
                found = await values_of(users)
                assert_whole(name, found, changed)
                on.set()
                await users.put("e", {})
                await users.delete("e")
        await closed(proxy)
    async with table.store() as store:
        assert_whole(name, await values_of(store.collection("users")), changed)


async def values_of(users: Users) -> dict[str, Values]:
    """All that stands there."""
    return {document.key: document.value async for document in users.scan()}


def assert_whole(
    name: str, found: dict[str, Values], changed: dict[str, list[Values | None]]
) -> None:
    """Each document is the old or the new one; of a transaction all are."""
    for key in OLD.keys() | found.keys() | changed.keys():
        assert found.get(key) in changed.get(key, [OLD.get(key)]), key
    if name == "transaction":
        assert len({options.index(found.get(key)) for key, options in changed.items()}) == 1


@pytest.mark.parametrize("word", BEFORE_AND_AFTER)
async def test_an_opening_that_is_given_up(table: Table, word: str) -> None:
    """At whichever of its requests, those that make the table among them: the next one goes on."""
    number = 0
    while await is_given_up(Table(table.server), number, word):
        number += 1
    assert number >= 6


async def is_given_up(table: Table, number: int, word: str) -> bool:
    """Cancel an opening at one of its requests, and open again; false if there are fewer."""
    async with FaultProxy(table.server.endpoint) as proxy:
        adaptor = table.adaptor_at(proxy.url)
        on = asyncio.Event()
        proxy.faults = [Fault(ANY, "pass", times=number)] if number else []
        proxy.faults.append(Fault(ANY, word, until=on))
        opening = asyncio.create_task(adaptor.open())
        while len(proxy.requests) <= number and not opening.done():  # noqa: ASYNC110  # likewise
            await asyncio.sleep(0)
        given_up = opening.cancel()
        if given_up:
            with pytest.raises(asyncio.CancelledError):
                await opening
        await adaptor.aclose()
        async with table.store() as store:
            users = store.collection("users")
            await users.put("a", {})
            on.set()
            assert await store.collections() == ["users"]
        await closed(proxy)
    return given_up


@pytest.mark.parametrize("turns", [0, 1, 2, 5, 20, 100])
async def test_an_opening_that_is_given_up_before_its_first_request(
    table: Table, turns: int
) -> None:
    """While the driver is being made, too."""
    adaptor = table.adaptor()
    opening = asyncio.create_task(adaptor.open())
    for _ in range(turns):
        await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await adaptor.aclose()
    await adaptor.open()
    await adaptor.aclose()
