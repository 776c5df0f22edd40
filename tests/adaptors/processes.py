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
