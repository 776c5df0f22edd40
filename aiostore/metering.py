"""What calls of an engine consume, where it charges by the request.

An adaptor of such an engine reports what each request consumed (`charge`); whoever wants to know
what something costs collects that (`metered`). Nobody else pays for it: where nothing is metered, a
charge is a look at an empty tuple.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from msgspec import Struct


class Usage(Struct):
    """What was consumed.

    Attributes:
        requests: how many requests were sent, those included that were refused or repeated.
        read_units: the capacity consumed by reading, in the engine's own units.
        write_units: by writing, likewise.
        throttled: how many of the requests were refused because there was no capacity left.
    """

    requests: int = 0
    read_units: float = 0.0
    write_units: float = 0.0
    throttled: int = 0

    def add(
        self,
        *,
        requests: int = 0,
        read_units: float = 0.0,
        write_units: float = 0.0,
        throttled: int = 0,
    ) -> None:
        """Count this, too."""
        self.requests += requests
        self.read_units += read_units
        self.write_units += write_units
        self.throttled += throttled

    def __str__(self) -> str:
        parts = [_counted(self.requests, "request")]
        if self.read_units:
            parts.append(_counted(self.read_units, "read unit"))
        if self.write_units:
            parts.append(_counted(self.write_units, "write unit"))
        if self.throttled:
            parts.append(f"{self.throttled} throttled")
        return ", ".join(parts)


METERS: ContextVar[tuple[Usage, ...]] = ContextVar("aiostore.metering.METERS", default=())
"""Those that are charged for what is done in this context."""


@contextmanager
def metered() -> Iterator[Usage]:
    """Collect what is consumed by all that is awaited inside the block.

    Tasks that are started inside count as well, also after the block; blocks inside one another
    count each. Engines that charge nothing leave it all zero.

    Operations of several callers may leave in one batch. It is charged once, to the caller whose
    operation is the first in it. So what all callers are charged adds up, and a block that has the
    store to itself is exact; one among others may be charged for some of theirs, and they for some
    of its own.

    Yields:
        What has been consumed so far; it goes on growing.
    """
    usage = Usage()
    token = METERS.set((*METERS.get(), usage))
    try:
        yield usage
    finally:
        METERS.reset(token)


def charge(
    *, requests: int = 0, read_units: float = 0.0, write_units: float = 0.0, throttled: int = 0
) -> None:
    """Report what was consumed to those who meter this; for adaptors, see `Usage`."""
    for usage in METERS.get():
        usage.add(
            requests=requests, read_units=read_units, write_units=write_units, throttled=throttled
        )


def _counted(number: float, what: str) -> str:
    return f"{number:.12g} {what}{'s' * (number != 1)}"
