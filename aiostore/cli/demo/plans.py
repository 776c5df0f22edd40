"""What each client asks for, one request after the other: fixed by the seed alone.

A plan does not look at answers: which requests meet a document, a competitor or nothing is decided
by the race, what is asked for is not. Feeds alone look at something: where the backfill is.
"""

import asyncio
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

_HOT = 50
_MANY = 20
_STORED = 12
_WITHDRAWN = 6
_HANDFUL = 200

_READERS_PAUSE = 0.01
_WRITERS_PAUSE = 0.06
_FEEDS_PAUSE = 0.06


class Step(NamedTuple):
    """One request.

    Attributes:
        kind: for a reader `get` or `get_many`; for a writer `create`, `put`, `replace`, `update`,
            `delete` or `flash` (a put whose version is deleted at once); for a feed `put_many` or
            `delete_many`.
        keys: one key, but for the three `…_many`.
        think: seconds between reading a version and using it.
        pause: seconds until the next request.
    """

    kind: str
    keys: Sequence[str]
    think: float
    pause: float


class Keys:
    """The airports' keys.

    Attributes:
        every: all of them, in order.
        hot: the few that everybody wants.
    """

    def __init__(self, every: Iterable[str], seed: int) -> None:
        self.every = sorted(every)
        self.hot = _chance(seed, "hot").sample(self.every, min(_HOT, len(self.every)))

    def pick(self, chance: random.Random, hot: float) -> str:
        """A hot key with this probability, the first of them most often; otherwise any."""
        if chance.random() < hot:
            return self.hot[int(len(self.hot) * chance.random() ** 3)]
        return chance.choice(self.every)


class Frontier:
    """Where the backfill is: what lies behind it has been copied."""

    def __init__(self) -> None:
        self.passed: float | None = None
        self._moved = asyncio.Event()

    def move(self, passed: float | None) -> None:
        """It has passed so much of the collection, 0 to 1; None while there is no backfill."""
        self.passed = passed
        self._moved.set()
        self._moved = asyncio.Event()

    async def moved(self, seconds: float) -> None:
        """Wait until it has moved, but not longer than so many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._moved.wait(), seconds)


def reads(seed: int, client: str, keys: Keys) -> Iterator[Step]:
    """A reader's requests, without end."""
    chance = _chance(seed, client)
    while True:
        pause = chance.uniform(0, _READERS_PAUSE)
        if chance.random() < 0.1:
            wanted = [keys.pick(chance, 0.2) for _ in range(_MANY)]
            yield Step("get_many", list(dict.fromkeys(wanted)), 0, pause)
        else:
            yield Step("get", [keys.pick(chance, 0.5)], 0, pause)


def writes(seed: int, client: str, keys: Keys) -> Iterator[Step]:
    """A writer's requests, without end: one document each.

    Half the keys are anywhere in the collection, ahead of the backfill, behind it or under its
    hands; the others are hot. Some of what a writer has deleted it creates again.
    """
    chance = _chance(seed, client)
    gone: list[str] = []
    while True:
        think, pause = chance.uniform(0, 0.01), chance.uniform(0, _WRITERS_PAUSE)
        [kind] = chance.choices(tuple(_KINDS), tuple(_KINDS.values()))
        key = keys.pick(chance, 0.5)
        if kind == "new":
            kind, key = "create", f"{key}-{client}-{chance.randrange(10**6):06}"
        elif kind == "again":
            kind, key = "create", gone.pop(chance.randrange(len(gone))) if gone else key
        elif kind in ("delete", "flash"):
            gone.append(key)
        yield Step(kind, [key], think, pause)


def feed(seed: int, client: str, keys: Keys, frontier: Frontier) -> Iterator[Step]:
    """A feed's requests, without end: some documents each, close together, stored or withdrawn.

    While the backfill is under way they are those that it has in its hands: read from the current
    store, and not yet written to the target. A copy that covers what is newer does it there.
    """
    chance = _chance(seed, client)
    while True:
        pause, anywhere = chance.uniform(0, _FEEDS_PAUSE), chance.random()
        kind, many = chance.choice((("put_many", _STORED), ("delete_many", _WITHDRAWN)))
        places = [chance.randrange(_HANDFUL) for _ in range(many)]
        start = int((anywhere if frontier.passed is None else frontier.passed) * len(keys.every))
        wanted = [keys.every[(start + place) % len(keys.every)] for place in places]
        yield Step(kind, list(dict.fromkeys(wanted)), 0, pause)


_KINDS = {"put": 20, "replace": 22, "update": 14, "delete": 18, "flash": 10, "again": 9, "new": 7}


def _chance(seed: int, client: str) -> random.Random:
    return random.Random(f"{seed}/{client}")  # noqa: S311  # to be repeated, not to be secret
