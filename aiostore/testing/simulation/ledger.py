"""What every write did to the two stores, and whether the protocol allows it.

The stores are looked at at each moment when a write takes effect, so a broken rule is noticed
though no client happens to read what it broke.
"""

from collections.abc import Iterable, Sequence

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.migration import Phase, rows
from aiostore.protocols import DocumentId, Outcome, Record, Write
from aiostore.testing.registers import DocumentOperation
from aiostore.testing.simulation.network import at_once
from aiostore.testing.simulation.trace import shown


class Ledger:
    """The commits of each document, and what was wrong with them.

    A commit is a change of what a document's authority holds. The current store is it unless it
    says that the document has moved, or holds nothing while the target holds an authority.

    Args:
        current: the current store.
        target: the target.

    Attributes:
        faults: what should not have happened.
    """

    def __init__(self, current: MemoryAdaptor, target: MemoryAdaptor) -> None:
        self.faults: list[str] = []
        self._stores = {current.name: current, target.name: target}
        self._current = current
        self._target = target
        self._commits: dict[DocumentId, list[Record]] = {}
        self._purged: set[DocumentId] = set()
        self._contents: dict[str, tuple[object, ...]] = {}

    def landed(self, store: str, writes: Sequence[Write], outcomes: Sequence[Outcome]) -> None:
        """Writes have come to a store, and were answered so."""
        for write, outcome in zip(writes, outcomes, strict=True):
            if outcome.applied and rows.is_users(write.record.id.collection):
                self._check(write.record.id, store, outcome.record)

    def purged(self) -> None:
        """Records have been removed; what comes after a tombstone that is gone may be older."""
        self._purged |= {id_ for id_ in self._commits if self._authority_of(id_) is None}

    def check_answers(self, operations: Iterable[DocumentOperation]) -> None:
        """Hold what clients were told against what was committed."""
        values = [record.body for commits in self._commits.values() for record in commits]
        committed: dict[str, int] = {}
        for body in values:
            if body is not None:
                value = body.split('"')[3]
                committed[value] = committed.get(value, 0) + 1
        for operation in operations:
            value_ = operation.call.value
            if value_ is None:
                continue
            times = committed.get(value_, 0)
            if times > 1:
                self.faults.append(f"committed {times} times: {operation}")
            if operation.answer is not None and (operation.answer.kind == "done") != bool(times):
                self.faults.append(f"committed {times} times, and was told otherwise: {operation}")

    def check_rest(self, phase: Phase, *, equal: bool, ended: bool) -> None:
        """Look at what stands in both stores when all is over.

        Args:
            phase: the last one; there has been time for all that belongs to it.
            equal: whether the target has to be the current store's mirror.
            ended: whether the migration has been completed or aborted.
        """
        for id_ in self._ids():
            here, there = self._both(id_)
            if equal and not rows.is_mirror_of(there, here):
                self.faults.append(f"not equal at rest: {shown(here)} and {shown(there)}")
            if phase in (Phase.HANDOFF, Phase.TARGET):
                amiss = rows.is_returning(there) or (
                    ended and there is not None and not rows.is_authority(there)
                )
            else:
                amiss = rows.is_moved(here) or (ended and there is not None)
            if amiss:
                both = f"{shown(here)} and {shown(there)}"
                self.faults.append(f"{both} at rest in the phase {phase.value}")

    def _ids(self) -> list[DocumentId]:
        return sorted(
            {
                DocumentId(name, key)
                for store in self._stores.values()
                for name in at_once(store.collections())
                if rows.is_users(name)
                for key in store._collections[name]  # noqa: SLF001  # beside the boundary
            }
        )

    def _both(self, id_: DocumentId) -> tuple[Record | None, Record | None]:
        return self._current._standing(id_), self._target._standing(id_)  # noqa: SLF001  # likewise

    def _authority_of(self, id_: DocumentId) -> Record | None:
        here, there = self._both(id_)
        moved = rows.is_moved(here) or (here is None and rows.is_authority(there))
        return there if moved else here

    def _is_tombstone(self, id_: DocumentId) -> bool:
        commits = self._commits.get(id_)
        return not commits or commits[-1].body is None

    def _check(self, id_: DocumentId, store: str, record: Record | None) -> None:
        if record is not None and record.version != rows.ZERO:
            content = (record.body, record.created_at, record.updated_at, record.expires_at)
            known = self._contents.setdefault(record.version, content)
            if known != content:
                self.faults.append(f"one version, two contents: {shown(record)} and {known}")
        here, there = self._both(id_)
        authority = self._authority_of(id_)
        if rows.is_moved(here):
            gone = there is None and self._is_tombstone(id_)  # purged in the end
            if not (gone or rows.is_authority(there) or rows.is_returning(there)):
                self.faults.append(f"{shown(here)}, and the target has {shown(there)}")
        commits = self._commits.setdefault(id_, [])
        last = commits[-1] if commits else None
        version = rows.ZERO if authority is None else authority.version
        if version == (rows.ZERO if last is None else last.version):
            return
        if authority is None or authority.version == rows.ZERO:
            if last is not None and last.body is not None:
                self.faults.append(f"{shown(last)} is gone after a write to {store}")
            return
        if last is not None and version < last.version and id_ not in self._purged:
            self.faults.append(f"{shown(authority)} came after {shown(last)} by a write to {store}")
        commits.append(authority)
