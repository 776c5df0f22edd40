"""Servers on this machine, which end with the process that started them.

Each keeps its data in a folder of its own, listens on 127.0.0.1 alone, and touches nothing that the
system has set up. Linux only: what belongs to a server is found under `/proc`.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, ClassVar

import watchdog
from served import Server

NOBODY = 65534

PORTS = range(20_000, 32_000)
"""None that Linux gives to outgoing connections: while a server is down, no client that calls for
it may be given its port, nor meet itself there."""

SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where servers are, and not all users look."""

PATIENCE = 60.0
"""Seconds that a server may take to start or to stop: a hundred times what it takes."""


class MissingEngineError(Exception):
    """The engine is not on this machine; the message says what to install."""


class LocalProcess(Server):
    """A server that this process starts, stops, kills and starts again.

    The methods wait until what they do is done, which takes less than a second; coroutines call
    them by `asyncio.to_thread`. The server is killed, and a temporary folder removed, by `close`,
    or when this process has ended, whatever has ended it.

    Args:
        durable: a commit is on the disk when it is acknowledged. Otherwise it survives a kill of
            the server, but no failure of the machine, which saves tests time.
        options: further ones of its command.
        keep: a folder for the data, which are still there the next time, on the same port;
            otherwise a temporary one.

    Attributes:
        data: the folder of its data.
        log: the file of its log.
        options: see above; what is changed holds from the next start on.

    Raises:
        MissingEngineError: its binaries are not on this machine.
    """

    NAME: ClassVar[str]
    GENTLY: ClassVar[signal.Signals]
    """At which it rolls back what is open, and ends."""
    AS_NOBODY: ClassVar[bool]
    """Whether it refuses to run as root, and so runs as `nobody` when root starts it."""

    def __init__(
        self, *, durable: bool = False, keep: Path | None = None, options: Sequence[str] = ()
    ) -> None:
        self._find_binaries()
        self.options = options
        self._durable = durable
        self._kept = keep is not None
        self._user = NOBODY if self.AS_NOBODY and os.geteuid() == 0 else None
        self.folder = (keep or Path(mkdtemp(prefix=f"aiostore-{self.NAME}-"))).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._give_away(self.folder)
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        # MariaDB, when it starts, removes the temporary tables of others from a common one.
        self._temporary = self.folder / "tmp"
        self._temporary.mkdir(exist_ok=True)
        self._give_away(self._temporary)
        self.port = _port_kept_in(self.folder / "port")
        self._process: subprocess.Popen[bytes] | None = None
        self._logged = 0
        removed = [] if self._kept else [self.folder]
        self._watchdog = subprocess.Popen(  # noqa: S603  # our own script
            [sys.executable, "-I", watchdog.__file__, self.data, *removed],
            stdin=subprocess.PIPE,
            start_new_session=True,  # out of reach of a terminal's signals, as the server is
        )
        super().__init__(self.NAME, self.url_at(self.port))

    @property
    def runs(self) -> bool:
        """Whether it has been started, and has not ended since."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it answers; what a kill has left behind it recovers first."""
        if not self.data.exists():
            # Under another name first: what is there is whole.
            unfinished = self.folder / "unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            self._initialise(unfinished)
            unfinished.rename(self.data)
        with self.log.open("ab") as log:
            self._logged = log.tell()
            self._process = subprocess.Popen(  # noqa: S603  # our own command
                [*self._command(), *self.options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.data,
                start_new_session=True,
                **self._as_user(),
            )
        self._wait_for_answer(self._process)

    def stop(self) -> None:
        """Stop it in an orderly way, though connections are open."""
        self._signal(self.GENTLY)

    def kill(self) -> None:
        """Kill it with `kill -9`, and all the processes that belong to it."""
        self._signal(signal.SIGKILL)
        watchdog.kill_all(self.data)

    def restart(self) -> None:
        """Start it again on the same data and port; if it still runs, stop it before."""
        if self.runs:
            self.stop()
        self.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """As long as this context lasts it takes connections and requests, and does nothing."""
        processes = watchdog.working_in(self.data)
        watchdog.signal_to(processes, signal.SIGSTOP)
        try:
            yield
        finally:
            watchdog.signal_to(processes, signal.SIGCONT)

    def close(self) -> None:
        """End it for ever; what is kept, in an orderly way."""
        if self._kept and self.runs:
            super().close()
            self.stop()
        self._watchdog.communicate(timeout=PATIENCE)
        if self._process is not None:
            self._process.wait(PATIENCE)

    @classmethod
    @abstractmethod
    def url_at(cls, port: int) -> str:
        """The URL of the place that is always there, of such a server at this port."""

    @abstractmethod
    def _find_binaries(self) -> None:
        """Remember where they are, or raise `MissingEngineError`."""

    @abstractmethod
    def _initialise(self, folder: Path) -> None:
        """Make a folder with the data of a new server, and the place of `url`."""

    @abstractmethod
    def _command(self) -> list[str]:
        """What serves `data` on `port`, in the foreground."""

    @abstractmethod
    def _answers(self, process: int) -> bool:
        """Whether the server that is this process takes connections."""

    def _said(self) -> str:
        """What it has logged since it was started last."""
        return self.log.read_bytes()[self._logged :].decode(errors="replace")

    def _run(self, command: list[str], text: str = "") -> None:
        """Run one of the engine's tools to its end, as the server's user."""
        done = subprocess.run(  # noqa: S603  # our own command
            command,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=PATIENCE,
            cwd=self.folder,
            **self._as_user(),
        )
        if done.returncode:
            raise RuntimeError(f"{Path(command[0]).name} failed:\n{done.stdout}")

    def _as_user(self) -> dict[str, Any]:
        path = f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_PATH}"
        environment = {
            "PATH": path,
            "LC_ALL": "C",
            "TZ": "UTC",
            "TMPDIR": str(self._temporary),
        }
        if self._user is None:
            return {"env": environment}
        return {
            "env": environment,
            "user": self._user,
            "group": self._user,
            "extra_groups": [],
        }

    def write(self, name: str, text: str) -> Path:
        """A file that the server's user alone may read."""
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text)
        self._give_away(path)
        return path

    def _give_away(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user, self._user)

    def _wait_for_answer(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + PATIENCE
        while not self._answers(process.pid):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{self.NAME} does not start:\n{self._said()[-4000:]}")
            time.sleep(0.005)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError(f"{self.NAME} has not been started")
        self._process.send_signal(number)
        self._process.wait(PATIENCE)


def free_port() -> int:
    """A port of 127.0.0.1 where nothing listens."""
    chance = random.SystemRandom()  # tests fix the seed of the usual one
    while True:
        port = chance.choice(PORTS)
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) != 0:
                return port


def _port_kept_in(path: Path) -> int:
    """The port that the file names, or a free one, which the file names from now on."""
    if not path.exists():
        path.write_text(str(free_port()))
    return int(path.read_text())
