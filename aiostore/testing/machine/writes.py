"""Steps that write: each verb alone, many at once, rivals for one key, batches."""

import asyncio
import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from aiostore import Document
from aiostore.testing.expectations import expect, expect_equal
from aiostore.testing.machine.life import COLLECTION, KEY, TEXT, TTL, Life, outcome_of
from aiostore.testing.machine.model import VERSIONS, Entry, Refusal
from aiostore.testing.machine.moves import (
    Act,
    Create,
    Delete,
    Documents,
    Get,
    Move,
    Put,
    Replace,
    Update,
)

VERSION = st.sampled_from(["latest", "latest", "latest", *VERSIONS])
"""One of `VERSIONS`, and often the right one."""


def moves(keys: st.SearchStrategy[str]) -> st.SearchStrategy[Move]:
    """Anything to do to one of the keys."""
    return st.one_of(
        st.builds(Get, keys, st.booleans()),
        st.builds(Create, keys, TEXT, TTL),
        st.builds(Put, keys, TEXT, TTL),
        st.builds(Replace, keys, TEXT, VERSION, TTL),
        st.builds(Update, keys, TEXT, TTL, st.booleans()),
        st.builds(Delete, keys, st.none() | VERSION, st.booleans()),
    )


_MOVE = moves(KEY)
_RIVALS = st.one_of(
    st.none(),
    st.builds(Put, KEY, TEXT, TTL),
    st.builds(Delete, KEY, st.none(), missing_ok=st.just(value=True)),
)


class Writes(Life):
    """The steps that write."""

    @rule(collection=COLLECTION, key=KEY, lenient=st.booleans())
    def get(self, collection: int, key: str, *, lenient: bool) -> None:
        """Read a document."""
        self._alone(collection, Get(key, lenient))

    @rule(collection=COLLECTION, key=KEY, text=TEXT, ttl=TTL)
    def create(self, collection: int, key: str, text: str, ttl: int | None) -> None:
        """Create a document, or be refused."""
        self._alone(collection, Create(key, text, ttl))

    @rule(collection=COLLECTION, key=KEY, text=TEXT, ttl=TTL)
    def put(self, collection: int, key: str, text: str, ttl: int | None) -> None:
        """Put a document."""
        self._alone(collection, Put(key, text, ttl))

    @rule(collection=COLLECTION, key=KEY, text=TEXT, version=VERSION, ttl=TTL)
    def replace(self, collection: int, key: str, text: str, version: str, ttl: int | None) -> None:
        """Replace a document, or be refused."""
        self._alone(collection, Replace(key, text, version, ttl))

    @rule(collection=COLLECTION, key=KEY, text=TEXT, ttl=TTL, keep=st.booleans())
    def update(self, collection: int, key: str, text: str, ttl: int | None, *, keep: bool) -> None:
        """Update a document, or be refused."""
        self._alone(collection, Update(key, text, ttl, keep))

    @rule(collection=COLLECTION, key=KEY, version=st.none() | VERSION, missing_ok=st.booleans())
    def delete(self, collection: int, key: str, version: str | None, *, missing_ok: bool) -> None:
        """Delete a document, or be refused."""
        self._alone(collection, Delete(key, version, missing_ok))

    @rule(
        collection=COLLECTION,
        key=KEY,
        text=TEXT,
        rival=_RIVALS,
        end=st.sampled_from(["value", "value", "None", "error"]),
    )
    def update_while(
        self, collection: int, key: str, text: str, rival: Move | None, end: str
    ) -> None:
        """Update a document while another client writes, with a change that may go wrong."""
        self.run(self._update_while(self.documents(collection), Put(key, text, None), rival, end))

    @rule(
        moves=st.lists(
            st.tuples(COLLECTION, _MOVE),
            min_size=2,
            max_size=5,
            unique_by=lambda pair: (pair[0], pair[1].key),
        )
    )
    def at_once(self, moves: list[tuple[int, Move]]) -> None:
        """Many clients at once, each at a key of its own."""
        self.note("at once")
        self.run(self._at_once([(self.documents(number), move) for number, move in moves]))

    @rule(collection=COLLECTION, key=KEY, texts=st.lists(TEXT, min_size=2, max_size=4))
    def rivals(self, collection: int, key: str, texts: list[str]) -> None:
        """Several clients create, or replace, one document at once: exactly one of them does."""
        self.note("rivals")
        self.run(self._rivals(self.documents(collection), key, texts))

    @rule(collection=COLLECTION, texts=st.dictionaries(KEY, TEXT, max_size=4), ttl=TTL)
    def put_many(self, collection: int, texts: dict[str, str], ttl: int | None) -> None:
        """Put many documents."""
        self.note("put many")
        self.put_all(collection, texts, ttl)

    @rule(collection=COLLECTION, keys=st.lists(KEY, max_size=2))
    def delete_many(self, collection: int, keys: list[str]) -> None:
        """Delete some documents, maybe twice."""
        self.note("delete many")
        documents = self.documents(collection)
        self.run(documents.delete_many(keys))
        for key in keys:
            self.model.remove(documents.name, key)

    def _alone(self, collection: int, move: Move) -> None:
        self.run(self.perform(self.documents(collection), move))

    async def _at_once(self, pairs: list[tuple[Documents, Move]]) -> None:
        acts = [(documents.name, move.act(self.model, documents)) for documents, move in pairs]
        outcomes = await asyncio.gather(*(outcome_of(act.start()) for _, act in acts))
        for (name, act), outcome in zip(acts, outcomes, strict=True):
            self.judge(name, act, outcome)

    async def _rivals(self, documents: Documents, key: str, texts: list[str]) -> None:
        standing = self.model.get(documents.name, key)
        moves: list[Move] = [
            Create(key, text, None) if standing is None else Replace(key, text, "latest", None)
            for text in texts
        ]
        acts = [move.act(self.model, documents) for move in moves]
        outcomes = await asyncio.gather(*(outcome_of(act.start()) for act in acts))
        [*winners] = [number for number, one in enumerate(outcomes) if isinstance(one, Document)]
        expect_equal(len(winners), 1, "how many of those who write over one version succeed")
        self.judge(documents.name, acts[winners[0]], outcomes[winners[0]])
        error = "AlreadyExistsError" if standing is None else "ConflictError"
        refusal = Refusal(error, key, self.model.get(documents.name, key))
        for number, (act, outcome) in enumerate(zip(acts, outcomes, strict=True)):
            if number != winners[0]:
                self.judge(documents.name, act._replace(expected=refusal), outcome)

    async def _update_while(
        self, documents: Documents, new: Put, rival: Move | None, end: str
    ) -> None:
        before: list[Entry] = []

        async def change(value: dict[str, Any]) -> Any:
            standing = self.model.get(documents.name, new.key)
            if standing is not None:
                before.append(standing)
                expect_equal(json.dumps(value), standing.text, "the value to change")
            value.clear()  # it is a copy
            if rival is not None and len(before) == 1:
                await self.perform(documents, rival)
            if end == "error":
                raise _ChangeError
            return None if end == "None" else json.loads(new.text)

        there = self.model.get(documents.name, new.key) is not None
        outcome: object
        try:
            outcome = await outcome_of(documents.update(new.key, change))
        except _ChangeError as error:
            outcome = error
        again = isinstance(rival, Put) and rival.key == new.key and end == "value"
        expect_equal(len(before), there * (1 + again), "how often a change is asked for")
        self.note(f"update while {type(rival).__name__}: {end}")
        if there and end == "error":
            expect(isinstance(outcome, _ChangeError), "the error of a change comes through")
            return
        expected: Entry | Refusal = Refusal("InvalidValueError", new.key)
        if not there or end == "value":
            expected = self.model.update(documents.name, new.key, new.text, None, keep=True)
        self.judge(documents.name, Act("update", new.key, expected, _never), outcome)


class _ChangeError(Exception):
    """What a change of a document ends with."""


async def _never() -> None:
    raise NotImplementedError("it has been started already")
