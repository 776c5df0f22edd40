"""What stands in the way of a migration, or is worth knowing before it."""

from typing import Literal

from msgspec import Struct

Level = Literal["stop", "warning", "note"]

LEVELS: tuple[Level, ...] = ("stop", "warning", "note")


class Finding(Struct, frozen=True):
    """One thing that was found.

    Attributes:
        level: `stop`: do not begin, or go on, before it is mended; `warning`: something will be
            different, or may be wrong; `note`: worth knowing.
        text: what it is.
        advice: what to do; empty where there is nothing to be done.
    """

    level: Level
    text: str
    advice: str = ""
