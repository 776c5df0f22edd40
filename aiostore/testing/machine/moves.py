"""What a client does to one key, and what should come of it."""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from math import nan
from typing import Any, NamedTuple, Protocol, TypeAlias

from aiostore import Collection, F
from aiostore.testing.hostile import nested
from aiostore.testing.machine.model import Entry, Model, Refusal

Documents: TypeAlias = Collection[dict[str, Any]]


class Act(NamedTuple):
    """One call of a verb.

    Attributes:
        verb: the verb.
        key: the key.
        expected: the document that it should return, without a version if it is to be written; the
            error that it should raise; or None.
        start: calls the verb.
        removes: whether it leaves no document and, without a migration, no record.
    """

    verb: str
    key: str
    expected: Entry | Refusal | None
    start: Callable[[], Awaitable[object]]
    removes: bool = False


class Move(Protocol):
    """Something to do to one key of a collection."""

    @property
    def key(self) -> str:
        """The key."""
        ...

    def act(self, model: Model, documents: Documents) -> Act:
        """The call that it is at this moment, not yet begun."""
        ...


class Get(NamedTuple):
    """Read it; with `lenient` a default is given."""

    key: str
    lenient: bool

    def act(self, model: Model, documents: Documents) -> Act:
        """See `Move`."""
        standing = model.get(documents.name, self.key)
        if self.lenient:
            return Act("get", self.key, standing, lambda: documents.get(self.key, default=None))
        missing = Refusal("NotFoundError", self.key)
        return Act("get", self.key, standing or missing, lambda: documents.get(self.key))


class Create(NamedTuple):
    """Create it, with a time to live in microseconds."""

    key: str
    text: str
    ttl: int | None

    def act(self, model: Model, documents: Documents) -> Act:
        """See `Move`."""
        expected = model.create(documents.name, self.key, self.text, self.ttl)
        value, ttl = json.loads(self.text), as_ttl(self.ttl)
        return Act("create", self.key, expected, lambda: documents.create(self.key, value, ttl=ttl))


class Put(NamedTuple):
    """Put it, with a time to live in microseconds."""

    key: str
    text: str
    ttl: int | None

    def act(self, model: Model, documents: Documents) -> Act:
        """See `Move`."""
        expected = model.put(self.key, self.text, self.ttl)
        value, ttl = json.loads(self.text), as_ttl(self.ttl)
        return Act("put", self.key, expected, lambda: documents.put(self.key, value, ttl=ttl))


class Replace(NamedTuple):
    """Replace one of `VERSIONS` of it, with a time to live in microseconds."""

    key: str
    text: str
    version: str
    ttl: int | None

    def act(self, model: Model, documents: Documents) -> Act:
        """See `Move`."""
        version = model.version(documents.name, self.key, self.version)
        expected = model.replace(documents.name, self.key, self.text, version, self.ttl)
        value, ttl = json.loads(self.text), as_ttl(self.ttl)
        return Act(
            "replace",
            self.key,
            expected,
            lambda: documents.replace(self.key, value, version=version, ttl=ttl),
        )


class Update(NamedTuple):
    """Update it, with a time to live in microseconds; with `keep` none is given."""

    key: str
    text: str
    ttl: int | None
    keep: bool

    def act(self, model: Model, documents: Documents) -> Act:
        """See `Move`."""
        expected = model.update(documents.name, self.key, self.text, self.ttl, keep=self.keep)
        value = json.loads(self.text)
        given: dict[str, Any] = {} if self.keep else {"ttl": as_ttl(self.ttl)}
        return Act(
            "update",
            self.key,
            expected,
            lambda: documents.update(self.key, lambda _: value, **given),
        )


class Delete(NamedTuple):
    """Delete it, or one of `VERSIONS` of it."""

    key: str
    version: str | None
    missing_ok: bool

    def act(self, model: Model, documents: Documents) -> Act:
        """See `Move`."""
        name, version = documents.name, None
        if self.version is not None:
            version = model.version(name, self.key, self.version)
        expected = model.delete(name, self.key, version, missing_ok=self.missing_ok)
        blind = version is None and self.missing_ok
        return Act(
            "delete",
            self.key,
            expected,
            lambda: documents.delete(self.key, version=version, missing_ok=self.missing_ok),
            removes=blind or (expected is None and model.get(name, self.key) is not None),
        )


def as_ttl(microseconds: int | None) -> timedelta | None:
    """A time to live, as verbs take it."""
    return None if microseconds is None else timedelta(microseconds=microseconds)


async def _asked(documents: Documents, **arguments: Any) -> object:
    return [document async for document in documents.find(**arguments)]


WRONG_ARGUMENTS: dict[str, tuple[str, Callable[[Any, str], Awaitable[object]]]] = {
    "an empty key": ("InvalidKeyError", lambda it, _: it.get("")),
    "a key of 513 bytes": ("InvalidKeyError", lambda it, _: it.put("é" * 256 + "e", {})),
    "a key with a NUL": ("InvalidKeyError", lambda it, key: it.put(key[:9] + "\0", {})),
    "a key with half a surrogate": ("InvalidKeyError", lambda it, _: it.delete("\ud800")),
    "a key that is no text": ("InvalidKeyError", lambda it, _: it.create(1, {})),
    "one wrong key of many": ("InvalidKeyError", lambda it, key: it.put_many({key: {}, "": {}})),
    "a document that is a list": ("InvalidValueError", lambda it, key: it.put(key, [])),
    "a number that is none": ("InvalidValueError", lambda it, key: it.put(key, {"n": nan})),
    "a number over 64 bits": ("InvalidValueError", lambda it, key: it.put(key, {"n": 2**63})),
    "a tuple": ("InvalidValueError", lambda it, key: it.put(key, {"n": (1,)})),
    "a text with a NUL": ("InvalidValueError", lambda it, key: it.put(key, {"t": "\0"})),
    "a name that is no text": ("InvalidValueError", lambda it, key: it.put(key, {1: 1})),
    "33 levels": ("InvalidValueError", lambda it, key: it.put(key, nested(33))),
    "350 KiB": ("TooLargeError", lambda it, key: it.put(key, {"t": "x" * 350 * 1024})),
    "one wrong value of many": (
        "InvalidValueError",
        lambda it, key: it.put_many({key: {}, key[:9] + "+": {"n": nan}}),
    ),
    "no time to live": (
        "InvalidValueError",
        lambda it, key: it.put(key, {}, ttl=timedelta(0)),
    ),
    "a time to live that is a number": (
        "InvalidValueError",
        lambda it, key: it.create(key, {}, ttl=1),
    ),
    "a version that is a number": (
        "InvalidValueError",
        lambda it, key: it.replace(key, {}, version=1),
    ),
    "a version with a NUL": (
        "InvalidValueError",
        lambda it, key: it.delete(key, version="\0"),
    ),
    "a page of nothing": ("InvalidValueError", lambda it, _: it.page(size=0)),
    "a page of 1001": ("InvalidValueError", lambda it, _: it.page(size=1001)),
    "a cursor that is none": ("InvalidValueError", lambda it, key: it.page(cursor=key)),
    "a limit below 0": ("InvalidValueError", lambda it, _: _asked(it, limit=-1)),
    "a field for a filter": ("InvalidValueError", lambda it, _: it.count(F.n)),
    "a bool for a filter": ("InvalidValueError", lambda it, _: _asked(it, where=True)),
    "an order by nothing": ("InvalidValueError", lambda it, _: it.page(order_by="-")),
}
"""What the contract does not allow, by name: the error, and a call that must end with it."""
