"""Files: the library, aiofiles with the same promises, and the original."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiofiles
import aiofiles.os
import msgspec

from aiostore.versions import PROCESS_CLOCK
from benchmarks.documents import Value
from benchmarks.library import library
from benchmarks.original import original
from benchmarks.variants import Documents, Opened, Place, Variant

NAME = "files"
TITLE = "files"
DURABLE = True
LEFT_OUT: Mapping[str, str] = {}
DISTRIBUTIONS: Sequence[str] = ("aiofiles", "object-store-abstraction")


@asynccontextmanager
async def opened(place: Place) -> Opened:
    """See `Engine`."""
    by_hand, before = place.folder / "by-hand", place.folder / "before"
    by_hand.mkdir()
    before.mkdir()
    async with library(f"file:{place.folder / 'library'}") as ours:
        yield [
            ours,
            Variant(
                "aiofiles",
                lambda name: FileDocuments(by_hand / name),
                home="aiofiles",
                remark="a temporary file, fsync, rename, fsync of the folder for every write",
            ),
            *original({"Type": "SimpleFileStore", "BaseLocation": str(before)}),
        ]


_OPEN = asyncio.Semaphore(200)
"""A process may have only so many files open."""


class Stored(msgspec.Struct, kw_only=True):
    """What a file holds, as the library's do."""

    key: str
    version: str
    created_at: int
    updated_at: int
    value: Value


class FileDocuments(Documents):
    """A folder, with one file for each document."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)

    async def get(self, key: str) -> Value:
        async with _OPEN, aiofiles.open(self._path(key), "rb") as file:
            content = await file.read()
        return msgspec.json.decode(content, type=Stored).value

    async def put(self, key: str, value: Value) -> str | None:
        version, content = _content(key, value)
        temporary = self._folder / f".{version}.tmp"
        async with aiofiles.open(temporary, "wb") as file:
            await file.write(content)
            await file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        await aiofiles.os.replace(temporary, self._path(key))
        await asyncio.to_thread(self._sync)
        return version

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, Value]:
        return dict(zip(keys, await asyncio.gather(*map(self.get, keys)), strict=True))

    async def page(self, prefix: str, size: int) -> Sequence[tuple[str, Value]]:
        keys = (await self._keys(prefix))[:size]
        return list((await self.get_many(keys)).items())

    async def scan(self, prefix: str) -> Sequence[tuple[str, Value]]:
        return list((await self.get_many(await self._keys(prefix))).items())

    async def fill(self, values: Mapping[str, Value]) -> Mapping[str, str | None]:
        return await asyncio.to_thread(self._fill, values)

    def _fill(self, values: Mapping[str, Value]) -> dict[str, str | None]:
        versions: dict[str, str | None] = {}
        for key, value in values.items():
            versions[key], content = _content(key, value)
            self._path(key).write_bytes(content)
        return versions

    async def _keys(self, prefix: str) -> list[str]:
        names = await aiofiles.os.listdir(self._folder)
        start = quote(prefix, safe="")
        keys = [name for name in names if name.startswith(start) and name.endswith(".json")]
        return sorted(name.removesuffix(".json").replace("%2F", "/") for name in keys)

    def _path(self, key: str) -> Path:
        return self._folder / f"{quote(key, safe='')}.json"

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _content(key: str, value: Value) -> tuple[str, Any]:
    version, now = PROCESS_CLOCK.next(), PROCESS_CLOCK.now()
    stored = Stored(key=key, version=version, created_at=now, updated_at=now, value=value)
    return version, msgspec.json.encode(stored)
