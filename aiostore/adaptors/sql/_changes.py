"""What a transaction writes once it has locked and decided."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar
from uuid import uuid4

from aiostore.conditions import place_of
from aiostore.protocols import Check, DocumentId, Outcome, Record, Write

Replacement = tuple[Record, str]

C = TypeVar("C", bound=Record | Replacement)


class Changes:
    """The changes of items that are applied.

    A check that nothing stands at a place has no row to lock. So it claims the place: it puts a row
    there and takes it away again, and whoever else wants the place waits for the transaction's end.

    Args:
        items: some of which may be refused.
        outcomes: of the items, by id.
        found: what stood there, and is locked.

    Attributes:
        inserted: records where nothing stands, claims among them.
        replaced: records, and the versions that stand there.
        erased: the versions that stand there, by id.
        claims: the versions of the claims, by id.
    """

    def __init__(
        self,
        items: Sequence[Write | Check],
        outcomes: Mapping[DocumentId, Outcome],
        found: Mapping[DocumentId, Record],
    ) -> None:
        self.inserted: list[Record] = []
        self.replaced: list[Replacement] = []
        self.erased: dict[DocumentId, str] = {}
        self.claims: dict[DocumentId, str] = {}
        for item in items:
            id_ = place_of(item)
            outcome, standing = outcomes[id_], found.get(id_)
            if not outcome.applied:
                continue
            if isinstance(item, Check):
                if standing is None:
                    self._claim(id_)
            elif standing is None:
                if outcome.record is not None:
                    self.inserted.append(outcome.record)
            elif outcome.record is None:
                self.erased[id_] = standing.version
            else:
                self.replaced.append((outcome.record, standing.version))

    def __len__(self) -> int:
        """How many rows they change, one after another."""
        return len(self.inserted) + len(self.replaced) + len(self.erased) + len(self.claims)

    def _claim(self, id_: DocumentId) -> None:
        version = self.claims[id_] = uuid4().hex
        self.inserted.append(Record(id_, None, version, 0, 0))


def slices(changes: Sequence[C], most_bytes: int | None) -> Iterator[Sequence[C]]:
    """The same, in order, in parts none of which is much larger; no part if there are none."""
    if most_bytes is None:
        if changes:
            yield changes
        return
    part: list[C] = []
    size = 0
    for change in changes:
        record = change if isinstance(change, Record) else change[0]
        size += len(record.body or "") + 1
        part.append(change)
        if size > most_bytes:
            yield part
            part, size = [], 0
    if part:
        yield part
