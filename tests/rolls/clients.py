"""Clients of a service that runs as several processes, and the balancer that they go through."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from math import inf
from typing import Any

import httpx
from ledger import Answer, Kind, Ledger, Request
from service_process import ServiceProcess

TIMEOUT = 60.0
"""Seconds: nothing that is done to the servers takes so long."""

PADDING = "x" * 120
"""What makes documents as long as small ones are."""


class UnansweredError(Exception):
    """There was no answer, for a reason that there was: a process ended, or a server was away."""


class WrongError(Exception):
    """There was no answer without a reason, or one that no client should get."""


class Balancer:
    """Sends each request to the next process that is not known to be down.

    Args:
        processes: of the service.

    Attributes:
        unavailable: how many requests were answered with 503 while a server was away.
    """

    def __init__(self, processes: Sequence[ServiceProcess]) -> None:
        # Whatever the person's environment says, the service is on this machine.
        self._http = httpx.AsyncClient(trust_env=False, timeout=TIMEOUT)
        self._processes = processes
        self._turns = count()
        self._last_outage = -inf
        self.unavailable = 0

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """A server is away as long as this context lasts, and requests that it meets may fail."""
        self._last_outage = inf
        try:
            yield
        finally:
            self._last_outage = asyncio.get_running_loop().time()

    def had_outage(self, *, since: float) -> bool:
        """Whether a server was away after that moment of the event loop's clock."""
        return since <= self._last_outage

    async def ask(
        self, method: str, path: str, *, to: ServiceProcess | None = None, **options: Any
    ) -> httpx.Response:
        """What some process answers, or this one.

        Raises:
            UnansweredError: see there; it may have taken effect.
            WrongError: likewise.
        """
        while True:
            process = to or self._next()
            starts, began = process.starts, asyncio.get_running_loop().time()
            try:
                response = await self._http.request(method, process.url + path, **options)
            except httpx.TransportError as error:
                if not process.ending and process.starts == starts:
                    raise WrongError(f"{process.url} runs, and broke off: {error!r}") from error
                if not isinstance(error, httpx.ConnectError):
                    raise UnansweredError(str(error)) from error
                await asyncio.sleep(0.01)  # nothing was sent
                continue
            if response.status_code == 503 and self.had_outage(since=began):
                self.unavailable += 1
                raise UnansweredError(response.text)
            return response

    def _next(self) -> ServiceProcess:
        """One that is not known to be down; if all are, one that is tried all the same."""
        up = [one for one in self._processes if not one.down] or self._processes
        return up[next(self._turns) % len(up)]


class Client:
    """Asks for one thing after the other, mostly for a few keys that others ask for too.

    Args:
        name: its own.
        balancer: the way to the service.
        ledger: gets all that it asks and is told.
        keys: what it asks for.
        choices: what it asks.
    """

    def __init__(
        self,
        name: str,
        balancer: Balancer,
        ledger: Ledger,
        keys: Sequence[str],
        choices: random.Random,
    ) -> None:
        self._name = name
        self._balancer = balancer
        self._ledger = ledger
        self._keys = keys
        self._choices = choices
        self._numbers = count()
        self._known: dict[str, str] = {}

    async def step(self) -> None:
        """One request of any kind."""
        hot = self._choices.random() < HOT
        key = self._choices.choice(self._keys[: len(self._keys) // 20 if hot else None])
        [kind] = self._choices.choices(list(HABITS), list(HABITS.values()))
        await self.ask(kind, key)

    async def ask(self, kind: Kind, key: str, *, to: ServiceProcess | None = None) -> None:
        """One request; where it takes a version and none is known, a `get`."""
        over = self._known.get(key)
        if kind in ("replace", "delete") and over is None:
            kind = "get"
        value = f"{self._name}-{next(self._numbers)}" if kind in VALUED else None
        request = self._ledger.send(
            self._name, kind, key, value, over=over if kind in ("replace", "delete") else None
        )
        try:
            response = await self._balancer.ask(**_request(request), to=to)
            answer, version, read = _answer(request, response)
        except UnansweredError:
            self._ledger.answer(request, "unknown")
            self._known.pop(key, None)
        except WrongError as error:
            self._ledger.complain(request, str(error))
        else:
            self._ledger.answer(request, answer, version, value=read)
            if version is None:
                self._known.pop(key, None)
            else:
                self._known[key] = version

    async def walk(self) -> None:
        """Page through all documents, which is a `get` of each key, from whichever processes.

        A key that does not come was not there, unless somebody was writing it meanwhile.
        """
        requests = {key: self._ledger.send(self._name, "get", key) for key in self._keys}
        last, cursor, ended = "", None, False
        while not ended:
            try:
                page = await self._page(cursor)
            except UnansweredError:
                continue
            except WrongError as error:
                self._ledger.complain(requests[self._keys[0]], f"a page: {error}")
                return
            cursor = page["cursor"]
            ended = cursor is None
            for key, (version, content) in page["documents"].items():
                if key <= last:
                    self._ledger.complain(requests[key], f"a page has it after {last}")
                    continue
                last = key
                read = _read(content)
                self._ledger.answer(requests.pop(key), "done", version, value=read)
        for request in requests.values():
            alone = self._ledger.is_alone(request)
            self._ledger.answer(request, "missing" if alone else "unknown")

    async def _page(self, cursor: str | None) -> Any:
        parameters = {} if cursor is None else {"cursor": cursor}
        response = await self._balancer.ask("GET", "/documents", params=parameters)
        if response.status_code != 200:
            raise WrongError(f"{response.status_code} {response.text}")
        return response.json()


HOT = 0.4
"""How many requests ask for the twentieth of the keys that everybody asks for."""

HABITS: Mapping[Kind, int] = {
    "get": 40,
    "replace": 25,
    "put": 15,
    "create": 10,
    "delete": 5,
    "remove": 5,
}
"""How often each kind comes, of a hundred."""

VALUED = ("put", "create", "replace")

REFUSALS: Mapping[Kind, Mapping[int, Answer]] = {
    "get": {404: "missing"},
    "put": {},
    "create": {409: "standing"},
    "replace": {404: "missing", 412: "standing"},
    "delete": {404: "missing", 412: "standing"},
    "remove": {},
}
"""The declared conflicts; all other errors are wrong."""


def _request(request: Request) -> dict[str, Any]:
    methods = {"get": "GET", "delete": "DELETE", "remove": "DELETE"}
    asked: dict[str, Any] = {
        "method": methods.get(request.kind, "PUT"),
        "path": f"/documents/{request.key}",
    }
    if request.over is not None:
        asked["headers"] = {"If-Match": request.over}
    if request.kind == "create":
        asked["headers"] = {"If-None-Match": "*"}
    if request.value is not None:
        asked["json"] = {"value": request.value, "padding": PADDING}
    return asked


def _answer(request: Request, response: httpx.Response) -> tuple[Answer, str | None, str | None]:
    """What was answered, its version, and what was read."""
    version = response.headers.get("ETag")
    if response.status_code == 200:
        return "done", version, _read(response.json()) if request.kind == "get" else None
    answer = REFUSALS[request.kind].get(response.status_code)
    if answer is None:
        raise WrongError(f"{response.status_code} {response.text}")
    return answer, version, None


def _read(content: Any) -> str:
    if content != {"value": content.get("value"), "padding": PADDING}:
        raise WrongError(f"a damaged document: {content}")
    return str(content["value"])
