"""One store that several have open at once, though it can be opened only once."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from aiostore.filters import Path
from aiostore.protocols import (
    Adaptor,
    Capabilities,
    Check,
    DocumentId,
    Outcome,
    Purge,
    Record,
    Scan,
    Write,
)


class Lent:
    """An adaptor as one of its users has it: the first to open it opens it, the last closes it.

    Args:
        adaptor: the one that all of them use. They open and close it one after the other.
        users: those that have it open now; the same set for all.
    """

    def __init__(self, adaptor: Adaptor, users: "set[Lent]") -> None:
        self._adaptor = adaptor
        self._users = users

    @property
    def name(self) -> str:
        return self._adaptor.name

    @property
    def capabilities(self) -> Capabilities:
        return self._adaptor.capabilities

    async def open(self) -> None:
        if not self._users:
            await self._adaptor.open()
        self._users.add(self)

    async def aclose(self) -> None:
        self._users.discard(self)
        if not self._users:
            await self._adaptor.aclose()

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        return await self._adaptor.read(ids, consistent=consistent)

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await self._adaptor.write(writes)

    async def write_atomic(self, items: Sequence[Write | Check], /) -> Sequence[Outcome]:
        return await self._adaptor.write_atomic(items)

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        async with aclosing(self._adaptor.scan(request)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def index(self, collection: str, path: Path, /) -> None:
        await self._adaptor.index(collection, path)

    async def count(self, collection: str, /, *, alive_at: int | None = None) -> int:
        return await self._adaptor.count(collection, alive_at=alive_at)

    async def collections(self) -> Sequence[str]:
        return await self._adaptor.collections()

    async def purge(self, request: Purge, /) -> int:
        return await self._adaptor.purge(request)
