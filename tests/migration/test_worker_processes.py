"""Workers in processes of their own: several share a job, and one that is killed is replaced."""

import asyncio
import subprocess
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from processes import child

import aiostore
from aiostore.migration import MigrationAdaptor, Progress, backfill, verify
from aiostore.opening import open_adaptor
from aiostore.protocols import Scan
from aiostore.store import Store

NUMBER = 4_000
LEASE = timedelta(seconds=0.5)

WORKER = """
import asyncio, sys, aiostore
from datetime import timedelta
from aiostore.migration import MigrationAdaptor, backfill

current, target, chunk, segments = sys.argv[1:]
store = aiostore.open_store(
    {"current": current, "target": target, "migration": "move", "lease": 2, "grace": 1}
)

def report(progress):
    print(progress.done, progress.finished, flush=True)

async def main():
    async with store:
        print("open", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        migration = MigrationAdaptor.of(store)
        copied = await backfill(
            migration,
            report=report,
            chunk=int(chunk),
            segments=int(segments),
            lease=timedelta(seconds=0.5),
        )
        print("copied", copied, flush=True)

asyncio.run(main())
"""
"""Copies when it is told to; arguments: the two URLs, the size of a chunk, how many segments."""


@pytest.fixture
async def current(tmp_path: Path) -> str:
    """The URL of a store of SQLite with many documents."""
    url = f"sqlite:///{tmp_path / 'current.db'}"
    async with Store(await asyncio.to_thread(open_adaptor, url)) as plain:
        await plain.collection("c").put_many({f"k{n:05}": {"n": n} for n in range(NUMBER)})
    return url


async def read(worker: subprocess.Popen[str], number: int) -> list[str]:
    """The next lines that it says."""
    assert worker.stdout is not None
    return [await asyncio.to_thread(worker.stdout.readline) for _ in range(number)]


async def start(*workers: subprocess.Popen[str]) -> None:
    """Wait until all have opened their stores, and let them begin."""
    for worker in workers:
        assert await read(worker, 1) == ["open\n"]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        await asyncio.to_thread(worker.stdin.flush)


async def keys(url: str) -> list[str]:
    """What a store holds, as the engine has it."""
    adaptor = await asyncio.to_thread(open_adaptor, url)
    await adaptor.open()
    try:
        return [record.id.key async for chunk in adaptor.scan(Scan("c")) for record in chunk]
    finally:
        await adaptor.aclose()


async def finish(current: str, target: str) -> list[Progress]:
    """Copy what is left, in this process, and prove that nothing is missing."""
    seen: list[Progress] = []
    store = await asyncio.to_thread(
        aiostore.open_store,
        {"current": current, "target": target, "migration": "move", "lease": 2, "grace": 1},
    )
    async with store:
        migration = MigrationAdaptor.of(store)
        await backfill(migration, report=seen.append, lease=LEASE)
        assert (await verify(migration)).clean
    return seen


async def limit(current: str, target: str, *, documents_per_second: float) -> None:
    """Let all workers together go no faster than this."""
    store = await asyncio.to_thread(
        aiostore.open_store, {"current": current, "target": target, "migration": "move"}
    )
    async with store:
        await MigrationAdaptor.of(store).control.limit(
            documents_per_second=documents_per_second, bytes_per_second=None
        )


@pytest.mark.parametrize("kind", ["file", "sqlite"])
async def test_a_killed_worker_is_replaced(kind: str, current: str, tmp_path: Path) -> None:
    """Killed in the midst of it, with no time to tell; the next goes on where it had saved."""
    target = {"file": f"file:{tmp_path / 'files'}", "sqlite": f"sqlite:///{tmp_path / 'new.db'}"}
    with child(WORKER, current, target[kind], 20, 1) as worker:
        await start(worker)
        lines = await read(worker, 25)
        worker.kill()
    reached = int(lines[-1].split()[0])
    assert 0 < reached < NUMBER
    seen = await finish(current, target[kind])
    assert seen[0].done >= reached
    assert (seen[-1].done, seen[-1].percent) == (NUMBER, 100.0)
    assert len(await keys(target[kind])) == NUMBER


async def test_processes_share_a_job(current: str, tmp_path: Path) -> None:
    """Two copy at the same time; one of them is killed, and the other copies what is left."""
    target = f"sqlite:///{tmp_path / 'new.db'}"
    await limit(
        current, target, documents_per_second=800
    )  # so that none ends before all have begun
    with ExitStack() as running:
        workers = [running.enter_context(child(WORKER, current, target, 20, 6)) for _ in range(3)]
        await start(*workers)
        lines = [line for worker in workers for line in await read(worker, 4)]
        assert {line.split()[1] for line in lines} == {"False"}
        workers[0].kill()
        for worker in workers[1:]:
            assert worker.stdout is not None
            last = (await asyncio.to_thread(worker.stdout.read)).splitlines()[-1]
            word, number = last.split()
            assert word == "copied"
            assert NUMBER - 40 <= int(number) <= NUMBER  # but for the last chunks of the dead one
            assert await asyncio.to_thread(worker.wait) == 0
    assert await finish(current, target)
    assert len(await keys(target)) == NUMBER
