"""The adaptor: what runs in which thread, and decisions."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

from aiostore.adaptors.files._disk import translated
from aiostore.adaptors.files._folder import Folder
from aiostore.adaptors.files._names import key_in
from aiostore.conditions import decide, is_alive, is_doomed, place_of
from aiostore.errors import ClosedError, UnsupportedError
from aiostore.filters import Path as FieldPath
from aiostore.keys import segment_of
from aiostore.protocols import (
    Capabilities,
    Check,
    DocumentId,
    Outcome,
    Purge,
    Record,
    Scan,
    Write,
)

R = TypeVar("R")
_Job: TypeAlias = Callable[..., R]

_READERS = 8
_CAPABILITIES = Capabilities(
    persistent=True,
    shared=False,
    atomic_writes=True,
    max_batch=500,
    max_atomic=500,
    read_lanes=_READERS,
)


class _Opened(NamedTuple):
    folder: Folder
    writer: Executor
    readers: Executor


class FileAdaptor:
    """A folder that this process owns.

    Args:
        folder: made at `open` if it is missing (its parent folder must be there).
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._path = Path(folder)
        self._opened: _Opened | None = None

    @property
    def name(self) -> str:
        return f"file:{self._path}"

    @property
    def capabilities(self) -> Capabilities:
        return _CAPABILITIES

    async def open(self) -> None:
        readers = ThreadPoolExecutor(_READERS, thread_name_prefix="aiostore-files")
        self._opened = _Opened(
            Folder(self._path, self.name, readers),
            ThreadPoolExecutor(1, thread_name_prefix="aiostore-files-writer"),
            readers,
        )
        await self._in_writer(Folder.take)

    async def aclose(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            await asyncio.shield(asyncio.to_thread(_close, opened))

    async def read(
        self,
        ids: Sequence[DocumentId],
        /,
        *,
        consistent: bool = True,  # noqa: ARG002  # every read is
    ) -> Sequence[Record | None]:
        return await self._in_reader(_read, ids)

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await self._in_writer(_write, writes)

    async def write_atomic(self, items: Sequence[Write | Check], /) -> Sequence[Outcome]:
        return await self._in_writer(_write_atomic, items)

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        keys = await self._in_reader(_keys, request)
        for start in range(0, len(keys), request.chunk):
            ids = [
                DocumentId(request.collection, key) for key in keys[start : start + request.chunk]
            ]
            chunk = [record for record in await self.read(ids) if record is not None]
            if chunk:
                yield chunk

    async def index(self, collection: str, _: FieldPath, /) -> None:
        raise UnsupportedError("this store has no indexes", store=self.name, collection=collection)

    async def count(self, collection: str, /, *, alive_at: int | None = None) -> int:
        if alive_at is None:
            return await self._in_reader(_count, collection)
        return await self._in_reader(_count_alive, collection, alive_at)

    async def collections(self) -> Sequence[str]:
        return await self._in_reader(Folder.collections)

    async def purge(self, request: Purge, /) -> int:
        return await self._in_writer(_purge, request)

    async def _in_reader(self, job: _Job[R], *arguments: object) -> R:
        opened = self._checked()
        return await self._run(opened.readers, job, opened.folder, *arguments)

    async def _in_writer(self, job: _Job[R], *arguments: object) -> R:
        opened = self._checked()
        return await self._run(opened.writer, job, opened.folder, *arguments)

    async def _run(self, executor: Executor, job: _Job[R], *arguments: object) -> R:
        # A job that has begun goes on to its end, also when who waits for it is cancelled.
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, job, *arguments)
        except OSError as error:
            raise translated(error, self.name) from error

    def _checked(self) -> _Opened:
        if self._opened is None:
            raise ClosedError("the adaptor is not open", store=self.name)
        return self._opened


# What follows runs in threads: what writes in the one writer, the rest in the readers.


def _close(opened: _Opened) -> None:
    # Ended jobs first, the lock last: another process may take the folder after that.
    opened.writer.shutdown()
    opened.readers.shutdown()
    opened.folder.release()


def _read(folder: Folder, ids: Sequence[DocumentId]) -> list[Record | None]:
    return [folder.load(id_) for id_ in ids]


def _write(folder: Folder, writes: Sequence[Write]) -> list[Outcome]:
    outcomes, changes = _decide(folder, writes)
    folder.change([(folder.path_of(id_), record) for id_, record in changes.items()])
    return outcomes


def _write_atomic(folder: Folder, items: Sequence[Write | Check]) -> list[Outcome]:
    outcomes, changes = _decide(folder, items)
    if all(outcome.applied for outcome in outcomes):
        folder.change_together(changes)
    return outcomes


def _decide(
    folder: Folder, items: Sequence[Write | Check]
) -> tuple[list[Outcome], dict[DocumentId, Record | None]]:
    """The outcomes, and what those that hold change."""
    folder.settle()
    outcomes = []
    changes = {}
    for item in items:
        id_ = place_of(item)
        standing = folder.load(id_)
        outcome = decide(item, standing)
        outcomes.append(outcome)
        nothing = standing is None and outcome.record is None
        if isinstance(item, Write) and outcome.applied and not nothing:
            changes[id_] = outcome.record
    return outcomes, changes


def _keys(folder: Folder, request: Scan) -> list[str]:
    start = request.start_after
    keys = (_key(folder, request.collection, path) for path in folder.paths(request.collection))
    return sorted(
        key
        for key in keys
        if key is not None
        and key.startswith(request.prefix)
        and (start is None or key > start)
        and segment_of(key, request.segments) == request.segment
    )


def _key(folder: Folder, collection: str, path: Path) -> str | None:
    key = key_in(path.name)
    if key is not None:
        return key
    record = folder.load_file(collection, path)
    return None if record is None else record.id.key


def _count(folder: Folder, collection: str) -> int:
    return len(folder.paths(collection))


def _count_alive(folder: Folder, collection: str, moment: int) -> int:
    records = (folder.load_file(collection, path) for path in folder.paths(collection))
    return sum(record is not None and is_alive(record, moment) for record in records)


def _purge(folder: Folder, request: Purge) -> int:
    folder.settle()
    doomed = []
    for path in folder.paths(request.collection):
        record = folder.load_file(request.collection, path)
        if record is not None and is_doomed(record, request):
            doomed.append((path, None))
    folder.change(doomed)
    if request.everything:
        folder.drop(request.collection)
    return len(doomed)
