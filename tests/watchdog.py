"""Ends a server when the process that started it has ended, however that ended.

Run as `python watchdog.py DATA [FOLDER]` with a pipe for standard input: once nobody holds the
pipe's other end any more, the server whose data are there is killed, and FOLDER is removed.
"""

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

PYTHON = Path("/proc/self/exe").readlink().name
PROGRAMS = ("postgres", "mariadbd", "node", PYTHON)
PATIENCE = 60.0


def kill_all(data: Path) -> None:
    """Kill all processes of the server whose data are there; returns when there is none left."""
    while found := working_in(data):
        signal_to(found, signal.SIGKILL)
        time.sleep(0.002)


def signal_to(processes: list[int], number: signal.Signals) -> None:
    """Send a signal to processes, of which some may have ended."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def working_in(data: Path) -> list[int]:
    """The processes of the server whose data are there.

    It and all that it forks work in that folder, whichever session or process group they have put
    themselves into. Linux alone shows this, under `/proc`.
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        # One that is not found has ended since; one that may not be seen is somebody else's.
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            # A person's shell may be there too.
            if (process / "cwd").readlink() == data and program(process) in PROGRAMS:
                found.append(int(process.name))
    return sorted(found)


def program(process: Path) -> str:
    """The name of what a process runs."""
    return (process / "exe").readlink().name


def remove(folder: Path) -> None:
    """Remove a folder, though a tool that prepares the data may not have noticed yet."""
    end = time.monotonic() + PATIENCE
    while folder.exists() and time.monotonic() < end:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.01)


if __name__ == "__main__":
    sys.stdin.read()
    kill_all(Path(sys.argv[1]))
    for folder in sys.argv[2:]:
        remove(Path(folder))
