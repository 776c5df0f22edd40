"""What is asked of every variant, and what the answers must be."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from benchmarks.documents import FIELD, REGION, Content, Value
from benchmarks.variants import Call, Documents

BATCH = 50
"""Documents of a `get_many`, and of a page."""


class WrongAnswerError(Exception):
    """A variant answered what is not so; its figures would be worth nothing."""


class Operation(Struct, frozen=True):
    """One method of `Documents`, called with arguments that are made beforehand.

    Attributes:
        documents: how many documents one call reads or writes, about.
        writes: whether it does.
        most_tasks: that it is asked by at the same time.
    """

    name: str
    documents: int = 1
    writes: bool = False
    most_tasks: int = 128

    def calls(self, content: Content, number: int, chance: random.Random) -> list[Call]:
        """The arguments of so many calls; no two write the same document."""
        keys = chance.sample(content.keys, min(number, content.count))
        return [self.call(content, key, chance) for key in keys]

    def call(self, content: Content, key: str, chance: random.Random) -> Call:
        """The arguments of one that has to do with a key."""
        raise NotImplementedError

    def check(self, content: Content, call: Call, answer: Any) -> None:
        """See that the answer is right, and take note of what was written.

        Raises:
            WrongAnswerError: it is not.
        """
        raise NotImplementedError


class Get(Operation, frozen=True):
    """Read one."""

    def call(self, content: Content, key: str, chance: random.Random) -> Call:
        del content, chance
        return (key,)

    def check(self, content: Content, call: Call, answer: Any) -> None:
        [key] = call
        _expect(self.name, key, content.standing(key), answer)


class Put(Operation, frozen=True):
    """Store one."""

    def call(self, content: Content, key: str, chance: random.Random) -> Call:
        del chance
        return (key, revised(content, key))

    def check(self, content: Content, call: Call, answer: Any) -> None:
        key, value = call
        content.accept(key, value["revision"], answer)


class Replace(Operation, frozen=True):
    """Compare and set one."""

    def call(self, content: Content, key: str, chance: random.Random) -> Call:
        del chance
        version = content.versions[content.numbers[key]]
        return (key, revised(content, key), version)

    def check(self, content: Content, call: Call, answer: Any) -> None:
        key, value, version = call
        if answer is None or answer == version:
            raise WrongAnswerError(f"replace of {key} at its version {version}: {answer!r}")
        content.accept(key, value["revision"], answer)


class GetMany(Operation, frozen=True):
    """Read some, from anywhere."""

    def call(self, content: Content, key: str, chance: random.Random) -> Call:
        number = min(self.documents, content.count)
        others = [each for each in chance.sample(content.keys, number) if each != key]
        return ([key, *others][:number],)

    def check(self, content: Content, call: Call, answer: Any) -> None:
        [keys] = call
        for key in keys:
            _expect(self.name, key, content.standing(key), answer.get(key))


class Page(Operation, frozen=True):
    """Read the first of a region."""

    def call(self, content: Content, key: str, chance: random.Random) -> Call:
        del chance
        return (content.region(key), self.documents)

    def check(self, content: Content, call: Call, answer: Any) -> None:
        region, size = call
        _expect_pairs(self.name, content, content.keys_in(region)[:size], answer)


class Scan(Operation, frozen=True):
    """Read a region."""

    def call(self, content: Content, key: str, chance: random.Random) -> Call:
        del chance
        return (content.region(key),)

    def check(self, content: Content, call: Call, answer: Any) -> None:
        [region] = call
        _expect_pairs(self.name, content, content.keys_in(region), answer)


class Find(Operation, frozen=True):
    """Read all that have the same in one field."""

    def call(self, content: Content, key: str, chance: random.Random) -> Call:
        del chance
        return (content.standing(key)[FIELD],)

    def check(self, content: Content, call: Call, answer: Any) -> None:
        [text] = call
        _expect_pairs(self.name, content, content.found(text), answer)


GET = Get("get")
PUT = Put("put", writes=True)
REPLACE = Replace("replace", writes=True)
FIND = Find("find", most_tasks=16)

OPERATIONS: Mapping[str, Operation] = {
    operation.name: operation
    for operation in (
        GET,
        PUT,
        REPLACE,
        GetMany("get_many", BATCH),
        Page("page", BATCH),
        Scan("scan", REGION, most_tasks=16),
        FIND,
    )
}


def revised(content: Content, key: str) -> Value:
    """The document under a key with another revision than has ever stood there."""
    number = content.numbers[key]
    return content.value(number, content.revisions[number] + 1)


async def check_standing(documents: Documents, content: Content, keys: Sequence[str]) -> None:
    """Read back what was written.

    Raises:
        WrongAnswerError: something else stands there.
    """
    for key in keys:
        _expect("get after a write", key, content.standing(key), await documents.get(key))


async def check_conflict(documents: Documents, content: Content, key: str) -> None:
    """Have a stale version refused.

    Raises:
        WrongAnswerError: it was replaced all the same.
    """
    stale = content.versions[content.numbers[key]]
    if stale is None:
        raise WrongAnswerError(f"nobody was told the version of {key}")
    for expected in (True, False):
        value = revised(content, key)
        version = await documents.replace(key, value, stale)
        if (version is not None) != expected:
            raise WrongAnswerError(f"replace of {key} at {stale}: {version!r}")
        if version is not None:
            content.accept(key, value["revision"], version)
    await check_standing(documents, content, [key])


def _expect_pairs(
    what: str, content: Content, keys: Sequence[str], pairs: Sequence[tuple[str, Value]]
) -> None:
    found = [key for key, _ in pairs]
    if found != list(keys):
        raise WrongAnswerError(f"{what}: {len(keys)} keys in order, and it gave {found[:5]}…")
    for key, value in pairs:
        _expect(what, key, content.standing(key), value)


def _expect(what: str, key: str, expected: Value, found: Value | None) -> None:
    if found != expected:
        raise WrongAnswerError(f"{what} of {key}: {expected!r:.200} is right, not {found!r:.200}")
