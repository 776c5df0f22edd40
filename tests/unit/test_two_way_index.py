import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import stamina
from harnesses import ATOMIC, ENGINES
from recording import RecordingAdaptor

from aiostore.errors import (
    ClosedError,
    ConflictError,
    CorruptRecordError,
    InvalidKeyError,
    InvalidValueError,
    NotFoundError,
    UnsupportedError,
)
from aiostore.limits import Limits
from aiostore.store import Store
from aiostore.testing import hostile
from aiostore.two_way_index import TwoWayIndex


@pytest.fixture
def engine() -> RecordingAdaptor:
    """What lies below the store."""
    return RecordingAdaptor()


@pytest.fixture
async def store(engine: RecordingAdaptor) -> AsyncIterator[Store]:
    """A store that is open."""
    async with Store(engine) as opened:
        yield opened


@pytest.fixture
def logins(store: Store) -> TwoWayIndex:
    """An empty index."""
    return store.two_way_index("logins")


async def pairs(index: TwoWayIndex) -> list[tuple[str, str]]:
    """All that it holds, of which each is found from both sides, and nothing else is stored."""
    found = [pair async for pair in index.pairs()]
    for left, right in found:
        assert await index.get_right(left) == right
        assert await index.get_left(right) == left
    return found


async def count(store: Store) -> int:
    """How many documents the index is made of."""
    return await store.collection("logins").count()


async def test_a_pair_is_found_from_both_sides(logins: TwoWayIndex) -> None:
    """By its left text and by its right one; not the other way round."""
    await logins.set("alice", "alice@example.org")
    assert await logins.get_right("alice") == "alice@example.org"
    assert await logins.get_left("alice@example.org") == "alice"
    assert await logins.get_left("alice", default=None) is None
    assert await logins.get_right("alice@example.org", default=0) == 0


async def test_a_text_may_be_on_both_sides(store: Store, logins: TwoWayIndex) -> None:
    """The two sides are apart, whatever the texts look like."""
    await logins.set("a", "a")
    await logins.set("left:a", "right:a")
    await logins.set("right:a", "left:a")
    expected = [("a", "a"), ("left:a", "right:a"), ("right:a", "left:a")]
    assert await pairs(logins) == expected
    assert await count(store) == 6


async def test_partners_are_released(store: Store, logins: TwoWayIndex) -> None:
    """Both texts of a new pair leave the pairs that they were in."""
    await logins.set("alice", "1")
    await logins.set("bob", "2")
    await logins.set("carol", "3")
    await logins.set("alice", "2")
    assert await pairs(logins) == [("alice", "2"), ("carol", "3")]
    assert await logins.get_right("bob", default=None) is None
    assert await logins.get_left("1", default=None) is None
    await logins.set("alice", "4")
    await logins.set("dave", "3")
    assert await pairs(logins) == [("alice", "4"), ("dave", "3")]
    assert await count(store) == 4


async def test_setting_again_changes_nothing(logins: TwoWayIndex, engine: RecordingAdaptor) -> None:
    """Not even a version."""
    await logins.set("alice", "1")
    before = dict(engine._collections["logins"])
    await logins.set("alice", "1")
    assert dict(engine._collections["logins"]) == before


@pytest.mark.parametrize("side", ["left", "right"])
async def test_a_pair_is_removed(side: str, store: Store, logins: TwoWayIndex) -> None:
    """By either text, both halves at once; the others stay."""
    await logins.set("alice", "1")
    await logins.set("bob", "2")
    if side == "left":
        await logins.remove(left="alice")
    else:
        await logins.remove(right="1")
    assert await pairs(logins) == [("bob", "2")]
    assert await count(store) == 2


Ask = Callable[[TwoWayIndex], Awaitable[object]]
MISSING: dict[str, tuple[Ask, str]] = {
    "get_right": (lambda index: index.get_right("a"), "left"),
    "get_left": (lambda index: index.get_left("a"), "right"),
    "remove left": (lambda index: index.remove(left="a"), "left"),
    "remove right": (lambda index: index.remove(right="a"), "right"),
}


@pytest.mark.parametrize(("ask", "side"), MISSING.values(), ids=MISSING)
async def test_a_missing_pair(ask: Ask, side: str, logins: TwoWayIndex) -> None:
    """Is told with its text and the side it was looked for on."""
    with pytest.raises(NotFoundError, match=f"this text on the {side}") as caught:
        await ask(logins)
    error = caught.value
    assert (error.store, error.collection, error.key) == ("memory://", "logins", "a")


async def test_removing_none_need_not_be_minded(logins: TwoWayIndex) -> None:
    """With `missing_ok`."""
    await logins.set("alice", "1")
    await logins.remove(left="bob", missing_ok=True)
    await logins.remove(right="2", missing_ok=True)
    assert await pairs(logins) == [("alice", "1")]


@pytest.mark.parametrize("texts", [{}, {"left": "a", "right": "b"}])
async def test_a_pair_is_removed_by_one_text(texts: dict[str, Any], logins: TwoWayIndex) -> None:
    """Both, or neither, is refused."""
    with pytest.raises(InvalidValueError, match="give one of the two") as caught:
        await logins.remove(**texts)
    assert (caught.value.store, caught.value.collection) == ("memory://", "logins")


async def test_pairs_come_in_order(logins: TwoWayIndex) -> None:
    """By code points of the left text."""
    for left, right in (("b", "1"), ("é", "2"), ("B", "3"), ("a", "4"), ("\U0001f600", "5")):
        await logins.set(left, right)
    assert await pairs(logins) == [
        ("B", "3"),
        ("a", "4"),
        ("b", "1"),
        ("é", "2"),
        ("\U0001f600", "5"),
    ]


@pytest.mark.parametrize("text", [key for key in hostile.KEYS if len(key.encode()) <= 506])
async def test_any_key_is_a_text(text: str, logins: TwoWayIndex) -> None:
    """On either side."""
    await logins.set(text, "its right")
    await logins.set("its left", text)
    assert await pairs(logins) == sorted([(text, "its right"), ("its left", text)])


@pytest.mark.parametrize("text", ["", "\0", "\ud800", "x" * 507, "é" * 254, 5, None])
async def test_other_texts_are_refused(text: Any, logins: TwoWayIndex) -> None:
    """As keys are, with 6 bytes less; before anything is sent."""
    asked: list[Awaitable[object]] = [
        logins.set(text, "a"),
        logins.set("a", text),
        logins.get_right(text),
        logins.get_left(text),
    ]
    if text is not None:
        asked += [logins.remove(left=text), logins.remove(right=text)]
    for one in asked:
        with pytest.raises(InvalidKeyError) as caught:
            await one
        assert (caught.value.store, caught.value.collection) == ("memory://", "logins")


async def test_a_long_text_is_told_the_limit(logins: TwoWayIndex) -> None:
    """506 bytes are enough and 507 are not."""
    await logins.set("x" * 506, "é" * 253)
    with pytest.raises(InvalidKeyError, match="507 bytes of UTF-8 and at most 506"):
        await logins.set("x" * 507, "a")


async def test_limits_can_be_lifted(engine: RecordingAdaptor) -> None:
    """With the store's, or moved."""
    async with Store(engine, limits=None) as store:
        index = store.two_way_index("logins")
        await index.set("x" * 10_000, "y" * 10_000)
        assert await index.get_left("y" * 10_000) == "x" * 10_000
    async with Store(engine, limits=Limits(key_bytes=10)) as store:
        with pytest.raises(InvalidKeyError, match="at most 4"):
            await store.two_way_index("logins").set("12345", "a")


async def test_an_index_needs_atomic_writes(engine: RecordingAdaptor) -> None:
    """A store without them has none; and its name is a collection's."""
    with pytest.raises(InvalidKeyError):
        Store(engine).two_way_index("a/b")
    engine.most = 0
    with pytest.raises(UnsupportedError, match="two-way indexes"):
        Store(engine).two_way_index("logins")


async def test_the_store_has_to_be_open(engine: RecordingAdaptor) -> None:
    """As for any verb."""
    index = Store(engine).two_way_index("logins")
    for ask in (index.set("a", "b"), index.get_left("a"), index.remove(left="a")):
        with pytest.raises(ClosedError):
            await ask
    with pytest.raises(ClosedError):
        await anext(index.pairs())


async def test_what_an_index_tells_of_itself(logins: TwoWayIndex) -> None:
    """Its name and its store."""
    assert logins.name == "logins"
    assert repr(logins) == "<TwoWayIndex 'logins' of memory://>"


CHANGES: dict[str, Ask] = {
    "set a-1": lambda index: index.set("a", "1"),
    "set a-2": lambda index: index.set("a", "2"),
    "set b-1": lambda index: index.set("b", "1"),
    "remove a": lambda index: index.remove(left="a"),
    "remove 1": lambda index: index.remove(right="1", missing_ok=True),
}


@pytest.mark.parametrize(
    ("stored", "change", "half"),
    [
        ({"left:a": "1"}, "set a-1", "left:a"),
        ({"left:a": "1"}, "set a-2", "left:a"),
        ({"left:a": "1"}, "remove a", "left:a"),
        ({"right:1": "a"}, "set a-1", "right:1"),
        ({"right:1": "a"}, "set b-1", "right:1"),
        ({"right:1": "a"}, "remove 1", "right:1"),
        ({"left:a": "1", "right:1": "b"}, "set a-2", "left:a"),
        ({"left:a": "1", "right:1": "b"}, "remove 1", "right:1"),
        ({"left:a": "1", "right:1": "b", "left:b": "1"}, "remove a", "left:a"),
        ({"left:a": ""}, "remove a", "left:a"),
        ({"left:a": "x" * 507}, "remove a", "left:a"),
    ],
)
async def test_half_a_pair_is_damage(
    *,
    stored: dict[str, str],
    change: str,
    half: str,
    store: Store,
    logins: TwoWayIndex,
    engine: RecordingAdaptor,
) -> None:
    """A change that meets it is refused, with the name of that half; nothing is written."""
    for key, partner in stored.items():
        await store.collection("logins").put(key, {"partner": partner})
    before = dict(engine._collections["logins"])
    with pytest.raises(CorruptRecordError, match="this is half a pair") as caught:
        await CHANGES[change](logins)
    error = caught.value
    assert (error.store, error.collection, error.key) == ("memory://", "logins", half)
    assert dict(engine._collections["logins"]) == before


async def test_a_document_that_is_no_half(store: Store, logins: TwoWayIndex) -> None:
    """Is told at every look at it."""
    await store.collection("logins").put("left:a", {"n": 1})
    for ask in (logins.get_right("a"), logins.set("a", "1"), anext(logins.pairs())):
        with pytest.raises(CorruptRecordError):
            await ask


async def test_a_pair_on_the_move_is_no_damage(
    logins: TwoWayIndex, engine: RecordingAdaptor
) -> None:
    """A change that meets another one half way begins again; it does not cry damage."""
    await logins.set("a", "1")
    first = len(engine.reads)

    async def move() -> None:
        if len(engine.reads) == first + 1:
            await logins.set("b", "1")

    engine.after_read = move
    with stamina.set_testing(True, attempts=3):
        await logins.set("a", "2")
    engine.after_read = None
    assert await pairs(logins) == [("a", "2"), ("b", "1")]


async def test_a_change_gives_up(logins: TwoWayIndex, engine: RecordingAdaptor) -> None:
    """When others come between too often it raises their conflict."""

    async def move() -> None:
        hook, engine.before_atomic = engine.before_atomic, None
        await logins.set("a", str(len(engine.atomic)))
        engine.before_atomic = hook

    engine.before_atomic = move
    with stamina.set_testing(True, attempts=3), pytest.raises(ConflictError):
        await logins.set("a", "1")
    engine.before_atomic = None
    assert len(await pairs(logins)) == 1


@pytest.mark.parametrize("engine_name", ATOMIC)
async def test_many_clients_at_once(engine_name: str, tmp_path: Path) -> None:
    """After many changes at once both directions agree everywhere, and no half is left over."""
    make = ENGINES[engine_name](tmp_path)
    adaptors = [make()]
    if make() is adaptors[0] or adaptors[0].capabilities.shared:
        adaptors.append(make())
    dice = random.Random(3)

    async def serve(index: TwoWayIndex) -> None:
        for _ in range(8):
            left, right = dice.choice("abcd"), dice.choice("1234")
            match dice.randrange(8):
                case 0:
                    await index.remove(left=left, missing_ok=True)
                case 1:
                    await index.remove(right=right, missing_ok=True)
                case _:
                    await index.set(left, right)
            await asyncio.sleep(0)

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Store(adaptor)) for adaptor in adaptors]
        indexes = [client.two_way_index("logins") for client in clients]
        with stamina.set_testing(True, attempts=10_000):
            await asyncio.gather(*(serve(indexes[number % len(indexes)]) for number in range(8)))
            await indexes[0].set("e", "5")  # so that there is a pair, whatever the dice removed
        left = await pairs(indexes[0])
        assert ("e", "5") in left
        assert len({right for _, right in left}) == len(left)
        assert await count(clients[0]) == 2 * len(left)
