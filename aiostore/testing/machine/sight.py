"""What a transaction sees, goes by and means to write: the model of `aiostore.Transaction`."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from aiostore.testing.machine.model import Entry, Model, Refusal


class Place(NamedTuple):
    """Where a document is."""

    collection: str
    key: str


@dataclass(frozen=True)
class Basis:
    """What has to stand at a place when the transaction is committed.

    Attributes:
        kind: `read` (what was read, a document or none), `created` (none) or `named` (a version).
        entry: the document that was read.
        version: the version that was named.
        missing_ok: with a version, that it will do if there is no document.
    """

    kind: str
    entry: Entry | None = None
    version: str | None = None
    missing_ok: bool = False


@dataclass(frozen=True)
class Write:
    """What is to be stored.

    Attributes:
        entry: the document; None if it is to be removed.
        keeps_created_at: whether it keeps that of the document that stands there.
        over: where the version is not known, the one that stood there at the call.
    """

    entry: Entry | None
    keeps_created_at: bool = False
    over: str | None = None


class Sight:
    """The documents as one transaction sees them.

    Args:
        model: the store.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._touched: list[Place] = []
        self._bases: dict[Place, Basis] = {}
        self._writes: dict[Place, Write] = {}

    def knows(self, place: Place) -> bool:
        """Whether it has been read or written."""
        return place in self._bases or place in self._writes

    def get(self, place: Place) -> Entry | None:
        """The document that is seen there; of what is not known yet, what stands there now."""
        if not self.knows(place):
            self._touch(place)
            self._bases[place] = Basis("read", self._model.get(*place))
        return self._seen(place)

    def create(self, place: Place, draft: Entry) -> Entry | Refusal:
        """The document that a creation should return."""
        seen = self._seen(place)
        return draft if seen is None else Refusal("AlreadyExistsError", place.key, seen)

    def replace(self, place: Place, draft: Entry, version: str | None) -> Entry | Refusal:
        """The document that a replacement should return."""
        refusal = self._refusal(place, version)
        seen = self._seen(place)
        if refusal is not None or seen is None:
            return draft if refusal is None else refusal
        return replace(draft, created_at=seen.created_at)

    def delete(self, place: Place, version: str | None, *, missing_ok: bool) -> Refusal | None:
        """The error that a deletion should end with."""
        if missing_ok and self._seen(place) is None:
            return None
        return self._refusal(place, version)

    def written(self, verb: str, place: Place, entry: Entry, version: str | None) -> None:
        """A creation, a put or a replacement was accepted."""
        basis = None
        if verb == "create":
            basis = Basis("created")
        elif version is not None:
            basis = Basis("named", version=version)
        before = self._writes.get(place)
        keeps = verb == "replace" and (before is None or before.keeps_created_at)
        self._write(place, Write(entry, keeps_created_at=keeps), basis)

    def deleted(self, place: Place, version: str | None, *, missing_ok: bool) -> None:
        """A deletion was accepted."""
        if self.knows(place) and self._seen(place) is None:
            return
        named = None
        if version is not None:
            named = Basis("named", version=version, missing_ok=missing_ok)
        standing = self._model.record(*place)
        over = None if standing is None else standing.version
        self._write(place, Write(None, over=over), named)
        basis = self._bases.get(place)
        if basis is not None and basis.kind != "named" and basis.entry is None:
            del self._writes[place]  # there was nothing before, and so there is nothing to do

    def refusal(self) -> tuple[Place, Refusal] | None:
        """The error that a commit should end with now, and where."""
        if not self._writes and not self._is_checked():
            return None
        judged = ((place, self._refused(place)) for place in self._touched)
        refusals = [(place, refusal) for place, refusal in judged if refusal is not None]
        # What was read comes first: what was written may rest on it.
        refusals.sort(key=lambda pair: pair[1].error != "ConflictError")
        return refusals[0] if refusals else None

    def stored(self) -> list[tuple[Place, Entry | None]]:
        """What a commit stores now; None where it removes what may stand there."""
        return [
            (place, self._final(place, self._writes[place]))
            for place in self._touched
            if place in self._writes and not self._is_idle(place)
        ]

    def _seen(self, place: Place) -> Entry | None:
        if place in self._writes:
            return self._writes[place].entry
        return self._bases[place].entry if place in self._bases else None

    def _refusal(self, place: Place, version: str | None) -> Refusal | None:
        seen = self._seen(place)
        if not self.knows(place):
            return Refusal("InvalidValueError", place.key) if version is None else None
        if seen is None:
            return Refusal("NotFoundError", place.key)
        if version is not None and version != seen.version:
            return Refusal("ConflictError", place.key, seen)
        return None

    def _touch(self, place: Place) -> None:
        if place not in self._touched:
            self._touched.append(place)

    def _write(self, place: Place, write: Write, basis: Basis | None) -> None:
        self._touch(place)
        if basis is not None and not self.knows(place):
            self._bases[place] = basis
        self._writes[place] = write

    def _is_checked(self) -> bool:
        """One document read, and nothing else, was true at its own moment."""
        return len(self._bases) > 1 or any(one.kind != "read" for one in self._bases.values())

    def _refused(self, place: Place) -> Refusal | None:
        basis, write = self._bases.get(place), self._writes.get(place)
        there, record = self._model.get(*place), self._model.record(*place)
        conflict = Refusal("ConflictError", place.key, there)
        if basis is None:
            return conflict if _is_ahead(record, write) else None
        if there is None and self._may_miss(basis):
            is_new = write is not None and write.entry is not None
            return conflict if is_new and _is_ahead(record, write) else None
        if basis.kind == "named":
            if there is None:
                return Refusal("NotFoundError", place.key)
            return conflict if there.version != basis.version else None
        if basis.kind == "created":
            return Refusal("AlreadyExistsError", place.key, there)
        return conflict if there != basis.entry else None

    def _may_miss(self, basis: Basis) -> bool:
        return basis.missing_ok or (basis.kind != "named" and basis.entry is None)

    def _is_idle(self, place: Place) -> bool:
        """Whether it is a deletion of a document that is gone, and may be."""
        gone = self._writes[place].entry is None and self._model.get(*place) is None
        return gone and place in self._bases

    def _final(self, place: Place, write: Write) -> Entry | None:
        standing = self._model.get(*place)
        if write.entry is None or standing is None or not write.keeps_created_at:
            return write.entry
        return replace(write.entry, created_at=standing.created_at)


def _is_ahead(record: Entry | None, write: Write | None) -> bool:
    """Whether the record that stands there is younger than what is to be written."""
    if record is None or write is None:
        return False
    if write.entry is None:
        return record.version != write.over
    return record.version >= write.entry.version
