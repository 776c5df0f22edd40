"""The steps of a migration, as every process of the service takes them one after the other."""

from enum import StrEnum


class Phase(StrEnum):
    """One step; see `docs/migration.md`. A step leads to the next one, or back to the last.

    Before and after a migration the service is configured with the one store's URL.
    """

    CURRENT = "current"
    """Only the current store is read and written: the end of the way back."""

    DUAL_WRITE = "dual-write"
    """Both are written, the current store is read. Every migration begins here."""

    HANDOFF = "handoff"
    """Documents move to the target one by one, at the latest when they are written."""

    TARGET = "target"
    """Only the target is read and written."""

    def is_beside(self, other: "Phase") -> bool:
        """Whether a single step leads from the one to the other."""
        order = list(Phase)
        return abs(order.index(self) - order.index(other)) == 1
