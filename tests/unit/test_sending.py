import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from engines import CLOCK, GatedMemory, create, doc, put, turns
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.errors import ConfigurationError, CorruptRecordError, StoreError, UnavailableError
from aiostore.protocols import (
    Absent,
    Check,
    Condition,
    DocumentId,
    Exactly,
    Mark,
    Newer,
    Outcome,
    Purge,
    Record,
    Scan,
    Sort,
    Write,
)
from aiostore.sending import Retries, Sender

AT_ONCE = Retries(first_pause=timedelta(0), longest_pause=timedelta(0))
ONCE = Retries(attempts=1)
NOT_KNOWN = "it is not known whether the write took effect"


@pytest.fixture
def engine() -> GatedMemory:
    """What is sent to."""
    return GatedMemory()


@pytest.fixture
def sender(engine: GatedMemory) -> Sender:
    """It repeats without a pause."""
    return Sender(engine, AT_ONCE)


async def poke(engine: GatedMemory, *writes: Write) -> list[Outcome]:
    """Write past the sender."""
    return list(await MemoryAdaptor.write(engine, writes))


@pytest.mark.parametrize("fates", [["lost"], ["unanswered"] * 3])
async def test_a_read_is_repeated(engine: GatedMemory, sender: Sender, fates: list[str]) -> None:
    """Until it gets through."""
    await poke(engine, put("k"))
    engine.fates = list(fates)
    [record] = await sender.read([doc("k")])
    assert record == engine.held("k")
    assert engine.reads == [["k"]] * (len(fates) + 1)


async def test_attempts_come_to_an_end(engine: GatedMemory, sender: Sender) -> None:
    """After four by default the error is told, as the engine gave it."""
    engine.fates = ["lost"] * 10
    [error] = await sender.read([doc("k")])
    assert isinstance(error, UnavailableError)
    assert str(error) == "no way through"
    assert engine.reads == [["k"]] * 4


@pytest.mark.parametrize(
    "retries", [ONCE, Retries(patience=timedelta(0)), Retries(patience=timedelta(microseconds=1))]
)
async def test_repetition_can_be_declined(engine: GatedMemory, retries: Retries) -> None:
    """By one attempt, or by patience that the first attempt has used up."""
    engine.fates = ["lost"]
    [error] = await Sender(engine, retries).read([doc("k")])
    assert isinstance(error, UnavailableError)
    assert engine.reads == [["k"]]


async def test_pauses_double_with_a_part_of_chance(
    engine: GatedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each lies between its length and that plus the first, and none is longer than the longest."""
    slept: list[float] = []
    really = asyncio.sleep

    async def sleep(delay: float, *_: object) -> None:
        slept.append(delay)
        await really(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    engine.fates = ["lost"] * 10
    second = timedelta(seconds=1)
    retries = Retries(6, second, 5 * second, patience=timedelta(hours=1))
    await Sender(engine, retries).read([doc("k")])
    bounds = [(1, 2), (2, 3), (4, 5), (5, 5), (5, 5)]
    assert [
        shortest <= pause <= longest
        for pause, (shortest, longest) in zip(slept, bounds, strict=True)
    ] == [True] * 5
    assert len({pause % 1 for pause in slept[:3]}) > 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"first_pause": timedelta(-1)},
        {"longest_pause": timedelta(-1)},
        {"patience": timedelta(-1)},
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    """No attempts, and durations below zero."""
    with pytest.raises(ConfigurationError, match="attempts are 1 or more, durations not negative"):
        Retries(**wrong)


async def test_no_other_error_is_repeated(engine: GatedMemory, sender: Sender) -> None:
    """It would come again; a fault of the adaptor's own passes as it is."""
    for error in (StoreError, CorruptRecordError, ZeroDivisionError):
        engine.poison = {"k": error}
        answers = [*await sender.read([doc("k")]), *await sender.write([put("k")])]
        assert [type(answer) for answer in answers] == [error, error]
    assert (engine.reads, engine.writes) == ([["k"]] * 3, [["k"]] * 3)


async def test_a_pause_can_be_cancelled(engine: GatedMemory) -> None:
    """Cancellation passes at once, and nothing more is sent."""
    engine.fates = ["lost"] * 2
    hour = timedelta(hours=1)
    caller = asyncio.ensure_future(
        Sender(engine, Retries(2, hour, hour, 2 * hour)).read([doc("k")])
    )
    await turns()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert engine.reads == [["k"]]


async def test_what_is_logged_shows_no_document(
    engine: GatedMemory, sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    """A repetition is told to the log, without what was to be written."""
    engine.fates = ["lost"]
    await sender.write([put("k", '"a secret"')])
    [entry] = [entry for entry in caplog.records if entry.name == "stamina"]
    assert "secret" not in str(vars(entry))


@pytest.mark.parametrize("fates", [["lost"], ["unanswered"], ["lost", "unanswered", "lost"]])
@pytest.mark.parametrize("verb", ["create", "put", "replace", "delete", "delete any"])
async def test_a_write_is_applied_once_however_often_it_is_sent(
    engine: GatedMemory, sender: Sender, verb: str, fates: list[str]
) -> None:
    """Whether the engine was not reached or only its answer lost: it succeeds, with one effect."""
    first = put("k", '"first"')
    if verb != "create":
        await poke(engine, first)
    exactly = Exactly(first.record.version)
    write = {
        "create": create("k"),
        "put": put("k"),
        "replace": replace(put("k", condition=exactly), keep_created_at=True),
        "delete": put("k", None, condition=exactly, erase=True),
        "delete any": put("k", None, erase=True),
    }[verb]
    engine.fates = list(fates)
    [answer] = await sender.write([write])
    held = engine.held("k")
    if verb == "delete" and "unanswered" in fates:
        # What was erased leaves no trace: somebody else may have erased it.
        assert isinstance(answer, UnavailableError)
        assert NOT_KNOWN in str(answer)
    else:
        assert answer == Outcome(applied=True, record=held)
    assert (None if held is None else held.version) == (
        None if write.erase else write.record.version
    )
    assert engine.writes == [["k"]] * (len(fates) + 1)


async def test_a_tombstone_that_was_kept_is_recognised(engine: GatedMemory, sender: Sender) -> None:
    """A wrapper may leave the tombstone of an erasure: then it is a write like others."""
    [first] = await poke(engine, put("k"))
    assert first.record is not None
    erasure = put("k", None, condition=Exactly(first.record.version), erase=True)
    engine.between = iterated(lambda: None, lambda: keep(engine, erasure))
    engine.fates = ["lost"]
    assert await sender.write([erasure]) == [Outcome(applied=True, record=erasure.record)]


def keep(engine: GatedMemory, erasure: Write) -> None:
    """Leave the tombstone as the migration does."""
    engine._store(erasure, Outcome(applied=True, record=erasure.record))


def iterated(*steps: Callable[[], object]) -> Callable[[], None]:
    """One step a call, in order."""
    rest = list(steps)

    def step() -> None:
        if rest:
            rest.pop(0)()

    return step


async def test_a_refusal_is_definite_when_every_attempt_was_answered(
    engine: GatedMemory, sender: Sender
) -> None:
    """Nothing is in doubt then."""
    await poke(engine, put("k"))
    standing = engine.held("k")
    assert await sender.write([create("k")]) == [Outcome(applied=False, record=standing)]


@pytest.mark.parametrize("condition", [Absent(), Newer(), Exactly("0")], ids=str)
@pytest.mark.parametrize("fate", ["lost", "unanswered"])
async def test_a_refusal_after_a_lost_answer_is_not_believed(
    engine: GatedMemory, sender: Sender, condition: Condition, fate: str
) -> None:
    """The write may have taken effect and have been overwritten: it is told where to look."""
    other = put("k")
    write = put("k", condition=condition)
    later = put("k")
    engine.fates = [fate]
    if condition == Exactly("0"):
        first = replace(other.record, version="0")
        await poke(engine, replace(other, record=first))
    engine.between = iterated(lambda: None, lambda: engine._store(later, decided(later)))
    [answer] = await sender.write([write])
    assert isinstance(answer, UnavailableError)
    assert NOT_KNOWN in str(answer)
    assert (answer.collection, answer.key) == ("c", "k")
    assert engine.held("k") == later.record
    assert len(engine.writes) == 2


def decided(write: Write) -> Outcome:
    """As if it had been applied."""
    return Outcome(applied=True, record=write.record)


async def test_an_expired_version_refuses_for_good(engine: GatedMemory, sender: Sender) -> None:
    """While it still stands there the write cannot have taken effect, and it never will."""
    expired = put("k", expires_at=5)
    await poke(engine, expired)
    engine.fates = ["lost"]
    condition = Exactly(expired.record.version, unexpired_at=5)
    answers = await sender.write([put("k", condition=condition)])
    assert answers == [Outcome(applied=False, record=expired.record)]


async def test_an_engine_that_stays_away_leaves_it_unknown(
    engine: GatedMemory, sender: Sender
) -> None:
    """The error says so, holds the engine's as its cause, and what that told of the place."""
    engine.fates = ["unanswered"] + ["lost"] * 3
    [error] = await sender.write([put("k")])
    assert isinstance(error, UnavailableError)
    assert str(error) == f"no way through: {NOT_KNOWN}, read it to see"
    assert isinstance(error.__cause__, UnavailableError)
    assert engine.held("k") is not None


async def test_another_error_after_a_lost_answer_leaves_it_unknown(
    engine: GatedMemory, sender: Sender
) -> None:
    """By itself it would mean that nothing took effect; that holds for the last attempt alone."""
    engine.fates = ["unanswered", "refused"]
    [error] = await sender.write([put("k")])
    assert isinstance(error, UnavailableError)
    assert str(error) == f"the engine refused: {NOT_KNOWN}, read it to see"
    assert type(error.__cause__) is StoreError


@pytest.mark.parametrize("error", [StoreError, CorruptRecordError, ZeroDivisionError])
async def test_a_poisoned_item_fails_alone(
    engine: GatedMemory, sender: Sender, error: type[Exception]
) -> None:
    """A batch that fails is sent again item by item."""
    engine.poison = {"b": error}
    for answers in (
        await sender.write([put(key) for key in "abc"]),
        await sender.read([doc(key) for key in "abc"]),
    ):
        assert [type(answer) for answer in answers[::2]] == [type(answers[0])] * 2
        assert [isinstance(answer, Exception) for answer in answers] == [False, True, False]
        assert type(answers[1]) is error
    assert engine.reads == engine.writes == [["a", "b", "c"], ["a"], ["b"], ["c"]]


async def test_an_item_that_is_sent_again_alone_has_all_attempts(
    engine: GatedMemory, sender: Sender
) -> None:
    """Unless the batch has used them up."""
    engine.poison = {"b": StoreError}
    engine.fates = ["", "lost"]
    answers = await sender.write([put("a"), put("b")])
    assert isinstance(answers[0], Outcome)
    assert type(answers[1]) is StoreError
    assert engine.writes == [["a", "b"], ["a"], ["a"], ["b"]]


async def test_an_item_that_gets_no_answer_fails_alone(engine: GatedMemory, sender: Sender) -> None:
    """When a batch has used up its attempts each item has one more."""
    engine.poison = {"b": UnavailableError}
    answers = await sender.write([put(key) for key in "abc"])
    assert [isinstance(answer, Outcome) for answer in answers] == [True, False, True]
    assert engine.writes == [["a", "b", "c"]] * 4 + [["a"], ["b"], ["c"]]


@pytest.mark.parametrize("kind", ["read", "write"])
async def test_an_engine_that_is_away_is_not_asked_for_every_item(
    engine: GatedMemory, sender: Sender, kind: str
) -> None:
    """After two in a row the others share the error, each with one of its own to write into."""
    engine.fates = ["lost"] * 100
    answers: Sequence[object]
    if kind == "read":
        answers, calls = await sender.read([doc(str(n)) for n in range(50)]), engine.reads
    else:
        answers, calls = await sender.write([put(str(n)) for n in range(50)]), engine.writes
    assert len(calls) == 4 + 2
    assert {type(answer) for answer in answers} == {UnavailableError}
    assert len({id(answer) for answer in answers}) == 50


async def test_an_engine_that_comes_back_is_asked_for_the_rest(
    engine: GatedMemory, sender: Sender
) -> None:
    """One that is missed here and there does not end it."""
    engine.fates = ["lost"] * 4 + ["lost", "", "lost", "refused", "lost", ""]
    answers = await sender.write([put(key) for key in "abcdef"])
    assert [isinstance(answer, Outcome) for answer in answers] == [False, True] + [False] * 3 + [
        True
    ]
    assert len(engine.writes) == 4 + 6


async def test_an_adaptor_that_answers_too_few_is_told(engine: GatedMemory) -> None:
    """Nobody is left without an answer by a broken contract."""

    class Sparing(GatedMemory):
        async def read(
            self, ids: Sequence[DocumentId], /, *, consistent: bool = True
        ) -> Sequence[Record | None]:
            return [None] * (len(ids) - 1)

    for answer in await Sender(Sparing(), AT_ONCE).read([doc("a"), doc("b")]):
        assert isinstance(answer, RuntimeError)


class Breaking(MemoryAdaptor):
    """Memory whose scans break off before the steps that are told; and whose other calls fail."""

    def __init__(self) -> None:
        super().__init__()
        self.breaks: list[int] = []
        self.step = 0
        self.begun: list[str | None] = []
        self.orders: list[Sort | None] = []
        self.sizes: list[int] = []
        self.open_scans = 0
        self.failures = 0
        self.purged: list[Purge] = []

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        self.begun.append(request.start_after)
        self.orders.append(request.order)
        self.sizes.append(request.chunk)
        self.open_scans += 1
        try:
            async with aclosing(super().scan(request)) as chunks:
                async for chunk in chunks:
                    self._break()
                    yield chunk
                self._break()
        finally:
            self.open_scans -= 1

    def _break(self) -> None:
        self.step += 1
        if self.step in self.breaks:
            raise UnavailableError("broke off")

    def _fail(self) -> None:
        self.failures += 1
        if self.failures % 3:
            raise UnavailableError("no way through")

    async def collections(self) -> Sequence[str]:
        self._fail()
        return await super().collections()

    async def count(self, collection: str, /, *, alive_at: int | None = None) -> int:
        self._fail()
        return await super().count(collection, alive_at=alive_at)

    async def purge(self, request: Purge, /) -> int:
        self.purged.append(request)
        self._fail()
        return await super().purge(request)


@pytest.fixture
async def breaking() -> Breaking:
    """It holds ten documents."""
    adaptor = Breaking()
    await adaptor.write([put(str(n)) for n in range(10)])
    return adaptor


async def keys_of(chunks: AsyncGenerator[Sequence[Record], None]) -> list[str]:
    """All keys of a scan."""
    return [record.id.key async for chunk in chunks for record in chunk]


async def test_a_scan_goes_on_where_it_broke_off(breaking: Breaking) -> None:
    """Behind the last key that it gave, with all attempts anew for each chunk."""
    breaking.breaks = [1, 2, 4, 5, 6, 9, 10, 12]
    sender = Sender(breaking, AT_ONCE)
    assert await keys_of(sender.scan(Scan("c", chunk=3))) == list("0123456789")
    assert breaking.begun == [None] * 3 + ["2"] * 3 + ["8"] * 2 + ["9"]
    assert breaking.open_scans == 0


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("alike", [1, 3, 10, 40])
async def test_an_ordered_scan_goes_on_from_the_place_that_it_had_come_to(
    alike: int, *, descending: bool
) -> None:
    """Nothing is left out; what stands near that place comes again, and what is before it not."""
    breaking = Breaking()
    places = [number // alike - 3 + 1e-15 * number for number in range(40)]
    bodies = [f'{{"v":{place}}}' for place in places]
    await breaking.write([put(f"k{number:02}", body) for number, body in enumerate(bodies)])
    await breaking.write([put("bad", "{"), put("tombstone", None)])
    breaking.breaks = [2, 4, 7, 9, 11, 14, 18, 19, 21]
    sort = Sort(("v",), descending)
    keys = await keys_of(Sender(breaking, AT_ONCE).scan(Scan("c", chunk=4, order=sort)))
    assert {f"k{number:02}" for number in range(40)} <= set(keys)
    assert breaking.open_scans == 0
    starts = [order.start for order in breaking.orders if order is not None]
    reached = [start for start in starts if start is not None]
    assert reached == sorted(reached, reverse=descending)
    assert len(keys) <= 42 + len(reached) * (alike + 2)


async def test_an_ordered_scan_of_what_is_all_alike_comes_to_an_end(breaking: Breaking) -> None:
    """Though it breaks off after every chunk: each one is larger than the one before."""
    breaking.breaks = [2, 4, 6, 8, 10]
    scan = Sender(breaking, AT_ONCE).scan(Scan("c", chunk=1, order=Sort(("v",))))
    assert {*"0123456789"} <= set(await keys_of(scan))
    assert breaking.sizes == [1, 1, 2, 4, 8, 16]


async def test_an_ordered_scan_that_gets_nowhere_comes_to_an_end(breaking: Breaking) -> None:
    """With an error, if the engine yields everything and then breaks off, each time."""
    breaking.breaks = list(range(2, 999, 2))
    scan = Sender(breaking, AT_ONCE).scan(Scan("c", chunk=100, order=Sort(("v",))))
    with pytest.raises(UnavailableError, match="again and again at the same place"):
        await keys_of(scan)
    assert len(breaking.sizes) == 18


async def test_an_ordered_scan_that_yields_no_document_begins_anew() -> None:
    """A tombstone, or a document that cannot be read, stands at no place."""
    breaking = Breaking()
    await breaking.write([put("bad", "{"), put("tombstone", None), put("k", '{"v":1}')])
    breaking.breaks = [2, 4]
    keys = await keys_of(Sender(breaking, AT_ONCE).scan(Scan("c", chunk=1, order=Sort(("v",)))))
    assert set(keys) == {"bad", "tombstone", "k"}
    assert [order.start for order in breaking.orders if order] == [None] * 3
    assert breaking.sizes == [1, 2, 4]


async def test_a_scan_comes_to_an_end(breaking: Breaking) -> None:
    """When a chunk has used up its attempts; nothing stays open then."""
    breaking.breaks = [2, 3, 4, 5]
    chunks = Sender(breaking, AT_ONCE).scan(Scan("c", chunk=3))
    assert len(await anext(chunks)) == 3
    with pytest.raises(UnavailableError):
        await anext(chunks)
    assert breaking.open_scans == 0


async def test_a_scan_that_is_left_leaves_nothing_open(breaking: Breaking) -> None:
    """Nor one that was never begun."""
    chunks = Sender(breaking, AT_ONCE).scan(Scan("c", chunk=3))
    await anext(chunks)
    assert breaking.open_scans == 1
    await chunks.aclose()
    await Sender(breaking, AT_ONCE).scan(Scan("c")).aclose()
    assert breaking.open_scans == 0


async def test_counts_collections_and_purges_are_repeated(breaking: Breaking) -> None:
    """Until they get through."""
    sender = Sender(breaking, AT_ONCE)
    assert await sender.count("c", 0) == 10
    assert await sender.collections() == ["c"]
    assert await sender.purge(Purge("c", deleted_before=5)) == 0
    assert breaking.failures == 9


async def test_clearing_is_not_repeated(breaking: Breaking) -> None:
    """What was written after the first attempt would go with the second."""
    everything = Purge("c", everything=True)
    with pytest.raises(UnavailableError):
        await Sender(breaking, AT_ONCE).purge(everything)
    assert breaking.purged == [everything]


async def test_an_atomic_write_is_applied_once_however_often_it_is_sent(
    engine: GatedMemory, sender: Sender
) -> None:
    """One version of its own that stands there proves that all took effect."""
    first, doomed = put("b"), put("d")
    await poke(engine, first, doomed)
    items: list[Write | Check] = [
        create("a"),
        replace(put("b", condition=Exactly(first.record.version)), keep_created_at=True),
        put("c"),
        put("d", None, condition=Exactly(doomed.record.version), erase=True),
        Check(doc("e"), Absent()),
    ]
    engine.fates = ["lost", "unanswered", "lost"]
    outcomes = await sender.write_atomic(items)
    assert outcomes == [
        Outcome(applied=True, record=engine.held("a")),
        Outcome(applied=True, record=engine.held("b")),
        Outcome(applied=True, record=engine.held("c")),
        Outcome(applied=True, record=None),
        Outcome(applied=True, record=None),
    ]
    assert len(engine.atomics) == 4


async def test_an_atomic_write_recognises_itself_by_what_is_left_of_it(
    engine: GatedMemory, sender: Sender
) -> None:
    """Though others have overwritten a part; for those it tells what it wrote."""
    items = [create("a"), create("b"), create("c")]
    engine.fates = ["unanswered"]
    later = put("b")

    def others() -> None:
        engine._store(later, decided(later))
        engine._collections["c"].pop("c")

    engine.between = iterated(lambda: None, others)
    outcomes = await sender.write_atomic(items)
    assert outcomes == [decided(write) for write in items]
    assert engine.held("b") == later.record


@pytest.mark.parametrize("fate", ["lost", "unanswered"])
async def test_a_refused_atomic_write_may_remain_unknown(
    engine: GatedMemory, sender: Sender, fate: str
) -> None:
    """If none of its versions stands there, and it is refused."""
    engine.fates = [fate]
    later = put("b")

    def others() -> None:
        engine._collections.clear()
        engine._store(later, decided(later))

    engine.between = iterated(lambda: None, others)
    with pytest.raises(UnavailableError, match=NOT_KNOWN) as caught:
        await sender.write_atomic([create("a"), create("b")])
    assert (caught.value.key, len(engine.atomics)) == ("b", 2)


async def test_an_atomic_write_without_an_answer(engine: GatedMemory, sender: Sender) -> None:
    """An engine that stays away leaves it unknown; another error means that nothing was written."""
    engine.fates = ["lost"] * 4
    with pytest.raises(UnavailableError, match=f"no way through: {NOT_KNOWN}"):
        await sender.write_atomic([create("a")])
    engine.fates = ["refused"]
    with pytest.raises(StoreError, match=r"the engine refused$"):
        await sender.write_atomic([create("a")])
    assert len(engine.atomics) == 5


async def test_a_conflict_of_an_atomic_write_is_definite_where_it_is_proven(
    engine: GatedMemory, sender: Sender
) -> None:
    """A version that was to be replaced still stands, and one that was asked for never returns."""
    kept = put("kept")
    await poke(engine, kept)
    items: list[Write | Check] = [
        put("kept", condition=Exactly(kept.record.version)),
        Check(doc("read"), Exactly("0")),
    ]
    engine.fates = ["lost"]
    outcomes = await sender.write_atomic(items)
    assert [outcome.applied for outcome in outcomes] == [True, False]
    assert engine.held("kept") == kept.record


# What a refusal means, tried out against every course of events, on up to two documents.

STANDING = ("nothing", "document", "expired", "tombstone")
CONDITIONS = ("absent", "exactly", "exactly unexpired", "exactly another", "newer")
EVENTS = ("nothing", "erase", "older", "newer", "mark", "unmark")


class Rivals(MemoryAdaptor):
    """Memory whose first atomic write has no answer, and others who write before the second.

    Args:
        arrives: when the first attempt takes effect, if it can: "at once", "never", or "late",
            which the test does.
        rivals: what others do between the two.
    """

    def __init__(self, arrives: str, rivals: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self.arrives = arrives
        self.rivals = rivals
        self.calls = 0
        self.took_effect = 0

    async def write_atomic(self, items: Sequence[Write | Check], /) -> Sequence[Outcome]:
        self.calls += 1
        if self.calls == 2:
            for key, event in self.rivals:
                self.happens(key, event)
        if self.calls > 1 or self.arrives == "at once":
            outcomes = await self.land(items)
        if self.calls == 1:
            raise UnavailableError("no answer")
        return outcomes

    async def land(self, items: Sequence[Write | Check]) -> Sequence[Outcome]:
        before = self.held()
        outcomes = await MemoryAdaptor.write_atomic(self, items)
        self.took_effect += self.held() != before
        return outcomes

    def held(self) -> dict[str, Record]:
        return dict(self._collections.get("c", {}))

    def happens(self, key: str, event: str) -> None:
        standing = self._standing(doc(key))
        if event in ("mark", "unmark") and standing is not None:
            record = replace(standing, mark=Mark.MOVED if event == "mark" else Mark.LIVE)
        elif event in ("erase", "older", "newer"):
            record = Record(doc(key), "{}", OLDEST if event == "older" else CLOCK.next(), 1, 1)
        else:
            return
        outcome = Outcome(applied=True, record=None if event == "erase" else record)
        self._store(Write(record, Newer()), outcome)


OLDEST = "0" * 31 + "1"


def standing_record(key: str, what: str) -> Record | None:
    """What stands there at the start."""
    if what == "nothing":
        return None
    body = None if what == "tombstone" else "{}"
    return Record(doc(key), body, CLOCK.next(), 1, 1, 5 if what == "expired" else None)


def item_on(key: str, standing: Record | None, condition: str, kind: str) -> Write | Check:
    """An item with one of the conditions."""
    version = "0" * 32 if standing is None else standing.version
    meant: dict[str, Condition] = {
        "absent": Absent(),
        "exactly": Exactly(version),
        "exactly unexpired": Exactly(version, unexpired_at=10),
        "exactly another": Exactly("0" * 32),
        "newer": Newer(),
    }
    chosen = meant[condition]
    if kind == "check" and not isinstance(chosen, Newer):
        return Check(doc(key), chosen, Mark.LIVE)
    erase = kind == "erase" and not isinstance(chosen, Absent)
    write = put(key, None if erase else "{}", condition=chosen, erase=erase)
    return replace(write, mark=Mark.LIVE)


async def course(
    places: Sequence[tuple[str, str, str]],
    arrives: str,
    rivals: Sequence[tuple[str, str]],
    afterwards: Sequence[tuple[str, str]],
) -> str:
    """One course of events: what the sender told, after it was held against what happened."""
    engine = Rivals(arrives, rivals)
    items: list[Write | Check] = []
    for key, (standing, condition, kind) in zip("ab", places, strict=False):
        record = standing_record(key, standing)
        if record is not None:
            await engine.write([Write(record, Newer())])
        items.append(item_on(key, record, condition, kind))
    try:
        outcomes = await Sender(engine, AT_ONCE).write_atomic(items)
    except UnavailableError:
        told = "not known"
    else:
        told = "applied" if all(outcome.applied for outcome in outcomes) else "refused"
    if told == "applied":
        to_do = any(isinstance(item, Write) and not item.erase for item in items)
        erased = any(event in ("erase", "older") for _, event in rivals)
        assert to_do <= engine.took_effect <= 1 + erased
    if told == "refused":
        for key, event in afterwards:
            engine.happens(key, event)
        if arrives == "late":
            await engine.land(items)
        assert not engine.took_effect
    return told


async def test_what_is_told_is_true_of_every_course_on_one_document() -> None:
    """A success took effect; a refusal did not and never will, however late an attempt arrives.

    It takes effect twice only if somebody erased it in between.
    """
    every_place = product(STANDING, CONDITIONS, ("write", "erase"))
    told = set()
    for place, arrives, *events in product(
        every_place, ("at once", "never", "late"), EVENTS, EVENTS
    ):
        rivals = [("a", event) for event in events]
        answer = await course([place], arrives, rivals, [])
        told.add(answer)
        if (answer, arrives) == ("refused", "late"):
            for event in EVENTS:
                await course([place], arrives, rivals, [("a", event)])
    assert told == {"applied", "refused", "not known"}


places = st.tuples(
    st.sampled_from(STANDING),
    st.sampled_from(CONDITIONS),
    st.sampled_from(["write", "erase", "check"]),
)
happenings = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(EVENTS)), max_size=3)


@example(
    [("document", "exactly", "write"), ("document", "absent", "write")],
    "late",
    [],
    [("b", "erase")],
)
@settings(deadline=None)
@given(
    st.lists(places, min_size=2, max_size=2),
    st.sampled_from(["at once", "never", "late"]),
    happenings,
    happenings,
)
def test_what_is_told_is_true_of_every_course_on_two_documents(
    places: list[tuple[str, str, str]],
    arrives: str,
    rivals: list[tuple[str, str]],
    afterwards: list[tuple[str, str]],
) -> None:
    """The same of two that are written or checked in one step."""
    asyncio.run(course(places, arrives, rivals, afterwards))
