"""The rules of the protocol, each broken once: what the simulation has to find.

Nothing of the library knows of them. They are put in by `Patches`, in tests and by the command.
"""

from aiostore.testing.simulation.bugs.coordinating import COORDINATING
from aiostore.testing.simulation.bugs.mirroring import MIRRORING
from aiostore.testing.simulation.bugs.moving import MOVING
from aiostore.testing.simulation.bugs.patches import Bug, Patches

UNCAUGHT = frozenset(
    {"copies trusted", "dead at once", "believed unregistered", "acknowledged at once"}
)
"""What no kind of run shows within its bound yet; each needs one that can."""

BUGS: dict[str, Bug] = {
    name: bug
    for name, bug in {**MIRRORING, **MOVING, **COORDINATING}.items()
    if name not in UNCAUGHT
}
"""Every other seeded bug, by name."""

__all__ = ["BUGS", "UNCAUGHT", "Bug", "Patches"]
