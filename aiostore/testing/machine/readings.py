"""Readings that go on while others write: scans half way, and lists between two pages."""

from collections.abc import AsyncGenerator
from typing import Any

from aiostore import Document
from aiostore.testing.expectations import expect, expect_equal
from aiostore.testing.machine.model import Entry, Model
from aiostore.testing.machine.queries import Query


class _Reading:
    """What was there at its beginning, and what has come so far.

    Args:
        model: the model.
        collection: the collection's name.
        query: what is asked.
    """

    def __init__(self, model: Model, collection: str, query: Query) -> None:
        self.collection = collection
        self.query = query
        self.came: list[Entry] = []
        self._model = model
        self._began = len(model.changes)
        self._first = model.documents(collection)

    def check_untouched(self) -> None:
        """It has ended: what nobody touched from start to end came exactly once, in order."""
        touched = {one.key for one in self._changes()}
        expect_equal(
            [entry for entry in self.came if entry.key not in touched],
            [one for one in self.query.answer(self._first) if one.key not in touched],
            f"what stayed as it was comes exactly once and in order: {self.query}",
        )

    def _changes(self) -> list[Any]:
        changes = self._model.changes[self._began :]
        return [change for change in changes if change.collection == self.collection]


class Walk(_Reading):
    """A scan or a find that is under way.

    Args:
        model: the model.
        collection: the collection's name.
        query: what is asked.
        limit: at most so many.
        documents: the generator.
    """

    def __init__(
        self,
        model: Model,
        collection: str,
        query: Query,
        limit: int | None,
        documents: AsyncGenerator[Document[Any], None],
    ) -> None:
        super().__init__(model, collection, query)
        self.documents = documents
        self._limit = limit

    def take(self, entry: Entry) -> None:
        """The next document has come."""
        states = [one.entry for one in self._changes() if one.entry is not None]
        expect(
            entry in states or entry in self._first,
            f"a document comes as it was at some moment meanwhile, not as {entry}",
        )
        expect(self.query.picks(entry), f"{entry} is no answer to {self.query}")
        expect(
            entry.expires_at is None or entry.expires_at > self._model.now,
            f"{entry} has expired",
        )
        expect(
            all(one.key != entry.key for one in self.came), f"{entry} comes once and no second time"
        )
        self.came.append(entry)
        in_order = self.query.sorted({one.key: one for one in self.came})
        expect_equal(self.came, in_order, f"the order of {self.query}")

    def end(self) -> None:
        """Nothing comes any more."""
        if self._limit is None or len(self.came) < self._limit:
            self.check_untouched()
        expect(self._limit is None or len(self.came) <= self._limit, "the limit")


class Paging(_Reading):
    """A list that is paged through.

    Attributes:
        cursor: where the next page begins; None before the first.
    """

    cursor: str | None = None

    def take(self, page: list[Entry], size: int, cursor: str | None) -> bool:
        """The next page has come; returns whether it was the last one."""
        last = self.came[-1] if self.came else None
        left = self.query.after(last, self._model.documents(self.collection))
        expect_equal(page, left[:size], f"the documents of a page of {self.query}")
        more = len(left) > size
        expect((cursor is not None) is more, f"a cursor, if and only if more is there: {cursor}")
        self.came += page
        self.cursor = cursor
        if not more:
            self.check_untouched()
        return not more
