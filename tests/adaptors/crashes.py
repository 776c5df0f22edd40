"""Processes that are killed at each system call of a job.

As a script (`JOB OUT FOLDER…`) it does a job on copies of each folder, the n-th of which is killed
before its n-th system call that changes something, and prints for each copy where it is and whether
the job was killed: the last is not.
"""

import asyncio
import itertools
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from one_write import find, write

Job = Callable[[Path], Coroutine[Any, Any, object]]
JOBS: dict[str, Job] = {
    "write": write,
    "find": find,
}


def kill_before(number: int, folder: Path) -> None:
    """Kill this process before its n-th system call that changes something in the folder."""
    calls = itertools.count(1)
    lock = threading.Lock()  # several threads store files

    def called() -> None:
        with lock:
            if next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        changing = event in {"os.rename", "os.remove", "os.mkdir", "os.rmdir"} or (
            event == "open" and arguments[1] == "wb"
        )
        if changing and str(arguments[0]).startswith(str(folder)):
            called()

    sync = os.fsync

    def fsync(fd: Any) -> None:
        called()
        sync(fd)

    os.fsync = fsync
    sys.addaudithook(audit)


def killed(job: Job, folder: Path, number: int) -> bool:
    """Whether a process that does the job there was killed, before its n-th call, in its midst."""
    process = os.fork()
    if process == 0:
        kill_before(number, folder)
        asyncio.run(job(folder))
        os._exit(0)
    _, status = os.waitpid(process, 0)
    if not os.WIFSIGNALED(status) and os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"the job failed in {folder}")
    return os.WIFSIGNALED(status)


def main(job: str, out: str, *folders: str) -> None:
    """Do the job on copies of each folder, killed ever later, until one is not killed."""
    copies = (Path(out) / str(number) for number in itertools.count())
    for folder in folders:
        for number in itertools.count(1):
            copy = next(copies)
            shutil.copytree(folder, copy)
            was_killed = killed(JOBS[job], copy, number)
            print(json.dumps([str(copy), was_killed]))  # noqa: T201  # the answer
            if not was_killed:
                break


if __name__ == "__main__":
    main(*sys.argv[1:])
