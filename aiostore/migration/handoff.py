"""Handing documents over, one by one: from then on the target is their authority; and back.

A document is handed off by two compare-and-sets: the target's record is made equal to the current
store's and frozen, and the current store's is marked as moved. The second one is the moment. If
another write comes between the two, it fails, and all begins again. Any number of processes may do
it at once, and whatever one dies on, the next one goes on with it.

The target is read first, always: what is then read of the current store is no older.
"""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from aiostore.errors import CorruptRecordError
from aiostore.migration import rows
from aiostore.migration.legs import Leg
from aiostore.protocols import DocumentId, Mark, Record, Write

Standing = Mapping[DocumentId, Record | None]


class Handoff:
    """The documents' ways between the two stores of a migration.

    Args:
        current: the current store.
        target: the target.
    """

    def __init__(self, current: Leg, target: Leg) -> None:
        self._current = current
        self._target = target

    async def forth(
        self,
        ids: Sequence[DocumentId],
        *,
        unknown_too: bool = False,
        over_returning: bool = True,
    ) -> list[DocumentId]:
        """Make the target the authority of these; returns when it is, whoever has done it.

        Args:
            ids: of documents, each once.
            unknown_too: also where neither store holds a record, so that one may be created there.
            over_returning: also where the target holds what has been handed back.

        Returns:
            Those that were left out for that.

        Raises:
            UnavailableError: a store did not answer; whoever tries again goes on with it.
            CorruptRecordError: the target did not keep what it was given.
        """
        ours = await _standing(self._current, ids)
        left = [id_ for id_ in ids if not rows.is_moved(ours[id_])]
        returning: list[DocumentId] = []
        while left:
            theirs = await _standing(self._target, left)
            ours = await _standing(self._current, left)
            left = [
                id_
                for id_ in left
                if not rows.is_moved(ours[id_])
                and (unknown_too or ours[id_] is not None or theirs[id_] is not None)
            ]
            if not over_returning:
                returning += [id_ for id_ in left if rows.is_returning(theirs[id_])]
                left = [id_ for id_ in left if not rows.is_returning(theirs[id_])]
            frozen = await self._freeze(left, theirs, ours)
            moved = await self._move(frozen, ours)
            left = [id_ for id_ in left if id_ not in moved]
        return returning

    async def back(self, ids: Sequence[DocumentId], *, demoted: bool = True) -> None:
        """Make the current store the authority of these again; likewise.

        The target's records become copies, those too that were frozen and never handed off. While
        that is done they miss what is written, so they are to be mended afterwards.

        Args:
            ids: of documents, each once.
            demoted: let the target's record be a copy again. Not before every process has ended
                what it had begun when it could still hand off: it would be frozen once more, and
                whoever saw it before could not tell the two apart.
        """
        left = list(ids)
        while left:
            theirs = await _standing(self._target, left)
            ours = await _standing(self._current, left)
            left = [id_ for id_ in left if rows.is_moved(ours[id_])]
            theirs = {id_: theirs[id_] for id_ in left}
            await self._restore(theirs, Mark.RETURNING)
            fenced = await self._fence(left, theirs)
            returns = [rows.returned(ours[id_], theirs[id_]) for id_ in fenced]
            await _applied(self._current, returns)
        if not demoted:
            return
        theirs = await _standing(self._target, ids)
        await _applied(
            self._target,
            [rows.demoted(there) for there in _present(theirs) if not rows.is_copy(there)],
        )

    async def restore(self, ids: Sequence[DocumentId]) -> None:
        """Let the target be the authority again where it is none of a document that has moved.

        It has lost it, or a process died that was to hand it back. Not while others do that.
        """
        theirs = await _standing(self._target, ids)
        ours = await _standing(self._current, ids)
        left = {id_: there for id_, there in theirs.items() if rows.is_moved(ours[id_])}
        await self._restore(left, Mark.LIVE)
        returning = [there for there in _present(left) if rows.is_returning(there)]
        again = [rows.in_place_of(there, replace(there, mark=Mark.LIVE)) for there in returning]
        await _applied(self._target, again)

    async def _restore(self, theirs: Standing, mark: Mark) -> None:
        lost = [id_ for id_, there in theirs.items() if rows.is_lost(there)]
        await _applied(self._target, [rows.restored(id_, theirs[id_], mark) for id_ in lost])

    async def _freeze(
        self, ids: Sequence[DocumentId], theirs: Standing, ours: Standing
    ) -> list[DocumentId]:
        """Give the target what the current store holds; those for which that has been done."""
        wanted = {id_: rows.frozen(id_, theirs[id_], ours[id_]) for id_ in ids}
        writes = [
            rows.in_place_of(theirs[id_], record)
            for id_, record in wanted.items()
            if theirs[id_] != record
        ]
        written = await _applied(self._target, writes)
        kept = await _standing(self._target, written) if written else {}
        for id_, record in kept.items():
            given = wanted[id_]
            if record is not None and record.version == given.version and record != given:
                raise CorruptRecordError(
                    "the target holds something else than it was given: nothing was handed off",
                    store=self._target.adaptor.name,
                    collection=id_.collection,
                    key=id_.key,
                )
        return [id_ for id_ in ids if theirs[id_] == wanted[id_] or kept.get(id_) == wanted[id_]]

    async def _move(self, ids: Sequence[DocumentId], ours: Standing) -> set[DocumentId]:
        """Mark the current store's records as moved; those that were as they were read."""
        return set(await _applied(self._current, [rows.moved(id_, ours[id_]) for id_ in ids]))

    async def _fence(self, ids: Sequence[DocumentId], theirs: Standing) -> list[DocumentId]:
        """Let the target's records be written no more; those for which that has been done."""
        returning = [id_ for id_ in ids if rows.is_returning(theirs[id_])]
        fences = [rows.fenced(there) for there in _present(theirs) if rows.is_authority(there)]
        return [*returning, *await _applied(self._target, fences)]


def _present(standing: Standing) -> list[Record]:
    return [record for record in standing.values() if record is not None]


async def _standing(leg: Leg, ids: Sequence[DocumentId]) -> dict[DocumentId, Record | None]:
    return dict(zip(ids, await leg.read(ids), strict=True)) if ids else {}


async def _applied(leg: Leg, writes: Sequence[Write]) -> list[DocumentId]:
    """Those that took effect."""
    outcomes = await leg.write(writes) if writes else []
    return [write.record.id for write, one in zip(writes, outcomes, strict=True) if one.applied]
