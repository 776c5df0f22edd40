"""A large migration there and back, and how much memory it takes; `nox -s soak` runs it.

`AIOSTORE_SOAK_DOCUMENTS` says how many documents there are.
"""

import asyncio
import os
import time
from itertools import pairwise
from pathlib import Path

import pytest
from blockbuster import BlockBuster
from servers import dynamodb_server

from aiostore.migration import MigrationAdaptor, Progress, backfill, finish, verify
from aiostore.opening import open_adaptor, open_store

DOCUMENTS = int(os.environ.get("AIOSTORE_SOAK_DOCUMENTS", "10000"))
MOST_GROWTH = 24  # MB
CHUNK = 1000


@pytest.mark.timeout(60 * 60)
async def test_memory_does_not_grow_with_the_documents(
    tmp_path: Path, nothing_blocks_the_loop: BlockBuster
) -> None:
    """From SQLite to DynamoDB and back: after the first quarter no step takes more memory."""
    watched = nothing_blocks_the_loop.functions["io.TextIOWrapper.read"]
    watched.can_block_in("soak_migration.py", "megabytes")
    table = dynamodb_server("dynalite").lend()
    urls = [
        f"sqlite:///{tmp_path}/first.db",
        table.url.replace("shards=4", "shards=16"),
        f"sqlite:///{tmp_path}/last.db",
    ]
    async with await asyncio.to_thread(open_store, urls[0]) as store:
        collection = store.collection("documents")
        for start in range(0, DOCUMENTS, CHUNK):
            numbers = range(start, min(start + CHUNK, DOCUMENTS))
            text = "x" * 200
            await collection.put_many({f"k{n:08}": {"n": n, "text": text} for n in numbers})
    for current, target in pairwise(urls):
        await move(current, target)
    last = await asyncio.to_thread(open_adaptor, urls[-1])
    await last.open()
    try:
        assert await last.count("documents") == DOCUMENTS
    finally:
        await last.aclose()


async def move(current: str, target: str) -> None:
    """Migrate, and see that memory stays."""
    early: dict[str, int] = {}
    late: dict[str, int] = {}

    def note(progress: Progress) -> None:
        part = early if progress.percent < 25 else late
        part[progress.step] = max(part.get(progress.step, 0), megabytes())

    configuration = {"current": current, "target": target, "migration": "soak"}
    async with await asyncio.to_thread(open_store, configuration) as store:
        migration = MigrationAdaptor.of(store)
        began = time.monotonic()
        await backfill(migration, report=note)
        copied = time.monotonic()
        found = await verify(migration, report=note)
        verified = time.monotonic()
        await finish(migration)
    assert (found.compared, found.mismatches) == (DOCUMENTS, 0)
    kinds = [url.partition(":")[0] for url in (current, target)]
    print(  # noqa: T201  # for -rP
        f"{DOCUMENTS} documents from {kinds[0]} to {kinds[1]}: copied in {copied - began:.0f} s, "
        f"verified in {verified - copied:.0f} s; MB in the first quarter {early}, later {late}"
    )
    for step, most in late.items():
        assert most <= early[step] + MOST_GROWTH


def megabytes() -> int:
    """Of this process's memory that is in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20
