"""Other processes and other users, for what an adaptor must stand from them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

NOBODY = 65534

FILL_DISK = """
import asyncio, resource, sys, aiostore

async def main():
    async with aiostore.open_store(sys.argv[1]) as store:
        users = store.collection("users")
        await users.put("alice", {"n": 1})
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), limit[1]))
        try:
            await users.put("alice", {"text": "x" * 300_000})
        except aiostore.UnavailableError as error:
            print("unavailable", error)
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        print((await users.get("alice")).value)
        print((await users.put("alice", {"n": 2})).value)

asyncio.run(main())
"""
"""Takes the room away from a store by a limit on the size of files; arguments: URL, bytes."""

FILL_ATOMICALLY = """
import asyncio, pathlib, resource, sys
from aiostore.errors import UnavailableError
from aiostore.opening import open_adaptor
from aiostore.protocols import DocumentId, Newer, Record, Write

def listing():
    return {
        path: path.read_bytes()
        for path in pathlib.Path(sys.argv[2]).rglob("*")
        if path.is_file()
    }

def writes(version):
    return [
        Write(Record(DocumentId("users", str(n)), "{}", f"{version:032x}", 1, 2), Newer())
        for n in range(5)
    ]

async def main():
    adaptor = open_adaptor(sys.argv[1])
    await adaptor.open()
    await adaptor.write_atomic(writes(1))
    before = listing()
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in range(0, 10_000, 40):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, unlimited[1]))
        try:
            outcomes = await adaptor.write_atomic(writes(2))
        except UnavailableError:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
            assert listing() == before
            print("unavailable", size)
        else:
            assert all(outcome.applied for outcome in outcomes)
            print("written", size)
            break
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    print(len(listing()) - len(before))
    await adaptor.aclose()

asyncio.run(main())
"""
"""Gives a store of files ever more room for an atomic write; arguments: URL, folder."""

TRANSFER = """
import asyncio, itertools, json, random, sys
from aiostore.opening import open_adaptor
from aiostore.protocols import DocumentId, Exactly, Newer, Record, Write
from aiostore.versions import VersionClock

clock = VersionClock()

def money(id_, amount):
    return Record(id_, json.dumps({"amount": amount}), clock.next(), 1, 2)

async def main(url):
    accounts = [DocumentId(f"bank-{n % 3}", f"account-{n}") for n in range(6)]
    adaptor = open_adaptor(url)
    await adaptor.open()
    if None in await adaptor.read(accounts):
        await adaptor.write_atomic([Write(money(id_, 100), Newer()) for id_ in accounts])
    for number in itertools.count():
        some = random.sample(accounts, 3)
        found = await adaptor.read(some)
        await adaptor.write_atomic([
            Write(
                money(one.id, json.loads(one.body)["amount"] + change),
                Exactly(one.version),
            )
            for one, change in zip(found, (-2, 1, 1))
        ])
        [first] = await adaptor.read([some[0]])
        print(first.id.collection, first.id.key, first.version, flush=True)

asyncio.run(main(sys.argv[1]))
"""
"""Moves money between six accounts for ever, and tells where and which version; argument: URL."""


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user who may do only what the permissions say."""
    user = os.geteuid()
    if user:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def child(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Another process that runs a script."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(  # noqa: S603  # our own script
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
