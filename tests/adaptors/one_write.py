"""One atomic write that all crashes and failing disks are tried on, and what is found after it."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiostore.adaptors.files import FileAdaptor
from aiostore.protocols import Absent, Check, DocumentId, Exactly, Newer, Record, Write

REPLACED = DocumentId("users", "Alice")
READ = DocumentId("users", "bob")
CREATED = DocumentId("users", "x" * 300)
ELSEWHERE = DocumentId("Fresh", "first")
REMOVED = DocumentId("logins", "alice@example.org")
PLACES = (REPLACED, READ, CREATED, ELSEWHERE, REMOVED)

Versions = tuple[int | None, ...]
OLD: Versions = (1, 1, None, None, 1)
NEW: Versions = (2, 1, 2, 2, None)
"""The versions at the places before the write and after it."""


def record(id_: DocumentId, version: int, body: str | None = '{"n":1}') -> Record:
    """A record whose version is a small number."""
    return Record(id_, body, f"{version:032x}", 1, version)


BEFORE = [Write(record(id_, 1), Newer()) for id_ in (REPLACED, READ, REMOVED)]
WRITES = [
    Write(record(REPLACED, 2), Exactly(f"{1:032x}")),
    Write(record(CREATED, 2), Absent()),
    Write(record(ELSEWHERE, 2), Newer()),
    Write(record(REMOVED, 2, None), Exactly(f"{1:032x}"), erase=True),
]
CHECKS = [Check(READ, Exactly(f"{1:032x}"))]


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[FileAdaptor]:
    """The store in this folder."""
    adaptor = FileAdaptor(folder)
    try:
        await adaptor.open()
        yield adaptor
    finally:
        await adaptor.aclose()


async def versions(adaptor: FileAdaptor) -> Versions:
    """Which versions stand at the places."""
    found = await adaptor.read(PLACES)
    return tuple(None if one is None else int(one.version, 16) for one in found)


async def fill(folder: Path) -> None:
    """Make a store with the old documents."""
    async with opened(folder) as adaptor:
        await adaptor.write(BEFORE)


async def write(folder: Path) -> None:
    """Open the store and do the one write."""
    async with opened(folder) as adaptor:
        await adaptor.write_atomic([*WRITES, *CHECKS])


async def find(folder: Path) -> Versions:
    """Open the store and look at the places."""
    async with opened(folder) as adaptor:
        return await versions(adaptor)


def listing(folder: Path) -> dict[str, bytes]:
    """All files in and below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def documents(folder: Path) -> dict[str, bytes]:
    """The files of documents."""
    found = listing(folder).items()
    return {name: content for name, content in found if re.fullmatch(r".+/.+\.json", name)}


def left_over(folder: Path) -> list[str]:
    """The files that no store at rest has."""
    return [name for name in listing(folder) if name.endswith(".tmp")]


def temporary_of(folder: Path) -> Path:
    """A file that an atomic write had not renamed."""
    return min(folder.glob("users/.*.tmp"))


def format_of(folder: Path) -> Any:
    """What the format file holds."""
    return json.loads((folder / "aiostore.json").read_text())


def each_old_or_new(found: Versions) -> bool:
    """Whether it is what a batch that is not atomic may leave."""
    return all(one in pair for one, pair in zip(found, zip(OLD, NEW, strict=True), strict=True))
