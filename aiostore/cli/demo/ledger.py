"""The ledger: what clients sent and what they were told, kept apart from the library.

Plain Python; it imports nothing of aiostore, so that no bug there can hide itself here. Every
write is entered before it is sent and again when its answer has come; a reader has what it saw
looked up. `audit` compares all of it with what a store holds in the end.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Value = Mapping[str, Any]


class State(StrEnum):
    """What is known of a write. One that is still `sent` at the end counts as `unknown`."""

    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


@dataclass(slots=True, eq=False)
class Attempt:
    """One write, as its client knows it.

    Attributes:
        number: its place among all entries of the ledger.
        answered: the place of its answer, or None.
        kind: what was asked for.
        key: the document's.
        digest: of the value; None for a deletion. No two writes of a key have the same.
        over: the version that it is to stand in place of; None if it is unconditional, or if only
            `over_digest` is known.
        over_digest: the digest of the value that it is to stand in place of, or None.
        state: what became of it.
        version: the one that it was acknowledged with; None for a deletion.
        seen: whether a reader saw it before it was answered.
    """

    number: int
    kind: str
    key: str
    digest: str | None
    answered: int | None = None
    over: str | None = None
    over_digest: str | None = None
    state: State = State.SENT
    version: str | None = None
    seen: bool = False


class Ledger:
    """Everything that the clients know.

    Args:
        write: gets each entry, for the file.

    Attributes:
        attempts: all of them, by key, in the order in which they were sent.
        dirty: reads of what was never written, was rejected, or has other content.
        stale: reads of an older state than one that was acknowledged before the read began.
        examples: the first of these reads, in words.
    """

    def __init__(self, write: Callable[[dict[str, Any]], None]) -> None:
        self._write = write
        self._entries = 0
        self._by_digest: dict[tuple[str, str], Attempt] = {}
        self._newest: dict[str, str] = {}
        self._deleted: set[str] = set()
        self.attempts: dict[str, list[Attempt]] = defaultdict(list)
        self.dirty = 0
        self.stale = 0
        self.examples: list[str] = []

    def send(
        self,
        kind: str,
        key: str,
        value: Value | None,
        *,
        over: str | None = None,
        over_value: Value | None = None,
    ) -> Attempt:
        """Enter a write before it is sent.

        Args:
            kind: what is asked for.
            key: the document's.
            value: None for a deletion.
            over: the version that it is conditional on.
            over_value: the value that it is conditional on, where the version is not known.
        """
        attempt = Attempt(
            self._entries,
            kind,
            key,
            None if value is None else digest(value),
            over=over,
            over_digest=None if over_value is None else digest(over_value),
        )
        self.attempts[key].append(attempt)
        if attempt.digest is None:
            self._deleted.add(key)
        else:
            self._by_digest[key, attempt.digest] = attempt
        entry = {"kind": kind, "key": key, "digest": attempt.digest}
        entry |= {"over": over} if over is not None else {}
        entry |= {"over_digest": attempt.over_digest} if over_value is not None else {}
        self._enter(attempt, entry)
        return attempt

    def acknowledge(self, attempt: Attempt, version: str | None) -> None:
        """Enter that a write took effect, a document with its version."""
        attempt.version = version
        if version is not None:
            self._newest[attempt.key] = max(version, self._newest.get(attempt.key, ""))
        self._answer(attempt, State.ACKNOWLEDGED)

    def reject(self, attempt: Attempt) -> None:
        """Enter that a write was refused: nobody may ever see it."""
        if attempt.seen:
            self._found_dirty(attempt.key, "a reader saw a write that was then rejected")
        self._answer(attempt, State.REJECTED)

    def doubt(self, attempt: Attempt) -> None:
        """Enter that a write failed, so that nobody knows whether it took effect."""
        self._answer(attempt, State.UNKNOWN)

    def newest(self, key: str) -> str | None:
        """The largest version acknowledged so far: to be asked for before a read begins."""
        return self._newest.get(key)

    def saw(self, key: str, version: str | None, value: Value, newest: str | None = None) -> None:
        """Judge what a reader found.

        Args:
            key: the document's.
            version: None if the reader was not told.
            value: the document's.
            newest: `newest(key)` of before the read.
        """
        attempt = self._by_digest.get((key, digest(value)))
        if attempt is None:
            self._found_dirty(key, "a reader saw a value that was never written")
        elif attempt.state is State.REJECTED:
            self._found_dirty(key, "a reader saw a rejected write")
        elif attempt.version is not None and version not in (None, attempt.version):
            self._found_dirty(key, "a reader saw a write under a version that is not its own")
        else:
            attempt.seen = True
        if (
            version is not None
            and newest is not None
            and version < newest
            and (attempt is None or not may_follow(attempt, newest, self.attempts[key]))
        ):
            self._found_stale(key, "a reader saw an older version than one acknowledged before")

    def missed(self, key: str, newest: str | None) -> None:
        """Judge that a reader found nothing; `newest` as for `saw`."""
        if newest is not None and key not in self._deleted:
            self._found_stale(key, "a reader found no document, and nobody has deleted it")

    def _answer(self, attempt: Attempt, state: State) -> None:
        attempt.state = state
        attempt.answered = self._entries
        entry = {"answer": state.value}
        self._enter(attempt, entry | ({"version": attempt.version} if attempt.version else {}))

    def _enter(self, attempt: Attempt, entry: dict[str, Any]) -> None:
        self._entries += 1
        self._write({"number": attempt.number, **entry})

    def _found_dirty(self, key: str, what: str) -> None:
        self.dirty += 1
        self.examples.append(f"dirty: {key}: {what}")

    def _found_stale(self, key: str, what: str) -> None:
        self.stale += 1
        self.examples.append(f"stale: {key}: {what}")


def may_follow(late: Attempt, newest: str, attempts: Iterable[Attempt]) -> bool:
    """Whether a write may have taken effect after a newer version had, and was deleted again.

    A plain store keeps nothing of what is deleted, so what was on its way then still finds no newer
    version there.

    Args:
        late: the write; of an older version.
        newest: the newer version.
        attempts: all of the document's.
    """
    deletions = [
        a
        for a in attempts
        if a.digest is None
        and a.state is not State.REJECTED
        and (late.answered is None or a.number < late.answered)
    ]
    replaced = [a for a in attempts if a.version == newest]
    return any(
        a.over == newest
        or (a.over is None and all(a.answered is None or r.number < a.answered for r in replaced))
        for a in deletions
    )


def digest(value: Value) -> str:
    """Equal for equal JSON values, whatever the order of their names."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
