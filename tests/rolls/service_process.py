"""Processes of the service on this machine, which may be stopped, killed and started again."""

import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_processes import PATIENCE, LocalProcess
from served import Lent

SCRIPT = Path(__file__).with_name("service.py")


class ServiceProcess(LocalProcess):
    """One process of the service; see `LocalProcess`.

    Args:
        store: what it keeps its documents in; see `open_store`.
        log: the file of its log.

    Attributes:
        store: see above; what is changed holds from the next start on.
        starts: how often it has been started.
        ending: whether it is about to end, or has ended; its clients may notice.
        down: whether its clients know that it does not take requests.
    """

    NAME = "service"
    GENTLY = signal.SIGTERM
    AS_NOBODY = False

    def __init__(self, store: str | Mapping[str, Any], log: Path) -> None:
        super().__init__()
        self.log = log
        self.store = store
        self.starts = 0
        self.ending = self.down = True

    @classmethod
    def url_at(cls, port: int) -> str:
        return f"http://127.0.0.1:{port}"

    def lend(self) -> Lent:
        """Its documents are nobody's own."""
        raise NotImplementedError

    def start(self) -> None:
        super().start()
        self.starts += 1
        self.ending = self.down = False

    def stop(self) -> None:
        self.ending = self.down = True
        super().stop()

    def kill(self) -> None:
        self.ending = True
        super().kill()
        self.down = True

    def fall(self) -> None:
        """Wait until it has killed itself, which it has been asked to do."""
        if self._process is not None:
            self._process.wait(PATIENCE)
        self.down = True

    def _find_binaries(self) -> None:
        """It is a script of this Python's."""

    def _initialise(self, folder: Path) -> None:
        folder.mkdir()

    def _command(self) -> list[str]:
        store = json.dumps(self.store)
        return [sys.executable, str(SCRIPT), "--store", store, "--port", str(self.port)]

    def _answers(self, process: int) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), PATIENCE).close()
        except ConnectionRefusedError:
            return False
        return True

    def _as_user(self) -> dict[str, Any]:
        # As the tests themselves run: what is tested is where they found it.
        names = [name for name in os.environ if name.startswith(("PYTHON", "AWS_"))]
        environment: dict[str, str] = super()._as_user()["env"]
        return {"env": environment | {name: os.environ[name] for name in names}}
