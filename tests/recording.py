"""A memory store that remembers what it was sent, moments, and refused transactions."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
import pytest
from engines import tersely

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.protocols import (
    Capabilities,
    Check,
    DocumentId,
    Mark,
    Newer,
    Outcome,
    Record,
    Write,
)
from aiostore.store import Store
from aiostore.transaction import Transaction
from aiostore.versions import VersionClock

E = TypeVar("E", bound=BaseException)

PRESENT = datetime(2026, 1, 1, tzinfo=UTC)
NOW = int(PRESENT.timestamp()) * 1_000_000
HOUR = 60 * 60 * 1_000_000
DAY = 24 * HOUR


class RecordingAdaptor(MemoryAdaptor):
    """Memory that remembers its calls, and lets a test in before an atomic write and after a read.

    Attributes:
        atomic: the items of each atomic write.
        reads: the ids of each read.
        most: most items in an atomic write; 0 for none at all.
        before_atomic: awaited before each atomic write.
        after_read: awaited after each read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.atomic: list[Sequence[Write | Check]] = []
        self.reads: list[Sequence[DocumentId]] = []
        self.most = 1000
        self.before_atomic: Callable[[], Awaitable[object]] | None = None
        self.after_read: Callable[[], Awaitable[object]] | None = None

    @property
    def capabilities(self) -> Capabilities:
        return msgspec.structs.replace(
            super().capabilities, atomic_writes=self.most > 0, max_atomic=self.most, read_lanes=8
        )

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        found = await super().read(ids, consistent=consistent)
        self.reads.append(ids)
        if self.after_read is not None:
            await self.after_read()
        return found

    async def write_atomic(self, items: Sequence[Write | Check], /) -> Sequence[Outcome]:
        self.atomic.append(items)
        if self.before_atomic is not None:
            await self.before_atomic()
        return tersely(items, await super().write_atomic(items))

    async def poke(
        self,
        key: str,
        body: str | None = "{}",
        *,
        ahead: int = 0,
        expires_at: int | None = None,
        mark: Mark = Mark.LIVE,
        collection: str = "accounts",
    ) -> str:
        """Leave a record there as another process would; returns its version."""
        version = VersionClock(lambda: NOW + ahead).next()
        record = Record(DocumentId(collection, key), body, version, 1, 2, expires_at, mark)
        [outcome] = await self.write([Write(record, Newer())])
        assert outcome.applied
        return version

    def standing(self, key: str) -> Record | None:
        """The record at a key of `accounts`."""
        return self._standing(DocumentId("accounts", key))


@asynccontextmanager
async def refused(
    store: Store, error: type[E]
) -> AsyncIterator[tuple[Transaction, "pytest.ExceptionInfo[E]"]]:
    """A transaction whose block has to be left with this error, and what catches it."""
    with pytest.raises(error) as caught:
        async with store.transaction() as tx:
            yield tx, caught
