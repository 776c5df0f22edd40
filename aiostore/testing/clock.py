"""`ManualClock`: time for tests, which stands still until it is told to go on."""

from datetime import timedelta

from aiostore.testing.records import NOW

_MICROSECOND = timedelta(microseconds=1)


class ManualClock:
    """Returns its moment, in microseconds since 1970 UTC; for `VersionClock(now=…)`.

    Args:
        now: where it begins; without it at about the present.
    """

    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def __call__(self) -> int:
        """The moment."""
        return self.now

    def advance(self, by: timedelta) -> None:
        """Let so much time pass at once."""
        self.now += by // _MICROSECOND
