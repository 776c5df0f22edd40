"""The client: made once, and every request by it."""

import asyncio
import random
import time
from binascii import crc32
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore import xform_name
from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    NoCredentialsError,
)
from botocore.loaders import Loader, create_loader
from msgspec import Struct

from aiostore.adaptors.dynamodb._errors import (
    BUSY,
    UNUSABLE,
    ForeignAnswerError,
    is_repeatable,
    is_throttled,
    translated,
)
from aiostore.errors import ConfigurationError, UnavailableError
from aiostore.metering import Usage, charge

_FIRST_PAUSE = 0.025  # seconds, of which a random part is waited
_LONGEST_PAUSE = 2.0

READS = frozenset({"GetItem", "BatchGetItem", "Query", "Scan"})
WRITES = frozenset({"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"})
"""Those that consume capacity; all others are about tables."""


class Endpoint(Struct, frozen=True, kw_only=True):
    """Where DynamoDB is, and how it is talked to.

    Credentials come from botocore's own chain: environment, profile, role.

    Attributes:
        region: such as eu-central-1; None for what the chain says.
        url: of another server than AWS's.
        profile: of the AWS configuration.
        connections: most of them.
        connect_timeout: for a connection.
        read_timeout: for an answer.
        throttle_patience: how long requests are sent again that were refused because the table's
            capacity was used up, or because a transaction was at work on the item.

    Raises:
        ConfigurationError: the URL is none of a server.
    """

    region: str | None = None
    url: str | None = None
    profile: str | None = None
    connections: int = 50
    connect_timeout: timedelta = timedelta(seconds=5)
    read_timeout: timedelta = timedelta(seconds=10)
    throttle_patience: timedelta = timedelta(seconds=10)

    def __post_init__(self) -> None:
        if self.url is not None and not _is_of_a_server(self.url):  # untold: it may hold a secret
            raise ConfigurationError(
                "endpoint_url is the URL of a server, http://127.0.0.1:8000 or https://…, without "
                "credentials: those are set up as for any AWS client"
            )


class Connections:
    """Requests to one table's server, while it is open.

    Args:
        endpoint: where it is.
        store: the store's name, for errors.
        usage: is charged for every request.
    """

    def __init__(self, endpoint: Endpoint, store: str, usage: Usage | None = None) -> None:
        self._endpoint = endpoint
        self._store = store
        self._usage = Usage() if usage is None else usage
        self._opened = AsyncExitStack()
        self._client: Any = None

    @property
    def client(self) -> "Client":
        """For requests as the driver takes them; they are made by `call`."""
        return Client(self.call)

    async def open(self) -> None:
        """Make the client; nothing is sent."""
        try:
            with translated(self._store, UNUSABLE):
                await self._make_client()
        except ValueError as error:  # of what the configuration says, such as AWS_ENDPOINT_URL
            kind, advice = UNUSABLE
            raise kind(f"{advice}: {error}", store=self._store) from error

    async def _make_client(self) -> None:
        endpoint = self._endpoint
        session = await asyncio.to_thread(_session, endpoint)
        self._client = await self._opened.enter_async_context(
            session.create_client(
                "dynamodb",
                region_name=endpoint.region,
                endpoint_url=endpoint.url,
                config=AioConfig(
                    connect_timeout=endpoint.connect_timeout.total_seconds(),
                    read_timeout=endpoint.read_timeout.total_seconds(),
                    max_pool_connections=endpoint.connections,
                    # Requests are repeated here and in `aiostore.sending`, and nowhere else.
                    retries={"total_max_attempts": 1, "mode": "standard"},
                    parameter_validation=False,
                    tcp_keepalive=True,
                    warm_up_loader_caches=True,
                ),
            )
        )
        self._client.meta.events.register("before-parse.dynamodb", _check_answer)

    async def aclose(self) -> None:
        """Close the client and its connections. Idempotent."""
        await self._opened.aclose()

    async def call(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request, which is sent again while the table is too busy for it.

        Raises:
            ClientError: the server refused; to be told apart by its code, and `translated`.
            BotoCoreError: it did not answer; likewise.
        """
        backoff = self.backoff()
        while True:
            try:
                return await self._call(operation, parameters)
            except ClientError as error:
                if not is_repeatable(error) or not await backoff.pause():
                    raise

    def backoff(self) -> "Backoff":
        """The pauses before what is sent again."""
        return Backoff(self._endpoint.throttle_patience)

    def busy(self) -> UnavailableError:
        """The error for who has waited in vain."""
        _, advice = BUSY
        return UnavailableError(advice, store=self._store)

    async def _call(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        send = getattr(self._client, xform_name(operation))
        told = {"ReturnConsumedCapacity": "TOTAL"} if operation in READS | WRITES else {}
        try:
            answer: dict[str, Any] = await send(**parameters, **told)
        except ClientError as error:
            self._charge(throttled=int(is_throttled(error)))
            raise
        except BotoCoreError:
            self._charge()
            raise
        units = _units(answer.get("ConsumedCapacity"))
        if operation in READS:
            self._charge(read_units=units)
        else:
            self._charge(write_units=units)
        return answer

    def _charge(
        self, *, read_units: float = 0.0, write_units: float = 0.0, throttled: int = 0
    ) -> None:
        """One request more."""
        for charged in (charge, self._usage.add):
            charged(requests=1, read_units=read_units, write_units=write_units, throttled=throttled)


class Client:
    """Requests by their Python names: `await client.get_item(TableName=…)`."""

    def __init__(self, call: Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]) -> None:
        self._call = call

    def __getattr__(self, method: str) -> Callable[..., Awaitable[dict[str, Any]]]:
        operation = "".join(word.capitalize() for word in method.split("_"))
        return lambda **parameters: self._call(operation, parameters)


class Backoff:
    """Pauses that grow, each a random part of its length ("full jitter"), for a while.

    "Exponential Backoff And Jitter", AWS Architecture Blog.

    Args:
        patience: for how long, from now on.
    """

    def __init__(self, patience: timedelta) -> None:
        self._end = time.monotonic() + patience.total_seconds()
        self._longest = _FIRST_PAUSE

    async def pause(self) -> bool:
        """Wait, unless the time is over: then false."""
        left = self._end - time.monotonic()
        if left <= 0:
            return False
        pause = random.uniform(0, self._longest)  # noqa: S311  # no secret
        await asyncio.sleep(min(pause, left))
        self._longest = min(2 * self._longest, _LONGEST_PAUSE)
        return True


def _session(endpoint: Endpoint) -> AioSession:
    """A session that has read its configuration and found credentials, which may be in files.

    Raises:
        NoCredentialsError: there are none.
    """
    session = AioSession(profile=endpoint.profile)
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    session.get_scoped_config()
    session.get_default_client_config()
    if asyncio.run(session.get_credentials()) is None:
        raise NoCredentialsError
    return session


def _is_of_a_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc


def _check_answer(response_dict: dict[str, Any], **_: object) -> None:
    """See that an answer is one; the driver would take what it cannot read for an empty one."""
    body: bytes = response_dict["body"]
    expected, found = response_dict["headers"].get("x-amz-crc32"), str(crc32(body))
    if expected is not None and expected != found:
        raise ChecksumError(
            checksum_type="crc32", expected_checksum=expected, actual_checksum=found
        )
    is_object = body.startswith(b"{") and body.rstrip().endswith(b"}")
    if response_dict["status_code"] < 300 and not is_object:
        raise ForeignAnswerError(beginning=body[:80].decode(errors="replace"))


@cache
def _loader(path: str | None) -> Loader:
    """Of the descriptions of AWS's services, which are large: read once in a process."""
    return create_loader(path)


def _units(consumed: Any) -> float:
    if consumed is None:
        return 0.0
    parts = consumed if isinstance(consumed, list) else [consumed]
    return sum(float(part.get("CapacityUnits", 0)) for part in parts)
