"""What a transaction has touched: what it goes by, what it means to write, and what refuses it.

No input or output here; `aiostore.transaction` reads and commits.
"""

from collections.abc import Iterable
from enum import Enum, auto
from typing import Any

import msgspec

from aiostore.documents import Mapper
from aiostore.errors import ConflictError, InvalidValueError, StoreError, UnsupportedError
from aiostore.protocols import (
    Absent,
    Check,
    Condition,
    DocumentId,
    Exactly,
    Mark,
    Newer,
    Record,
    Write,
)
from aiostore.versions import VersionClock


class Basis(Enum):
    """What an expectation rests on."""

    READ = auto()  # what the transaction has read
    CREATED = auto()  # a creation of what it had not read
    NAMED = auto()  # a version that a write of what it had not read was told


class Expectation(msgspec.Struct, frozen=True):
    """What is to stand at a place when the transaction is committed.

    Attributes:
        basis: see `Basis`.
        version: the version of the record; None if no record is to stand there.
        seen: the record that was read, if it is a document.
        missing_ok: though a version is named, it will do if no document stands there.
    """

    basis: Basis
    version: str | None = None
    seen: Record | None = None
    missing_ok: bool = False

    @property
    def is_document(self) -> bool:
        """Whether it is a document; not what one has left behind, and not nothing."""
        return self.seen is not None or self.basis is Basis.NAMED

    @property
    def may_miss(self) -> bool:
        """Whether it will do that there is no document."""
        return self.missing_ok or not self.is_document

    def condition(self, now: int) -> Absent | Exactly:
        """For the item of an atomic write."""
        if self.version is None:
            return Absent()
        return Exactly(self.version, unexpired_at=now if self.is_document else None)

    def missed(self, version: str | None) -> "Expectation":
        """The same where no document was found, but a record of this version, or none."""
        basis = Basis.READ if self.basis is Basis.NAMED else self.basis
        return Expectation(basis, version)


class Change(msgspec.Struct, frozen=True):
    """A write that waits for the commit.

    Attributes:
        record: what is to be stored, or the tombstone of what is to be removed.
        keeps_created_at: whether it replaces what stands there.
    """

    record: Record
    keeps_created_at: bool


class Footprint:
    """The places that a transaction knows, each with an expectation, a change, or both.

    Args:
        clock: the store's.
        most: how many places there may be.
        met: versions that refused transactions before this one; those that refuse it are added.
    """

    def __init__(self, clock: VersionClock, most: int, met: dict[DocumentId, str]) -> None:
        self._clock = clock
        self._most = most
        self._met = met
        self._touched: dict[DocumentId, Mapper[Any]] = {}
        self._expected: dict[DocumentId, Expectation] = {}
        self._changes: dict[DocumentId, Change] = {}

    def touch(self, mapper: Mapper[Any], ids: Iterable[DocumentId]) -> None:
        """Make room for `ids`, which are of the mapper's collection.

        Raises:
            UnsupportedError: there is none.
        """
        added = {id_: mapper for id_ in ids if id_ not in self._touched}
        if len(self._touched) + len(added) > self._most:
            raise UnsupportedError(
                f"a transaction of this store touches at most {self._most} documents: make several",
                store=mapper.store,
                collection=mapper.collection,
            )
        self._touched |= added

    def knows(self, id_: DocumentId) -> bool:
        """Whether the place was read or written."""
        return id_ in self._changes or id_ in self._expected

    def seen(self, id_: DocumentId) -> Record | None:
        """The record of the document there, as far as is known; None if there is none."""
        change = self._changes.get(id_)
        if change is not None:
            return None if change.record.body is None else change.record
        expectation = self._expected.get(id_)
        return None if expectation is None else expectation.seen

    def seen_to_be_changed(
        self, mapper: Mapper[Any], id_: DocumentId, version: str | None
    ) -> Record | None:
        """What `seen` tells, if a write of `version`, or of whatever is seen, can go by it.

        Raises:
            InvalidValueError: it is not known, and no version is given.
            NotFoundError: there is no document.
            ConflictError: it has another version.
        """
        seen = self.seen(id_)
        if not self.knows(id_):
            if version is None:
                raise InvalidValueError(
                    "this transaction has not read the document: get it first, or give the version",
                    **mapper.where(id_.key),
                )
        elif seen is None:
            raise mapper.not_found(id_.key)
        elif version is not None and version != seen.version:
            raise mapper.conflict(id_.key, version, seen)
        return seen

    def keeps_created_at(self, id_: DocumentId) -> bool:
        """Whether what replaces the document seen there was created when what stands there was."""
        change = self._changes.get(id_)
        return change is None or change.keeps_created_at

    def latest(self, id_: DocumentId, version: str | None = None) -> str | None:
        """The largest version that is known of a place, one that is given included."""
        change, expectation = self._changes.get(id_), self._expected.get(id_)
        known = (
            version,
            self._met.get(id_),
            None if change is None else change.record.version,
            None if expectation is None else expectation.version,
        )
        return max((one for one in known if one is not None), default=None)

    def remember(self, mapper: Mapper[Any], id_: DocumentId, record: Record | None) -> None:
        """Go by what was read, unless something is known of the place by now."""
        if not self.knows(id_):
            seen = record if mapper.is_there(record) else None
            version = None if record is None else record.version
            self._expected[id_] = Expectation(Basis.READ, version, seen)

    def change(
        self,
        mapper: Mapper[Any],
        record: Record,
        expectation: Expectation | None = None,
        *,
        keeps_created_at: bool = False,
    ) -> None:
        """Keep a write, and what it goes by if nothing is known of its place."""
        id_ = record.id
        self.touch(mapper, [id_])
        if expectation is not None and not self.knows(id_):
            self._expected[id_] = expectation
        self._changes[id_] = Change(record, keeps_created_at)
        self._drop_if_nothing(id_)

    def items(self) -> list[Write | Check]:
        """The atomic write that commits, in the order in which the places were touched; or none."""
        if not self._changes and not self._is_to_be_checked():
            return []
        now = self._clock.now()
        return [self._item(id_, now) for id_ in self._touched if self.knows(id_)]

    def refused(self, id_: DocumentId, standing: Record | None) -> StoreError | None:
        """The error for what stands there; None if it will do, and is expected from now on."""
        mapper, expectation = self._touched[id_], self._expected.get(id_)
        version = None if standing is None else standing.version
        if expectation is not None and expectation.may_miss and not mapper.is_there(standing):
            expectation = self._expected[id_] = expectation.missed(version)
            self._drop_if_nothing(id_)
            change = self._changes.get(id_)
            if change is None or version is None or version < change.record.version:
                return None
        if version is not None:
            self._clock.observe(version)
            self._met[id_] = version
        if expectation is not None:
            if expectation.basis is Basis.CREATED and mapper.is_there(standing):
                return mapper.already_exists(id_.key, standing)
            if expectation.basis is Basis.NAMED and expectation.version is not None:
                return mapper.refusal(id_.key, expectation.version, standing)
        return ConflictError(
            "another writer has changed what stands there, or it has expired: nothing was written; "
            "begin the transaction again, as Store.run does",
            current=mapper.document(standing),
            **mapper.where(id_.key),
        )

    def _drop_if_nothing(self, id_: DocumentId) -> None:
        """Where no document is expected, a deletion has nothing to delete."""
        change, expectation = self._changes.get(id_), self._expected.get(id_)
        if change is None or change.record.body is not None or expectation is None:
            return
        if not expectation.is_document:
            del self._changes[id_]

    def _is_to_be_checked(self) -> bool:
        """Whether there is more than one read, which was true at its own moment."""
        expectations = list(self._expected.values())
        return len(expectations) > 1 or any(one.basis is not Basis.READ for one in expectations)

    def _item(self, id_: DocumentId, now: int) -> Write | Check:
        change = self._changes.get(id_)
        if change is None:
            return Check(id_, self._expected[id_].condition(now), Mark.LIVE)
        record = change.record
        condition: Condition = Newer()
        if id_ in self._expected:
            condition = self._expected[id_].condition(now)
        erase = record.body is None
        return Write(record, condition, Mark.LIVE, change.keeps_created_at, erase)
