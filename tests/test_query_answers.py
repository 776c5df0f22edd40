"""Every store's answers to any query, held to the reference, which is `matches` and `place_of`."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from harnesses import MigrationHarness, engine_harness
from hypothesis import given, settings
from hypothesis import strategies as st

from aiostore.collection import Collection
from aiostore.filters import (
    And,
    Compare,
    Contains,
    Exists,
    Filter,
    In,
    Not,
    Or,
    Order,
    Prefix,
    Text,
    matches,
    place_of,
)
from aiostore.testing import Harness
from aiostore.testing.questions import Question, filter_of, holds, ordered
from aiostore.testing.strategies import ODD_NAMES, PLAIN_NAMES, documents, filters

STACKS = [
    *("memory", "file", "sqlite", "postgresql", "mariadb"),
    *("dynalite", "memory-to-file", "sqlite-to-memory", "postgresql-to-mariadb"),
]
PATHS = st.lists(st.sampled_from(PLAIN_NAMES + ODD_NAMES), min_size=1, max_size=2).map(tuple)
ORDERS = st.lists(st.builds(Order, PATHS, st.booleans()), max_size=2)


@pytest.fixture(params=STACKS)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Harness:
    """One engine or migration, with nothing in it."""
    current, _, target = request.param.partition("-to-")
    if target:
        return MigrationHarness(current, target, tmp_path)
    return engine_harness(current, tmp_path)


def test_any_query_is_answered_as_the_reference_does(harness: Harness) -> None:
    """Found, counted, sorted and cut into pages: the same on every store."""

    @settings(max_examples=40)
    @given(st.data())
    def hold(data: st.DataObject) -> None:
        values = data.draw(st.lists(documents(), max_size=8))
        where = data.draw(st.none() | filters(about=values))
        order = data.draw(ORDERS)
        size = data.draw(st.integers(1, 9))
        stored = {f"k{number}": value for number, value in enumerate(values)}
        runner.run(_hold(store.collection(harness.collection()), stored, where, order, size))

    # The loop of its own is not made the thread's, so that pytest's stays what it was.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        opened = harness.store()
        store = runner.run(opened.__aenter__())
        try:
            hold()
        finally:
            runner.run(opened.__aexit__(None, None, None))


async def _hold(
    collection: Collection[dict[str, Any]],
    stored: dict[str, dict[str, Any]],
    where: Filter | None,
    order: list[Order],
    size: int,
) -> None:
    await collection.put_many(stored)
    keys = [key for key, value in stored.items() if where is None or matches(where, value)]
    found = [document.key async for document in collection.find(where)]
    assert found == keys
    assert await collection.count(where) == len(keys)
    for one in reversed(order):
        keys.sort(key=lambda key: place_of(stored[key], [one]), reverse=one.descending)
    found = [document.key async for document in collection.find(where, order_by=order)]
    assert found == keys
    first = [document.key async for document in collection.find(where, order_by=order, limit=size)]
    assert first == keys[:size]
    page = await collection.page(where, order_by=order, size=size)
    paged = page.documents
    while page.next_cursor is not None:
        page = await collection.page(where, order_by=order, size=size, cursor=page.next_cursor)
        paged += page.documents
    assert [document.key for document in paged] == keys
    assert {document.key: document.value for document in paged} == {
        key: stored[key] for key in keys
    }


@given(st.data())
def test_the_kits_own_judgement_is_the_reference(data: st.DataObject) -> None:
    """Two evaluators that share no code agree, so a mistake would have to be made twice."""
    values = data.draw(st.lists(documents(), min_size=1, max_size=5))
    where = data.draw(filters(about=values))
    question = _question(where)
    for value in values:
        assert holds(question, value) == matches(where, value)
    assert all(matches(filter_of(question), value) == matches(where, value) for value in values)
    order = data.draw(ORDERS)
    stored = {f"k{number}": value for number, value in enumerate(values)}
    keys = list(stored)
    for one in reversed(order):
        keys.sort(key=lambda key: place_of(stored[key], [one]), reverse=one.descending)
    assert ordered(stored, [(one.path, one.descending) for one in order]) == keys


def test_a_question_has_a_form() -> None:
    """What is no question is refused by either side of the kit's judgement."""
    for nonsense in (("nothing",), ()):
        with pytest.raises(ValueError, match="is no question"):
            filter_of(nonsense)
        with pytest.raises(ValueError, match="is no question"):
            holds(nonsense, {})


def _question(where: Filter) -> Question:  # noqa: PLR0911  # one for each kind
    match where:
        case And(parts=parts) | Or(parts=parts):
            first, second, *rest = map(_question, parts)
            name = "and" if isinstance(where, And) else "or"
            joined: Question = (name, first, second)
            for one in rest:
                joined = (name, joined, one)
            return joined
        case Not(part=part):
            return ("not", _question(part))
        case Text(text=text):
            return ("text", text)
        case Compare(path=path, operator=operator, value=value):
            return (operator, path, value)
        case In(path=path, values=values):
            return ("in", path, list(values))
        case Prefix(path=path, text=text):
            return ("prefix", path, text)
        case Contains(path=path, item=item):
            return ("contains", path, item)
        case Exists(path=path):
            return ("exists", path)
