"""Moves of a service from one store to another, from the first configuration to the last."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from local_processes import LocalProcess
from msgspec import Struct
from roll import How, Roll, rolling
from servers import DYNAMODB_ENGINES, private_process

LARGE = How()
SMALL = How(clients=6, documents=100)
ALONE = How(processes=1, life=(5.0, 15.0))  # a step begins again when its process has died


class Move(Struct, frozen=True):
    """From which engine to which, and how.

    Attributes:
        current: the engine of the current store.
        target: the engine of the target.
        how: how large the service is.
    """

    current: str
    target: str
    how: How = LARGE

    def __str__(self) -> str:
        return f"{self.current}-to-{self.target}"


MOVES = [
    Move("sqlite", "postgresql"),
    Move("file", "postgresql", ALONE),
    Move("postgresql", "dynalite", SMALL),
    Move("mariadb", "dynalite", SMALL),
    Move("dynalite", "postgresql", SMALL),
]

WAYS = ["forward", "forward-back-forward"]


class Place(NamedTuple):
    """An empty store, and the server that it is on, if there is one."""

    url: str
    server: LocalProcess | None


@contextmanager
def places(move: Move, folder: Path) -> Iterator[tuple[Place, Place]]:
    """The current store and the target, on servers that are nobody else's."""
    with ExitStack() as running:
        yield (
            _place(move.current, folder, running),
            _place(move.target, folder, running),
        )


async def moved(
    current: Place, target: Place, how: How, way: str, *, seed: int, folder: Path
) -> Roll:
    """The whole course; what there was and what was wrong tells the roll.

    Args:
        current: the current store.
        target: the target.
        how: how large the service is.
        way: one of `WAYS`.
        seed: see `rolling`.
        folder: likewise.
    """
    async with rolling(how, seed, current.url, folder) as roll:
        await roll.migrate(current.url, target.url)
        await roll.step("backfill", die_at=0.4)
        if target.server is not None:
            await roll.without(target.server)
        if current.server is not None:
            await roll.unavailable_without(current.server)
        await _forward(roll)
        if way == "forward-back-forward":
            await _back(roll)
            await _forward(roll)
        if target.server is not None:
            await roll.unavailable_without(target.server)
        await roll.step("complete")
        await roll.restart(target.url)
        if current.server is not None:
            await asyncio.to_thread(current.server.kill)
    return roll


async def _forward(roll: Roll) -> None:
    """The target takes over."""
    await roll.step("begin-handoff")
    await roll.step("hand-off", die_at=0.3)
    await roll.step("target")


async def _back(roll: Roll) -> None:
    """The current store takes over again."""
    await roll.step("handoff")
    await roll.step("hand-off")
    await roll.step("dual-write")
    await roll.step("hand-back", die_at=0.3)


def _place(engine: str, folder: Path, running: ExitStack) -> Place:
    if engine == "sqlite":
        return Place(f"sqlite:///{folder}/store.db", None)
    if engine == "file":
        return Place(f"file://{folder}/store", None)
    # dynalite has its data in memory alone, unless they are to be durable.
    server = running.enter_context(private_process(engine, durable=engine in DYNAMODB_ENGINES))
    return Place(server.fresh(), server)
