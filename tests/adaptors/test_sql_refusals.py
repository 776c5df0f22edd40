"""Servers that refuse: logins, permissions, replicas; and no password in whatever is said of it."""

import asyncio
import logging
import traceback
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from database_servers import DatabaseServer
from local_servers import PASSWORD, USER, LocalServer
from servers import absent_server, private_server, server
from sql_stores import adaptor_of, bodies, busy, open_and_close, opened, put, with_login

import aiostore
from aiostore.errors import ConfigurationError, StoreError, UnavailableError
from aiostore.protocols import Purge
from aiostore.urls import address_of, parse

SERVERS = ["postgresql", "mariadb"]
SECRET = "pä$$-wörd-€ %25/@:#?&'\""  # noqa: S105  # of users that live for a test


@pytest.fixture(params=SERVERS)
def shared(request: pytest.FixtureRequest) -> DatabaseServer:
    """A server."""
    return server(str(request.param))


@pytest.fixture
def url(shared: DatabaseServer) -> str:
    """An empty database there."""
    return shared.fresh()


class Users:
    """Users of one database, who may do nothing at first.

    Args:
        server: where.
        url: of the database.
    """

    def __init__(self, server: DatabaseServer, url: str) -> None:
        self.server = server
        self.url = url
        self.name = "limited"

    def create(self) -> str:
        """The database's URL for a new user, who has the `SECRET`."""
        secret = SECRET.replace("'", "''")
        if self.server.name == "postgresql":
            self.run(
                f"CREATE USER {self.name} PASSWORD '{secret}'",
                f"GRANT USAGE ON SCHEMA public TO {self.name}",
            )
        else:
            self.run(f"CREATE USER '{self.name}'@'%' IDENTIFIED BY '{secret}'")
        return with_login(self.url, self.name, SECRET)

    def allow(self, *rights: str) -> None:
        """Let it do something with all tables that there are."""
        what = ", ".join(rights)
        if self.server.name == "postgresql":
            self.run(f'GRANT {what} ON ALL TABLES IN SCHEMA public TO "{self.name}"')
        else:
            database = self.url.rpartition("/")[2]
            self.run(f"GRANT {what} ON {database}.* TO '{self.name}'@'%'")

    def drop(self) -> None:
        """As if it had never been."""
        if self.server.name == "postgresql":
            self.run(f'DROP OWNED BY "{self.name}"', f'DROP USER "{self.name}"')
        else:
            self.run(f"DROP USER '{self.name}'@'%'")

    def run(self, *statements: str) -> None:
        """As the administrator."""
        for statement in statements:
            self.server.query(statement, url=self.url)


@pytest.fixture
def users(shared: DatabaseServer, url: str) -> Iterator[Users]:
    """Users of the database."""
    users = Users(shared, url)
    yield users
    users.drop()


RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")


def test_a_user_who_may_not_create_tables(users: Users) -> None:
    """Needs none of it where they are, whatever characters its password has."""
    asyncio.run(open_and_close(users.url))
    theirs = users.create()
    users.allow(*RIGHTS)

    async def run() -> None:
        async with opened(theirs) as adaptor:
            await adaptor.write([put("a")])
            await adaptor.write_atomic([put("a"), put("b")])
            assert await bodies(adaptor, ["a", "b"]) == ["{}", "{}"]

    asyncio.run(run())


@pytest.mark.parametrize("rights", [(), RIGHTS])
def test_a_user_who_would_have_to_create_tables(users: Users, rights: tuple[str, ...]) -> None:
    """Is told what to grant, and nothing is made."""
    theirs = users.create()
    if rights:
        users.allow(*rights)
    with pytest.raises(ConfigurationError, match=r"grant it SELECT.*and CREATE at first"):
        asyncio.run(open_and_close(theirs))
    asyncio.run(open_and_close(users.url))


@pytest.mark.parametrize("missing", RIGHTS)
def test_a_user_who_may_not_do_all(users: Users, missing: str) -> None:
    """Is refused at the opening, not at the first call."""
    asyncio.run(open_and_close(users.url))
    theirs = users.create()
    users.allow(*(right for right in RIGHTS if right != missing))
    with pytest.raises(ConfigurationError, match="grant it SELECT, INSERT, UPDATE, DELETE"):
        asyncio.run(open_and_close(theirs))


def test_a_user_without_a_schema() -> None:
    """PostgreSQL's have one only if it is granted: the error says so."""
    shared = server("postgresql")
    users = Users(shared, shared.fresh())
    theirs = users.create()
    users.run(f'REVOKE USAGE ON SCHEMA public FROM "{users.name}"')
    try:
        with pytest.raises(ConfigurationError, match="no schema: grant it USAGE"):
            asyncio.run(open_and_close(theirs))
    finally:
        users.drop()


def set_read_only(server: LocalServer, *, read_only: bool) -> None:
    """Make a server a replica, or the one that takes writes again."""
    if server.name == "mariadb":
        server.query(f"SET GLOBAL read_only = {int(read_only)}")
        return
    server.stop()
    signal = server.data / "standby.signal"
    if read_only:
        signal.touch()
    else:
        signal.unlink()
    server.start()


async def test_a_server_that_takes_no_writes_any_more(shared: DatabaseServer) -> None:
    """As after a fail-over: refused at the opening, unavailable at a call.

    Each time the connection is thrown away: behind the next there may be a server that takes them.
    """
    with private_server(shared.name, durable=False) as mine:
        users = Users(mine, mine.create_database("mine"))
        theirs = await asyncio.to_thread(users.create)
        if shared.name == "postgresql":
            users.run(f'GRANT CREATE ON SCHEMA public TO "{users.name}"')
        else:
            users.allow("ALL PRIVILEGES")
        async with opened(theirs, reconnect_timeout=60) as adaptor:
            await adaptor.write([put("a")])
            await busy(adaptor, 3)
            await asyncio.to_thread(set_read_only, mine, read_only=True)
            assert adaptor._opened is not None
            for work in (
                adaptor.write([put("a")]),
                adaptor.write_atomic([put("a"), put("b")]),
                adaptor.write_atomic([put("b")]),
                adaptor.purge(Purge("users", everything=True)),
            ):
                assert await bodies(adaptor, ["a", "b"]) == ["{}", None]
                with pytest.raises(UnavailableError, match="takes no writes: it is a replica"):
                    await work
                assert adaptor._opened.connections._idle == []
            with pytest.raises(ConfigurationError, match="takes no writes: it is a replica"):
                await open_and_close(theirs)
            await asyncio.to_thread(set_read_only, mine, read_only=False)
            await adaptor.write([put("b")])
            assert await bodies(adaptor, ["a", "b"]) == ["{}", "{}"]


@pytest.mark.parametrize("made", [False, True])
def test_a_database_that_may_only_be_read(*, made: bool) -> None:
    """By PostgreSQL's setting of a database: refused at the opening, with its tables or without."""
    shared = server("postgresql")
    url = shared.fresh()
    if made:
        asyncio.run(open_and_close(url))
    setting = f"ALTER DATABASE {url.rpartition('/')[2]} SET default_transaction_read_only"
    shared.query(f"{setting} = on")
    try:
        with pytest.raises(ConfigurationError, match="takes no writes"):
            asyncio.run(open_and_close(url))
    finally:
        shared.query(f"{setting} = off")


def wrong_password(url: str) -> str:
    """The URL of somebody who has mistyped."""
    return with_login(url, USER, SECRET)


def unknown_user(url: str) -> str:
    """The URL of nobody."""
    return with_login(url, "nobody", PASSWORD)


def missing_database(url: str) -> str:
    """The URL of a database that is not there."""
    return url.rpartition("/")[0] + "/missing"


def nothing_listening(url: str) -> str:
    """The URL of a server that is not there."""
    return absent_server(url.partition(":")[0])


def unknown_host(url: str) -> str:
    """The URL of a host that has no address."""
    return url.replace("127.0.0.1", "host.invalid")


REFUSALS = [
    (wrong_password, ConfigurationError, "refuses the login: check the user and the password"),
    (unknown_user, ConfigurationError, "refuses the login: check the user and the password"),
    (missing_database, ConfigurationError, "has no such database: create it"),
    (nothing_listening, UnavailableError, "cannot be reached"),
    (unknown_host, UnavailableError, "cannot be reached"),
]


@pytest.mark.parametrize(("spoil", "kind", "advice"), REFUSALS)
def test_what_does_not_open_says_why_and_never_the_password(
    url: str,
    *,
    spoil: Callable[[str], str],
    kind: type[StoreError],
    advice: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """In no text of any object, error or log."""
    bad = spoil(url)
    with caplog.at_level(logging.DEBUG):
        store = aiostore.open_store(f"{bad}?reconnect_timeout=0")
        adaptor = adaptor_of(bad)

        async def run() -> None:
            async with store:
                pass

        with pytest.raises(kind, match=advice) as caught:
            asyncio.run(run(), debug=True)
    assert type(caught.value) is kind
    parsed = parse(bad)
    objects = (store, adaptor, adaptor._database, parsed, address_of(parsed, 1), adaptor.name)
    texts = [text for one in objects for text in (str(one), repr(one), f"{one}")]
    error: BaseException | None = caught.value
    while error is not None:
        texts += [str(error), repr(error), *traceback.format_exception(error)]
        error = error.__cause__ or error.__context__
    texts += [
        caplog.text,
        *(str(record.__dict__) for record in caplog.records),
        *capfd.readouterr(),
    ]
    assert_secret(texts, bad)


def test_a_store_that_works_does_not_tell_its_password(
    url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever its drivers log of their work."""
    with caplog.at_level(logging.DEBUG):
        store = aiostore.open_store(url)

        async def run() -> None:
            async with store:
                await store.collection("users").put("alice", {})
                assert_secret([str(store), repr(store)], url)

        asyncio.run(run(), debug=True)
    records = [str(record.__dict__) for record in caplog.records]
    assert_secret([caplog.text, *records, *capfd.readouterr()], url)


def assert_secret(texts: list[str], url: str) -> None:
    """The password of a URL is in none of the texts, neither plain nor encoded."""
    password = address_of(parse(url), 1).password
    assert password is not None
    assert len(texts) >= 2
    for shape in (password, quote(password, safe=""), quote(password), repr(password)[1:-1]):
        assert [text for text in texts if shape in text] == []


@pytest.mark.parametrize("name", SERVERS)
def test_a_url_that_is_wrong_does_not_tell_its_password(name: str) -> None:
    """However wrong it is."""
    for bad in (
        f"{name}://u:{PASSWORD}@h/d",
        f"{name}://u:{quote(PASSWORD, safe='')}@h:port/d",
        f"{name}://u:{quote(PASSWORD, safe='')}@h",
        f"{name}://u:{quote(PASSWORD, safe='')}@h/d?wrong=1",
        f"{name}://u:{quote(PASSWORD, safe='')}@h/d?pool_size=0",
    ):
        with pytest.raises(ConfigurationError) as caught:
            adaptor_of(bad)
        error: BaseException | None = caught.value
        while error is not None:
            for text in (str(error), repr(error)):
                assert PASSWORD not in text
                assert quote(PASSWORD, safe="") not in text
                assert "s3cret" not in text
            error = error.__cause__ or error.__context__
