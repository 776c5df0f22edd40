"""Ends a server when the process that started it has ended, however that ended.

Run as `python watchdog.py DATA [FOLDER]` with a pipe for standard input: once nobody holds the
pipe's other end any more, whatever works in DATA is killed, and FOLDER is removed.
"""

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path


def kill_all(data: Path) -> None:
    """Kill every process whose working folder is this one; returns when there is none left.

    A database server and all that it forks work in the folder of their data, whichever session or
    process group they have put themselves into. Linux alone shows this, under `/proc`.
    """
    while found := working_in(data):
        signal_to(found, signal.SIGKILL)
        time.sleep(0.002)


def signal_to(processes: list[int], number: signal.Signals) -> None:
    """Send a signal to processes, of which some may have ended."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def working_in(data: Path) -> list[int]:
    """The processes whose working folder is this one, the oldest first if numbers only grow."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        # One that is not found has ended since; one that may not be seen is somebody else's.
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if (process / "cwd").readlink() == data:
                found.append(int(process.name))
    return sorted(found)


if __name__ == "__main__":
    sys.stdin.read()
    kill_all(Path(sys.argv[1]))
    for folder in sys.argv[2:]:
        shutil.rmtree(folder)
