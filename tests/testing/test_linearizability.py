"""The judge of histories, the histories it judges, and the wrong adaptors that these find."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise, permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from register_histories import (
    GET,
    GONE,
    NOT_FOUND,
    RIGHT,
    WRONG,
    Lines,
    create,
    delete,
    done,
    exists,
    operations,
    put,
    swap,
)

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.conditions import decide
from aiostore.protocols import DocumentId, Exactly, Outcome, Record, Write
from aiostore.store import Store
from aiostore.testing import CheckFailedError, Faults, FaultyAdaptor, Harness
from aiostore.testing.checks.linearizability import (
    CHURN,
    FAULTS,
    ONE_STORE,
    Scenario,
    histories,
    history_of,
)
from aiostore.testing.histories import Client, Habits, History
from aiostore.testing.linearizability import Model, Operation, Refusal, find_anomaly
from aiostore.testing.registers import DocumentOperation, Register, find_anomalies

LATE = replace(
    FAULTS,
    name="late",
    habits=Habits(verbs=("get", "create", "put", "replace", "update"), cancelling=0.15),
    late=0.1,
)
"""Without deletions: after one, a write that is repeated, and late, would take effect twice."""
BESIDE = replace(CHURN, name="beside", stores=4, losing=0.0)
"""Stores on one object, so that writes to one document meet in the adaptor itself.

No answer is lost: a write whose answer was lost takes effect twice if another store deletes the
document before it is repeated.
"""


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_found_and_explained(name: str) -> None:
    """A history that fits no order is refused, with what cannot be placed, and why."""
    lines, reason = WRONG[name]
    [anomaly] = find_anomalies(operations(lines))
    told = str(anomaly)
    assert reason in told
    assert told.startswith("key 'k': these operations fit no order\n")


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_passes(name: str) -> None:
    """A history that fits some order is accepted, however few such orders there are."""
    assert find_anomalies(operations(RIGHT[name])) == []


def test_keys_are_judged_apart() -> None:
    """What is wrong with one document is told of it alone."""
    wrong, _ = WRONG["a stale read"]
    history = [
        replace(operation, key=key)
        for key, lines in (("a", RIGHT["a life"]), ("b", wrong), ("c", wrong))
        for operation in operations(lines)
    ]
    assert [anomaly.key for anomaly in find_anomalies(history)] == ["b", "c"]


def test_the_shortest_part_is_shown() -> None:
    """Reads and refusals that do not matter, and all that came later, are left out."""
    history: Lines = [
        (1, 2, GET, NOT_FOUND),
        (3, 4, put("a"), done("a")),
        (5, 6, create("x"), exists("a")),
        (7, 8, put("b"), done("b")),
        (9, 14, put("c"), done("c")),
        (10, GET),
        (11, 12, GET, done("a")),
        (13, 20, GET, done("c")),
        (21, 22, put("d"), done("d")),
    ]
    [anomaly] = find_anomalies(operations(history))
    reason = "'b' stands there, so the answer should be done: 'b'"
    assert str(anomaly).splitlines() == [
        "key 'k': these operations fit no order",
        "     3-4    c1: put('a') → done: 'a' at …on a",
        "     7-8    c3: put('b') → done: 'b' at …on b",
        "     9-…    c4: put('c') → unknown",
        "    11-12   c6: get() → done: 'a' at …on a",
        "at best they begin so",
        "     3-4    c1: put('a') → done: 'a' at …on a",
        "     7-8    c3: put('b') → done: 'b' at …on b",
        "and cannot go on, because",
        "    11-12   c6: get() → done: 'a' at …on a: " + reason,
    ]


def test_calls_are_readable() -> None:
    """A call reads as it was made, with the end of its version."""
    calls = [GET, create("a"), swap("a", "b"), delete(), delete("a", missing_ok=True)]
    assert [str(call) for call in calls] == [
        "get()",
        "create('a')",
        "replace('b', version=…on a)",
        "delete()",
        "delete(version=…on a, missing_ok)",
    ]


class Cell:
    """A register of a small number: read, write, compare and set, and an unconditional clearing."""

    initial = 0

    def step(self, state: int, operation: Operation[Any, Any], /) -> int | Refusal:
        right: int | bool | None = None
        after = state
        match operation.call:
            case ("read",):
                right = state
            case ("write", value):
                after = value
            case ("swap", old, new):
                right, after = (True, new) if state == old else (False, state)
            case ("clear",):
                after = 0
        wrong = operation.answered is not None and operation.answer != right
        return Refusal(f"{right}") if wrong else after

    def changes(self, operation: Operation[Any, Any], /) -> bool:
        return operation.call[0] != "read" and operation.answer is not False


def fits_by_brute_force(model: Model[Any], history: Sequence[Operation[Any, Any]]) -> bool:
    """Whether any order at all fits: every one of some of the unknown and all others is tried."""
    answered = [one for one in history if one.answered is not None]
    unknown = [one for one in history if one.answered is None]
    for chosen in range(2 ** len(unknown)):
        some = [one for number, one in enumerate(unknown) if chosen >> number & 1]
        if any(_fits(model, order) for order in permutations(answered + some)):
            return True
    return False


def _fits(model: Model[Any], order: Sequence[Operation[Any, Any]]) -> bool:
    state = model.initial
    for number, operation in enumerate(order):
        if any(
            later.answered is not None and later.answered < operation.called
            for later in order[number:]
        ):
            return False
        state = model.step(state, operation)
        if isinstance(state, Refusal):
            return False
    return True


def _intervals(draw: st.DrawFn, number: int) -> list[tuple[int, int | None]]:
    """Times of so many calls and of their answers, if they have one, in any order."""
    times = draw(st.permutations(range(2 * number)))
    pairs = [sorted(times[2 * n : 2 * n + 2]) for n in range(number)]
    unknown = draw(
        st.lists(st.sampled_from((False, False, True)), min_size=number, max_size=number)
    )
    return [
        (called, None if without else answered)
        for (called, answered), without in zip(pairs, unknown, strict=True)
    ]


NUMBERS = st.integers(0, 2)
CELL_CALLS = st.one_of(
    st.tuples(st.just(("read",)), NUMBERS),
    st.tuples(st.tuples(st.just("write"), NUMBERS), st.none()),
    st.tuples(st.tuples(st.just("swap"), NUMBERS, NUMBERS), st.booleans()),
    st.tuples(st.just(("clear",)), st.none()),
)


@st.composite
def cell_histories(draw: st.DrawFn) -> list[Operation[Any, Any]]:
    """Histories of a `Cell`, right and wrong ones."""
    asked = draw(st.lists(CELL_CALLS, min_size=1, max_size=6))
    return [
        Operation(
            client=f"c{number}",
            key="k",
            call=call,
            answer=None if answered is None else answer,
            called=called,
            answered=answered,
        )
        for number, ((call, answer), (called, answered)) in enumerate(
            zip(asked, _intervals(draw, len(asked)), strict=True)
        )
    ]


@st.composite
def document_histories(draw: st.DrawFn) -> list[DocumentOperation]:
    """Histories of a document, right and wrong ones."""
    number = draw(st.integers(1, 5))
    values = [chr(ord("a") + n) for n in range(number)]
    told = st.sampled_from(values).map(done)
    any_version = st.sampled_from(values)
    asked = []
    for value in values:
        call = draw(
            st.one_of(
                st.just(GET),
                st.just(create(value)),
                st.just(put(value)),
                st.builds(swap, any_version, st.just(value)),
                st.builds(delete, st.none() | any_version, missing_ok=st.booleans()),
            )
        )
        right = st.just(done(value)) if call.value else st.just(GONE)
        refused = {
            "get": told | st.just(NOT_FOUND),
            "create": right | told.map(lambda answer: replace(answer, kind="exists")),
            "put": right,
        }.get(
            call.verb,
            right | st.just(NOT_FOUND) | told.map(lambda answer: replace(answer, kind="conflict")),
        )
        asked.append((call, draw(refused)))
    return [
        DocumentOperation(
            client=f"c{place}",
            key="k",
            call=call,
            answer=None if answered is None else answer,
            called=called,
            answered=answered,
        )
        for place, ((call, answer), (called, answered)) in enumerate(
            zip(asked, _intervals(draw, number), strict=True)
        )
    ]


def _agree(model: Model[Any], history: Sequence[Operation[Any, Any]]) -> None:
    anomaly = find_anomaly(model, history)
    assert (anomaly is None) == fits_by_brute_force(model, history)
    if anomaly is not None:
        assert not fits_by_brute_force(model, anomaly.operations)
        assert anomaly.refusals
        assert _fits(model, anomaly.order)


@settings(max_examples=400, deadline=None)
@given(cell_histories())
def test_the_search_agrees_with_brute_force(history: list[Operation[Any, Any]]) -> None:
    """Whatever the history, the verdict is that of trying all orders; so is the part shown."""
    _agree(Cell(), history)


@settings(max_examples=200, deadline=None)
@given(document_histories())
def test_the_search_agrees_with_brute_force_on_documents(
    history: list[DocumentOperation],
) -> None:
    """The same with documents, whose versions tie the operations to each other."""
    _agree(Register(history), history)


def harness_of(kind: type[MemoryAdaptor]) -> Harness:
    """A harness over one new adaptor object."""
    adaptor = kind()
    return Harness(lambda: adaptor)


SEEDS = 100
SCENARIOS = [ONE_STORE, FAULTS, CHURN, LATE, BESIDE]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_the_memory_is_linearizable(scenario: Scenario) -> None:
    """The reference passes many histories, and these hold all that they are to hold."""
    await histories(harness_of(MemoryAdaptor), range(SEEDS), scenario)
    harness = harness_of(MemoryAdaptor)
    found = [one for seed in range(40) for one in await history_of(harness, seed, scenario)]
    kinds = {one.answer.kind if one.answer is not None else "unknown" for one in found}
    assert kinds >= {"done", "not found", "exists", "conflict"}
    assert ("unknown" in kinds) == (scenario is not ONE_STORE)
    verbs = {"replace" if verb == "update" else verb for verb in scenario.habits.verbs}
    assert {one.call.verb for one in found} == verbs
    overlapping = sum(
        one.answered is not None and one.called < other.called < one.answered
        for one, other in pairwise(found)
    )
    assert overlapping > len(found) / 10


@pytest.mark.parametrize(
    "scenario",
    [scenario for scenario in SCENARIOS if scenario.stores == 1],
    ids=lambda scenario: scenario.name,
)
async def test_a_seed_replays_its_history(scenario: Scenario) -> None:
    """On a deterministic engine a seed gives the same history each time, and another another.

    Not with several stores: which of two versions that their clocks make in one tick is larger is
    left to chance.
    """

    async def told(seed: int) -> list[object]:
        found = await history_of(harness_of(MemoryAdaptor), seed, scenario)
        names: dict[str, int] = {}
        return [
            (
                one.client,
                one.key,
                replace(one.call, version=str(names.get(one.call.version or ""))),
                one.called,
                one.answered,
                None if one.answer is None else one.answer.kind,
                None
                if one.answer is None or one.answer.document is None
                else names.setdefault(one.answer.document.version, len(names)),
            )
            for one in found
        ]

    for seed in range(20):
        assert await told(seed) == await told(seed)
    assert await told(1) != await told(2)


async def test_a_cancelled_caller_is_told_nothing() -> None:
    """One may be cancelled before its write takes effect or after it; the record allows both."""
    asking = Habits(verbs=("put",), keys=("a",), steps=30, cancelling=1.0)
    memory, history = MemoryAdaptor(), History()
    async with Store(FaultyAdaptor(memory, Faults(pauses=(2,)))) as store:
        await Client("c", store.collection("c"), history, asking, "seed").run()
    applied = sum(one.answer is not None for one in history.operations)
    assert 0 < applied < len(history.operations) < 30
    assert find_anomalies(history.operations) == []


class ReadsFromAStaleCache(MemoryAdaptor):
    """Answers every third read with what it told before."""

    def __init__(self) -> None:
        super().__init__()
        self._cache: dict[DocumentId, Record | None] = {}
        self._reads = 0

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        self._reads += 1
        found = await super().read(ids, consistent=consistent)
        if self._reads % 3 == 0:
            return [self._cache.get(id_, one) for id_, one in zip(ids, found, strict=True)]
        self._cache.update(zip(ids, found, strict=True))
        return found


class DecidesAndStoresApart(MemoryAdaptor):
    """Decides at one moment and stores at another."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        outcomes = [decide(write, self._standing(write.record.id)) for write in writes]
        await asyncio.sleep(0)
        for write, outcome in zip(writes, outcomes, strict=True):
            self._store(write, outcome)
        return outcomes


class AcknowledgesAndForgets(MemoryAdaptor):
    """Does not store every tenth write, and says that it has."""

    _writes = 0

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        self._writes += 1
        if self._writes % 10:
            return await super().write(writes)
        return [decide(write, self._standing(write.record.id)) for write in writes]


class AppliesWhatItRefuses(MemoryAdaptor):
    """Stores what fails its comparison, and says that it has not."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        outcomes = list(await super().write(writes))
        for write, outcome in zip(writes, outcomes, strict=True):
            if isinstance(write.condition, Exactly) and not outcome.applied and outcome.record:
                self._store(write, Outcome(applied=True, record=write.record))
        return outcomes


class LosesTheLastAtClose(MemoryAdaptor):
    """Forgets the write that came last when it is closed."""

    _before: tuple[DocumentId, Record | None] | None = None

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        id_ = writes[-1].record.id
        self._before = (id_, self._standing(id_))
        return await super().write(writes)

    async def aclose(self) -> None:
        if self._before is None:
            return
        id_, record = self._before
        self._before = None
        self._collections[id_.collection].pop(id_.key, None)
        if record is not None:
            self._collections[id_.collection][id_.key] = record


class AppliesTwice(MemoryAdaptor):
    """Applies a write a second time a moment later, as a network does that repeats a request."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        outcomes = await super().write(writes)
        await asyncio.sleep(0)
        await super().write(writes)
        return outcomes


WRONG_ADAPTORS: dict[type[MemoryAdaptor], Scenario] = {
    ReadsFromAStaleCache: ONE_STORE,
    DecidesAndStoresApart: BESIDE,
    AcknowledgesAndForgets: ONE_STORE,
    AppliesWhatItRefuses: ONE_STORE,
    LosesTheLastAtClose: ONE_STORE,
    AppliesTwice: BESIDE,
}
"""Adaptors that are wrong in one way each, and a scenario that shows it."""


@pytest.mark.parametrize("kind", WRONG_ADAPTORS, ids=lambda kind: kind.__name__)
async def test_a_wrong_adaptor_is_found(kind: type[MemoryAdaptor]) -> None:
    """Within a few histories each shows what it is, and the seed is told."""
    harness = harness_of(kind)
    with pytest.raises(CheckFailedError, match=r"seed \d+ is linearizable: key '[ab]'"):
        await histories(harness, range(30), WRONG_ADAPTORS[kind])
