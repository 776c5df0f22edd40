"""The rules of the protocol, each broken once: what the simulation has to find.

Nothing of the library knows of them. They are put in by `Patches`, in tests and by the command.
"""

from aiostore.testing.simulation.bugs.coordinating import COORDINATING
from aiostore.testing.simulation.bugs.mirroring import MIRRORING
from aiostore.testing.simulation.bugs.moving import MOVING
from aiostore.testing.simulation.bugs.patches import Bug, Patches

BUGS: dict[str, Bug] = {**MIRRORING, **MOVING, **COORDINATING}
"""Every seeded bug, by name."""

__all__ = ["BUGS", "Bug", "Patches"]
