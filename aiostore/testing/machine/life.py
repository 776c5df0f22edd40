"""The life of an example: its store, its clock, its model, and what every step is judged by."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aiostore import Document, Store, StoreError
from aiostore.testing.expectations import CheckFailedError, expect, expect_equal
from aiostore.testing.harness import Harness
from aiostore.testing.hostile import COLLECTION_SUFFIXES, KEYS
from aiostore.testing.machine.model import Entry, Model, Refusal
from aiostore.testing.machine.moves import WRONG_ARGUMENTS, Act, Documents, Move, as_ttl
from aiostore.testing.machine.queries import texts
from aiostore.testing.machine.readings import Paging, Walk
from aiostore.versions import VersionClock

R = TypeVar("R")

MakeHarness = Callable[[Path], Harness]
"""Makes a harness over data that are not there yet, for which an empty folder is given."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000  # microseconds
_HOUR = 3600 * _SECOND
_BEGINNING = (datetime(2020, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC) - EPOCH) // _MICROSECOND
_LONGEST_STEP = 60  # seconds; one that takes longer hangs
_NEIGHBOURS = 5  # hostile keys in one example; they lie close together, so that they collide


def _key_of(machine: "Life") -> st.SearchStrategy[str]:
    return machine.key


KEY = st.runner().flatmap(_key_of)
"""A key of the example."""

COLLECTION = st.sampled_from([0, 0, 1])
"""One of its two collections."""

TEXT = texts()
"""A document, as JSON."""

TTL = st.sampled_from([None, None, 1, _SECOND, _HOUR])
"""A time to live, in microseconds."""

WAIT = st.sampled_from([1, 999, _SECOND, _HOUR])
"""How long to wait, in microseconds."""


class Life(RuleBasedStateMachine):
    """What all steps share, and the steps that are about time, room and reopening.

    Attributes:
        make_harness: makes the harness of an example.
        folder: where the examples' folders are made; None for the system's place for such.
        done: how often each step was done, or ended in what error, over all examples of the class.
        keys: the keys of this example.
        key: one of them.
        names: its collections.
        model: what its store should hold.
        walks: its scans that are under way.
        pagings: its lists that are paged through.
    """

    make_harness: ClassVar[MakeHarness]
    folder: ClassVar[Path | None] = None
    done: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[str] = []
        self.key: st.SearchStrategy[str] = st.nothing()
        self.names: list[str] = []
        self.model = Model(_BEGINNING, [])
        self.walks: list[Walk] = []
        self.pagings: list[Paging] = []
        self._place = TemporaryDirectory(prefix="example-", dir=self.folder)
        try:
            self._harness = type(self).make_harness(Path(self._place.name))
        except BaseException:  # a skip, say: there is no teardown then
            self._place.cleanup()
            raise
        self._runner = asyncio.Runner()
        self._clock = VersionClock(self._now)
        self._store: Store | None = None

    @initialize(
        suffixes=st.lists(
            st.sampled_from(COLLECTION_SUFFIXES), min_size=2, max_size=2, unique=True
        ),
        first=st.integers(0, len(KEYS) - _NEIGHBOURS),
        others=st.lists(
            st.text(
                st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
                min_size=1,
                max_size=8,
            ),
            max_size=2,
        ),
        documents=st.lists(TEXT, max_size=_NEIGHBOURS),
    )
    def begin(
        self, suffixes: list[str], first: int, others: list[str], documents: list[str]
    ) -> None:
        """Choose the names, open the store, and put something into it."""
        self.keys = list(dict.fromkeys([*KEYS[first : first + _NEIGHBOURS], *others]))
        self.key = st.sampled_from(self.keys)
        self.names = self._harness.collections_like(suffixes)
        self.model = Model(_BEGINNING, self.names)
        self.run(self._open())
        self.put_all(0, dict(zip(self.keys, documents, strict=False)), None)

    @rule(by=WAIT)
    def wait(self, by: int) -> None:
        """Let time pass."""
        self.note("wait")
        self.model.move_to(self.model.now + by)

    @precondition(lambda self: self.model.expiries())
    @rule(which=st.integers(0, 3), by=st.sampled_from([-1, 0, 1]))
    def wait_for_expiry(self, which: int, by: int) -> None:
        """Let time pass until a document expires, to the microsecond, or one microsecond off."""
        self.note("wait for expiry")
        moments = self.model.expiries()
        self.model.move_to(moments[which % len(moments)] + by)

    @rule(collection=st.none() | COLLECTION)
    def purge_expired(self, collection: int | None) -> None:
        """Free the room that expired documents take, in one collection or in all."""
        names = self.names if collection is None else [self.names[collection]]
        expired = sum(
            len(self.model.records(name)) - len(self.model.documents(name)) for name in names
        )
        place = self.store if collection is None else self.documents(collection)
        removed = self.run(place.purge_expired())
        self.note(f"purge: {'something' if removed else 'nothing'}")
        if removed == 0 and "purges" not in self._harness.features:
            return  # put off
        expect_equal(removed, expired, "how many expired documents were removed")
        for name in names:
            self.model.purge(name)

    @rule(collection=COLLECTION, anew=st.lists(TEXT, max_size=_NEIGHBOURS))
    def clear(self, collection: int, anew: list[str]) -> None:
        """Remove everything, and begin anew."""
        documents = self.documents(collection)
        records = len(self.model.records(documents.name))
        tombstones = len(self.model.deleted[documents.name])
        removed = self.run(documents.clear())
        self.note(f"clear: {'something' if removed else 'nothing'}")
        expect(records <= removed <= records + tombstones, f"{removed} of {records} removed")
        self.model.clear(documents.name)
        self.run(self._check_everything())
        self.put_all(collection, dict(zip(self.keys, anew, strict=False)), None)

    @rule(clock=st.sampled_from(["same", "new", "set back"]), leave_first=st.booleans(), key=KEY)
    def reopen(self, clock: str, *, leave_first: bool, key: str) -> None:
        """Close the store, with scans half way or after they were left, and open another.

        The one that is closed refuses. Everything is still there, with its versions and dates. As
        in another process the clock may be a new one, and behind.
        """
        closed = self.documents(0)
        self.run(self._close(leave_first=leave_first))
        self.refuse(closed.get(key), "ClosedError", "a closed store refuses")
        if clock == "set back":
            self.model.move_to(self.model.now - 2 * _HOUR)
        if clock != "same":
            self._clock = VersionClock(self._now)
            self.model.forget_the_clock()
        self.run(self._open())
        self.note(f"reopen: {clock} clock")

    @rule(collection=COLLECTION, key=KEY, wrong=st.sampled_from(list(WRONG_ARGUMENTS)))
    def wrong_argument(self, collection: int, key: str, wrong: str) -> None:
        """What the contract does not allow is refused before anything is sent."""
        error, call = WRONG_ARGUMENTS[wrong]
        self.refuse(call(self.documents(collection), key), error, f"{wrong} is refused")
        self.note(f"wrong argument: {error}")

    @invariant()
    def everything_is_as_the_model_has_it(self) -> None:
        """In every collection stand exactly the documents that should."""
        if self._store is not None:
            self.run(self._check_everything())

    def teardown(self) -> None:
        """Close the store, and look after what is left."""
        failed = isinstance(sys.exception(), Exception)
        try:
            if self._store is not None:
                self.run(self._close(leave_first=True))
            if not failed:
                self.run(self._harness.clean())
                expect_equal(asyncio.all_tasks(self._runner.get_loop()), set(), "no task is left")
        finally:
            self._runner.close()
            self._place.cleanup()

    @property
    def store(self) -> Store:
        """The store, while it is open."""
        if self._store is None:
            raise RuntimeError("between two stores no step can be done")
        return self._store

    def documents(self, number: int) -> Documents:
        """One of the two collections."""
        return self.store.collection(self.names[number])

    def note(self, what: str) -> None:
        """Count what was done."""
        self.done[what] += 1

    def run(self, step: Coroutine[Any, Any, R]) -> R:
        """Do it on the example's event loop; an error of the library's is one too many."""
        try:
            return self._runner.run(asyncio.wait_for(step, _LONGEST_STEP))
        except StoreError as error:
            raise CheckFailedError(f"broken: no {type(error).__name__} was to come") from error

    def refuse(self, call: Awaitable[object], error: str, promise: str) -> None:
        """See that a call ends with an error."""
        outcome = self.run(outcome_of(call))
        expect_equal(type(outcome).__name__, error, promise)

    def put_all(self, collection: int, given: dict[str, str], ttl: int | None) -> None:
        """Put many documents, and see that each was stored."""
        documents = self.documents(collection)
        values = {key: json.loads(text) for key, text in given.items()}
        stored = self.run(documents.put_many(values, ttl=as_ttl(ttl)))
        expect_equal(list(stored), list(given), "the documents put, by key and in their order")
        for key, text in given.items():
            self.written(documents.name, self.model.put(key, text, ttl), seen(stored[key]))

    async def perform(self, documents: Documents, move: Move) -> None:
        """Make a move, and judge what comes of it."""
        act = move.act(self.model, documents)
        self.judge(documents.name, act, await outcome_of(act.start()))

    def judge(self, collection: str, act: Act, outcome: object) -> None:
        """Compare how an act ended with what was expected, and tell the model."""
        what = f"{act.verb} of {act.key!r:.60} in {collection}"
        ended = type(outcome).__name__ if isinstance(outcome, StoreError) else "done"
        self.note(f"{act.verb}: {ended}")
        if isinstance(act.expected, Refusal):
            self.refused(collection, act.expected, outcome, what)
        elif isinstance(outcome, StoreError):
            raise CheckFailedError(f"broken: {what} succeeds") from outcome
        elif act.expected is None:
            expect_equal(outcome, None, f"what {what} returns")
            if act.removes:
                self.model.remove(collection, act.key)
        elif act.expected.version:
            expect_equal(seen(outcome), act.expected, f"the document of {what}")
        else:
            self.written(collection, act.expected, seen(outcome))

    def refused(self, collection: str, refusal: Refusal, outcome: object, what: str) -> None:
        """See that something ended with this error, and that it tells the place."""
        if not isinstance(outcome, StoreError):
            raise CheckFailedError(f"broken: {what} ends with {refusal}, not with {outcome!r:.200}")
        current = getattr(outcome, "current", None)
        entry = None if current is None else seen(current)
        found = Refusal(type(outcome).__name__, outcome.key, entry)
        expect_equal(found, refusal, f"the error of {what}")
        where = outcome.store, outcome.collection
        expect_equal(where, (self.store.name, collection), f"the place in the error of {what}")

    def written(self, collection: str, draft: Entry, entry: Entry) -> None:
        """See that a document was written as drafted, with a fresh version; tell the model."""
        expect_equal(replace(entry, version=""), draft, f"the document written to {collection}")
        expect(
            self.model.is_fresh(collection, entry.key, entry.version),
            f"a version is new, and past all that stood at its key; not {entry.version}",
        )
        self.model.store(collection, entry)

    def _now(self) -> int:
        return self.model.now

    async def _open(self) -> None:
        self._store = await Store(self._harness.make(), clock=self._clock).open()

    async def _close(self, *, leave_first: bool) -> None:
        store, self._store = self.store, None
        walks, self.walks = self.walks, []
        if not leave_first:
            await store.aclose()
        for walk in walks:
            await walk.documents.aclose()
        await store.aclose()

    async def _check_everything(self) -> None:
        holding = set()
        for name in self.names:
            documents = self.store.collection(name)
            expected = self.model.documents(name)
            found = await all_of(documents.scan())
            expect_equal(found, expected, f"the documents in {name}")
            expect_equal(await documents.count(), len(expected), f"their number in {name}")
            if self.model.records(name):
                holding.add(name)
        possible = holding.union(name for name in self.names if self.model.deleted[name])
        names = [name for name in await self.store.collections() if name in self.names]
        expect_equal(names, sorted(names), "the order of the collections")
        expect(holding <= set(names) <= possible, f"{names} hold something; so do {holding}")


async def outcome_of(call: Awaitable[object]) -> object:
    """What a call returns, or the library's error that it raises."""
    try:
        return await call
    except StoreError as error:
        return error


async def all_of(documents: AsyncGenerator[Document[Any], None]) -> list[Entry]:
    """All that comes."""
    async with aclosing(documents):
        return [seen(document) async for document in documents]


def seen(document: object) -> Entry:
    """A document as an entry; its value is spoilt afterwards, which nobody else may notice."""
    if not isinstance(document, Document):
        raise CheckFailedError(f"broken: a document comes, not {document!r:.200}")
    text = json.dumps(document.value)
    document.value.clear()
    expires_at = document.expires_at
    return Entry(
        document.key,
        text,
        document.version,
        _microseconds(document.created_at),
        _microseconds(document.updated_at),
        None if expires_at is None else _microseconds(expires_at),
        json.loads(text),
    )


def _microseconds(moment: datetime) -> int:
    expect(moment.utcoffset() == timedelta(0), f"moments are in UTC, not {moment!r}")
    return (moment - EPOCH) // _MICROSECOND
