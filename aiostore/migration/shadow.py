"""Shadow reads: some of what the service reads is read from the target, too, and compared.

They say, before the target answers anybody, whether it would answer the same. They are done beside
the service: nobody waits for them, and what fails in them fails nobody.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence

from aiostore.errors import StoreError
from aiostore.migration import rows
from aiostore.migration.legs import Mirror
from aiostore.migration.repair import Repair, Sight
from aiostore.protocols import DocumentId, Record

_logger = logging.getLogger("aiostore.migration")

MOST_AT_ONCE = 8
_LOOKS = 7
_FIRST_PAUSE = 0.05  # seconds; each is twice the last, so that all are longer than a late write


class Shadow:
    """The shadow reads of one process.

    Args:
        target: the target.
        repair: looks again, and mends what is wrong.
        share: which part of the reads is sampled, 0 for none to 1 for all.
        verified: whether both stores have been proven equal.
        choices: chooses the samples.

    Attributes:
        matched: documents that were the same in the target.
        behind: those that the target lacked, or had an older version of; because a write was under
            way, or because nothing has copied it yet.
        different: those that it still held something else of than it may when they were looked at
            again: another content of the same version, a version that the current store does not
            have, or, once the stores have been proven equal, anything else. They are mended.
        failed: reads of the target that failed.
        left_out: samples not taken because too many were under way, or the target was resting.
    """

    def __init__(
        self,
        target: Mirror,
        repair: Repair,
        *,
        share: float,
        verified: Callable[[], bool],
        choices: random.Random,
    ) -> None:
        self.matched = 0
        self.behind = 0
        self.different = 0
        self.failed = 0
        self.left_out = 0
        self._target = target
        self._repair = repair
        self._share = share
        self._verified = verified
        self._choices = choices
        self._jobs: set[asyncio.Task[None]] = set()

    def sample(self, ids: Sequence[DocumentId], records: Sequence[Record | None]) -> None:
        """Perhaps compare what has been read from the current store; never waits, never fails.

        Args:
            ids: of documents, each once.
            records: what was read of them, without marks.
        """
        if not self._share or self._choices.random() >= self._share:
            return
        if len(self._jobs) >= MOST_AT_ONCE or self._target.rests:
            self.left_out += 1
            return
        read = dict(zip(ids, records, strict=True))
        job = asyncio.create_task(self._compare(read), name="aiostore: shadow read")
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def drain(self) -> None:
        """Wait until all that has been sampled before this call has been compared."""
        if self._jobs:
            await asyncio.wait(set(self._jobs))

    async def aclose(self) -> None:
        """Give up what is under way."""
        jobs = set(self._jobs)
        for job in jobs:
            job.cancel()
        if jobs:
            await asyncio.wait(jobs)

    async def _compare(self, read: Mapping[DocumentId, Record | None]) -> None:
        try:
            found = await self._target.read(list(read))
            sights = dict(zip(read, map(Sight, found, read.values()), strict=True))
            differing = [id_ for id_, sight in sights.items() if not sight.equal]
            self.matched += len(sights) - len(differing)
            if differing:
                await self._look_again(differing, sights)
        except Exception as error:
            self.failed += 1
            if not isinstance(error, StoreError):
                _logger.exception("a store's adaptor raised what it must not")
            _logger.info("a shadow read failed: %r", error)

    async def _look_again(
        self, ids: Sequence[DocumentId], first: Mapping[DocumentId, Sight]
    ) -> None:
        """Until each is equal, or for as long as a late write may take."""
        left = {id_: first[id_] for id_ in ids}
        resting: set[DocumentId] = set()
        pause = _FIRST_PAUSE
        for _ in range(_LOOKS):
            await asyncio.sleep(pause)
            pause *= 2
            sights = dict(zip(left, await self._repair.look(list(left)), strict=True))
            settled = [id_ for id_, sight in sights.items() if sight.equal]
            self.behind += sum(self._was_behind(first[id_]) for id_ in settled)
            self.matched += sum(not self._was_behind(first[id_]) for id_ in settled)
            resting = {id_ for id_, sight in sights.items() if sight == left[id_]}
            left = {id_: sight for id_, sight in sights.items() if not sight.equal}
            if not left:
                return
        # What is written again and again is not wrong for being late each time.
        wrong = [id_ for id_, sight in left.items() if id_ in resting and self._is_wrong(sight)]
        self.behind += len(left) - len(wrong)
        self.different += len(wrong)
        if wrong:
            _logger.warning("the target would have answered otherwise: %s", wrong[0])
            self._repair.suspect(wrong, landing=True)

    def _is_wrong(self, sight: Sight) -> bool:
        return self._verified() or not self._was_behind(sight)

    @staticmethod
    def _was_behind(sight: Sight) -> bool:
        return not sight.corrupt and not rows.is_ahead(*sight)
