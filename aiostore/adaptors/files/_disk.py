"""Files that are on disk when a function returns, and what the system's errors mean."""

import errno
import hashlib
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from aiostore.errors import ConfigurationError, StoreError, UnavailableError

TEMPORARY_FILES = ".*.tmp"

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
_UNKNOWN: tuple[type[StoreError], str] = (StoreError, "the system refused")


def translated(error: OSError, store: str) -> StoreError:
    """What a failed call means if it changed nothing."""
    kind, advice = _ERRORS.get(error.errno or 0, _UNKNOWN)
    return kind(f"{advice}: {error}", store=store)


def unknown(error: OSError, store: str) -> UnavailableError:
    """What a failed call means in the midst of a change."""
    return UnavailableError(
        f"{_advice(error)}: {error}; what was being written may be there in whole, in part or not",
        store=store,
    )


def unfinished(error: OSError, store: str) -> UnavailableError:
    """What a failed call means before a change, when an earlier one has to be finished."""
    return UnavailableError(
        f"{_advice(error)}: {error}; before that an earlier write cannot be finished, and nothing "
        "else be written",
        store=store,
    )


def _advice(error: OSError) -> str:
    return _ERRORS.get(error.errno or 0, _UNKNOWN)[1]


def store(path: Path, content: bytes) -> None:
    """Make a file hold `content`. Its name is on disk only after `sync_folder`."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Have the names in it on disk as they stand."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_name(id_: uuid.UUID) -> str:
    """A name that is no document's."""
    return f".{id_.hex}.tmp"


@contextmanager
def removed_on_error(paths: Sequence[Path]) -> Iterator[None]:
    """What the block wrote there, and has not renamed, is removed if it fails."""
    try:
        yield
    except BaseException:
        for path in paths:
            with suppress(OSError):  # the error that led here says more; `take` removes it, too
                path.unlink()
        raise


def digest(content: bytes) -> str:
    """What tells one content from another."""
    return hashlib.sha256(content).hexdigest()


def digest_of_file(path: Path) -> str | None:
    """The digest of what a file holds; None if there is none."""
    try:
        return digest(path.read_bytes())
    except FileNotFoundError:
        return None
