"""Files: beside aiofiles, with the same durability: a file and its folder are on disk after a put.

It writes a temporary file, waits for the disk, renames it, and waits for the folder.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiofiles
import aiofiles.os
import msgspec

from aiostore import open_store
from benchmarks.documents import Documents, Value
from benchmarks.engines.ours import ours
from benchmarks.variants import Place, Variant

NAME = "files"
NEEDS: str | None = None


@asynccontextmanager
async def variants(place: Place, documents: Documents) -> AsyncIterator[Sequence[Variant]]:
    """See `Engine`."""
    async with ours(open_store(f"file://{place.folder / 'ours'}"), documents) as first:
        yield [first, await asyncio.to_thread(_aiofiles, place.folder / "aiofiles", documents)]


def _aiofiles(folder: Path, documents: Documents) -> Variant:
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(dict).decode
    folder.mkdir()
    for key, value in documents.items():
        (folder / f"{key}.json").write_bytes(encode(value))

    async def get(key: str) -> Value:
        async with aiofiles.open(folder / f"{key}.json", "rb") as file:
            return decode(await file.read())

    async def put(key: str, value: Value) -> None:
        temporary = folder / f"{key}.tmp"
        async with aiofiles.open(temporary, "wb") as file:
            await file.write(encode(value))
            await file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        await aiofiles.os.replace(temporary, folder / f"{key}.json")
        await asyncio.to_thread(_sync, folder)

    return Variant(name="aiofiles", get=get, put=put)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
