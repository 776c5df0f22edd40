"""Writes to documents whose authority is the target, and reads that find the authority."""

import asyncio
from collections.abc import Sequence

from aiostore.conditions import decide
from aiostore.migration import rows
from aiostore.migration.legs import Leg
from aiostore.protocols import DocumentId, Exactly, Outcome, Record, Write


class Authority:
    """The target, where it may be the authority.

    Args:
        current: the current store.
        target: the target.
    """

    def __init__(self, current: Leg, target: Leg) -> None:
        self._current = current
        self._target = target

    async def write(self, writes: Sequence[Write]) -> list[Outcome | None]:
        """Write where the current store has said that documents are moved.

        Returns:
            The outcomes; None where the target is no authority (any more), so that the write begins
            again at the current store.
        """
        outcomes: dict[DocumentId, Outcome | None] = {}
        left = list(writes)
        while left:
            standing = await self._target.read([write.record.id for write in left])
            decided: list[Write] = []
            for write, record in zip(left, standing, strict=True):
                id_ = write.record.id
                if record is None or not rows.is_authority(record):
                    outcomes[id_] = None
                    continue
                standing_there = None if rows.is_unborn(record) else record
                outcome = decide(rows.for_authority(write), standing_there)
                outcomes[id_] = outcome
                if outcome.applied and outcome.record is not None:
                    decided.append(rows.in_place_of(record, outcome.record))
            done = await self._target.write(decided) if decided else []
            lost = {
                one.record.id
                for one, outcome in zip(decided, done, strict=True)
                if not outcome.applied
            }
            left = [write for write in left if write.record.id in lost]
        return [outcomes[write.record.id] for write in writes]

    async def write_alone(self, writes: Sequence[Write]) -> list[Outcome]:
        """Write where the target is the authority of everything; copies count as nothing."""
        outcomes: dict[DocumentId, Outcome] = {}
        sent = {write.record.id: rows.for_authority(write) for write in writes}
        meant = dict(sent)
        while sent:
            answers = await self._target.write(list(sent.values()))
            again: dict[DocumentId, Write] = {}
            for id_, outcome in zip(sent, answers, strict=True):
                standing = outcome.record
                if outcome.applied or standing is None or not rows.is_nothing(standing):
                    outcomes[id_] = outcome
                    if not outcome.applied and sent[id_] is not meant[id_]:
                        again[id_] = meant[id_]  # what counts as nothing has gone meanwhile
                elif isinstance(meant[id_].condition, Exactly):
                    outcomes[id_] = Outcome(applied=False, record=None)
                else:
                    again[id_] = rows.in_place_of(standing, meant[id_].record)
            sent = again
        return [outcomes[write.record.id] for write in writes]

    async def read_moving(self, ids: Sequence[DocumentId]) -> list[Record | None]:
        """While documents are handed off: both stores are asked at once."""
        ours, theirs = await asyncio.gather(self._current.read(ids), self._target.read(ids))
        found: dict[DocumentId, Record | None] = {}
        late: list[DocumentId] = []
        for id_, here, there in zip(ids, ours, theirs, strict=True):
            if here is None:
                found[id_] = there if rows.is_authority(there) else None
            elif not rows.is_moved(here):
                found[id_] = here
            elif there is not None and rows.is_authority(there) and there.version >= here.version:
                found[id_] = there
            else:
                late.append(id_)
        if late:  # the target was read before it was moved
            theirs = await self._target.read(late)
            found |= {
                id_: None if rows.is_lost(there) else there
                for id_, there in zip(late, theirs, strict=True)
            }
        return [rows.shown(found[id_]) for id_ in ids]

    async def read_moved(self, ids: Sequence[DocumentId]) -> list[Record | None]:
        """Where documents are written to both stores, and other processes hand them off already."""
        found: dict[DocumentId, Record | None] = {}
        left = list(ids)
        lost: set[DocumentId] = set()
        while left:
            ours = dict(zip(left, await self._current.read(left), strict=True))
            found |= {id_: here for id_, here in ours.items() if not rows.is_moved(here)}
            left = [id_ for id_ in left if id_ not in found]
            if left:
                theirs = dict(zip(left, await self._target.read(left), strict=True))
                missing = {id_ for id_, there in theirs.items() if rows.is_lost(there)}
                found |= {id_: there for id_, there in theirs.items() if id_ not in missing}
                # Once says nothing: it may have come back, and by now have gone again. Twice it
                # cannot have, for the second step after that waits for the end of this read.
                found |= dict.fromkeys(missing & lost)
                lost = missing
                left = [id_ for id_ in left if id_ not in found]
        return [rows.shown(found[id_]) for id_ in ids]

    async def read_alone(self, ids: Sequence[DocumentId]) -> list[Record | None]:
        """Where the target is the authority of everything."""
        return [
            rows.shown(record) if rows.is_authority(record) else None
            for record in await self._target.read(ids)
        ]
