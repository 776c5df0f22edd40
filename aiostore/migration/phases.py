"""The steps of a migration, as a process is configured to be in one."""

from enum import StrEnum


class Phase(StrEnum):
    """One step; see `docs/migration.md`. `dual-write` is the one that this version runs.

    Before it (`current`) and after the target has taken over (`target`), the service is configured
    with the one store's URL. `handoff` moves the authority document by document.
    """

    CURRENT = "current"
    DUAL_WRITE = "dual-write"
    HANDOFF = "handoff"
    TARGET = "target"
