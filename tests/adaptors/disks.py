"""Disks that fail: a power failure at any moment, and calls that return an error.

The model of a power failure: a file's content, and a folder's names, are on disk as they were at
their last fsync. What was done since may be there too, of each folder any beginning of it,
independently of other folders; of a file nothing, a half or all. Renames are never halved.
"""

import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

Tree = frozenset[tuple[str, bytes | None]]
"""All that there is in a folder, by relative path; None for a folder in it."""

CALLS = ("replace", "unlink", "mkdir", "rmdir", "fsync")


class Disk:
    """What a folder holds, and what a power failure would leave of it.

    Args:
        folder: what is watched; all that is in it at first is on disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[int, int] = {}  # an open descriptor keeps an inode from being used again
        self._names: dict[int, list[dict[str, int]]] = {}  # since the last fsync
        self._contents: dict[int, bytes] = {}  # of files, at their last fsync
        self._lock = threading.Lock()
        self.states: set[tuple[Tree, Any]] = set()
        """What a power failure may have left, and what was known then; since the first failure."""
        self.known: Any = None
        """What the client has been told by now."""
        self.failures = 0
        self._failing: Iterator[int | None] = itertools.repeat(None)
        self._look(folder)
        for inode in list(self._held):
            self._sync(inode)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Watch the calls of `os` from now on."""
        for name in CALLS:
            patch.setattr(os, name, self._watched(getattr(os, name), name))

    def fail(self, numbers: Iterable[int | None]) -> None:
        """Let the next calls fail by these numbers; None for one that succeeds, as the rest do."""
        self._failing = iter(numbers)

    def note(self) -> None:
        """Add the states in which a power failure would leave it now."""
        with self._lock:
            self._look(self._folder)
            root = self._folder.stat().st_ino
            for tree in self._trees(root, ""):
                self.states.add((frozenset(tree), self.known))

    def close(self) -> None:
        """Let go of all files."""
        for descriptor in self._held.values():
            os.close(descriptor)

    def _watched(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def watched(what: Any, *arguments: Any, **options: Any) -> Any:
            self.note()
            with self._lock:
                number = next(self._failing, None)
                if number is not None:
                    if not self.failures:
                        self.states.clear()
                    self.failures += 1
                    raise OSError(number, os.strerror(number))
                result = call(what, *arguments, **options)
                if name == "fsync":
                    self._sync(os.fstat(what).st_ino)
            self.note()
            return result

        return watched

    def _sync(self, inode: int) -> None:
        if inode in self._names:
            del self._names[inode][:-1]  # `note` has just looked
        elif inode in self._held:
            self._contents[inode] = self._content(inode)

    def _look(self, folder: Path) -> None:
        """Learn what is new in it and below."""
        names = {path.name: self._hold(path) for path in folder.iterdir()}
        versions = self._names.setdefault(self._hold(folder), [{}])
        if versions[-1] != names:
            versions.append(names)
        for name in names:
            if (folder / name).is_dir():
                self._look(folder / name)

    def _hold(self, path: Path) -> int:
        inode = path.stat().st_ino
        if inode not in self._held:
            self._held[inode] = os.open(path, os.O_RDONLY)
        return inode

    def _content(self, inode: int) -> bytes:
        descriptor = self._held[inode]
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)

    def _trees(self, inode: int, path: str) -> Iterator[list[tuple[str, bytes | None]]]:
        """All that may be left at `path` and below."""
        if inode in self._names:
            for names in self._names[inode]:
                below = (self._trees(names[name], f"{path}/{name}") for name in sorted(names))
                for parts in itertools.product(*map(list, below)):
                    yield [(path, None), *itertools.chain(*parts)]
            return
        content = self._content(inode)
        kept = self._contents.get(inode, b"")
        for left in {kept, content, content[: len(content) // 2] if kept != content else content}:
            yield [(path, left)]


def lay_out(tree: Tree, folder: Path) -> None:
    """Make a folder that holds this."""
    for name, content in sorted(tree):
        path = Path(f"{folder}{name}")
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content)
