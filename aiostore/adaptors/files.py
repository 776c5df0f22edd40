"""Documents as files: one readable JSON file each, in a folder for each collection.

Stored shape: `FOLDER/COLLECTION/KEY.json`, holding the key, the version, the dates and the value.
Names are an injective escape of the key, on file systems that fold case too; a key whose escape is
too long is named by its hash, and the file tells the key.
Consistency: writes pass through one thread, so each decides its condition and stores in one step;
a reader sees the old or the new file, never a part. A write is acknowledged once the file and its
folder are on disk (fsync); a batch shares the waiting. A crash at any point leaves the old or the
new document.
Limits: one process owns the folder; a second is refused. POSIX systems.
Cost: an open, write, fsync and rename a write; a file opened a read; a scan holds the collection's
keys in memory while it runs.
"""

import asyncio
import errno
import hashlib
import os
import re
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import unquote

import filelock
import msgspec

from aiostore.conditions import decide, is_alive, is_doomed
from aiostore.errors import (
    ConfigurationError,
    CorruptRecordError,
    StoreError,
    UnavailableError,
    UnsupportedError,
)
from aiostore.keys import segment_of
from aiostore.protocols import (
    Capabilities,
    Check,
    DocumentId,
    Mark,
    Outcome,
    Purge,
    Record,
    Scan,
    Write,
)
from aiostore.urls import StoreURL, path_of

R = TypeVar("R")

_CAPABILITIES = Capabilities(persistent=True, shared=False, atomic_writes=False, max_batch=500)
_FORMAT_NAME = "aiostore.json"
_NEW_FORMAT_NAME = "aiostore.json.tmp"
_LOCK_NAME = "aiostore.lock"
_FORMAT = b'{"format": "aiostore files", "version": 1}\n'
_SUFFIX = ".json"
_LONGEST_NAME = 200  # bytes; common file systems allow 255
_READERS = 8
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_NO_VALUE = msgspec.Raw(b"null")

_ERRORS: dict[int, tuple[type[StoreError], str]] = {
    errno.EACCES: (ConfigurationError, "no permission: give this user write access"),
    errno.EPERM: (ConfigurationError, "no permission: give this user write access"),
    errno.EROFS: (ConfigurationError, "the file system is read-only: choose another folder"),
    errno.EEXIST: (ConfigurationError, "a file stands where the folder should be: choose another"),
    errno.ENOTDIR: (ConfigurationError, "a part of the path is a file: choose another folder"),
    errno.ENOENT: (ConfigurationError, "the folder cannot be made, or is gone"),
    errno.ENAMETOOLONG: (ConfigurationError, "the path is too long: choose a shorter folder"),
    errno.ENOSPC: (UnavailableError, "the disk is full: free some space"),
    errno.EDQUOT: (UnavailableError, "the disk quota is used up: free some space"),
    errno.EFBIG: (UnavailableError, "files may not grow so large here: raise the limit"),
    errno.EIO: (UnavailableError, "the disk failed: look at the system's log"),
    errno.EMFILE: (UnavailableError, "too many open files: raise the process's limit"),
    errno.ENFILE: (UnavailableError, "too many open files on this machine"),
}


class FileAdaptor:
    """A folder that this process owns.

    Args:
        folder: made at `open` if it is missing (its parent folder must be there).
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        self._lock = filelock.FileLock(self._folder / _LOCK_NAME, timeout=0, thread_local=False)
        self._writer: Executor | None = None
        self._readers: Executor | None = None

    @property
    def name(self) -> str:
        return f"file:{self._folder}"

    @property
    def capabilities(self) -> Capabilities:
        return _CAPABILITIES

    async def open(self) -> None:
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="aiostore-files-writer")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="aiostore-files")
        await self._run(self._writer, self._take_folder)

    async def aclose(self) -> None:
        writer, readers = self._writer, self._readers
        self._writer = self._readers = None
        if writer is not None and readers is not None:
            # Ended jobs first, the lock last: another process may take the folder after that.
            await asyncio.shield(asyncio.to_thread(self._release, writer, readers))

    async def read(self, ids: Sequence[DocumentId], /) -> Sequence[Record | None]:
        return await self._run(self._readers, self._load_all, ids)

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await self._run(self._writer, self._write_all, writes)

    async def write_atomic(self, _: Sequence[Write | Check], /) -> Sequence[Outcome]:
        raise UnsupportedError(
            "files cannot be written atomically together: use a SQL store or memory for that",
            store=self.name,
        )

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        keys = await self._run(self._readers, self._keys, request)
        for start in range(0, len(keys), request.chunk):
            ids = [
                DocumentId(request.collection, key) for key in keys[start : start + request.chunk]
            ]
            chunk = [record for record in await self.read(ids) if record is not None]
            if chunk:
                yield chunk

    async def count(self, collection: str, /, *, alive_at: int | None = None) -> int:
        return await self._run(self._readers, self._count, collection, alive_at)

    async def collections(self) -> Sequence[str]:
        return await self._run(self._readers, self._list_collections)

    async def purge(self, request: Purge, /) -> int:
        return await self._run(self._writer, self._purge, request)

    async def _run(self, executor: Executor | None, job: Callable[..., R], *arguments: object) -> R:
        with self._translated():
            return await asyncio.get_running_loop().run_in_executor(executor, job, *arguments)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kind, advice = _ERRORS.get(error.errno or 0, (StoreError, "the system refused"))
            raise kind(f"{advice}: {error}", store=self.name) from error

    # Everything below runs in threads.

    def _take_folder(self) -> None:
        if self._folder.is_dir():
            self._check_format()
        self._folder.mkdir(exist_ok=True)
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            raise ConfigurationError(
                "the folder is in use by another process: close that one, or give this one a "
                "folder of its own",
                store=self.name,
            ) from error
        self._check_format()  # again: another process may have made it between check and lock
        if not (self._folder / _FORMAT_NAME).exists():
            _store(self._folder / _NEW_FORMAT_NAME, _FORMAT)
            (self._folder / _NEW_FORMAT_NAME).replace(self._folder / _FORMAT_NAME)
            _sync_folder(self._folder)
            _sync_folder(self._folder.parent)
        for left_over in self._folder.glob("*/.*.tmp"):
            left_over.unlink()

    def _check_format(self) -> None:
        path = self._folder / _FORMAT_NAME
        try:
            found = path.read_bytes()
        except FileNotFoundError:
            ours = {_LOCK_NAME, _NEW_FORMAT_NAME}
            others = {entry.name for entry in os.scandir(self._folder)} - ours
            if others:
                raise ConfigurationError(
                    f"the folder holds other things ({min(others)!r}) and is no store: choose an "
                    "empty or a new folder",
                    store=self.name,
                ) from None
            return
        try:
            as_expected = msgspec.json.decode(found) == msgspec.json.decode(_FORMAT)
        except (msgspec.DecodeError, UnicodeError):
            as_expected = False
        if not as_expected:
            raise ConfigurationError(
                f"{path} does not name a format that this version of aiostore knows: choose "
                "another folder, or update aiostore",
                store=self.name,
            )

    def _release(self, writer: Executor, readers: Executor) -> None:
        writer.shutdown()
        readers.shutdown()
        self._lock.release()

    def _load_all(self, ids: Sequence[DocumentId]) -> list[Record | None]:
        return [self._load(id_) for id_ in ids]

    def _load(self, id_: DocumentId) -> Record | None:
        path = self._path(id_)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        record = self._parsed(id_.collection, path, content)
        if record.id != id_:
            raise CorruptRecordError(
                f"{path} is the file of this key and names another, {record.id.key!r:.80}: "
                "restore it",
                store=self.name,
                collection=id_.collection,
                key=id_.key,
            )
        return record

    def _parsed(self, collection: str, path: Path, content: bytes) -> Record:
        try:
            return _record(collection, msgspec.json.decode(content, type=_StoredFile))
        except (msgspec.DecodeError, UnicodeError) as error:
            raise CorruptRecordError(
                f"{path} cannot be read ({error}): restore it from a backup, or remove it",
                store=self.name,
                collection=collection,
            ) from error

    def _write_all(self, writes: Sequence[Write]) -> list[Outcome]:
        outcomes = [decide(write, self._load(write.record.id)) for write in writes]
        applied = [
            (self._path(write.record.id), outcome.record)
            for write, outcome in zip(writes, outcomes, strict=True)
            if outcome.applied
        ]
        self._apply(applied)
        return outcomes

    def _apply(self, changes: Sequence[tuple[Path, Record | None]]) -> None:
        """Make each path hold its record, or be gone, on disk when this returns."""
        folders = {path.parent for path, _ in changes}
        for folder in folders:
            if not folder.exists():
                folder.mkdir()
                _sync_folder(self._folder)
        kept = [(path, record) for path, record in changes if record is not None]
        with _temporary_files([path.parent for path, _ in kept]) as temporaries:
            jobs = zip(temporaries, (record for _, record in kept), strict=True)
            if len(kept) > 1 and self._readers is not None:
                stored = [self._readers.submit(_store_record, *job) for job in jobs]
                wait(stored)  # all, also after an error: none may write once the names are removed
                for job in stored:
                    job.result()
            else:
                for temporary, record in jobs:
                    _store_record(temporary, record)
            for temporary, (path, _) in zip(temporaries, kept, strict=True):
                temporary.replace(path)
        for path in (path for path, record in changes if record is None):
            path.unlink(missing_ok=True)
        for folder in folders:
            _sync_folder(folder)

    def _keys(self, request: Scan) -> list[str]:
        start = request.start_after
        keys = {  # a set: a name that is replaced while it is listed may come twice
            key
            for key in (
                self._key_of(request.collection, path) for path in self._names(request.collection)
            )
            if key is not None
            and key.startswith(request.prefix)
            and (start is None or key > start)
            and segment_of(key, request.segments) == request.segment
        }
        return sorted(keys)

    def _key_of(self, collection: str, path: Path) -> str | None:
        key = _key_in(path.name)
        if key is not None:
            return key
        try:
            return self._parsed(collection, path, path.read_bytes()).id.key
        except FileNotFoundError:
            return None

    def _names(self, collection: str) -> Iterator[Path]:
        folder = self._folder / _file_name(collection)
        with suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(_SUFFIX) and not entry.name.startswith("."):
                    yield folder / entry.name

    def _count(self, collection: str, alive_at: int | None) -> int:
        if alive_at is None:
            return sum(1 for _ in self._names(collection))
        count = 0
        for path in self._names(collection):
            with suppress(FileNotFoundError):  # removed meanwhile
                count += is_alive(self._parsed(collection, path, path.read_bytes()), alive_at)
        return count

    def _list_collections(self) -> list[str]:
        with os.scandir(self._folder) as entries:
            names = [unquote(_without_case_mask(e.name)) for e in entries if e.is_dir()]
        return sorted(name for name in names if any(True for _ in self._names(name)))

    def _purge(self, request: Purge) -> int:
        doomed: list[tuple[Path, Record | None]] = []
        for path in self._names(request.collection):
            record = self._parsed(request.collection, path, path.read_bytes())
            if is_doomed(record, request):
                doomed.append((path, None))
        self._apply(doomed)
        if request.everything:
            with suppress(OSError):  # it is not there, or not empty, which is no matter
                (self._folder / _file_name(request.collection)).rmdir()
        return len(doomed)

    def _path(self, id_: DocumentId) -> Path:
        return self._folder / _file_name(id_.collection) / (_file_name(id_.key) + _SUFFIX)


class _StoredFile(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What one file holds, in the order in which a person reads it; a tombstone's value is null."""

    key: str
    version: str
    created_at: _Moment
    updated_at: _Moment
    expires_at: _Moment | None = None
    mark: Mark = Mark.LIVE
    value: msgspec.Raw


def _content(record: Record) -> bytes:
    stored = _StoredFile(
        key=record.id.key,
        version=record.version,
        created_at=_moment(record.created_at),
        updated_at=_moment(record.updated_at),
        expires_at=None if record.expires_at is None else _moment(record.expires_at),
        mark=record.mark,
        value=_NO_VALUE if record.body is None else msgspec.Raw(record.body.encode()),
    )
    return msgspec.json.format(msgspec.json.encode(stored), indent=2) + b"\n"


def _record(collection: str, stored: _StoredFile) -> Record:
    value = bytes(stored.value)
    return Record(
        DocumentId(collection, stored.key),
        None if value == b"null" else msgspec.json.format(value, indent=-1).decode(),
        stored.version,
        _microseconds(stored.created_at),
        _microseconds(stored.updated_at),
        None if stored.expires_at is None else _microseconds(stored.expires_at),
        stored.mark,
    )


def _moment(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _store_record(path: Path, record: Record) -> None:
    _store(path, _content(record))


def _store(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _temporary_files(folders: Sequence[Path]) -> Iterator[list[Path]]:
    """A new name in each folder; what was written there and not renamed is removed."""
    paths = [folder / f".{uuid.uuid4().hex}.tmp" for folder in folders]
    try:
        yield paths
    except BaseException:
        for path in paths:
            path.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _file_name(text: str) -> str:
    """An injective, portable file name (without suffix) for a key or a collection.

    `a-z A-Z 0-9 _ -` stand for themselves, all else is percent-encoded UTF-8. Capitals are told by
    a mask behind `~`, so that names differ where the file system folds case. Long names end in
    `~~` and the SHA-256 of the text.
    """
    escaped = re.sub(
        rb"[^A-Za-z0-9_-]", lambda match: b"%%%02x" % match.group()[0], text.encode()
    ).decode()
    capitals = sum(1 << i for i, character in enumerate(escaped) if character.isupper())
    name = f"{escaped}~{capitals:x}" if capitals else escaped
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{escaped[:100]}~~{hashlib.sha256(text.encode()).hexdigest()}"


def _key_in(file_name: str) -> str | None:
    """The key that a file name tells, or None if it is a hash."""
    stem = file_name.removesuffix(_SUFFIX)
    return None if "~~" in stem else unquote(_without_case_mask(stem))


def _without_case_mask(name: str) -> str:
    return name.partition("~")[0]


class _Options(msgspec.Struct, forbid_unknown_fields=True):
    """A file URL has none."""


def from_url(url: StoreURL) -> FileAdaptor:
    """The folder of `file:///absolute/folder` or `file:relative/folder`."""
    url.options(_Options)
    return FileAdaptor(path_of(url, "file:///absolute/folder or file:relative/folder"))
