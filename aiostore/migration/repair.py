"""Making one document of the target equal again: settling dead writes, mending suspects.

A suspect is a document of which it is not known that both stores are equal. `docs/migration.md`
says why each step is what it is; simpler ones lose data.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import NamedTuple

from msgspec import Struct

from aiostore.migration import rows
from aiostore.migration.legs import Leg, Mirror
from aiostore.protocols import DocumentId, Record

_logger = logging.getLogger("aiostore.migration")

_MOST_SUSPECTS = 100_000
_BATCH = 100


class Sight(NamedTuple):
    """One document as both stores hold it, the target read first."""

    target: Record | None
    current: Record | None

    @property
    def equal(self) -> bool:
        """Whether the target's is a copy of the current store's, or the authority itself."""
        return (
            rows.is_moved(self.current)
            or rows.is_authority(self.target)
            or rows.is_returning(self.target)
            or rows.is_mirror_of(self.target, self.current)
        )

    @property
    def corrupt(self) -> bool:
        """Whether the same version has different content: no write of ours can do that."""
        return (
            self.target is not None
            and self.current is not None
            and self.target.version == self.current.version
            and not self.equal
        )


class _Suspect(Struct):
    """Since when, and when to look again, by the event loop's time; the version that was ahead."""

    since: float
    due: float
    ahead: str | None = None


class Repair:
    """Suspects and what is done about them.

    Args:
        current: the current store.
        target: the target.
        grace: after this long every request that was under way has ended or will never land.
    """

    def __init__(self, current: Leg, target: Mirror, grace: timedelta) -> None:
        self._current = current
        self._target = target
        self._grace = grace.total_seconds()
        self._suspects: dict[DocumentId, _Suspect] = {}
        self._noticed = asyncio.Event()
        self._busy = asyncio.Lock()
        self.overflowed = False

    @property
    def suspects(self) -> int:
        """How many documents are known to be in doubt."""
        return len(self._suspects)

    @property
    def lag(self) -> float | None:
        """For how many seconds the oldest of them has been; None if there are none."""
        for suspect in self._suspects.values():
            return asyncio.get_running_loop().time() - suspect.since
        return None

    @property
    def settling(self) -> timedelta:
        """After how long a write of any process has reached both stores, if all is well."""
        return 2 * self._target.deadline

    def suspect(self, ids: Iterable[DocumentId], *, landing: bool) -> None:
        """Look at these again: at once, or if a request may still be `landing`, after the grace."""
        now = asyncio.get_running_loop().time()
        due = now + (self._grace if landing else 0.0)
        for id_ in ids:
            known = self._suspects.get(id_)
            if known is not None:
                known.due = max(known.due, due)
            elif len(self._suspects) < _MOST_SUSPECTS:
                self._suspects[id_] = _Suspect(now, due)
            elif not self.overflowed:
                self.overflowed = True
                _logger.error(
                    "more than %d documents are in doubt: verify the migration with repair",
                    _MOST_SUSPECTS,
                )
        self._noticed.set()

    def forget(self) -> None:
        """Have no more suspects: nobody needs the target any more."""
        self._suspects.clear()
        self._noticed.clear()

    async def look(self, ids: Sequence[DocumentId]) -> list[Sight]:
        """Both stores' records, the target's read first: what is ahead there is not yet behind."""
        targets = await self._target.read(ids)
        currents = await self._current.read(ids)
        return [Sight(t, c) for t, c in zip(targets, currents, strict=True)]

    async def settle(self, dead: Mapping[DocumentId, str]) -> None:
        """Take writes that can never take effect in the current store out of the target.

        Args:
            dead: their versions. Where the target holds another by now, there is nothing to do.
        """
        sights = dict(zip(dead, await self.look(list(dead)), strict=True))
        covered = {
            id_: sight
            for id_, sight in sights.items()
            if sight.target is not None and sight.target.version == dead[id_]
        }
        if not covered:
            return
        corrections = [
            rows.correction(sight.target, sight.current)
            for sight in covered.values()
            if sight.target is not None
        ]
        outcomes = await self._target.write(corrections)
        corrected = {
            id_: sight.current
            for (id_, sight), outcome in zip(covered.items(), outcomes, strict=True)
            if outcome.applied
        }
        if corrected:
            await self._copy_what_crossed(corrected)

    async def _copy_what_crossed(self, corrected: Mapping[DocumentId, Record | None]) -> None:
        """Copy what the current store has applied since it was read for a correction.

        That write's own leg may have been refused by the dead one: it would be missing for good.
        """
        now = await self._current.read(list(corrected))
        crossed = [
            rows.copy(record)
            for record, then in zip(now, corrected.values(), strict=True)
            if record is not None and record != then
        ]
        if crossed:
            await self._target.write(crossed)

    async def mend(self, ids: Sequence[DocumentId]) -> dict[DocumentId, Sight]:
        """Repair what can be repaired now; returns, as they were seen, those that differed.

        What the target lacks is copied. What it has in advance may be a write under way, and is
        settled only when it is seen again after the grace: it becomes a suspect.
        """
        sights = dict(zip(ids, await self.look(ids), strict=True))
        different = {id_: sight for id_, sight in sights.items() if not sight.equal}
        behind, ahead = [], {}
        for id_, sight in different.items():
            if rows.is_ahead(sight.target, sight.current):
                ahead[id_] = "" if sight.target is None else sight.target.version
            elif sight.current is not None:
                if sight.corrupt and sight.target is not None:
                    _logger.error("one version with two contents, repaired in the target: %s", id_)
                    behind.append(rows.correction(sight.target, sight.current))
                else:
                    behind.append(rows.copy(sight.current))
        if behind:
            await self._target.write(behind)
        await self._mend_ahead(ahead)
        return different

    async def run(self, rest: timedelta) -> None:
        """Mend suspects as they fall due, for ever; rest after a failure."""
        while True:
            await self._noticed.wait()
            due = await self._due()
            if self._target.rests or not due:
                await asyncio.sleep(rest.total_seconds())
                continue
            try:
                seen = {id_: self._suspects[id_].due for id_ in due}
                async with self._busy:
                    await self.mend(due)
            except Exception as error:  # noqa: BLE001  # of either store; the next attempt decides
                _logger.warning("a repair failed and will be tried again: %r", error)
                await asyncio.sleep(rest.total_seconds())
                continue
            for id_, when in seen.items():
                if id_ in self._suspects and self._suspects[id_].due == when:
                    del self._suspects[id_]
            if not self._suspects:
                self._noticed.clear()

    async def settle_down(self) -> None:
        """Wait until the repair that is under way has ended."""
        async with self._busy:
            return

    async def _due(self) -> list[DocumentId]:
        now = asyncio.get_running_loop().time()
        due = (id_ for id_, suspect in self._suspects.items() if suspect.due <= now)
        return list(islice(due, _BATCH))

    async def _mend_ahead(self, ahead: Mapping[DocumentId, str]) -> None:
        dead: dict[DocumentId, str] = {}
        now = asyncio.get_running_loop().time()
        for id_, version in ahead.items():
            known = self._suspects.get(id_)
            if known is not None and known.ahead == version and known.due <= now:
                dead[id_] = version
            else:
                self.suspect([id_], landing=True)
                if id_ in self._suspects:
                    self._suspects[id_].ahead = version
        if dead:
            await self.settle(dead)
