"""Proving both stores equal: one ordered walk through both, while the service goes on.

Where the walk finds a difference the document is looked at again, after the writes that were under
way have ended: what has become equal, or is still changing, was only a live write passing by. What
stands there unchanged and different is a mismatch.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal

from msgspec.structs import replace

from aiostore.migration import rows
from aiostore.migration.adaptor import MigrationAdaptor
from aiostore.migration.progress import Progress, Report, silent
from aiostore.migration.repair import Sight
from aiostore.protocols import Adaptor, DocumentId, Record, Scan

Kind = Literal["missing", "behind", "ahead", "corrupt"]

_MOST_LOOKS = 40
_PAUSE = 0.002  # seconds, times the number of looks so far
_MOST_DETAILS = 1000


@dataclass(frozen=True, slots=True)
class Difference:
    """One mismatch.

    Attributes:
        collection: its collection.
        key: its key.
        kind: seen from the target: the document is missing there; it is behind the current store's;
            it is ahead of it, or gone in the current store; or the same version has other content.
    """

    collection: str
    key: str
    kind: Kind


@dataclass(slots=True)
class Verification:
    """What a walk through both stores found.

    Attributes:
        compared: documents and tombstones looked at.
        mismatches: how many differed though nothing was under way.
        differences: the first 1,000 of them.
        unsettled: documents that were written at every look, so that no two looks agreed.
        repaired: mismatches mended at once; those that are `ahead` are settled after the grace.
    """

    compared: int = 0
    mismatches: int = 0
    differences: list[Difference] = field(default_factory=list)
    unsettled: int = 0
    repaired: int = 0

    @property
    def clean(self) -> bool:
        """Whether both stores were found equal."""
        return not self.mismatches and not self.unsettled


async def verify(
    migration: MigrationAdaptor,
    *,
    repair: bool = False,
    report: Report = silent,
    chunk: int = 500,
) -> Verification:
    """Compare every record of both stores: version, content and dates. Constant memory.

    A clean verification, after a complete backfill, is what makes a migration `complete`.

    Args:
        migration: the open wrapper; the service may be using it.
        repair: mend what is found. It counts as a mismatch all the same: verify again afterwards.
        report: is called after each chunk.
        chunk: records a step; the stores' own limits lower it.

    Raises:
        UnavailableError: a store did not answer.
    """
    await migration.connected.wait()
    chunk = min(chunk, migration.capabilities.max_batch)
    found = Verification()
    names = {*await migration.current.collections(), *await migration.target.collections()}
    for collection in filter(rows.is_users, sorted(names)):
        total = max(
            await migration.current.count(collection), await migration.target.count(collection)
        )
        done = 0
        async with aclosing(_differing(migration, collection, chunk)) as steps:
            async for seen, suspicious in steps:
                done += seen
                if suspicious:
                    await _look_again(migration, suspicious, found, repair=repair)
                total = max(total, done)
                report(Progress("verify", collection, done, total, found.mismatches))
                await asyncio.sleep(0)  # a store in memory never lets the service in by itself
        found.compared += done
    if migration.repair.overflowed and repair:
        migration.repair.overflowed = False
    await migration.control.change(
        lambda now: replace(now, verified=now.generation if found.clean else None)
    )
    return found


async def _differing(
    migration: MigrationAdaptor, collection: str, chunk: int
) -> AsyncGenerator[tuple[int, list[DocumentId]], None]:
    """Walk through both stores in step; yields how many keys were seen and which differ."""
    seen = 0
    suspicious: list[DocumentId] = []
    async with (
        aclosing(_records(migration.current, collection, chunk)) as currents,
        aclosing(_records(migration.target, collection, chunk)) as targets,
    ):
        current, target = await anext(currents, None), await anext(targets, None)
        while (first := _first(current, target)) is not None:
            here = current if current is not None and current.id == first else None
            there = target if target is not None and target.id == first else None
            if not rows.is_mirror_of(there, here):
                suspicious.append(first)
            if here is not None:
                current = await anext(currents, None)
            if there is not None:
                target = await anext(targets, None)
            seen += 1
            if seen == chunk:
                yield seen, suspicious
                seen, suspicious = 0, []
    yield seen, suspicious


async def _records(adaptor: Adaptor, collection: str, chunk: int) -> AsyncGenerator[Record, None]:
    async with aclosing(adaptor.scan(Scan(collection, chunk=chunk))) as chunks:
        async for records in chunks:
            for record in records:
                yield record


def _first(current: Record | None, target: Record | None) -> DocumentId | None:
    return min((record.id for record in (current, target) if record is not None), default=None)


async def _look_again(
    migration: MigrationAdaptor, ids: list[DocumentId], found: Verification, *, repair: bool
) -> None:
    seen: dict[DocumentId, Sight] = {}
    stable: dict[DocumentId, Sight] = {}
    for look in range(_MOST_LOOKS):
        await migration.drain()
        sights = dict(zip(ids, await migration.repair.look(ids), strict=True))
        differing = {id_: sight for id_, sight in sights.items() if not sight.equal}
        stable |= {id_: sight for id_, sight in differing.items() if seen.get(id_) == sight}
        seen = differing
        ids = [id_ for id_ in differing if id_ not in stable]
        if not ids:
            break
        await asyncio.sleep(_PAUSE * look)
    found.unsettled += len(ids)
    found.mismatches += len(stable)
    room = _MOST_DETAILS - len(found.differences)
    found.differences += [
        Difference(id_.collection, id_.key, _kind(sight)) for id_, sight in stable.items()
    ][:room]
    if repair and stable:
        different = await migration.repair.mend(list(stable))
        found.repaired += sum(not rows.is_ahead(*sight) for sight in different.values())


def _kind(sight: Sight) -> Kind:
    if sight.target is None:
        return "missing"
    if sight.corrupt:
        return "corrupt"
    return "ahead" if rows.is_ahead(*sight) else "behind"
