"""Bugs in what keeps the target a copy."""

import importlib
from collections.abc import Mapping, Sequence
from datetime import timedelta

from msgspec.structs import replace

from aiostore.migration import rows
from aiostore.migration.dual_write import DualWrite
from aiostore.migration.legs import Leg, Mirror
from aiostore.migration.repair import Repair
from aiostore.protocols import Absent, DocumentId, Newer, Outcome, Record, Write
from aiostore.testing.simulation.bugs.patches import Bug, Patches, nothing

_backfill = importlib.import_module("aiostore.migration.backfill")  # its name is a function's, too


def _no_settling(patches: Patches) -> None:
    patches.set(DualWrite, "_settle", nothing)


def _no_reissue(patches: Patches) -> None:
    patches.set(DualWrite, "_issue_again", nothing)


def _no_second_read(patches: Patches) -> None:
    patches.set(Repair, "_copy_what_crossed", nothing)


def _newer_legs(patches: Patches) -> None:
    right = rows.for_target
    patches.set(rows, "for_target", lambda write: replace(right(write), condition=Newer()))


def _creations_unsettled(patches: Patches) -> None:
    right = DualWrite._follow_up

    async def follow_up(
        self: DualWrite,
        writes: Sequence[Write],
        current: Sequence[Outcome],
        target: Sequence[Outcome | None],
    ) -> None:
        kept = [
            (write, here, there)
            for write, here, there in zip(writes, current, target, strict=True)
            if here.applied or not isinstance(write.condition, Absent)
        ]
        if kept:
            await right(self, *map(list, zip(*kept, strict=True)))

    patches.set(DualWrite, "_follow_up", follow_up)


def _blind_legs(patches: Patches) -> None:
    async def try_write(self: Mirror, writes: Sequence[Write]) -> Sequence[Outcome | None]:
        return await _overwrite(self, [write.record for write in writes])

    patches.set(Mirror, "try_write", try_write)


def _blind_backfill(patches: Patches) -> None:
    async def copy(target: Leg, records: Sequence[Record]) -> int:
        if not records:
            return 0
        return len(await _overwrite(target, [rows.mirror(record) for record in records]))

    patches.set(_backfill, "_copy", copy)


def _no_tombstones_copied(patches: Patches) -> None:
    right = _backfill._copy

    async def copy(target: Leg, records: Sequence[Record]) -> int:
        copied: int = await right(target, [one for one in records if one.body is not None])
        return copied

    patches.set(_backfill, "_copy", copy)


def _no_tombstones_left(patches: Patches) -> None:
    for name in ("for_current", "for_target"):
        right = getattr(rows, name)
        patches.set(rows, name, lambda write, right=right: replace(right(write), erase=write.erase))


def _no_grace(patches: Patches) -> None:
    async def mend(self: Repair, ahead: Mapping[DocumentId, str]) -> None:
        await self.settle(ahead)

    patches.set(Repair, "_mend_ahead", mend)
    patches.set(Repair, "settling", property(lambda _: timedelta(0)))


def _suspects_kept(patches: Patches) -> None:
    patches.set(Repair, "forget", lambda _: None)


async def _overwrite(target: Leg, records: Sequence[Record]) -> list[Outcome]:
    """Write whatever stands there."""
    outcomes: list[Outcome] = []
    for record in records:
        [standing] = await target.read([record.id])
        outcomes += await target.write([rows.in_place_of(standing, record)])
    return outcomes


MIRRORING: dict[str, Bug] = {
    "no settling": Bug(
        "a write that only the target accepted is left there", _no_settling, "mirroring"
    ),
    "no reissue": Bug(
        "a write that only the current store accepted is not copied", _no_reissue, "mirroring"
    ),
    "no second read": Bug(
        "after settling, what came between is not copied", _no_second_read, "contended", 4000
    ),
    "newer legs": Bug(
        "the target takes whatever is newer, under no other condition", _newer_legs, "contended"
    ),
    "creations unsettled": Bug(
        "a creation refused by a tombstone is left in the target",
        _creations_unsettled,
        "contended",
        1000,
    ),
    "blind legs": Bug("the target takes everything", _blind_legs, "mirroring"),
    "blind backfill": Bug("a copy covers what is newer", _blind_backfill, "mirroring"),
    "tombstones not copied": Bug(
        "the backfill leaves deletions out", _no_tombstones_copied, "mirroring", 2000
    ),
    "no tombstones": Bug("deletions leave no trace", _no_tombstones_left, "mirroring"),
    "no grace": Bug("a repair takes out what may be on its way", _no_grace, "repaired", 1000),
    "suspects kept": Bug(
        "the target is mended after all have gone back", _suspects_kept, "retreat", 1000
    ),
}
