"""The ledger: what the clients of a service asked for and what they were told, in that order.

It imports nothing of aiostore, so that no bug there can hide itself here. A request is entered
before it is sent and again when its answer has come, so whatever was answered before another
request was entered has been before it in real time.
"""

import json
import time
from dataclasses import dataclass, field
from typing import IO, Literal

Kind = Literal["get", "put", "create", "replace", "delete", "remove"]
"""`delete` names the version that it deletes; `remove` does not mind what stands there."""

Answer = Literal["done", "standing", "missing", "unknown"]


@dataclass(slots=True, eq=False)
class Request:
    """One request, as its client knows it.

    Attributes:
        sent: its place among all entries.
        client: who asked.
        kind: what was asked for.
        key: the document's.
        value: what was to be written, which no other request writes; for a `get` what was read.
        over: the version that it is to stand in place of, or that it is to delete.
        answered: the place of its answer among all entries; None if there was none.
        answer: `done`; or the refusal because a document stands there, or because there is none;
            or `unknown`: nobody knows whether it took effect, nor when it will.
        version: the one that was stored, read, or stood in the way.
    """

    sent: int
    client: str
    kind: Kind
    key: str
    value: str | None = None
    over: str | None = None
    answered: int | None = None
    answer: Answer = "unknown"
    version: str | None = None

    def __str__(self) -> str:
        asked = f"{self.kind} {self.key}"
        asked += f" = {self.value}" if self.value is not None and self.kind != "get" else ""
        asked += f" over {self.over}" if self.over is not None else ""
        told = self.answer if self.version is None else f"{self.answer} {self.version}"
        told += f" = {self.value}" if self.value is not None and self.kind == "get" else ""
        return f"{self.sent:6} to {self.answered or '':6} {self.client:>4}: {asked} -> {told}"


@dataclass(slots=True)
class Ledger:
    """Everything that the clients know.

    Attributes:
        file: gets a line for every entry, as it is made; None for no file.
        keys: the requests for each key, in the order in which they were sent.
        wrong: answers that no client should get, in words.
    """

    file: IO[str] | None = None
    keys: dict[str, list[Request]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    _entries: int = 0

    def send(
        self,
        client: str,
        kind: Kind,
        key: str,
        value: str | None = None,
        *,
        over: str | None = None,
    ) -> Request:
        """Enter a request before it is sent."""
        request = Request(self._entries, client, kind, key, value, over)
        self.keys.setdefault(key, []).append(request)
        self._enter(request, {"client": client, "kind": kind, "key": key})
        return request

    def answer(
        self,
        request: Request,
        answer: Answer,
        version: str | None = None,
        *,
        value: str | None = None,
    ) -> None:
        """Enter what was answered; `value` is what was read."""
        request.answer = answer
        request.version = version
        if answer != "unknown":
            request.answered = self._entries
        if request.kind == "get":
            request.value = value
        self._enter(request, {"answer": answer, "version": version})

    def complain(self, request: Request, what: str) -> None:
        """Enter that a client got what it should not have got; the outcome is unknown."""
        self.wrong.append(f"{request}: {what}")
        self._enter(request, {"wrong": what})

    def is_alone(self, request: Request) -> bool:
        """Whether no write of the same key can have taken effect since it was sent."""
        return all(
            one.kind == "get" or (one.answered is not None and one.answered < request.sent)
            for one in self.keys[request.key]
        )

    def number(self, answer: Answer, *kinds: Kind) -> int:
        """How many requests, of these kinds, were answered so."""
        return sum(
            one.answer == answer and (not kinds or one.kind in kinds)
            for requests in self.keys.values()
            for one in requests
        )

    def _enter(self, request: Request, entry: dict[str, object]) -> None:
        self._entries += 1
        if self.file is not None:
            about = {"number": request.sent, "value": request.value, "over": request.over}
            self.file.write(json.dumps({"at": time.time(), **entry, **about}) + "\n")
