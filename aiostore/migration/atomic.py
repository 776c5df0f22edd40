"""Several documents in one step, while their authority is moving from store to store.

One store decides about all of them, so it has to be the authority of all of them: in `dual-write`
the current one, from `handoff` on the target. Where a transaction of a process that still writes to
both meets documents that others have handed off, all of its documents are handed off. On the way
back that would undo what is being handed back, so there the documents that it meets are handed back
before their turn.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from msgspec.structs import replace

from aiostore.conditions import place_of
from aiostore.migration import rows
from aiostore.migration.dual_write import DualWrite
from aiostore.migration.handoff import Handoff
from aiostore.migration.legs import Leg
from aiostore.migration.phases import Phase
from aiostore.migration.repair import Repair
from aiostore.protocols import Check, DocumentId, Exactly, Mark, Outcome, Record, Write

Items = Sequence[Write | Check]
Answer = Callable[[Sequence[Outcome]], None]


class AtomicWrite:
    """The atomic writes of a migration.

    Args:
        current: the current store.
        target: the target.
        dual: copies what the current store has applied.
        handoff: moves documents.
        repair: takes care of what is in doubt.
        are_returning: tells, from the stores, whether documents are being handed back, since every
            process has come back to `dual-write`.
        returning: keeps the next step from being taken, and tells it once more.
        deferring: keeps that from being begun.
    """

    def __init__(
        self,
        current: Leg,
        target: Leg,
        dual: DualWrite,
        handoff: Handoff,
        *,
        repair: Repair,
        are_returning: Callable[[], Awaitable[bool]],
        returning: Callable[[], AbstractAsyncContextManager[bool]],
        deferring: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        self._current = current
        self._target = target
        self._dual = dual
        self._repair = repair
        self._handoff = handoff
        self._are_returning = are_returning
        self._returning = returning
        self._deferring = deferring

    async def write(self, items: Items, phase: Phase, answer: Answer) -> None:
        """Write all, or none.

        Args:
            items: on distinct ids.
            phase: this write's until it has ended.
            answer: is called with the outcomes once they are known, before the rest is done.

        Raises:
            UnavailableError: it is not known what has been done. Whoever sends a write again sends
                it with the same version.
        """
        match phase:
            case Phase.TARGET:
                answer(await self._decided_by_target(items, rows.is_nothing))
            case Phase.HANDOFF:
                outcomes, strange = await self._write_moving(items)
                while strange:
                    await self.restore(strange, phase)
                    outcomes, strange = await self._write_moving(items)
                answer(outcomes)
            case _:
                await self._write_current(items, answer, copied=phase is Phase.DUAL_WRITE)

    async def _write_current(self, items: Items, answer: Answer, *, copied: bool) -> None:
        while True:
            outcomes = await self._decided_by_current(items)
            moved = _refused(items, outcomes, rows.is_moved)
            if not moved:
                break
            if await self._come_back(moved):
                continue
            if (decided := await self._write_to_target(items)) is not None:
                answer(decided)
                return
        answer(outcomes)
        if copied:
            await self._copy(items, outcomes)

    async def _write_to_target(self, items: Items) -> Sequence[Outcome] | None:
        """Hand off and write what others hand off already; None if it is to begin again.

        Nobody begins to hand back before it has ended: a document that is handed off once more
        would be left where nobody looks for it.
        """
        async with self._deferring():
            if await self._are_returning():
                return None
            outcomes, strange = await self._write_moving(items, over_returning=False)
        if strange:
            await self.restore(strange, Phase.DUAL_WRITE)
            return None
        return outcomes

    async def restore(self, ids: Sequence[DocumentId], phase: Phase) -> None:
        """See to it that one of the stores is the authority of these, if none is."""
        if phase is Phase.HANDOFF:
            await self._handoff.restore(ids)
        elif not await self._come_back(ids):
            async with self._deferring():
                if not await self._are_returning():
                    await self._handoff.restore(ids)

    async def _come_back(self, ids: Sequence[DocumentId]) -> bool:
        """Hand these back, if documents are handed back now."""
        if not await self._are_returning():
            return False
        async with self._returning() as they_are:
            if they_are:
                await self._handoff.back(ids, demoted=False)
            return they_are

    async def _decided_by_current(self, items: Items) -> Sequence[Outcome]:
        try:
            return await self._current.write_atomic([_kept(item) for item in items])
        except Exception:
            # Not copied before the grace: it may still take effect.
            self._repair.suspect(_written(items), landing=True)
            raise

    async def _copy(self, items: Items, outcomes: Sequence[Outcome]) -> None:
        """Give the target what the current store has taken, now or in an earlier attempt."""
        applied = all(outcome.applied for outcome in outcomes)
        records, unknown = [], []
        for item, outcome in zip(items, outcomes, strict=True):
            record = outcome.record
            if isinstance(item, Check) or record is None:
                continue
            if not applied and (outcome.applied or not _is_own(item, record)):
                continue
            if item.keep_created_at:  # the outcome need not tell the moment that is kept
                unknown.append(record.id)
            else:
                records.append(record)
        if unknown:
            try:
                standing = await self._current.read(unknown)
            except Exception:
                self._repair.suspect(_written(items), landing=False)
                raise
            records += [one for one in standing if one is not None and not rows.is_moved(one)]
        if records:
            await self._dual.copy(records)

    async def _write_moving(
        self, items: Items, *, over_returning: bool = True
    ) -> tuple[Sequence[Outcome], list[DocumentId]]:
        """Hand off what is not yet, and write it to the target.

        Returns:
            The outcomes, and of which documents the authority is on its way back, so that nothing
            is decided.
        """
        ids = [place_of(item) for item in items]
        strange = await self._handoff.forth(ids, unknown_too=True, over_returning=over_returning)
        if strange:
            return [], strange
        outcomes = await self._decided_by_target(items, rows.is_unborn)
        return outcomes, _refused(items, outcomes, lambda record: not rows.is_authority(record))

    async def _decided_by_target(
        self, items: Items, is_nothing: Callable[[Record], bool]
    ) -> list[Outcome]:
        """Write to the target, where some records count as nothing.

        A condition that asks for nothing is replaced by one for exactly the record that refused it.
        """
        meant = {place_of(item): _kept(item) for item in items}
        sent = dict(meant)
        while True:
            answers = await self._target.write_atomic(list(sent.values()))
            outcomes = dict(zip(sent, answers, strict=True))
            again: dict[DocumentId, Write | Check] = {}
            for id_, outcome in outcomes.items():
                standing = outcome.record
                if outcome.applied:
                    continue
                if standing is not None and is_nothing(standing):
                    if isinstance(meant[id_].condition, Exactly):
                        outcomes[id_] = Outcome(applied=False, record=None)
                    else:
                        again[id_] = _in_place_of(standing, meant[id_])
                elif sent[id_] is not meant[id_]:
                    again[id_] = meant[id_]  # what counted as nothing has gone meanwhile
            if not again:
                return list(outcomes.values())
            sent |= again


def _kept(item: Write | Check) -> Write | Check:
    """As an authority is sent it: a deletion leaves its tombstone."""
    if isinstance(item, Check):
        return replace(item, mark=Mark.LIVE)
    return rows.for_authority(item)


def _in_place_of(standing: Record, item: Write | Check) -> Write | Check:
    """What was to find nothing, where exactly this stands, which counts as nothing."""
    if isinstance(item, Check):
        return Check(item.id, Exactly(standing.version), standing.mark)
    return rows.in_place_of(standing, item.record)


def _written(items: Items) -> list[DocumentId]:
    return [item.record.id for item in items if isinstance(item, Write)]


def _refused(
    items: Items, outcomes: Sequence[Outcome], by: Callable[[Record], bool]
) -> list[DocumentId]:
    """The ids of items that such records have refused."""
    return [
        place_of(item)
        for item, outcome in zip(items, outcomes, strict=True)
        if not outcome.applied and outcome.record is not None and by(outcome.record)
    ]


def _is_own(item: Write, record: Record) -> bool:
    """Whether the record is what an earlier attempt at this write has stored."""
    return record.version == item.record.version and record.body == item.record.body
