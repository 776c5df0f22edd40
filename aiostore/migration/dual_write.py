"""Writes to both stores at the same time, with the same version under the same condition.

The current store's answer is the answer. What keeps the target its mirror, after
`docs/migration.md`:

* a write that the current store applied and the target refused is issued again as `Newer`;
* a write that the current store refused and the target accepted is settled: what the current store
  holds is put back in its place;
* where an answer is missing the document is a suspect, mended as soon as that is safe.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from aiostore.migration import rows
from aiostore.migration.legs import Leg, Mirror
from aiostore.migration.repair import Repair
from aiostore.protocols import DocumentId, Newer, Outcome, Record, Write

_logger = logging.getLogger("aiostore.migration")


class DualWrite:
    """The fan-out.

    Args:
        current: the current store.
        target: the target.
        repair: takes care of what is in doubt.
    """

    def __init__(self, current: Leg, target: Mirror, repair: Repair) -> None:
        self._current = current
        self._target = target
        self._repair = repair

    async def write(
        self, writes: Sequence[Write], answer: Callable[[Sequence[Outcome]], None]
    ) -> None:
        """Write, and make the target agree with what the current store answered.

        Args:
            writes: on distinct ids.
            answer: is called with the current store's outcomes as soon as both stores have
                answered, before the rest is done.

        Raises:
            UnavailableError: it is not known what the current store has done. Whoever sends a write
                again sends it with the same version.
        """
        current, target = await asyncio.gather(
            self._current.write([rows.for_current(write) for write in writes]),
            self._target.try_write([rows.for_target(write) for write in writes]),
            return_exceptions=True,
        )
        if isinstance(current, BaseException):
            # Not settled before the grace: it may still take effect.
            self._repair.suspect((write.record.id for write in writes), landing=True)
            raise current
        answer(current)
        if not isinstance(target, BaseException):  # a cancelled loop is all that it could be
            await self._follow_up(writes, current, target)

    async def copy(self, records: Sequence[Record]) -> None:
        """Give the target what the current store has applied."""
        await self._issue_again([rows.copy(record) for record in records])

    async def _follow_up(
        self,
        writes: Sequence[Write],
        current: Sequence[Outcome],
        target: Sequence[Outcome | None],
    ) -> None:
        again: list[Write] = []
        dead: dict[DocumentId, str] = {}
        for write, here, there in zip(writes, current, target, strict=True):
            id_, version = write.record.id, write.record.version
            # A write that is sent again, its answer having been lost, is refused by itself.
            accepted = here.applied or _is_itself(here, write.record)
            if not accepted and (isinstance(write.condition, Newer) or rows.is_moved(here.record)):
                continue  # what stands is newer, and so wins; or the target is the authority
            if there is None:
                self._repair.suspect([id_], landing=not accepted)
            elif not accepted and (there.applied or _holds(there, version)):
                dead[id_] = version
            elif accepted and not there.applied and here.record is not None:
                # Though the target may hold it: a repair may be taking the first attempt out.
                again.append(rows.copy(here.record))
        if again:
            await self._issue_again(again)
        if dead:
            await self._settle(dead)

    async def _issue_again(self, copies: Sequence[Write]) -> None:
        outcomes = await self._target.try_write(copies)
        unknown = [w.record.id for w, o in zip(copies, outcomes, strict=True) if o is None]
        self._repair.suspect(unknown, landing=False)

    async def _settle(self, dead: dict[DocumentId, str]) -> None:
        try:
            await self._repair.settle(dead)
        except Exception as error:  # noqa: BLE001  # of either store; it must not be forgotten
            _logger.warning("a rejected write will be settled later: %r", error)
            self._repair.suspect(dead, landing=True)


def _holds(outcome: Outcome, version: str) -> bool:
    """Whether a write was refused by a record of its own version."""
    return outcome.record is not None and outcome.record.version == version


def _is_itself(outcome: Outcome, record: Record) -> bool:
    """Whether the record that refused a write is that write's own, from an earlier attempt."""
    return (
        outcome.record is not None
        and outcome.record.version == record.version
        and outcome.record.body == record.body
    )
