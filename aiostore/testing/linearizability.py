"""Linearizability: whether what clients were told fits some order of their operations.

A history is linearizable if its operations can be put into one order in which each answer is the
one that a single, sequential register would give, and which keeps apart what was apart: what was
answered before another was called stands before it. An operation whose outcome nobody was told may
stand anywhere after its call, or nowhere.

The search is Wing and Gong's, with Lowe's memory of where it has been. It takes time exponential in
the number of operations under way at once, and of those with unknown outcomes, in the worst case;
histories of some dozens of operations by a handful of clients take milliseconds.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from math import inf
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

C = TypeVar("C")
A = TypeVar("A")
S = TypeVar("S")


class Operation(Struct, Generic[C, A], frozen=True, kw_only=True):
    """One operation of one client.

    Attributes:
        client: who called.
        key: what it was about; operations on different keys know nothing of each other.
        call: what was asked.
        answer: what was answered; None if the outcome is unknown.
        called: the logical time of the call.
        answered: the logical time of the answer; None if the outcome is unknown.
    """

    client: str
    key: str
    call: C
    answer: A | None = None
    called: int
    answered: int | None = None

    def __str__(self) -> str:
        end = "…" if self.answered is None else self.answered
        answer = "unknown" if self.answered is None else self.answer
        return f"{self.called:>4}-{end:<4} {self.client}: {self.call} → {answer}"


class Refusal(Struct, frozen=True):
    """Why an operation cannot stand at a place in the order."""

    reason: str


class Model(Protocol[S]):
    """What is a right answer: a register, as if everything were done one after the other."""

    @property
    def initial(self) -> S:
        """The state before the first operation."""
        ...

    def step(self, state: S, operation: Operation[Any, Any], /) -> S | Refusal:
        """The state after an operation, or why it could not be answered so in this state.

        Of an operation with an unknown outcome (`answered` is None) only the effect counts, and
        one without an effect in this state leaves it as it is. States are hashable.
        """
        ...

    def changes(self, operation: Operation[Any, Any], /) -> bool:
        """Whether the operation can have an effect in any state: false for reads and refusals."""
        ...


class Anomaly(Struct, frozen=True):
    """Why the operations on a key fit no order.

    Attributes:
        key: the key.
        operations: the shortest part of its history that fits no order.
        order: the longest beginning of an order that there is.
        refusals: why none of those that could stand next may.
    """

    key: str
    operations: Sequence[Operation[Any, Any]]
    order: Sequence[Operation[Any, Any]]
    refusals: Sequence[tuple[Operation[Any, Any], str]]

    def __str__(self) -> str:
        lines = [f"key {self.key!r}: these operations fit no order"]
        lines += [f"  {operation}" for operation in self.operations]
        if self.order:
            lines.append("at best they begin so")
            lines += [f"  {operation}" for operation in self.order]
        lines.append("and cannot go on, because")
        lines += [f"  {operation}: {reason}" for operation, reason in self.refusals]
        return "\n".join(lines)


def find_anomaly(model: Model[S], operations: Iterable[Operation[Any, Any]]) -> Anomaly | None:
    """Why the operations on one key are not linearizable; None if they are."""
    history: Sequence[Operation[Any, Any]]
    history = sorted(operations, key=lambda operation: operation.called)
    if _search(model, history).complete:
        return None
    history = _shortest(model, history)
    longest = _search(model, history).longest
    refusals = [
        (history[index], after.reason)
        for index in _next(history, longest.placed)
        if _is_answered(history[index])
        and isinstance(after := model.step(longest.state, history[index]), Refusal)
    ]
    order = [history[index] for index in longest.order]
    return Anomaly(history[0].key, history, order, refusals)


def by_key(operations: Iterable[Operation[C, A]]) -> dict[str, list[Operation[C, A]]]:
    """A history's operations on each key: it is linearizable if all of these are."""
    histories: dict[str, list[Operation[C, A]]] = {}
    for operation in operations:
        histories.setdefault(operation.key, []).append(operation)
    return histories


class _Beginning(NamedTuple, Generic[S]):
    """The beginning of an order: which operations stand there, in it, and the state after them."""

    order: tuple[int, ...]
    placed: int
    state: S

    def followed_by(self, index: int, state: S) -> "_Beginning[S]":
        return _Beginning((*self.order, index), self.placed | 1 << index, state)


class _Found(NamedTuple, Generic[S]):
    longest: _Beginning[S]
    complete: bool


def _search(model: Model[S], history: Sequence[Operation[Any, Any]]) -> _Found[S]:
    """A whole order, or else the longest beginning of one, counting what was answered."""
    answered = sum(1 << i for i, operation in enumerate(history) if _is_answered(operation))
    longest = _Beginning((), 0, model.initial)
    seen: set[tuple[int, S]] = set()
    stack = [longest]
    while stack:
        beginning = stack.pop()
        if (beginning.placed, beginning.state) in seen:
            continue
        seen.add((beginning.placed, beginning.state))
        if (beginning.placed & answered).bit_count() > (longest.placed & answered).bit_count():
            longest = beginning
        if beginning.placed & answered == answered:
            return _Found(beginning, complete=True)
        stack += _continued(model, history, beginning)
    return _Found(longest, complete=False)


def _continued(
    model: Model[S], history: Sequence[Operation[Any, Any]], beginning: _Beginning[S]
) -> list[_Beginning[S]]:
    """The beginnings that are longer by one; the most promising last."""
    longer = []
    for index in _next(history, beginning.placed):
        operation = history[index]
        after = model.step(beginning.state, operation)
        if isinstance(after, Refusal):
            continue
        if not model.changes(operation):
            return [beginning.followed_by(index, after)]  # where it fits a read is in no one's way
        if _is_answered(operation) or after != beginning.state:
            longer.append(beginning.followed_by(index, after))
    return sorted(longer, key=lambda one: -_end(history[one.order[-1]]))


def _next(history: Sequence[Operation[Any, Any]], placed: int) -> list[int]:
    """Which operations may stand next: those called before any other's answer."""
    left = [index for index in range(len(history)) if not placed >> index & 1]
    first = min((_end(history[index]) for index in left), default=inf)
    return [index for index in left if history[index].called < first]


def _shortest(
    model: Model[S], history: Sequence[Operation[Any, Any]]
) -> Sequence[Operation[Any, Any]]:
    """The shortest beginning in time that fits no order, without the reads that do not matter."""

    def fails(end: int) -> bool:
        return not _search(model, _until(end, history)).complete

    ends = sorted(operation.answered for operation in history if operation.answered is not None)
    part = _until(ends[bisect_left(ends, True, key=fails)], history)  # noqa: FBT003  # what is sought
    for operation in reversed(part):
        if not model.changes(operation):
            rest = [other for other in part if other is not operation]
            part = part if _search(model, rest).complete else rest
    return part


def _until(end: int, history: Sequence[Operation[Any, Any]]) -> list[Operation[Any, Any]]:
    """What was known at a moment: what is answered later has an unknown outcome yet."""
    return [
        operation if _end(operation) <= end else replace(operation, answered=None, answer=None)
        for operation in history
        if operation.called < end
    ]


def _is_answered(operation: Operation[Any, Any]) -> bool:
    return operation.answered is not None


def _end(operation: Operation[Any, Any]) -> float:
    return inf if operation.answered is None else operation.answered
