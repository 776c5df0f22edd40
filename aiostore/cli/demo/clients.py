"""One client each: they use the service, enter everything in the ledger, and believe nothing."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiostore.cli.demo.airports import Airport, revised
from aiostore.cli.demo.ledger import Attempt, Ledger
from aiostore.cli.demo.plans import Frontier, Step
from aiostore.cli.demo.service import AirportService
from aiostore.cli.demo.tally import Tally
from aiostore.documents import Document
from aiostore.errors import AlreadyExistsError, ConflictError, NotFoundError

_CONFLICTS = (AlreadyExistsError, ConflictError, NotFoundError)
_LONGEST_WAIT = 0.1
_HASTE = 0.15


@dataclass(frozen=True, slots=True)
class Stage:
    """What all clients share.

    Attributes:
        service: what they use.
        airports: what it holds at first.
        ledger: where they enter what they send, are told and see.
        tally: what they met.
        frontier: where the backfill is, for those who go after it.
    """

    service: AirportService
    airports: Mapping[str, Airport]
    ledger: Ledger
    tally: Tally
    frontier: Frontier


class Client(ABC):
    """Whoever follows a plan; every value that one writes carries a revision of its own."""

    def __init__(self, name: str, stage: Stage) -> None:
        self._name = name
        self._airports = stage.airports
        self._service = stage.service
        self._ledger = stage.ledger
        self._tally = stage.tally
        self._frontier = stage.frontier
        self._revisions = 0

    @abstractmethod
    async def do(self, step: Step) -> None:
        """One request of the plan."""

    async def rest(self, pause: float) -> None:
        """Until the next request."""
        await asyncio.sleep(pause)

    def _revised(self, airport: Airport, key: str) -> Airport:
        self._revisions += 1
        return revised(airport, key, f"{self._name}-{self._revisions}")


class Reader(Client):
    """A client that reads, and has the ledger judge what it saw."""

    async def do(self, step: Step) -> None:
        """One request of the plan."""
        newest = {key: self._ledger.newest(key) for key in step.keys}
        try:
            found = await self._found(step)
        except Exception as error:  # noqa: BLE001  # that it failed is the finding
            self._tally.failed(step.keys[0], error)
            return
        for key, before in newest.items():
            document = found.get(key)
            if document is None:
                self._ledger.missed(key, before)
            else:
                self._ledger.saw(key, document.version, document.value, before)

    async def _found(self, step: Step) -> Mapping[str, Document[Airport]]:
        with self._tally.request("read"):
            if step.kind == "get_many":
                return await self._service.get_many(step.keys)
            document = await self._service.get(step.keys[0])
        return {} if document is None else {document.key: document}


class Writer(Client):
    """A client that writes one document at a time."""

    def __init__(self, name: str, stage: Stage) -> None:
        super().__init__(name, stage)
        self._verbs: dict[str, Callable[[str, float], Awaitable[object]]] = {
            "create": self._create,
            "put": self._put,
            "replace": self._replace,
            "update": self._update,
            "delete": self._delete,
            "flash": self._flash,
        }

    async def do(self, step: Step) -> None:
        """One request of the plan."""
        await self._verbs[step.kind](step.keys[0], step.think)

    async def _create(self, key: str, _: float) -> None:
        airport = self._revised(self._airports.get(key, {}), key)
        attempt = self._ledger.send("create", key, airport)
        await self._answered(attempt, self._service.create(key, airport))

    async def _put(self, key: str, _: float) -> Document[Airport] | None:
        airport = self._revised(self._airports.get(key, {}), key)
        attempt = self._ledger.send("put", key, airport)
        return await self._answered(attempt, self._service.put(key, airport))

    async def _replace(self, key: str, think: float) -> None:
        document = await self._read(key, think)
        if document is not None:
            airport = self._revised(document.value, key)
            attempt = self._ledger.send("replace", key, airport, over=document.version)
            await self._answered(attempt, self._service.replace(key, airport, document.version))

    async def _delete(self, key: str, think: float) -> None:
        document = await self._read(key, think)
        if document is not None:
            await self._delete_exactly(document)

    async def _flash(self, key: str, _: float) -> None:
        document = await self._put(key, 0)
        if document is not None:
            await self._delete_exactly(document)

    async def _delete_exactly(self, document: Document[Airport]) -> None:
        key, version = document.key, document.version
        attempt = self._ledger.send("delete", key, None, over=version)
        await self._answered(attempt, self._service.delete(key, version))

    async def _update(self, key: str, _: float) -> None:
        """The library calls `change` again after a conflict alone, so the last value is dead."""
        attempts: list[Attempt] = []

        def change(airport: Airport) -> Airport:
            for refused in attempts[-1:]:
                self._ledger.reject(refused)
            self._ledger.saw(key, None, airport)
            changed = self._revised(airport, key)
            attempts.append(self._ledger.send("update", key, changed, over_value=airport))
            return changed

        try:
            with self._tally.request("write"):
                document = await self._service.update(key, change)
        except _CONFLICTS:
            self._tally.conflicts += 1
            for refused in attempts[-1:]:
                self._ledger.reject(refused)
        except Exception as error:  # noqa: BLE001  # that it failed is the finding
            self._tally.failed(key, error)
            for doubtful in attempts[-1:]:
                self._ledger.doubt(doubtful)
        else:
            self._tally.acknowledged += 1
            self._ledger.acknowledge(attempts[-1], document.version)

    async def _answered(
        self, attempt: Attempt, call: Awaitable[Document[Airport] | None]
    ) -> Document[Airport] | None:
        """Send one write, and enter what came of it."""
        try:
            with self._tally.request("write"):
                document = await call
        except _CONFLICTS:
            self._tally.conflicts += 1
            self._ledger.reject(attempt)
        except Exception as error:  # noqa: BLE001  # that it failed is the finding
            self._tally.failed(attempt.key, error)
            self._ledger.doubt(attempt)
        else:
            self._tally.acknowledged += 1
            self._ledger.acknowledge(attempt, None if document is None else document.version)
            return document
        return None

    async def _read(self, key: str, think: float) -> Document[Airport] | None:
        newest = self._ledger.newest(key)
        try:
            with self._tally.request("read"):
                document = await self._service.get(key)
        except Exception as error:  # noqa: BLE001  # that it failed is the finding
            self._tally.failed(key, error)
            return None
        if document is None:
            self._ledger.missed(key, newest)
        else:
            self._ledger.saw(key, document.version, document.value, newest)
            await asyncio.sleep(think)
        return document


class Feed(Client):
    """A client that stores or withdraws many documents with one request, where the backfill is."""

    async def rest(self, pause: float) -> None:
        """Until the next request: what the backfill takes into its hands it reads just then."""
        if self._frontier.passed is not None:
            await self._frontier.moved(_LONGEST_WAIT)
            pause *= _HASTE
        await asyncio.sleep(pause)

    async def do(self, step: Step) -> None:
        """One request of the plan."""
        values = {key: self._revised(self._airports[key], key) for key in step.keys}
        stored = step.kind == "put_many"
        attempts = [
            self._ledger.send(step.kind, key, value if stored else None)
            for key, value in values.items()
        ]
        documents: Mapping[str, Document[Airport]] = {}
        try:
            with self._tally.request("write"):
                if stored:
                    documents = await self._service.put_many(values)
                else:
                    await self._service.delete_many(step.keys)
        except Exception as error:  # noqa: BLE001  # that it failed is the finding
            self._tally.failed(step.keys[0], error)
            for attempt in attempts:
                self._ledger.doubt(attempt)
            return
        self._tally.acknowledged += len(attempts)
        for attempt in attempts:
            self._ledger.acknowledge(attempt, documents[attempt.key].version if stored else None)
