"""Steps that are transactions, with other clients between."""

import json
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from aiostore import StoreError
from aiostore.testing.expectations import CheckFailedError, expect, expect_equal
from aiostore.testing.machine.life import (
    COLLECTION,
    KEY,
    TEXT,
    TTL,
    WAIT,
    Life,
    outcome_of,
    seen,
)
from aiostore.testing.machine.model import Entry, Refusal
from aiostore.testing.machine.moves import Move, Put, as_ttl
from aiostore.testing.machine.sight import Place, Sight
from aiostore.testing.machine.writes import VERSION, moves


class Call(NamedTuple):
    """A call of a transaction's method.

    Attributes:
        verb: which.
        collection: the number of the collection.
        key: the key.
        text: the value, as JSON.
        ttl: the time to live, in microseconds.
        version: one of `VERSIONS`, or None.
        missing_ok: see the method.
    """

    verb: str
    collection: int
    key: str
    text: str = "{}"
    ttl: int | None = None
    version: str | None = None
    missing_ok: bool = False


class Rival(NamedTuple):
    """Another client makes a move."""

    collection: int
    move: Move


class Wait(NamedTuple):
    """Time passes, in microseconds."""

    by: int


@st.composite
def _steps(draw: st.DrawFn) -> list[Call | Rival | Wait]:
    """On one to three documents, so that those who take part get in each other's way."""
    places = draw(st.lists(st.tuples(COLLECTION, KEY), min_size=1, max_size=3))
    return draw(st.lists(st.sampled_from(places).flatmap(_at), max_size=8))


@lru_cache(maxsize=100)  # a strategy is costly to make
def _at(place: tuple[int, str]) -> st.SearchStrategy[Call | Rival | Wait]:
    collection, key = place
    version = st.none() | VERSION
    calls = st.one_of(
        st.tuples(st.sampled_from(["get", "get", "get_many"])),
        st.tuples(st.sampled_from(["create", "put"]), TEXT, TTL),
        st.tuples(st.just("replace"), TEXT, TTL, version),
        st.tuples(st.just("delete"), st.just("{}"), st.none(), version, st.booleans()),
    ).map(lambda call: Call(call[0], collection, key, *call[1:]))
    rivals = st.builds(Rival, st.just(collection), moves(st.just(key)))
    return st.one_of(calls, calls, rivals, st.builds(Wait, WAIT))


def _can(machine: Any) -> bool:
    return bool(machine.store.capabilities.atomic_writes)


class Transactions(Life):
    """The steps that are transactions."""

    @precondition(_can)
    @rule(steps=_steps(), fails=st.sampled_from([False, False, False, True]))
    def transact(self, steps: list[Call | Rival | Wait], *, fails: bool) -> None:
        """Do several things as one, or not at all."""
        self.run(self._transact(steps, fails=fails))

    @precondition(_can)
    @rule(collection=COLLECTION, keys=st.lists(KEY, min_size=1, max_size=3, unique=True), text=TEXT)
    def run_while(self, collection: int, keys: list[str], text: str) -> None:
        """A transaction that met a rival is run again, and sees what the rival has written."""
        self.note("run")
        self.run(self._run_while(collection, keys, text))

    @precondition(lambda self: not _can(self))
    @rule()
    def transact_in_vain(self) -> None:
        """A store without atomic writes refuses at once."""
        self.note("transaction: none here")
        try:
            self.store.transaction()
        except StoreError as error:
            expect_equal(type(error).__name__, "UnsupportedError", "the refusal")
        else:
            raise CheckFailedError("broken: a store without atomic writes has no transactions")

    async def _transact(self, steps: list[Call | Rival | Wait], *, fails: bool) -> None:
        sight = Sight(self.model)
        transaction = self.store.transaction()

        async def whole() -> None:
            async with transaction:
                for step in steps:
                    await self._step(sight, transaction, step)
                if fails:
                    raise _BlockError

        try:
            outcome = await outcome_of(whole())
        except _BlockError:
            expect(fails, "a block fails by its own error alone")
            self.note("transaction: left by an error")
        else:
            self._judge_commit(sight, outcome)
        over = await outcome_of(transaction.get(self.documents(0), self.keys[0]))
        expect_equal(type(over).__name__, "ClosedError", "a transaction that is over refuses")

    async def _step(self, sight: Sight, transaction: Any, step: Call | Rival | Wait) -> None:
        match step:
            case Rival(collection, move):
                await self.perform(self.documents(collection), move)
            case Wait(by):
                self.model.move_to(self.model.now + by)
            case _:
                await self._call(sight, transaction, step)

    async def _call(self, sight: Sight, transaction: Any, call: Call) -> None:
        documents = self.documents(call.collection)
        place = Place(documents.name, call.key)
        version = None
        if call.version is not None:
            version = self.model.version(*place, call.version)
        match call.verb:
            case "get":
                outcome = await outcome_of(transaction.get(documents, call.key))
                expected = sight.get(place) or Refusal("NotFoundError", call.key)
                self._compare(outcome, expected, call, place)
            case "get_many":
                keys = list(dict.fromkeys([call.key, *self.keys[:2]]))
                found = await transaction.get_many(documents, keys)
                there = [sight.get(Place(documents.name, key)) for key in keys]
                entries = [entry for entry in there if entry is not None]
                expect_equal(list(map(seen, found.values())), entries, f"the documents of {call}")
            case "delete":
                if call.missing_ok and self.model.is_inherited(*place):
                    # A blind deletion by a clock that is behind may or may not conflict.
                    await transaction.get(documents, call.key, default=None)
                    sight.get(place)
                self._delete(sight, transaction, call, place, version)
            case _:
                self._write(sight, transaction, call, place, version)

    def _write(
        self, sight: Sight, transaction: Any, call: Call, place: Place, version: str | None
    ) -> None:
        what = self.documents(call.collection), call.key, json.loads(call.text)
        ttl = as_ttl(call.ttl)
        draft = self.model.put(call.key, call.text, call.ttl)
        expected: Entry | Refusal = draft
        outcome: object
        try:
            match call.verb:
                case "create":
                    expected = sight.create(place, draft)
                    outcome = transaction.create(*what, ttl=ttl)
                case "put":
                    outcome = transaction.put(*what, ttl=ttl)
                case _:
                    expected = sight.replace(place, draft, version)
                    outcome = transaction.replace(*what, version=version, ttl=ttl)
        except StoreError as error:
            outcome = error
        entry = self._compare(outcome, expected, call, place)
        if entry is not None:
            sight.written(call.verb, place, entry, version)

    def _delete(
        self, sight: Sight, transaction: Any, call: Call, place: Place, version: str | None
    ) -> None:
        documents, missing_ok = self.documents(call.collection), call.missing_ok
        refusal = sight.delete(place, version, missing_ok=missing_ok)
        outcome: object
        try:
            outcome = transaction.delete(
                documents, call.key, version=version, missing_ok=missing_ok
            )
        except StoreError as error:
            outcome = error
        if refusal is not None:
            self.refused(place.collection, refusal, outcome, f"{call}")
            return
        expect_equal(outcome, None, f"what {call} returns")
        sight.deleted(place, version, missing_ok=missing_ok)

    def _compare(
        self, outcome: object, expected: Entry | Refusal, call: Call, place: Place
    ) -> Entry | None:
        """See that a call ended as expected; the document that it returned."""
        if isinstance(expected, Refusal):
            self.refused(place.collection, expected, outcome, f"{call}")
            return None
        if isinstance(outcome, StoreError):
            raise CheckFailedError(f"broken: {call} succeeds") from outcome
        entry = seen(outcome)
        found = entry if expected.version else replace(entry, version="")
        expect_equal(found, expected, f"what {call} returns")
        return entry

    def _judge_commit(self, sight: Sight, outcome: object) -> None:
        match sight.refusal():
            case (place, refusal):
                self.note(f"transaction: {refusal.error}")
                self.refused(place.collection, refusal, outcome, "a transaction")
                return
        self.note("transaction: committed")
        expect_equal(outcome, None, "how a transaction ends")
        for place, entry in sight.stored():
            if entry is None:
                self.model.remove(*place)
                continue
            expect(
                self.model.is_fresh(place.collection, entry.key, entry.version),
                f"a version is new, and past all that stood at its key; not {entry.version}",
            )
            self.model.store(place.collection, entry)

    async def _run_while(self, collection: int, keys: list[str], text: str) -> None:
        documents = self.documents(collection)
        attempts: list[dict[str, str]] = []
        written: list[Entry] = []

        async def work(transaction: Any) -> str:
            found = await transaction.get_many(documents, keys)
            attempts.append({key: json.dumps(document.value) for key, document in found.items()})
            if len(attempts) == 1:
                await self.perform(documents, Put(keys[-1], text, None))
            written.clear()
            for key in keys:
                value = {"n": len(attempts)}
                written.append(seen(transaction.put(documents, key, value)))
            return "done"

        first = {key: self.model.get(documents.name, key) for key in keys}
        returned = await self.store.run(work, attempts=2)
        expect_equal(returned, "done", "what a transaction returns that is run")
        texts = {key: entry.text for key, entry in first.items() if entry is not None}
        again = {**texts, keys[-1]: text}
        in_order = {key: again[key] for key in keys if key in again}
        expect_equal(attempts, [texts, in_order], "what the attempts have read")
        for entry in written:
            draft = self.model.put(entry.key, json.dumps({"n": 2}), None)
            self.written(documents.name, draft, entry)


class _BlockError(Exception):
    """What a block ends with."""
