"""A service of several processes moves from store to store under load, and nobody notices.

Real processes behind real servers and real databases. While clients ask, processes of the service
and of the operator are killed, the target's server is killed, and the current store's is. The
clients may be told of conflicts, and that the service is unavailable while its own store's server
is away; what they were told must fit one document a key, whatever became of the processes.
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from local_processes import LocalProcess
from roll import How, Roll, rolling
from servers import DYNAMODB_ENGINES, private_process

LARGE = How()
SMALL = How(clients=6, documents=100)
ALONE = How(processes=1, life=(5.0, 15.0))  # a step begins again when its process has died


class Place(NamedTuple):
    """A store, and the server that it is on, if there is one."""

    url: str
    server: LocalProcess | None


class Move(NamedTuple):
    """What is moved from where to where."""

    current: Place
    target: Place
    how: How


@pytest.fixture
def move(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Move]:
    """Two empty stores, on servers that are this test's alone."""
    current, target, how = request.param
    with ExitStack() as running:
        here, there = (_place(engine, tmp_path, running) for engine in (current, target))
        yield Move(here, there, how)


def _place(engine: str, folder: Path, running: ExitStack) -> Place:
    if engine == "sqlite":
        return Place(f"sqlite:///{folder}/store.db", None)
    if engine == "file":
        return Place(f"file://{folder}/store", None)
    # dynalite has its data in memory alone, unless they are to be durable.
    server = running.enter_context(private_process(engine, durable=engine in DYNAMODB_ENGINES))
    return Place(server.fresh(), server)


MOVES = [
    ("sqlite", "postgresql", LARGE),
    ("file", "postgresql", ALONE),
    ("postgresql", "dynalite", SMALL),
    ("mariadb", "dynalite", SMALL),
    ("dynalite", "postgresql", SMALL),
]

moves = pytest.mark.parametrize(
    "move", MOVES, indirect=True, ids=[f"{one}-to-{other}" for one, other, _ in MOVES]
)


@pytest.mark.timeout(300)
@moves
@pytest.mark.parametrize("way", ["forward", "forward-back-forward"])
async def test_a_service_is_moved_under_load(move: Move, way: str, tmp_path: Path) -> None:
    """Nothing is lost and nothing fails, though processes and servers are killed."""
    current, target = move.current, move.target
    async with rolling(move.how, 1, current.url, tmp_path) as roll:
        await roll.migrate(current.url, target.url)
        await roll.step("backfill", die_at=0.4)
        if target.server is not None:
            await roll.without(target.server)
        if current.server is not None:
            await roll.unavailable_without(current.server)
        await forward(roll)
        if "back" in way:
            await back(roll)
            await forward(roll)
        if target.server is not None:
            await roll.unavailable_without(target.server)
        await roll.step("complete")
        await roll.restart(target.url)
        if current.server is not None:
            await asyncio.to_thread(current.server.kill)
    told(roll)
    assert roll.findings() == []


async def forward(roll: Roll) -> None:
    """The target takes over."""
    await roll.step("begin-handoff")
    await roll.step("hand-off", die_at=0.3)
    await roll.step("target")


async def back(roll: Roll) -> None:
    """The current store takes over again."""
    await roll.step("handoff")
    await roll.step("hand-off")
    await roll.step("dual-write")
    await roll.step("hand-back", die_at=0.3)


def told(roll: Roll) -> None:
    """Say what there was, and see that there was something."""
    done = roll.ledger.number("done")
    conflicts = roll.ledger.number("standing") + roll.ledger.number("missing", "replace", "delete")
    unknown = roll.ledger.number("unknown", "put", "create", "replace", "delete", "remove")
    print(  # noqa: T201  # for -rP
        "\n".join(roll.told),
        f"{done} done, {conflicts} conflicts, {unknown} writes unknown, "
        f"{roll.balancer.unavailable} unavailable, {roll.killed} processes killed",
    )
    assert min(done, conflicts, roll.killed) > 0
