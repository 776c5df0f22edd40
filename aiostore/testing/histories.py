"""Histories: what clients asked of a collection and were told, in logical time.

`History.ask` records one verb; `Client` asks at random, as a seed fixes it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from itertools import count
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from aiostore.collection import Collection
from aiostore.errors import AlreadyExistsError, ConflictError, NotFoundError, UnavailableError
from aiostore.testing.faults import turns
from aiostore.testing.registers import Answer, Call, DocumentOperation, Stood

R = TypeVar("R")


class History:
    """The record of what clients asked and were told.

    Attributes:
        operations: in the order of their calls; those with an unknown outcome have no answer.
    """

    def __init__(self) -> None:
        self.operations: list[DocumentOperation] = []
        self._time = count(1)

    async def ask(
        self, client: str, collection: Collection[dict[str, Any]], key: str, call: Call
    ) -> Answer | None:
        """Ask, and record it; the answer, or None if the outcome is unknown.

        It is unknown after `UnavailableError`, and if the caller is cancelled.
        """
        place = len(self.operations)
        asked = DocumentOperation(client=client, key=key, call=call, called=next(self._time))
        self.operations.append(asked)
        try:
            answer = Answer("done", _stood(await _perform(collection, key, call)))
        except NotFoundError:
            answer = Answer("not found")
        except AlreadyExistsError as error:
            answer = Answer("exists", _stood(error.current))
        except ConflictError as error:
            answer = Answer("conflict", _stood(error.current))
        except UnavailableError:
            return None
        self.operations[place] = replace(asked, answer=answer, answered=next(self._time))
        return answer

    def tell(self, client: str, key: str, call: Call, answer: Answer) -> None:
        """Record what was asked and answered elsewhere, at this moment."""
        self.operations.append(
            DocumentOperation(
                client=client,
                key=key,
                call=call,
                answer=answer,
                called=next(self._time),
                answered=next(self._time),
            )
        )


class Habits(Struct, frozen=True, kw_only=True):
    """How clients behave.

    Attributes:
        verbs: what they ask, each as often as it stands here; `update` is a `get` and a `replace`
            of what it told.
        keys: of which documents.
        steps: how often, each of them.
        cancelling: with what probability a caller is cancelled before it is answered.
        wait: how a pause is made; by default it is a number of turns of the event loop.
    """

    verbs: Sequence[str] = (
        *("get", "get", "get", "create", "put"),
        *("replace", "replace", "update", "update", "delete"),
    )
    keys: Sequence[str] = ("a", "b")
    steps: int = 6
    cancelling: float = 0.0
    wait: Callable[[int], Awaitable[None]] = turns


class Client:
    """One of several clients; asks one thing after the other.

    Args:
        name: its own.
        collection: what it asks of.
        history: where that is recorded.
        habits: what it asks.
        seed: fixes its choices.
    """

    def __init__(
        self,
        name: str,
        collection: Collection[dict[str, Any]],
        history: History,
        habits: Habits,
        seed: str,
    ) -> None:
        self.name = name
        self._collection = collection
        self._history = history
        self._habits = habits
        self._choices = random.Random(seed)  # noqa: S311  # no secret
        self._known: dict[str, str] = {}
        self._values = count(1)

    async def run(self) -> None:
        """Ask as often as the habits say."""
        for _ in range(self._habits.steps):
            await self._habits.wait(self._choices.choice((0, 0, 1, 3)))
            verb = self._choices.choice(self._habits.verbs)
            await self._act(verb, self._choices.choice(self._habits.keys))

    async def _act(self, verb: str, key: str) -> None:
        value = f"{self.name}.{next(self._values)}"
        match verb:
            case "get":
                await self._ask(key, Call("get"))
            case "create" | "put":
                await self._ask(key, Call(verb, value))
            case "delete":
                version = self._choices.choice((None, self._known.get(key)))
                missing_ok = self._choices.random() < 0.5
                await self._ask(key, Call("delete", version=version, missing_ok=missing_ok))
            case _:
                if verb == "update" or key not in self._known:
                    await self._ask(key, Call("get"))
                if key in self._known:
                    await self._ask(key, Call("replace", value, self._known[key]))

    async def _ask(self, key: str, call: Call) -> None:
        asking = self._history.ask(self.name, self._collection, key, call)
        if self._choices.random() < self._habits.cancelling:
            moment = self._habits.wait(self._choices.choice((0, 1, 1, 2, 4, 9)))
            answer = await _cancelled_after(moment, asking)
        else:
            answer = await asking
        if answer is not None and answer.document is not None:
            self._known[key] = answer.document.version


async def _perform(collection: Collection[dict[str, Any]], key: str, call: Call) -> Any:
    value, version = {"by": call.value}, call.version or ""
    match call.verb:
        case "get":
            return await collection.get(key)
        case "create":
            return await collection.create(key, value)
        case "put":
            return await collection.put(key, value)
        case "replace":
            return await collection.replace(key, value, version=version)
        case _:
            return await collection.delete(key, version=call.version, missing_ok=call.missing_ok)


def _stood(document: Any) -> Stood | None:
    return None if document is None else Stood(document.version, document.value["by"])


async def _cancelled_after(moment: Awaitable[None], call: Coroutine[Any, Any, R]) -> R | None:
    """Cancel a call at a moment; what it returned, if it had ended before."""
    task = asyncio.ensure_future(call)
    try:
        await moment
    finally:
        task.cancel()
        await asyncio.wait([task])
    return None if task.cancelled() else task.result()
