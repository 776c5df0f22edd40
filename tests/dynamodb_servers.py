"""DynamoDB for the tests: moto and dynalite on this machine, or a server of one's own.

moto is a package of Python's, dynalite one of Node.js, looked for in `node_modules` of this
repository and on the PATH. What each lacks stands on its harness, in `dynamodb_harnesses`.
"""

import secrets
import shutil
import signal
import sys
import weakref
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from local_processes import LocalProcess, MissingEngineError
from served import Lent, Server

REGION = "eu-central-1"
"""moto's tables belong to a region, dynalite's do not."""

NOBODYS_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing"}
"""moto and dynalite ask for some, and do not check them."""

NOBODYS_ENVIRONMENT = {
    **NOBODYS_CREDENTIALS,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}
"""All variables for botocore there are: nothing of the person's who runs the tests is looked at."""


NODE_MODULES = Path(__file__).parents[1] / "node_modules"


class DynamoDBServer(Server):
    """A DynamoDB that runs, by the URL of a store there, whose table is not touched.

    What it lends are names of tables that do not exist; a store there makes its table. Every name
    begins with `aiostore-test-`, after the prefix of the URL if it has one.
    """

    def __init__(self, name: str, url: str) -> None:
        super().__init__(name, url)
        self._options = dict(parse_qsl(urlsplit(url).query))
        token = secrets.token_hex(4)
        self._names = (f"aiostore-test-{token}-{number}" for number in count())
        self._lent: set[str] = set()
        self._returned: list[str] = []
        self._connected: Any = None

    @property
    def endpoint(self) -> str | None:
        """The URL that requests go to; None for AWS's own."""
        return self._options.get("endpoint_url")

    @property
    def client(self) -> Any:
        """A plain client of botocore, to look behind an adaptor's back; for use in any thread."""
        if self._connected is None:
            from botocore.session import Session  # noqa: PLC0415  # may be missing

            self._connected = Session(profile=self._options.get("profile")).create_client(
                "dynamodb", region_name=self._options.get("region"), endpoint_url=self.endpoint
            )
        return self._connected

    def url_of(self, table: str, **options: str) -> str:
        """The URL of a store in a table, with the options of `url` and further ones."""
        query = urlencode(self._options | options, safe=":/,")
        return urlsplit(self.url)._replace(netloc=table, query=query).geturl()

    def name_of(self, url: str) -> str:
        """The table of a store of this server, as the URL names it."""
        return urlsplit(url).netloc

    def table_of(self, url: str) -> str:
        """Likewise, as the server knows it."""
        return self._options.get("prefix", "") + self.name_of(url)

    def lend(self) -> Lent:
        """The URL of a store in a table that does not exist yet; four shards keep scans quick."""
        while self._returned:
            self._delete(self._returned.pop())
        name = next(self._names)
        lent = Lent(self.url_of(name, create="true", shards="4"))
        self._lent.add(name)
        weakref.finalize(lent, self._returned.append, name)
        return lent

    def close(self) -> None:
        """Delete the tables of all that was lent."""
        super().close()
        for name in sorted(self._lent):
            self._delete(name)
        self._returned.clear()
        self.disconnect()

    def disconnect(self) -> None:
        """Close the connections of `client`, which makes new ones when it is used again."""
        if self._connected is not None:
            self._connected.close()
            self._connected = None

    def _delete(self, name: str) -> None:
        table = self.table_of(self.url_of(name))
        refusals = self.client.exceptions
        with suppress(refusals.ResourceNotFoundException):  # no store has made it
            try:
                self.client.delete_table(TableName=table)
            except refusals.ResourceInUseException:  # it is still being made
                waiter = self.client.get_waiter("table_exists")
                waiter.wait(TableName=table, WaiterConfig={"Delay": 1})
                self.client.delete_table(TableName=table)
        self._lent.discard(name)


class LocalDynamoDB(LocalProcess, DynamoDBServer):
    """A DynamoDB that this process starts, stops, kills and starts again."""

    AS_NOBODY = False
    GENTLY = signal.SIGTERM

    @classmethod
    def url_at(cls, port: int) -> str:
        options = {"endpoint_url": f"http://127.0.0.1:{port}", "region": REGION, **cls.LACKS}
        return f"dynamodb://aiostore?{urlencode(options, safe=':/')}"

    LACKS: ClassVar[Mapping[str, str]] = {}
    """The options of a store for a server without some of DynamoDB's requests."""

    def close(self) -> None:
        """End it for ever."""
        super().close()
        self.disconnect()

    def _initialise(self, folder: Path) -> None:
        folder.mkdir()

    def _answers(self, process: int) -> bool:
        return "listening at" in self._said().lower()


class MotoServer(LocalDynamoDB):
    """moto: has transactions, and old items in errors. Its data end with it, kept or not."""

    NAME = "dynamodb"

    def _find_binaries(self) -> None:
        if find_spec("moto") is None or find_spec("flask") is None:
            raise MissingEngineError("moto is not here: pip install 'moto[server]'")

    def _command(self) -> list[str]:
        # Without the folder of the tests among those that modules are looked for in.
        script = Path(__file__).with_name("moto_server.py")
        return [sys.executable, "-P", str(script), str(self.port)]


class DynaliteServer(LocalDynamoDB):
    """dynalite: refuses what DynamoDB refuses. Its data are in memory, unless they are to last."""

    NAME = "dynalite"
    LACKS: ClassVar[Mapping[str, str]] = {"transactions": "false", "ttl": "false"}

    def _find_binaries(self) -> None:
        mine = str(NODE_MODULES / ".bin")
        found = shutil.which("dynalite", path=mine) or shutil.which("dynalite")
        node = shutil.which("node")
        if found is None or node is None:
            raise MissingEngineError(
                "dynalite is not here: npm install --no-save --prefix . dynalite@4"
            )
        self._node, self._script = node, found

    def _command(self) -> list[str]:
        return [
            *(self._node, self._script, "--host", "127.0.0.1", "--port", str(self.port)),
            *("--createTableMs", "0", "--deleteTableMs", "0", "--updateTableMs", "0"),
            *(["--path", "tables"] if self._durable or self._kept else []),
        ]
