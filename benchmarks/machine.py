"""What the figures were measured on."""

import os
import platform
import statistics
import sys
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from msgspec import Struct

_PROBES = 21
_KILOBYTE = b"x" * 1024


class Machine(Struct, frozen=True):
    """The machine and the interpreter.

    Attributes:
        load: what was running or waiting when the run began, by the system's mean of a minute.
    """

    system: str
    processor: str
    cpus: int
    memory_gb: float
    load: float
    python: str
    loop: str


class Probe(Struct, frozen=True):
    """How long it took to write a kilobyte into a file and have it on the disk, in milliseconds."""

    engine: str
    median_ms: float
    low_ms: float
    high_ms: float


def machine(loop: str) -> Machine:
    """This one."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=_processor(),
        cpus=os.cpu_count() or 0,
        memory_gb=round(pages / 2**30, 1),
        load=round(os.getloadavg()[0], 2),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        loop=loop,
    )


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Of each package that is installed."""
    found = {}
    for name in sorted(set(distributions)):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def probe(engine: str, folder: Path) -> Probe:
    """Look how quick the disk is at this moment."""
    path = folder / "probe"
    times = []
    try:
        with path.open("ab", buffering=0) as file:
            for _ in range(_PROBES):
                began = time.perf_counter()
                file.write(_KILOBYTE)
                os.fsync(file.fileno())
                times.append(1000 * (time.perf_counter() - began))
    finally:
        path.unlink(missing_ok=True)
    return Probe(engine, statistics.median(times), min(times), max(times))


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
