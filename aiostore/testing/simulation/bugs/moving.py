"""Bugs in how a document's authority moves, and in who believes what of it."""

import asyncio
from collections.abc import Generator, Sequence
from types import coroutine
from typing import Any

from msgspec.structs import replace

from aiostore.conditions import decide
from aiostore.migration import MigrationAdaptor, Phase, rows
from aiostore.migration.authority import Authority
from aiostore.migration.handoff import Handoff, Standing, _standing
from aiostore.protocols import DocumentId, Mark, Outcome, Record, Write
from aiostore.testing.simulation.bugs.patches import Bug, Patches

Ids = Sequence[DocumentId]
Answer = "asyncio.Future[Sequence[Outcome]]"


def _no_verification(patches: Patches) -> None:
    async def freeze(self: Handoff, ids: Ids, theirs: Standing, ours: Standing) -> Ids:  # noqa: ARG001  # which is the bug
        for id_ in ids:
            [there] = await self._target.read([id_])
            while not rows.is_authority(there):
                wanted = rows.frozen(id_, None, None) if there is None else there
                await self._target.write([rows.in_place_of(there, replace(wanted, mark=Mark.LIVE))])
                [there] = await self._target.read([id_])
        return ids

    patches.set(Handoff, "_freeze", freeze)


def _versions_compared_alone(patches: Patches) -> None:
    right = Handoff._freeze

    async def freeze(self: Handoff, ids: Ids, theirs: Standing, ours: Standing) -> Ids:
        alike = []
        for id_ in ids:
            here, there = ours[id_], theirs[id_]
            if here is None or there is None or here.version != there.version:
                continue
            frozen = rows.in_place_of(there, replace(there, mark=Mark.LIVE))
            if rows.is_authority(there) or (await self._target.write([frozen]))[0].applied:
                alike.append(id_)
        others = [id_ for id_ in ids if id_ not in alike]
        return [*alike, *await right(self, others, theirs, ours)] if others else alike

    patches.set(Handoff, "_freeze", freeze)


def _no_freezing(patches: Patches) -> None:
    right = Handoff._move

    async def freeze(self: Handoff, ids: Ids, theirs: Standing, ours: Standing) -> Ids:
        for id_ in ids:
            wanted = rows.mirror(rows.frozen(id_, theirs[id_], ours[id_]))
            there = theirs[id_]
            if there != wanted and not rows.is_authority(there):
                await self._target.write([rows.in_place_of(there, wanted)])
        return ids

    async def move(self: Handoff, ids: Ids, ours: Standing) -> set[DocumentId]:
        moved = await right(self, ids, ours)
        for id_ in moved:
            [there] = await self._target.read([id_])
            while not rows.is_authority(there):
                wanted = rows.frozen(id_, None, None) if there is None else there
                await self._target.write([rows.in_place_of(there, replace(wanted, mark=Mark.LIVE))])
                [there] = await self._target.read([id_])
        return moved

    patches.set(Handoff, "_freeze", freeze)
    patches.set(Handoff, "_move", move)


def _source_first(patches: Patches) -> None:
    async def forth(
        self: Handoff, ids: Ids, *, unknown_too: bool = False, over_returning: bool = True
    ) -> Ids:
        left = list(ids)
        while left:
            ours = await _standing(self._current, left)
            theirs = await _standing(self._target, left)
            left = [
                id_
                for id_ in left
                if not rows.is_moved(ours[id_])
                and (unknown_too or ours[id_] is not None or theirs[id_] is not None)
                and (over_returning or not rows.is_returning(theirs[id_]))
            ]
            frozen = await self._freeze(left, theirs, ours)
            moved = await self._move(frozen, ours)
            left = [id_ for id_ in left if id_ not in moved]
        return []

    patches.set(Handoff, "forth", forth)


def _target_unread(patches: Patches) -> None:
    right = Authority.read_moving

    async def read(self: Authority, ids: Ids) -> list[Record | None]:
        ours, found = await asyncio.gather(self._current.read(ids), right(self, ids))
        return [None if here is None else one for here, one in zip(ours, found, strict=True)]

    patches.set(Authority, "read_moving", read)


def _old_answers(patches: Patches) -> None:
    async def read(self: Authority, ids: Ids) -> list[Record | None]:
        theirs, ours = await asyncio.gather(self._target.read(ids), self._current.read(ids))
        return [
            rows.shown(there if here is None or rows.is_moved(here) else here)
            for here, there in zip(ours, theirs, strict=True)
        ]

    patches.set(Authority, "read_moving", read)


def _not_born_moved(patches: Patches) -> None:
    right = MigrationAdaptor._write

    async def write(self: MigrationAdaptor, writes: Sequence[Write], answer: Any) -> None:
        if self._phase is Phase.HANDOFF:
            ids = [write.record.id for write in writes]
            if not any(await self._current.read(ids)):
                outcomes = await self._current.write([rows.for_current(one) for one in writes])
                if not any(rows.is_moved(outcome.record) for outcome in outcomes):
                    answer.set_result(outcomes)
                    return
        await right(self, writes, answer)

    patches.set(MigrationAdaptor, "_write", write)


def _both_at_once(patches: Patches) -> None:
    right = MigrationAdaptor._write

    @coroutine
    def write(self: MigrationAdaptor, *arguments: Any) -> Generator[Any, Any, None]:
        entered = self._phase
        if entered is not Phase.HANDOFF:
            yield from right(self, *arguments).__await__()
            return
        self._phase = Phase.DUAL_WRITE  # as long as it is looked at
        steps = right(self, *arguments).__await__()
        first = next(steps)
        self._phase = entered
        yield first
        yield from steps

    patches.set(MigrationAdaptor, "_write", write)


def _no_fence(patches: Patches) -> None:
    async def fence(_: Handoff, ids: Ids, theirs: Standing) -> Ids:
        return [id_ for id_ in ids if rows.is_authority(theirs[id_])]

    patches.set(Handoff, "_fence", fence)


def _written_as_copies(patches: Patches) -> None:
    async def write(self: Authority, writes: Sequence[Write]) -> list[Outcome | None]:
        outcomes: list[Outcome | None] = []
        for one in writes:
            while True:
                [there] = await self._target.read([one.record.id])
                standing = None if there is None or rows.is_unborn(there) else there
                outcome = decide(rows.for_authority(one), rows.shown(standing))
                if not outcome.applied or outcome.record is None:
                    break
                sent = rows.in_place_of(there, outcome.record)
                if (await self._target.write([sent]))[0].applied:
                    break
            outcomes.append(outcome)
        return outcomes

    patches.set(Authority, "write", write)


def _copies_trusted(patches: Patches) -> None:
    async def read(self: Authority, ids: Ids) -> list[Record | None]:
        ours = await self._current.read(ids)
        theirs = await self._target.read(ids)
        return [
            rows.shown(there if rows.is_moved(here) else here)
            for here, there in zip(ours, theirs, strict=True)
        ]

    patches.set(Authority, "read_moved", read)


def _frozen_for_good(patches: Patches) -> None:
    patches.set(rows, "is_copy", lambda record: not rows.is_returning(record))


MOVING: dict[str, Bug] = {
    "no verification": Bug(
        "what the target holds becomes the authority, whatever it is", _no_verification, "forward"
    ),
    "versions compared alone": Bug(
        "a hand-off does not compare contents", _versions_compared_alone, "spoiled"
    ),
    "no freezing": Bug(
        "the target's record can still be written as a copy while it is handed off",
        _no_freezing,
        "forward",
        2000,
    ),
    "source first": Bug(
        "a hand-off reads the current store before the target", _source_first, "forward", 2000
    ),
    "target unread": Bug(
        "while documents move, what the current store lacks is absent", _target_unread, "sparse"
    ),
    "old answers": Bug(
        "while documents move, the target's answer counts though it came before",
        _old_answers,
        "forward",
        1000,
    ),
    "not born moved": Bug(
        "while documents move, new ones are created in the current store",
        _not_born_moved,
        "sparse",
        1000,
    ),
    "both at once": Bug(
        "while documents move, they are still written to both stores", _both_at_once, "forward"
    ),
    "no fence": Bug(
        "the target's record can be written while it is handed back", _no_fence, "back", 1000
    ),
    "written as copies": Bug(
        "whoever saw a moved document writes the target, whatever that holds",
        _written_as_copies,
        "back",
        1000,
    ),
    "copies trusted": Bug(
        "whoever saw a moved document takes what the target holds",
        _copies_trusted,
        "returning",
        2000,
    ),
    "frozen for good": Bug(
        "what was frozen and never handed off stays so", _frozen_for_good, "retreat", 2000
    ),
}
