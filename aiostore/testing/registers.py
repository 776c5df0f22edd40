"""A document as a register: what each verb of a collection is rightly answered.

Histories for it write every value once, so a value tells which write it came from, and stands for
its version too.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from msgspec import Struct

from aiostore.testing.linearizability import Anomaly, Operation, Refusal, by_key, find_anomaly

Verb = Literal["get", "create", "put", "replace", "delete"]


class Stood(NamedTuple):
    """A document as a client was told it."""

    version: str
    value: str

    def __str__(self) -> str:
        return f"{self.value!r} at …{self.version[-4:]}"


class Call(Struct, frozen=True):
    """What a client asks of one document.

    Attributes:
        verb: the verb of `Collection`; `update` is a `get` and a `replace`.
        value: what it writes: a text that no other call writes.
        version: the version that it expects, for `replace` and perhaps for `delete`.
        missing_ok: for `delete`.
    """

    verb: Verb
    value: str | None = None
    version: str | None = None
    missing_ok: bool = False

    def __str__(self) -> str:
        parts = [repr(self.value)] if self.value is not None else []
        if self.version is not None:
            parts.append(f"version=…{self.version[-4:]}")
        if self.missing_ok:
            parts.append("missing_ok")
        return f"{self.verb}({', '.join(parts)})"


class Answer(Struct, frozen=True):
    """What a client was told.

    Attributes:
        kind: `done`; or which error: `not found`, `exists` already, or `conflict`.
        document: what was returned, or is the error's `current`.
    """

    kind: Literal["done", "not found", "exists", "conflict"]
    document: Stood | None = None

    def __str__(self) -> str:
        return self.kind if self.document is None else f"{self.kind}: {self.document}"


DocumentOperation: TypeAlias = Operation[Call, Answer]


def find_anomalies(operations: Iterable[DocumentOperation]) -> list[Anomaly]:
    """What is wrong with a history of documents, none of which was there before; a key each."""
    found = [_anomaly_of(key, history) for key, history in by_key(operations).items()]
    return [anomaly for anomaly in found if anomaly is not None]


class Register:
    """The model of one document: what stands there is its value, or None.

    Args:
        operations: its history, for what the versions of its values are.
    """

    initial: str | None = None

    def __init__(self, operations: Iterable[DocumentOperation]) -> None:
        self._versions = {stood.value: stood.version for _, stood in _told(operations)}

    def step(self, state: str | None, operation: DocumentOperation, /) -> str | Refusal | None:
        """Fits `Model.step`."""
        answer, after = self._perform(state, operation.call)
        if operation.answer is None:
            return after
        told = operation.answer.document
        if (operation.answer.kind, told and told.value) != answer:
            kind, value = answer
            right = kind if value is None else f"{kind}: {value!r}"
            return Refusal(f"{_shown(state)} there, so the answer should be {right}")
        if told is not None and state is not None and told.version < self._versions.get(state, ""):
            return Refusal(f"its version is smaller than that of {state!r}, which stands there")
        return after

    def changes(self, operation: DocumentOperation, /) -> bool:
        """Fits `Model.changes`."""
        done = operation.answer is None or operation.answer.kind == "done"
        return done and operation.call.verb != "get"

    def _perform(self, state: str | None, call: Call) -> "tuple[_Plain, str | None]":
        """The right answer, and what stands there afterwards."""
        if call.verb == "put" or (call.verb == "create" and state is None):
            return ("done", call.value), call.value
        if call.verb == "create":
            return ("exists", state), state
        if state is None:
            return ("done" if call.missing_ok else "not found", None), None
        if call.verb == "get":
            return ("done", state), state
        if call.version not in (None, self._versions.get(state)):
            return ("conflict", state), state
        return ("done", call.value), call.value


_Plain: TypeAlias = tuple[str, str | None]
"""An answer without its version."""


def _anomaly_of(key: str, history: Sequence[DocumentOperation]) -> Anomaly | None:
    return _mistaken_identity(key, history) or find_anomaly(Register(history), history)


def _mistaken_identity(key: str, history: Sequence[DocumentOperation]) -> Anomaly | None:
    """A value that nobody wrote, or a version and a value that are not each other's alone."""
    written = {operation.call.value for operation in history}
    first: dict[str, tuple[Stood, DocumentOperation]] = {}
    for operation, stood in _told(history):
        if stood.value not in written:
            return Anomaly(key, [operation], [], [(operation, "nobody has written this value")])
        for token in (f"version {stood.version}", f"value {stood.value}"):
            other, when = first.setdefault(token, (stood, operation))
            if other != stood:
                reason = f"one write has one value and one version, and there was {other} already"
                return Anomaly(key, [when, operation], [when], [(operation, reason)])
    return None


def _told(history: Iterable[DocumentOperation]) -> list[tuple[DocumentOperation, Stood]]:
    """What clients were told stands there, in the order of the answers."""
    told = [
        (operation.answered, operation, operation.answer.document)
        for operation in history
        if operation.answered is not None
        and operation.answer is not None
        and operation.answer.document is not None
    ]
    return [(operation, stood) for _, operation, stood in sorted(told, key=lambda one: one[0])]


def _shown(state: str | None) -> str:
    return "nothing stands" if state is None else f"{state!r} stands"
