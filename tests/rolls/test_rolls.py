"""A service of several processes moves from store to store under load, and nobody notices.

Real processes behind real servers and real databases. While clients ask, processes of the service
and of the operator are killed, the target's server is killed, and the current store's is. The
clients may be told of conflicts, and that the service is unavailable while its own store's server
is away; what they were told must fit one document a key, whatever became of the processes.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from moves import MOVES, WAYS, Move, Place, moved, places
from roll import Roll


@pytest.fixture
def stores(move: Move, tmp_path: Path) -> Iterator[tuple[Place, Place]]:
    """The current store and the target; made before the event loop runs."""
    with places(move, tmp_path) as both:
        yield both


ROLLS = int(os.environ.get("AIOSTORE_SOAK_ROLLS", "1"))
# The way back and forward again begins with the way forward, and takes half as long as both.
COURSES = WAYS if "AIOSTORE_SOAK_ROLLS" in os.environ else [WAYS[-1]]
SEED = int(os.environ.get("AIOSTORE_SOAK_SEED", random.SystemRandom().getrandbits(32)))


@pytest.mark.bulk
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", range(ROLLS))
@pytest.mark.parametrize("move", MOVES, ids=str)
@pytest.mark.parametrize("way", COURSES)
async def test_a_service_is_moved_under_load(
    move: Move, way: str, number: int, stores: tuple[Place, Place], tmp_path: Path
) -> None:
    """Nothing is lost and nothing fails, though processes and servers are killed."""
    roll = await moved(*stores, move.how, way, seed=SEED + number, folder=tmp_path)
    print(f"seed {SEED + number}", *roll.told, summary(roll), sep="\n")  # noqa: T201  # for -rP
    assert roll.findings() == []
    assert roll.killed > 1
    assert roll.ledger.number("done") > move.how.documents
    assert roll.ledger.number("standing") > 0


def summary(roll: Roll) -> str:
    """What the clients were told, in numbers."""
    ledger = roll.ledger
    conflicts = ledger.number("standing") + ledger.number("missing", "replace", "delete")
    writes = ledger.number("unknown", "put", "create", "replace", "delete", "remove")
    return (
        f"{ledger.number('done')} done, {conflicts} conflicts, {writes} writes unknown, "
        f"{roll.balancer.unavailable} unavailable, {roll.killed} processes killed"
    )
