"""The store's folder: taken, read, and changed so that a crash leaves the old or the new."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor, wait
from contextlib import suppress
from os import scandir
from pathlib import Path

import filelock
import msgspec

from aiostore.adaptors.files._disk import (
    TEMPORARY_FILES,
    digest,
    digest_of_file,
    removed_on_error,
    store,
    sync_folder,
    temporary_name,
    unfinished,
    unknown,
)
from aiostore.adaptors.files._journal import FORMAT, Change, changes_in, format_with
from aiostore.adaptors.files._names import SUFFIX, collection_in, file_name
from aiostore.adaptors.files._records import content_of, record_in
from aiostore.errors import ConfigurationError, CorruptRecordError
from aiostore.protocols import DocumentId, Record

_FORMAT_NAME = "aiostore.json"
_NEW_FORMAT_NAME = "aiostore.json.tmp"
_RESTING_NAME = "aiostore.json.rest.tmp"
_LOCK_NAME = "aiostore.lock"

_Move = tuple[Path, Path]


class Folder:
    """Every method blocks, so it is called in a thread.

    `take`, `settle`, `change`, `change_together` and `drop` are called one at a time, the others at
    any time.

    Args:
        path: where it is.
        name: the store's, for messages.
        pool: where several files are written at once.
    """

    def __init__(self, path: Path, name: str, pool: Executor) -> None:
        self.path = path
        self._name = name
        self._pool = pool
        self._format = path / _FORMAT_NAME
        self._new_format = path / _NEW_FORMAT_NAME
        self._resting = path / _RESTING_NAME
        self._lock = filelock.FileLock(path / _LOCK_NAME, timeout=0, thread_local=False)
        self._unsynced: set[Path] = set()  # folders whose names may not be on disk as they stand
        self._journaled = False  # whether a journal may stand there that was not carried out

    def take(self) -> None:
        """Make it this process's own, and finish what another had begun when it ended.

        Raises:
            ConfigurationError: it is not ours, or in use.
            CorruptRecordError: the journal, or what it names, is damaged.
        """
        if self.path.is_dir():
            self._unfinished_changes()
        self.path.mkdir(exist_ok=True)
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            raise ConfigurationError(
                "the folder is in use by another process: close that one, or give this one a "
                "folder of its own",
                store=self._name,
            ) from error
        # Read again: another process may have made it, or finished, between the look and the lock.
        if self._unfinished_changes() is None:
            sync_folder(self.path.parent)
            store(self._new_format, FORMAT)
            self._new_format.replace(self._format)
        # What a process that was killed had renamed is seen from now on, and may not be on disk.
        self._unsynced = {self.path, *self._subfolders()}
        self._journaled = True
        self._finish()

    def release(self) -> None:
        """Let another process have it."""
        self._lock.release()

    def collections(self) -> list[str]:
        """The collections that hold a file, in order."""
        names = [collection_in(folder.name) for folder in self._subfolders()]
        return sorted(name for name in names if self.paths(name))

    def paths(self, collection: str) -> set[Path]:
        """The documents' files; a set, since one that is replaced meanwhile may be listed twice."""
        folder = self.path / file_name(collection)
        try:
            with scandir(folder) as entries:
                return {
                    folder / entry.name
                    for entry in entries
                    if entry.name.endswith(SUFFIX) and not entry.name.startswith(".")
                }
        except FileNotFoundError:
            return set()

    def path_of(self, id_: DocumentId) -> Path:
        """Where the document's file is to be."""
        return self.path / file_name(id_.collection) / (file_name(id_.key) + SUFFIX)

    def load(self, id_: DocumentId) -> Record | None:
        """The record that stands there.

        Raises:
            CorruptRecordError: its file cannot be read, or is another key's.
        """
        path = self.path_of(id_)
        record = self.load_file(id_.collection, path)
        if record is not None and record.id != id_:
            raise CorruptRecordError(
                f"{path} is the file of this key and names another, {record.id.key!r:.80}: "
                "restore it",
                store=self._name,
                collection=id_.collection,
                key=id_.key,
            )
        return record

    def load_file(self, collection: str, path: Path) -> Record | None:
        """The record in a file of the collection; None if the file is not there.

        Raises:
            CorruptRecordError: it cannot be read.
        """
        try:
            return record_in(collection, path.read_bytes())
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeError) as error:
            raise CorruptRecordError(
                f"{path} cannot be read ({error}): restore it from a backup, or remove it",
                store=self._name,
                collection=collection,
            ) from error

    def settle(self) -> None:
        """Finish what an error left unfinished; before anything is decided.

        After it, what can be read is on disk.

        Raises:
            UnavailableError: it failed again.
            CorruptRecordError: the journal, or what it names, is damaged.
        """
        try:
            self._finish()
        except OSError as error:
            raise unfinished(error, self._name) from error

    def change(self, changes: Sequence[tuple[Path, Record | None]]) -> None:
        """Make each file hold its record, or be gone, on disk when this returns.

        Each stands alone: a crash leaves some of them old and some new.

        Args:
            changes: the files, each once, and what they are to hold.

        Raises:
            OSError: nothing was changed.
            UnavailableError: something may have been.
        """
        folders = {path.parent for path, _ in changes}
        self._make(folders)
        kept = [(path, record) for path, record in changes if record is not None]
        moves = [(path.parent / temporary_name(uuid.uuid4()), path) for path, _ in kept]
        temporaries = [temporary for temporary, _ in moves]
        with removed_on_error(temporaries):
            _store_all(temporaries, [record for _, record in kept], self._pool)
            self._exchange(moves, [path for path, record in changes if record is None], folders)

    def change_together(self, changes: Mapping[DocumentId, Record | None]) -> None:
        """`change` for all or none of the documents, whatever this crashes on."""
        if len(changes) < 2:
            self.change([(self.path_of(id_), record) for id_, record in changes.items()])
            return
        folders = {self.path_of(id_).parent for id_ in changes}
        self._make(folders)
        kept = {id_: record for id_, record in changes.items() if record is not None}
        names = {id_: uuid.uuid4() for id_ in kept}
        temporaries = [self._temporary(id_, name) for id_, name in names.items()]
        with removed_on_error([*temporaries, self._resting, self._new_format]):
            digests = _store_all(temporaries, list(kept.values()), self._pool)
            for folder in folders:
                sync_folder(folder)  # the journal must not be on disk before what it names
            journal = [
                Change(*id_, names[id_], sum_) for id_, sum_ in zip(kept, digests, strict=True)
            ] + [Change(*id_) for id_ in changes if id_ not in kept]
            store(self._resting, FORMAT)  # now, so that nothing needs room after the commit
            store(self._new_format, format_with(journal))
        self._journaled = True
        try:
            self._new_format.replace(self._format)
            self._carry_out(journal, self._moves(journal))
        except OSError as error:
            raise unknown(error, self._name) from error

    def drop(self, collection: str) -> None:
        """Remove the collection's folder if nothing is left in it."""
        with suppress(OSError):  # it is not there, or not empty, which is no matter
            (self.path / file_name(collection)).rmdir()

    def _temporary(self, id_: DocumentId, name: uuid.UUID) -> Path:
        return self.path_of(id_).parent / temporary_name(name)

    def _unfinished_changes(self) -> list[Change] | None:
        """The journal's, none at rest; None if there is no store yet, though there may be one."""
        try:
            content = self._format.read_bytes()
        except FileNotFoundError:
            others = {entry.name for entry in scandir(self.path)} - {_LOCK_NAME, _NEW_FORMAT_NAME}
            if others:
                raise ConfigurationError(
                    f"the folder holds other things ({min(others)!r}) and is no store: choose an "
                    "empty or a new folder",
                    store=self._name,
                ) from None
            return None
        try:
            changes = changes_in(content)
        except ValueError as error:
            raise self._damaged(f"the journal is damaged ({error})") from error
        if changes is None:
            raise ConfigurationError(
                f"{self._format} does not name a format that this version of aiostore knows: "
                "choose another folder, update aiostore, or restore the file if it is damaged",
                store=self._name,
            )
        return changes

    def _finish(self) -> None:
        if self._journaled:
            changes = self._unfinished_changes()
            if changes:
                self._carry_out(changes, self._outstanding(changes))
            left_over = [self._new_format, self._resting, *self.path.glob(f"*/{TEMPORARY_FILES}")]
            for path in left_over:
                path.unlink(missing_ok=True)
            self._journaled = False
        self._sync([folder for folder in self._unsynced if folder.is_dir()])

    def _carry_out(self, changes: Sequence[Change], moves: Sequence[_Move]) -> None:
        """From the commit to the end. May be begun again with those moves that are left."""
        sync_folder(self.path)  # the journal must be on disk before anything is changed
        paths = {self.path_of(change.id): change for change in changes}
        removed = [path for path, change in paths.items() if change.temporary is None]
        self._exchange(moves, removed, {path.parent for path in paths})
        if digest_of_file(self._resting) != digest(FORMAT):
            store(self._resting, FORMAT)
        # On disk before the next write, which an old journal would undo; the answer need not wait.
        self._unsynced.add(self.path)
        self._resting.replace(self._format)
        self._journaled = False

    def _moves(self, changes: Sequence[Change]) -> list[_Move]:
        return [
            (self._temporary(change.id, change.temporary), self.path_of(change.id))
            for change in changes
            if change.temporary is not None
        ]

    def _outstanding(self, changes: Sequence[Change]) -> list[_Move]:
        """The moves that were not done, after a look at every file."""
        digests = {self.path_of(change.id): change.sha256 for change in changes}
        moves = []
        for temporary, path in self._moves(changes):
            if digest_of_file(temporary) == digests[path]:
                moves.append((temporary, path))
            elif digest_of_file(path) != digests[path]:
                raise self._damaged(f"{temporary}, which is to become {path}, is gone or damaged")
        return moves

    def _damaged(self, what: str) -> CorruptRecordError:
        return CorruptRecordError(
            f"an atomic write was not finished and cannot be: {what}. Restore the folder from a "
            "backup; or, to go on with the documents as they are, of which some may be from before "
            f"that write and some from after it, let {self._format} hold {FORMAT.decode().strip()}",
            store=self._name,
        )

    def _exchange(
        self, moves: Sequence[_Move], removed: Sequence[Path], folders: Collection[Path]
    ) -> None:
        """Rename and remove, on disk when this returns."""
        self._unsynced |= set(folders)
        done = 0
        try:
            for temporary, path in moves:
                temporary.replace(path)
                done += 1
            for path in removed:
                path.unlink(missing_ok=True)
                done += 1
            self._sync(folders)
        except OSError as error:
            if done == 0:
                raise
            raise unknown(error, self._name) from error

    def _make(self, folders: Collection[Path]) -> None:
        missing = [folder for folder in folders if not folder.exists()]
        if missing:
            self._unsynced.add(self.path)
            for folder in missing:
                folder.mkdir()
            self._sync([self.path])

    def _sync(self, folders: Collection[Path]) -> None:
        for folder in folders:
            sync_folder(folder)
            self._unsynced.discard(folder)

    def _subfolders(self) -> list[Path]:
        with scandir(self.path) as entries:
            return [self.path / entry.name for entry in entries if entry.is_dir()]


def _store_all(paths: Sequence[Path], records: Sequence[Record], pool: Executor) -> list[str]:
    """Write a file for each record; the digests of what they hold."""
    if len(paths) < 2:
        return [_store_record(*job) for job in zip(paths, records, strict=True)]
    jobs = [pool.submit(_store_record, *job) for job in zip(paths, records, strict=True)]
    wait(jobs)  # all, also after an error: none may write once the names are removed
    return [job.result() for job in jobs]


def _store_record(path: Path, record: Record) -> str:
    content = content_of(record)
    store(path, content)
    return digest(content)
