"""What a store should do, said with plain dicts: the model that the state machine compares with.

It shares nothing with the library, on purpose: a mistake that both made would never be found. Its
moments are microseconds since 1970 UTC, and its time stands still until it is moved.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

Value = dict[str, Any]

VERSIONS: dict[str, Callable[[list[str], str, int], str]] = {
    "latest": lambda known, _, __: known[-1],
    "one before": lambda known, _, __: known[-2:][0],
    "first": lambda known, _, __: known[0],
    "upper case": lambda known, _, __: known[-1].upper(),
    "with a space": lambda known, _, __: known[-1] + " ",
    "cut": lambda known, _, __: known[-1][:-1],
    "another key's": lambda _, other, __: other,
    "an hour ahead": lambda _, __, now: f"{now // 1000 + 3_600_000:012x}70008000000000000000",
    "far ahead": lambda *_: "ffffffffffff7fffbfffffffffffffff",
    "empty": lambda *_: "",
    "nonsense": lambda *_: "nonsense",
}
"""Versions to ask for, made of those of the key, of another key's, and of the present moment.

The latest of a key may stand there, have expired, or be of a former life.
"""


@dataclass(frozen=True)
class Entry:
    """A document, as it should be or as it was seen.

    Attributes:
        key: its key.
        text: its value as JSON, which tells 1, 1.0 and True apart, and one order of names from
            another.
        version: its version; empty for one that is yet to be written.
        created_at: see `aiostore.Document`, as for the others.
        updated_at: the moment of this version.
        expires_at: from then on it is absent.
        value: its value.
    """

    key: str
    text: str
    version: str
    created_at: int
    updated_at: int
    expires_at: int | None
    value: Value = field(compare=False, repr=False)


class Refusal(NamedTuple):
    """The error that an operation should end with.

    Attributes:
        error: its class's name.
        key: the key that it should tell.
        current: the document that it should hold.
    """

    error: str
    key: str | None
    current: Entry | None = None


class Change(NamedTuple):
    """What became of a key; None where no document is there any more."""

    collection: str
    key: str
    entry: Entry | None


class Model:
    """Collections of entries, and a clock.

    Args:
        now: the moment at which it begins.
        collections: their names.

    Attributes:
        now: the present moment.
        changes: everything that has happened to any key, be it that its document has expired.
        deleted: the keys in each collection that may have left a tombstone.
    """

    def __init__(self, now: int, collections: Iterable[str]) -> None:
        self.now = now
        self.changes: list[Change] = []
        self._entries: dict[str, dict[str, Entry]] = {name: {} for name in collections}
        self.deleted: dict[str, set[str]] = {name: set() for name in self._entries}
        self._versions: dict[tuple[str, str], list[str]] = {}
        self._seen: set[str] = set()
        self._smallest: dict[tuple[str, str], str] = {}
        self._inherited: set[tuple[str, str]] = set()  # what another clock has written

    def documents(self, collection: str) -> list[Entry]:
        """What is there for a reader, by key."""
        return [one for one in self.records(collection) if self._is_alive(one)]

    def records(self, collection: str) -> list[Entry]:
        """What takes room: the expired ones too."""
        return [entry for _, entry in sorted(self._entries[collection].items())]

    def record(self, collection: str, key: str) -> Entry | None:
        """What takes the room there, be it expired."""
        return self._entries[collection].get(key)

    def is_inherited(self, collection: str, key: str) -> bool:
        """Whether what stands there has a version of another clock, which may be ahead."""
        return (collection, key) in self._inherited

    def get(self, collection: str, key: str) -> Entry | None:
        """What a reader of this key finds."""
        entry = self._entries[collection].get(key)
        return entry if entry is not None and self._is_alive(entry) else None

    def create(self, collection: str, key: str, text: str, ttl: int | None) -> Entry | Refusal:
        """The entry that a creation should store."""
        standing = self.get(collection, key)
        if standing is not None:
            return Refusal("AlreadyExistsError", key, standing)
        return self.put(key, text, ttl)

    def put(self, key: str, text: str, ttl: int | None) -> Entry:
        """The entry that a put should store."""
        expires_at = None if ttl is None else self.now + ttl
        return Entry(key, text, "", self.now, self.now, expires_at, json.loads(text))

    def replace(
        self, collection: str, key: str, text: str, version: str, ttl: int | None
    ) -> Entry | Refusal:
        """The entry that a replacement should store."""
        standing = self.get(collection, key)
        if standing is None:
            return Refusal("NotFoundError", key)
        if standing.version != version:
            return Refusal("ConflictError", key, standing)
        return replace(self.put(key, text, ttl), created_at=standing.created_at)

    def update(
        self, collection: str, key: str, text: str, ttl: int | None, *, keep: bool
    ) -> Entry | Refusal:
        """The entry that an update should store; with `keep` it expires when it would have."""
        standing = self.get(collection, key)
        if standing is None:
            return Refusal("NotFoundError", key)
        changed = replace(self.put(key, text, ttl), created_at=standing.created_at)
        return replace(changed, expires_at=standing.expires_at) if keep else changed

    def delete(
        self, collection: str, key: str, version: str | None, *, missing_ok: bool
    ) -> Refusal | None:
        """The error that a deletion should end with."""
        standing = self.get(collection, key)
        if standing is None:
            return None if missing_ok else Refusal("NotFoundError", key)
        if version is not None and version != standing.version:
            return Refusal("ConflictError", key, standing)
        return None

    def is_fresh(self, collection: str, key: str, version: str) -> bool:
        """Whether a write may have this version: seen nowhere, past all that stood at the key."""
        return version not in self._seen and version > self._smallest.get((collection, key), "")

    def version(self, collection: str, key: str, which: str) -> str:
        """One of `VERSIONS` of a key."""
        known = self._versions.get((collection, key), ["nonsense"])
        other = max(self._seen - set(known), default="nonsense")
        return VERSIONS[which](known, other, self.now)

    def forget_the_clock(self) -> None:
        """Another clock makes the versions from now on; it may be behind the one before.

        What it writes is past what stands there. That is all that is promised then: of what was
        removed nothing is left that it could be past of.
        """
        self._smallest = {
            (name, key): entry.version
            for name, entries in self._entries.items()
            for key, entry in entries.items()
        }
        self._inherited = set(self._smallest)

    def store(self, collection: str, entry: Entry) -> None:
        """It has been written."""
        self._entries[collection][entry.key] = entry
        self._versions.setdefault((collection, entry.key), []).append(entry.version)
        self._smallest[collection, entry.key] = entry.version
        self._inherited.discard((collection, entry.key))
        self._seen.add(entry.version)
        self.deleted[collection].discard(entry.key)
        self.changes.append(Change(collection, entry.key, entry))

    def remove(self, collection: str, key: str) -> None:
        """It has been deleted, or was not there, which may leave a tombstone likewise."""
        self.deleted[collection].add(key)
        if self._entries[collection].pop(key, None) is not None:
            self.changes.append(Change(collection, key, None))

    def clear(self, collection: str) -> None:
        """Everything has been removed for good."""
        for entry in self.records(collection):
            self.remove(collection, entry.key)
            self._forget(collection, entry.key)

    def purge(self, collection: str) -> None:
        """What has expired has been removed for good."""
        for entry in self.records(collection):
            if not self._is_alive(entry):
                del self._entries[collection][entry.key]
                self._forget(collection, entry.key)

    def move_to(self, now: int) -> None:
        """It is another moment, be it an earlier one."""
        before = {name: self.documents(name) for name in self._entries}
        self.now = now
        for name, there in before.items():
            after = self.documents(name)
            self.changes += [Change(name, one.key, None) for one in there if one not in after]
            self.changes += [Change(name, one.key, one) for one in after if one not in there]

    def expiries(self) -> list[int]:
        """The moments at which documents are still to expire."""
        moments = {one.expires_at for name in self._entries for one in self.documents(name)}
        return sorted(moment for moment in moments if moment is not None)

    def _forget(self, collection: str, key: str) -> None:
        """It was removed without a look at it."""
        if (collection, key) in self._inherited:
            del self._smallest[collection, key]
            self._inherited.discard((collection, key))

    def _is_alive(self, entry: Entry) -> bool:
        return entry.expires_at is None or entry.expires_at > self.now
