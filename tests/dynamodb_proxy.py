"""What goes wrong between a client and DynamoDB, at will: a proxy that a test has in its loop.

    async with FaultProxy(server.endpoint) as proxy:
        proxy.faults += [Fault("PutItem", "lost-answer"), Fault("PutItem", "throttled")]
        ... a client with endpoint_url=proxy.url ...
        assert [each.operation for each in proxy.requests] == ["PutItem"] * 3

What can go wrong with a request is one word:

    pass            nothing
    lost-request    the connection is closed, and the server has not heard of it
    lost-answer     the connection is closed, and the server has done it
    unheard         no answer, and the server has not heard of it
    unanswered      no answer, and the server has done it
    error           the server has not heard of it, the answer is an error: `code`, `status`
    throttled       likewise: ProvisionedThroughputExceededException
    partial         of a batch, the first `keep` alone are done, the others come back unprocessed;
                    nothing else is a batch, and passes
    slow            it reaches the server once `until` is set, or after `turns` of the event loop
    late            likewise the answer reaches the client
    garbled         the server has done it, and the answer is no JSON
    truncated       the server has done it, and the connection is closed in the midst of the answer

The server must not check signatures, which hold for the proxy's address: moto and dynalite do not.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import ClientConnectionError, ClientSession, ClientTimeout, web

ANY = "*"
ALWAYS = -1
WRITES = ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem")

WORDS = frozenset(
    {
        *("pass", "lost-request", "lost-answer", "unheard", "unanswered", "error", "throttled"),
        *("partial", "slow", "late", "garbled", "truncated"),
    }
)


@dataclass
class Fault:
    """What goes wrong with the next requests of one operation.

    Attributes:
        operation: such as `PutItem`; `ANY` for all of them.
        word: see the module.
        times: with how many requests; `ALWAYS` for all that come.
        code: of an error.
        status: likewise; that which the code has by itself, if it is None.
        details: likewise: further members of the answer, such as `CancellationReasons`.
        keep: how many of a batch are done.
        until: for what it waits.
        turns: of the event loop that it waits for.
    """

    operation: str
    word: str
    times: int = 1
    code: str = "InternalServerError"
    status: int | None = None
    details: Mapping[str, Any] | None = None
    keep: int = 1
    until: asyncio.Event | None = None
    turns: int = 0

    def __post_init__(self) -> None:
        if self.word not in WORDS:
            raise ValueError(f"no fault is called {self.word!r}: {', '.join(sorted(WORDS))}")

    def fits(self, operation: str) -> bool:
        """Whether it is about requests of this operation."""
        return self.operation in (operation, ANY)


@dataclass(frozen=True)
class Request:
    """One that a client has sent.

    Attributes:
        operation: such as `PutItem`.
        body: what it asks for.
        word: what went wrong with it.
        signed: its header `Authorization`, which names the access key and the region.
    """

    operation: str
    body: dict[str, Any]
    word: str
    signed: str = ""


@dataclass
class Answer:
    """An answer of HTTP."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(
        default_factory=lambda: {"Content-Type": "application/x-amz-json-1.0"}
    )


@dataclass
class _Chance:
    """Faults at random."""

    choice: random.Random
    words: Mapping[str, float]
    operations: Sequence[str]

    def fault(self, operation: str) -> Fault | None:
        drawn = self.choice.random()
        if ANY not in self.operations and operation not in self.operations:
            return None
        for word, probability in self.words.items():
            if drawn < probability:
                keep, turns = self.choice.randrange(1, 5), self.choice.randrange(20)
                return Fault(operation, word, keep=keep, turns=turns)
            drawn -= probability
        return None


class FaultProxy:
    """A proxy on 127.0.0.1, in the loop where it is entered; until it is left.

    Args:
        server: the URL of the server.

    Attributes:
        url: the proxy's own, for `endpoint_url`.
        faults: what goes wrong next. The first that fits a request is used up by it; without one
            the request may meet what `at_random` says, or passes.
        requests: those that came, in their order.
    """

    def __init__(self, server: str | None) -> None:
        if server is None:
            raise ValueError("AWS checks signatures, which no proxy can make: name another server")
        self.url = ""
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self._server = server.rstrip("/") + "/"
        self._chance: _Chance | None = None
        self._ends = asyncio.Event()
        self._held: list[asyncio.Event] = []
        self._listening: asyncio.Server | None = None

    @property
    def counts(self) -> Counter[str]:
        """How many requests of each operation came."""
        return Counter(each.operation for each in self.requests)

    @property
    def connections(self) -> int:
        """How many connections of clients are open."""
        return len(self._web.connections)

    def script(self, operation: str, *words: str) -> None:
        """Append a fault for each word: what the next requests of the operation meet in turn."""
        self.faults += [Fault(operation, word) for word in words]

    def at_random(
        self, choice: random.Random, words: Mapping[str, float], operations: Sequence[str] = (ANY,)
    ) -> None:
        """From now on requests meet faults at random.

        Args:
            choice: which decides, also how much is done of a batch, and for how many turns of the
                event loop a request waits; seeded.
            words: each with its probability.
            operations: those that meet them.
        """
        if unknown := words.keys() - WORDS:
            raise ValueError(f"no fault is called {', '.join(sorted(unknown))}")
        self._chance = _Chance(choice, dict(words), tuple(operations))

    def heal(self) -> None:
        """From now on nothing goes wrong."""
        self.faults.clear()
        self._chance = None

    async def __aenter__(self) -> Self:
        self._upstream = ClientSession(timeout=ClientTimeout())
        self._web = web.Server(self._handle)
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._web, "127.0.0.1", 0)
        port = self._listening.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ends.set()
        for event in self._held:
            event.set()
        assert self._listening is not None
        self._listening.close()
        for connection in self._web.connections:
            connection.close()  # once it is idle, whether or not its client has gone
        await self._web.shutdown()
        await self._upstream.close()

    async def _handle(self, received: web.BaseRequest) -> web.StreamResponse:
        operation = received.headers["X-Amz-Target"].rpartition(".")[2]
        raw = await received.read()
        fault = self._fault(operation)
        signed = received.headers.get("Authorization", "")
        self.requests.append(Request(operation, json.loads(raw), fault.word, signed))
        headers = {
            name: value
            for name, value in received.headers.items()
            if name.lower() not in ("host", "content-length", "connection", "accept-encoding")
        }
        answer = await self._answer(fault, operation, raw, headers)
        if answer is None:
            return _broken_off(received, web.Response())
        response = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        if fault.word != "truncated":
            return response
        started = web.StreamResponse(status=answer.status, headers=response.headers)
        started.content_length = len(answer.body)
        await started.prepare(received)
        await started.write(answer.body[: len(answer.body) // 2])
        return _broken_off(received, started)

    def _fault(self, operation: str) -> Fault:
        found = next((each for each in self.faults if each.fits(operation)), None)
        if found is None:
            drawn = None if self._chance is None else self._chance.fault(operation)
            return drawn or Fault(operation, "pass")
        if found.times > 0:
            found.times -= 1
        if found.times == 0:
            self.faults.remove(found)
        return found

    async def _answer(
        self, fault: Fault, operation: str, body: bytes, headers: dict[str, str]
    ) -> Answer | None:
        """What the client gets; None for a connection that is closed."""
        if fault.word in ("lost-request", "unheard"):
            if fault.word == "unheard":
                await self._ends.wait()
            return None
        if fault.word in ("error", "throttled"):
            code = fault.code if fault.word == "error" else "ProvisionedThroughputExceededException"
            status = _STATUSES.get(code, 400) if fault.status is None else fault.status
            return refusal(code, status, fault.details)
        if fault.word == "slow" and not await self._waited(fault):
            return None
        if fault.word == "partial" and operation in _LEFT:
            done, left = _parted(operation, json.loads(body), fault.keep)
            if done["RequestItems"]:
                answer = await self._send(json.dumps(done).encode(), headers)
            else:  # which no server takes
                answer = Answer(200, b'{"Responses": {}}')
            return None if answer is None else _with_left(operation, answer, left)
        answer = await self._send(body, headers)
        return None if answer is None else await self._passed_on(fault, answer)

    async def _passed_on(self, fault: Fault, answer: Answer) -> Answer | None:
        match fault.word:
            case "lost-answer":
                return None
            case "unanswered":
                await self._ends.wait()
                return None
            case "late":
                return answer if await self._waited(fault) else None
            case "garbled":
                return Answer(answer.status, b"<" + answer.body[1:], answer.headers)
        return answer

    async def _waited(self, fault: Fault) -> bool:
        """Wait as the fault says; false if the proxy has come to its end meanwhile."""
        for _ in range(fault.turns):
            await asyncio.sleep(0)
        if fault.until is not None and not self._ends.is_set():
            self._held.append(fault.until)
            await fault.until.wait()
        return not self._ends.is_set()

    async def _send(self, body: bytes, headers: Mapping[str, str]) -> Answer | None:
        """The server's answer; None if there was none."""
        try:
            async with self._upstream.post(self._server, data=body, headers=headers) as answer:
                return Answer(
                    answer.status,
                    await answer.read(),
                    {each: answer.headers[each] for each in _PASSED_ON if each in answer.headers},
                )
        except ClientConnectionError:
            return None


def refusal(code: str, status: int = 400, details: Mapping[str, Any] | None = None) -> Answer:
    """An error as DynamoDB answers it."""
    body = {
        "__type": f"com.amazonaws.dynamodb.v20120810#{code}",
        "message": f"the proxy says {code}",
        **(details or {}),
    }
    return Answer(status, json.dumps(body).encode())


def _broken_off(received: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
    """Close the connection of a request; the response is for the framework, and not sent."""
    if received.transport is not None:  # the client has not gone before
        received.transport.close()
    return response


_PASSED_ON = ("Content-Type", "x-amz-crc32", "x-amzn-RequestId")
_STATUSES = {"InternalServerError": 500, "ServiceUnavailable": 503}
"""Of errors with which the server does not say that nothing was done."""

_LEFT = {"BatchGetItem": "UnprocessedKeys", "BatchWriteItem": "UnprocessedItems"}
"""The batches, and where their answers have what was not done."""


def _parted(operation: str, body: dict[str, Any], keep: int) -> tuple[dict[str, Any], Any]:
    """A batch of which the first `keep` are left, and the others as an answer has them."""
    done: dict[str, Any] = {}
    left: dict[str, Any] = {}
    for table, asked in body["RequestItems"].items():
        parts = asked["Keys"] if operation == "BatchGetItem" else asked
        for into, some in ((done, parts[:keep]), (left, parts[keep:])):
            if some:
                into[table] = {**asked, "Keys": some} if operation == "BatchGetItem" else some
        keep -= len(parts[:keep])
    return {**body, "RequestItems": done}, left


def _with_left(operation: str, answer: Answer, left: dict[str, Any]) -> Answer:
    """The server's answer, in which `left` is not done beside what the server has not done."""
    if answer.status != 200:
        return answer
    body = json.loads(answer.body)
    unprocessed = body.setdefault(_LEFT[operation], {})
    for table, asked in left.items():
        if table not in unprocessed:
            unprocessed[table] = asked
        elif operation == "BatchGetItem":
            unprocessed[table]["Keys"] += asked["Keys"]
        else:
            unprocessed[table] += asked
    return Answer(answer.status, json.dumps(body).encode())
