"""What goes wrong with DynamoDB, and what it is called: by code, by kind, and without secrets."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import product

import pytest
from aiohttp import web
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    LoginRefreshRequired,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from dynamodb_proxy import ALWAYS, ANY, Fault, FaultProxy
from dynamodb_stores import Table, place, proxied_table, put, record
from local_processes import free_port
from servers import DYNAMODB_ENGINES

from aiostore.adaptors.dynamodb import DynamoDBAdaptor, Endpoint
from aiostore.adaptors.dynamodb import Table as DynamoDBTable
from aiostore.adaptors.dynamodb._errors import _CONFIDING as CONFIDING
from aiostore.adaptors.dynamodb._errors import _MEANINGS as MEANINGS
from aiostore.adaptors.dynamodb._errors import translated
from aiostore.errors import BatchError, ConfigurationError, StoreError, UnavailableError
from aiostore.opening import open_adaptor
from aiostore.protocols import Newer, Purge, Scan, Write

ADVICE: dict[tuple[type[StoreError], str], list[str]] = {
    (ConfigurationError, "credentials do not allow it"): [
        "AccessDenied",
        "AccessDeniedException",
    ],
    (ConfigurationError, "check the secret key, and this machine's clock"): [
        "IncompleteSignature",
        "InvalidSignatureException",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    ],
    (ConfigurationError, "check the access key, the profile and the region"): [
        "InvalidClientTokenId",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "OptInRequired",
        "UnrecognizedClientException",
    ],
    (ConfigurationError, "expired: renew them"): [
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
    ],
    (ConfigurationError, "create-table"): ["ResourceNotFoundException"],
    (UnavailableError, "raise it, or spread the load"): [
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottledException",
        "ThrottlingError",
        "ThrottlingException",
        "TooManyRequestsException",
    ],
    (UnavailableError, "other writers were faster"): [
        "ReplicatedWriteConflictException",
        "TransactionConflict",
        "TransactionConflictException",
    ],
    (UnavailableError, "still under way"): ["TransactionInProgressException"],
    (UnavailableError, "the server failed"): ["InternalServerError"],
    (UnavailableError, "not available"): ["ServiceUnavailable"],
    (StoreError, "DynamoDB refused"): [
        "IdempotentParameterMismatchException",
        "ItemCollectionSizeLimitExceededException",
        "LimitExceededException",
        "SomethingNew",
        "ValidationException",
    ],
}
"""What each code means; the last of them stand for all that have no meaning of their own."""

CODES = [(code, *meaning) for meaning, codes in ADVICE.items() for code in codes]


@pytest.fixture(params=DYNAMODB_ENGINES)
def table(request: pytest.FixtureRequest) -> Table:
    """A table on each engine."""
    return proxied_table(request.param)


@pytest.fixture
def complete() -> Table:
    """A table on the engine that lacks nothing."""
    return proxied_table("dynamodb")


async def raised_by(call: Awaitable[object]) -> StoreError:
    """The error of a call."""
    with pytest.raises(StoreError) as caught:
        await call
    return caught.value


async def raised_at(adaptor: DynamoDBAdaptor) -> StoreError:
    """The error of an opening."""
    try:
        return await raised_by(adaptor.open())
    finally:
        await adaptor.aclose()


def told(error: BaseException) -> str:
    """All that anybody may see of an error."""
    return "\n".join([str(error), repr(error), *traceback.format_exception(error)])


def test_every_code_with_a_meaning_is_tried() -> None:
    """No code stands in the adaptor's table that the tests below do not send."""
    assert MEANINGS.keys() <= {code for code, _, _ in CODES}


@pytest.mark.parametrize(("kind", "advice"), ADVICE)
async def test_a_code_has_its_class_and_its_advice(
    complete: Table, kind: type[StoreError], advice: str
) -> None:
    """Reading and writing say the same, with the store's name and the cause."""
    async with complete.behind_proxy(throttle_patience=0, index="n") as (store, proxy):
        adaptor = store.adaptor
        await adaptor.write([put("a")])
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: adaptor.read([place("a")]),
            lambda: adaptor.read([place("a"), place("b")]),
            lambda: adaptor.write([put("a")]),
            lambda: adaptor.write([put("a"), put("b")]),
            lambda: adaptor.write_atomic([put("a")]),
            lambda: anext(adaptor.scan(Scan("users"))),
            lambda: adaptor.count("users"),
            lambda: adaptor.purge(Purge("users", everything=True)),
            lambda: adaptor.index("users", ("n",)),
            adaptor.collections,
        ]
        for code, call in product(ADVICE[kind, advice], calls):
            proxy.faults = [Fault(ANY, "error", code=code, times=ALWAYS)]
            error = await raised_by(call())
            assert type(error) is kind, code
            assert advice in str(error)
            assert error.store == f"dynamodb://{complete.name}"
            if code not in CONFIDING:
                assert f"the proxy says {code}" in str(error)
                assert isinstance(error.__cause__, ClientError)


async def test_a_table_that_may_not_be_opened(complete: Table) -> None:
    """What goes wrong at the beginning is told like what goes wrong later."""
    async with complete.opened():
        pass
    async with FaultProxy(complete.server.endpoint) as proxy:
        for code, kind, advice in CODES:
            proxy.faults = [Fault(ANY, "error", code=code, times=ALWAYS)]
            error = await raised_at(complete.adaptor_at(proxy.url, throttle_patience=0))
            if code == "ResourceNotFoundException":  # with create=true it is then made, in vain
                continue
            assert type(error) is kind, code
            assert advice in str(error)


async def test_a_table_that_may_not_be_written(table: Table) -> None:
    """That is found out when it is opened."""
    async with table.opened():
        pass
    async with FaultProxy(table.server.endpoint) as proxy:
        proxy.faults = [Fault("PutItem", "error", code="AccessDeniedException")]
        error = await raised_at(table.adaptor_at(proxy.url))
    assert type(error) is ConfigurationError
    assert "the credentials do not allow it" in str(error)


@pytest.mark.parametrize("code", ["SomethingNew", "AccessDeniedException", "InternalServerError"])
@pytest.mark.parametrize("status", [500, 503])
async def test_a_server_that_fails_says_nothing_of_what_it_did(
    complete: Table, code: str, status: int
) -> None:
    """From a status of 500 on it is not known what was done, whatever the code says."""
    async with complete.behind_proxy() as (store, proxy):
        proxy.faults.append(Fault("GetItem", "error", code=code, status=status))
        error = await raised_by(store.adaptor.read([place("a")]))
        assert type(error) is UnavailableError
        assert "the server failed" in str(error)


async def test_a_signature_that_is_refused_shows_nothing(
    complete: Table, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such a message repeats the request's headers, and a session's token is one of them."""
    caplog.set_level(logging.DEBUG, "aiostore")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "hunter2")
    async with complete.behind_proxy() as (store, proxy):
        users = store.collection("users")
        await users.put("a", {})
        for code in sorted(CONFIDING):
            details = {"message": "The Canonical String should have been: x-amz-token:hunter2"}
            fault = Fault(ANY, "error", code=code, times=ALWAYS, details=details)
            proxy.faults = [fault]
            caught = [
                await raised_by(store.adaptor.read([place("a")])),
                await raised_by(users.get("a")),
                await raised_by(users.put("a", {})),
                await raised_by(users.put_many({"a": {}, "b": {}})),
                await raised_at(complete.adaptor_at(proxy.url)),
            ]
            proxy.faults = [Fault("PutItem", "lost-answer"), fault]
            caught.append(await raised_by(users.put("a", {})))
            batch = caught[3]
            assert isinstance(batch, BatchError)
            for error in [*caught, *batch.errors.values()]:
                assert "check the secret key" in str(error)
                assert "hunter2" not in told(error)
    assert "hunter2" not in caplog.text


async def test_no_error_shows_a_secret(
    complete: Table, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong, no message, no log and no `repr` has what the environment holds."""
    caplog.set_level(logging.DEBUG, "aiostore")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "hunter3")
    shown = []
    async with complete.behind_proxy(throttle_patience=0) as (store, proxy):
        users = store.collection("users")
        await users.put("a", {})
        assert all("hunter" not in repr(each) for each in (store, users, store.adaptor))
        faults = [Fault(ANY, "error", code=code, times=ALWAYS) for code, _, _ in CODES]
        faults += [
            Fault(ANY, word, times=ALWAYS)
            for word in ("lost-request", "lost-answer", "garbled", "truncated", "throttled")
        ]
        for fault in faults:
            proxy.faults = [fault]
            shown += [
                await raised_by(users.get("a")),
                await raised_by(users.put("a", {})),
                await raised_by(users.put_many({"a": {}, "b": {}})),
                await raised_by(anext(users.scan())),
                await raised_at(complete.adaptor_at(proxy.url, throttle_patience=0)),
            ]
    assert all("hunter" not in told(error) for error in shown)
    assert "hunter" not in caplog.text


@pytest.mark.parametrize("word", ["garbled", "truncated"])
async def test_an_answer_that_is_damaged_is_none(table: Table, word: str) -> None:
    """It is not taken for an empty one: that nothing stands there, or that a write is done."""
    async with table.behind_proxy() as (store, proxy):
        adaptor = store.adaptor
        kept = record("a")
        await adaptor.write([Write(kept, Newer()), put("b")])
        for operation, call in (
            ("GetItem", lambda: adaptor.read([place("a")])),
            ("BatchGetItem", lambda: adaptor.read([place("a"), place("b")])),
            ("PutItem", lambda: adaptor.write([put("b")])),
            ("Query", lambda: anext(adaptor.scan(Scan("users")))),
        ):
            proxy.faults = [Fault(operation, word, times=ALWAYS)]
            assert type(await raised_by(call())) is UnavailableError
            proxy.heal()
            assert (await store.collection("users").get("a")).version == kept.version


@asynccontextmanager
async def a_web_server(status: int) -> AsyncIterator[str]:
    """The URL of a server that answers everything with a page."""

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        page = "<html>\n\n" + "<p>hello</p>\n" * 1000
        return web.Response(status=status, text=page, content_type="text/html")

    serving = web.Server(answer)
    listening = await asyncio.get_running_loop().create_server(serving, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        await serving.shutdown()


@pytest.mark.parametrize(
    ("status", "kind", "advice"),
    [
        (200, UnavailableError, "no DynamoDB: check endpoint_url"),
        (404, ConfigurationError, "no DynamoDB: check endpoint_url"),
        (502, UnavailableError, "the server failed"),
    ],
)
async def test_what_is_no_dynamodb(
    complete: Table, status: int, kind: type[StoreError], advice: str
) -> None:
    """An endpoint where something else answers is told so, without the whole page."""
    async with a_web_server(status) as url:
        error = await raised_at(complete.adaptor_at(url))
        assert type(error) is kind
        assert advice in str(error)
        assert len(str(error)) < 1000
        assert "\n" not in str(error)


async def test_tls_to_a_plain_server(table: Table) -> None:
    """A server without TLS is told from one that is away."""
    plain = str(table.server.endpoint)
    error = await raised_at(table.adaptor_at(plain.replace("http:", "https:")))
    assert type(error) is ConfigurationError
    assert "no secure connection" in str(error)


async def test_nothing_listens(table: Table) -> None:
    """A server that is not there cannot be reached."""
    absent = f"http://127.0.0.1:{free_port()}"
    error = await raised_at(table.adaptor_at(absent))
    assert type(error) is UnavailableError
    assert "cannot be reached" in str(error)


async def test_a_server_that_ends(table: Table) -> None:
    """In the midst of things it is the same, and what comes back is used again."""
    async with table.behind_proxy() as (store, proxy):
        users = store.collection("users")
        await users.put("a", {"n": 1})
        await proxy.__aexit__(None, None, None)
        for call in (users.get("a"), users.put("a", {}), anext(users.scan())):
            error = await raised_by(call)
            assert type(error) is UnavailableError
            assert "cannot be reached" in str(error)
    async with table.store() as store:
        assert (await store.collection("users").get("a")).value == {"n": 1}


async def test_a_server_that_does_not_answer(complete: Table) -> None:
    """An answer is waited for as long as the URL says."""
    async with complete.behind_proxy(read_timeout=1) as (store, proxy):
        adaptor = store.adaptor
        await adaptor.write([put("a")])
        proxy.script("GetItem", "unheard")
        proxy.script("PutItem", "unanswered")
        for error in await asyncio.gather(
            raised_by(adaptor.read([place("a")])), raised_by(adaptor.write([put("a")]))
        ):
            assert type(error) is UnavailableError
            assert "Read timeout" in str(error)


@pytest.mark.parametrize(
    ("environment", "options", "advice"),
    [
        (
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
            "region=eu-central-1",
            "there are no credentials: set them up",
        ),
        ({"AWS_SECRET_ACCESS_KEY": None}, "region=eu-central-1", "the credentials are incomplete"),
        ({}, "region=eu-central-1&profile=nobody", "no such profile"),
        ({}, "region=no%20region", "no such region"),
        ({}, "connections=1", "name it in the URL"),
        ({"AWS_DEFAULTS_MODE": "odd"}, "region=eu-central-1", "AWS configuration cannot be used"),
        ({"AWS_CONFIG_FILE": __file__}, "region=eu-central-1", "AWS configuration cannot be read"),
    ],
)
async def test_what_the_driver_refuses_by_itself(
    complete: Table,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str | None],
    options: str,
    advice: str,
) -> None:
    """Credentials, region and profile that are missing or wrong: nothing is sent."""
    for name, value in environment.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    async with FaultProxy(complete.server.endpoint) as proxy:
        adaptor = open_adaptor(f"dynamodb://table?{options}&endpoint_url={proxy.url}")
        assert isinstance(adaptor, DynamoDBAdaptor)
        error = await raised_at(adaptor)
        assert proxy.requests == []
    assert type(error) is ConfigurationError
    assert advice in str(error)
    assert error.store == "dynamodb://table"


async def test_an_endpoint_of_the_environment_that_is_none(
    complete: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variables of AWS are read by the driver, which knows no errors of ours."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:8000")
    adaptor = DynamoDBAdaptor(DynamoDBTable(name="table"), Endpoint(region="eu-central-1"))
    error = await raised_at(adaptor)
    assert type(error) is ConfigurationError
    assert "localhost:8000" in str(error)


@pytest.mark.parametrize(
    ("raised", "kind", "advice"),
    [
        (UnauthorizedSSOTokenError(), ConfigurationError, "log in to AWS again"),
        (TokenRetrievalError(provider="sso", error_msg="gone"), ConfigurationError, "log in"),
        (LoginRefreshRequired(), ConfigurationError, "log in"),
        (CredentialRetrievalError(provider="p", error_msg="?"), UnavailableError, "not be fetched"),
        (BotoCoreError(), UnavailableError, "cannot be reached"),
        (OSError("no route"), UnavailableError, "no route"),
        (TimeoutError(), UnavailableError, "cannot be reached"),
    ],
)
def test_what_the_driver_raises_later(
    raised: Exception, kind: type[StoreError], advice: str
) -> None:
    """Credentials that end, and what is not known by name: an error's kind counts, too."""
    with pytest.raises(StoreError, match=advice) as caught, translated("dynamodb://t"):
        raise raised
    assert type(caught.value) is kind
    assert caught.value.__cause__ is raised
    assert caught.value.store == "dynamodb://t"


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://localhost", "http://", "http://[", "http://me:hunter2@host"]
)
def test_an_endpoint_that_is_none(url: str) -> None:
    """It is told when the URL is read, without what may be secret in it."""
    with pytest.raises(ConfigurationError, match="endpoint_url is the URL of a server") as caught:
        open_adaptor(f"dynamodb://table?endpoint_url={url}")
    assert "hunter2" not in told(caught.value)
