"""Connections that are encrypted, and those that must not be made."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from servers import private_server, server
from sql_stores import open_and_close, opened, with_login

from aiostore.adaptors.sql import TLS
from aiostore.adaptors.sql._drivers import AsyncmySession, AsyncpgSession
from aiostore.errors import ConfigurationError, StoreError, UnavailableError

SERVERS = ["postgresql", "mariadb"]


@dataclass(frozen=True)
class Certificate:
    """A certificate that signs itself, so that it is its own authority.

    Attributes:
        file: where it is.
        key: where its key is.
    """

    file: Path
    key: Path


def certificate(folder: Path, name: str) -> Certificate:
    """A new one, for a host or a user of this name."""
    if shutil.which("openssl") is None:
        pytest.skip("OpenSSL's command is not here: apt-get install openssl")
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    subprocess.run(  # noqa: S603  # our own command
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-nodes",
                "-days",
                "2",
                "-subj",
                f"/CN={name}",
            ),  # the system's
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-addext", f"subjectAltName=DNS:{name}"),
            *("-keyout", str(made.key), "-out", str(made.file)),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return made


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """The server's, which names it `localhost`."""
    return certificate(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A client's, whom the server trusts."""
    return certificate(tmp_path_factory.mktemp("tls"), "aiostore")


@dataclass
class Encrypted:
    """A server that takes connections with TLS.

    Attributes:
        url: of a database there, by the address 127.0.0.1.
        clients: whether it demands a client's certificate of the user of the URL.
    """

    url: str
    clients: bool


@asynccontextmanager
async def encrypted_postgresql(
    host: Certificate, client: Certificate, *, clients: bool
) -> AsyncIterator[Encrypted]:
    """PostgreSQL's package has no TLS: what stands before it speaks it as a server does."""
    url = server("postgresql").fresh()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client.file)
    context.load_cert_chain(host.file, host.key)
    context.verify_mode = ssl.CERT_REQUIRED if clients else ssl.CERT_NONE
    address, _, port = url.rpartition("@")[2].partition("/")[0].partition(":")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            if int.from_bytes((await reader.readexactly(8))[4:]) == SSL_REQUEST:
                writer.write(b"S")
                await writer.start_tls(context)
                behind, to = await asyncio.open_connection(address, int(port))
                await asyncio.gather(pump(reader, to), pump(behind, writer))
        writer.close()

    tasks: set[asyncio.Task[None]] = set()
    front = await asyncio.start_server(
        lambda reader, writer: tasks.add(asyncio.create_task(serve(reader, writer))), "127.0.0.1"
    )
    try:
        yield Encrypted(url.replace(port, str(front.sockets[0].getsockname()[1]), 1), clients)
    finally:
        front.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def encrypted_mariadb(
    host: Certificate, client: Certificate, *, clients: bool
) -> AsyncIterator[Encrypted]:
    """MariaDB, which takes no connection without TLS."""
    with private_server("mariadb", durable=False) as local:
        given = {"cert": host.file, "key": host.key, "ca": client.file}
        files = {kind: local.write(kind, file.read_text()) for kind, file in given.items()}
        url = local.url
        if clients:
            local.query("CREATE USER certified@127.0.0.1 IDENTIFIED BY 'x' REQUIRE X509")
            local.query("GRANT ALL ON *.* TO certified@127.0.0.1")
            url = with_login(url, "certified", "x")
        named = [f"--ssl-{kind}={file}" for kind, file in files.items()]
        local.options = ["--require-secure-transport=ON", *named]
        await asyncio.to_thread(local.restart)
        yield Encrypted(url, clients)


ENCRYPTED = {"postgresql": encrypted_postgresql, "mariadb": encrypted_mariadb}
SSL_REQUEST = 80877103
"""https://www.postgresql.org/docs/current/protocol-message-formats.html"""


@pytest.fixture(params=SERVERS)
async def encrypted(
    request: pytest.FixtureRequest, host: Certificate, client: Certificate
) -> AsyncIterator[Encrypted]:
    """A server with TLS."""
    async with ENCRYPTED[request.param](host, client, clients=False) as made:
        yield made


@pytest.fixture(params=SERVERS)
async def demanding(
    request: pytest.FixtureRequest, host: Certificate, client: Certificate
) -> AsyncIterator[Encrypted]:
    """One that demands a certificate of the client."""
    async with ENCRYPTED[request.param](host, client, clients=True) as made:
        yield made


async def is_encrypted(url: str, **options: object) -> bool:
    """Whether a store's connection is."""
    async with opened(url, **options) as adaptor:
        assert adaptor._opened is not None
        async with adaptor._opened.connections.session() as session:
            assert isinstance(session, AsyncpgSession | AsyncmySession)
            return session._connection._transport.get_extra_info("ssl_object") is not None


async def test_what_is_encrypted(encrypted: Encrypted, host: Certificate) -> None:
    """With each mode, by whichever name of the server it holds."""
    url = encrypted.url
    assert await is_encrypted(url, sslmode="require")
    assert await is_encrypted(url, sslmode="verify-ca", sslrootcert=host.file)
    by_name = url.replace("127.0.0.1", "localhost")
    assert await is_encrypted(by_name, sslmode="verify-full", sslrootcert=host.file)


async def test_a_server_that_is_not_trusted_is_refused(
    encrypted: Encrypted, host: Certificate, client: Certificate
) -> None:
    """By the authorities, or by its name, as the mode says; as `ConfigurationError`."""
    refused: list[dict[str, object]] = [
        {"sslmode": "verify-full", "sslrootcert": host.file},  # it is no 127.0.0.1
        {"sslmode": "verify-ca", "sslrootcert": client.file},
        {"sslmode": "verify-full"},
        {"sslmode": "verify-ca"},
    ]
    for options in refused:
        with pytest.raises(ConfigurationError, match=r"certificate is not trusted.*sslrootcert"):
            await open_and_close(encrypted.url, **options)


async def test_a_server_that_insists_is_not_had_without(encrypted: Encrypted) -> None:
    """`disable` is refused by it."""
    with pytest.raises(StoreError):
        await open_and_close(encrypted.url, sslmode="disable")


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_a_server_without_tls_is_not_had_with(name: str, mode: str) -> None:
    """Nothing is sent in the clear that was to be encrypted."""
    with pytest.raises((ConfigurationError, UnavailableError)):
        await open_and_close(server(name).fresh(), sslmode=mode, reconnect_timeout=0)


async def test_a_server_without_tls_is_had_without() -> None:
    """By default, and with `disable`."""
    for name in SERVERS:
        url = server(name).fresh()
        assert not await is_encrypted(url)
        assert not await is_encrypted(url, sslmode="disable")


async def test_a_certificate_of_the_client(demanding: Encrypted, client: Certificate) -> None:
    """Who is to have one is let in with it alone."""
    with pytest.raises(StoreError):
        await open_and_close(demanding.url, sslmode="require", reconnect_timeout=0)
    theirs = {"sslcert": client.file, "sslkey": client.key}
    assert await is_encrypted(demanding.url, sslmode="require", **theirs)


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("option", ["sslrootcert", "sslcert"])
async def test_a_file_that_is_missing(name: str, option: str, tmp_path: Path) -> None:
    """Is a `ConfigurationError` that names it; so is one that is something else."""
    file = tmp_path / "none.pem"
    url = f"{name}://u:p@127.0.0.1:1/d"
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"TLS cannot be set up with .*none\.pem"):
            await open_and_close(url, sslmode="verify-full", **{option: file})
        file.write_text("hello")


def test_what_drivers_get() -> None:
    """Without a mode what they do by themselves."""
    assert TLS().context() is None
    assert TLS("disable").context() is False
