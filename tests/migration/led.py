"""A service that migrates, in a process of its own, and the commands that lead it."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from aiostore.cli import main

SERVICE = """
import asyncio, itertools, json, sys
from aiostore import open_store
from aiostore.errors import ConflictError, NotFoundError

store = open_store(json.loads(sys.argv[1]))

async def main():
    async with store:
        documents = store.collection("airports")
        for number in range(int(sys.argv[2])):
            await documents.put(f"old-{number:04}", {"n": number, "text": "x" * 100})
        print("ready", flush=True)
        for number in itertools.count():
            key = f"live-{number % 20}"
            await documents.put(key, {"n": number})
            print(json.dumps([key, number]), flush=True)
            await asyncio.sleep(0.01)

asyncio.run(main())
"""
"""Writes for ever, and tells what was acknowledged; arguments: configuration, how many to fill."""

FILL = """
import asyncio, sys
from aiostore import open_store

store = open_store(sys.argv[1])

async def main():
    async with store:
        await store.collection("airports").put_many(
            {f"old-{n:06}": {"n": n, "text": "x" * 100} for n in range(int(sys.argv[2]))}
        )

asyncio.run(main())
"""


class Migration(Struct, frozen=True):
    """One to be led, as it is configured.

    Attributes:
        folder: where the configuration is.
        current: the current store's URL.
        target: the target's.
        lease: of each process, in seconds.
        grace: likewise.
    """

    folder: Path
    current: str
    target: str
    lease: float = 5.0
    grace: float = 1.0

    @property
    def mapping(self) -> dict[str, Any]:
        """The configuration."""
        return {
            "current": self.current,
            "target": self.target,
            "migration": "move",
            "lease": self.lease,
            "grace": self.grace,
        }

    @property
    def config(self) -> Path:
        """The same as a file, which is there from the first use on."""
        path = self.folder / "service.toml"
        lines = [f"{name} = {json.dumps(value)}" for name, value in self.mapping.items()]
        path.write_text("\n".join(["[store]", *lines]))
        return path

    def fill(self, documents: int) -> None:
        """Put documents into the current store, which is open nowhere."""
        command = [sys.executable, "-c", FILL, self.current, str(documents)]
        subprocess.run(command, check=True)  # noqa: S603  # our own script

    def command(self, *arguments: str) -> list[str]:
        """A command line of a process of its own."""
        migrate = [sys.executable, "-m", "aiostore", "migrate"]
        return [*migrate, *arguments, "--config", str(self.config)]

    @contextmanager
    def service(self) -> Iterator[subprocess.Popen[str]]:
        """A process of the service, which writes until the end of the block."""
        command = [sys.executable, "-c", SERVICE, json.dumps(self.mapping), "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # our own script
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            try:
                yield process
            finally:
                process.kill()


class Called(Struct, frozen=True):
    """What a command answered."""

    code: object
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its last line, as JSON."""
        return json.loads(self.out.splitlines()[-1])


class Caller:
    """Calls commands in this process.

    Args:
        capsys: catches what they print.
    """

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Called:
        with pytest.raises(SystemExit) as exited:
            main(["migrate", *arguments])
        printed = self._capsys.readouterr()
        return Called(exited.value.code, printed.out, printed.err)


def acknowledged(process: subprocess.Popen[str]) -> dict[str, int]:
    """What a service that has ended was told to be stored, by key."""
    assert process.stdout is not None
    lines = [
        line for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")
    ]
    found: dict[str, int] = dict(json.loads(line) for line in lines)
    return found


def bytes_of(folder: Path) -> Mapping[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
