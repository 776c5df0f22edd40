"""The control document: in which phase a migration is, and how its background work is to be done.

There is one, as `control/<migration>`. The current store decides about it by compare-and-set; the
target gets a copy of it with the same version, so that a process that has left the current store
behind finds it there. It is small, and read by every process several times a lease.
"""

import logging
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from aiostore.codecs import codec_for
from aiostore.errors import MigrationError, UnavailableError
from aiostore.limits import SYSTEM_COLLECTION
from aiostore.migration.legs import Leg
from aiostore.migration.phases import Phase
from aiostore.protocols import Absent, DocumentId, Exactly, Newer, Record, Write
from aiostore.versions import VersionClock

_logger = logging.getLogger("aiostore.migration")


class Control(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an operator has decided.

    Attributes:
        phase: what every process is to adopt.
        generation: how many steps have been taken; grows by one with each.
        pristine: no document has ever been handed off.
        born_in_target: documents may have been created in the target alone.
        returning: the generation in which documents were last handed back, or are being so.
        deaths: how many processes died: what they had begun may have left the stores unequal.
        verified: the generation in which both stores were last proven equal.
        swept: the generation in which every document was last moved: to the target in the phase
            `handoff`, back in `dual-write`.
        paused: why the background work waits; None if it does not.
        documents_per_second: how fast it may go; None for as fast as it can.
        bytes_per_second: likewise.
    """

    phase: Phase = Phase.DUAL_WRITE
    generation: int = 1
    pristine: bool = True
    born_in_target: bool = False
    returning: int | None = None
    deaths: int = 0
    verified: int | None = None
    swept: int | None = None
    paused: str | None = None
    documents_per_second: float | None = None
    bytes_per_second: float | None = None

    @property
    def is_verified(self) -> bool:
        """Whether the stores have been proven equal since the last step."""
        return self.verified == self.generation

    @property
    def is_returning(self) -> bool:
        """Whether documents are being handed back: nothing may be handed off."""
        return self.returning == self.generation

    @property
    def is_swept(self) -> bool:
        """Whether every document has been moved since the last step."""
        return self.swept == self.generation


_CODEC = codec_for(Control)


class ControlDocument:
    """The control document of one migration, as one process sees it.

    Args:
        current: the current store.
        target: the target.
        migration: the migration's name.
        clock: makes its versions.

    Attributes:
        latest: what was last read or written here.
    """

    def __init__(self, current: Leg, target: Leg, migration: str, clock: VersionClock) -> None:
        self.latest = Control()
        self._id = DocumentId(SYSTEM_COLLECTION, f"control/{migration}")
        self._current = current
        self._target = target
        self._clock = clock

    async def read(self) -> Control:
        """As it stands where this process, by its phase, has to look.

        In the phase `target` that is the target, whose copy may be a step behind for a moment:
        then it stays at what it knows. An aborted migration leaves no copy there; then it is the
        current store.

        Raises:
            UnavailableError: that store did not answer.
            MigrationError: it holds none any more: somebody has emptied it.
            CorruptRecordError: what stands there cannot be read.
        """
        if self.latest.phase is Phase.TARGET:
            control = await self.read_in_target()
            if control is not None:
                return control
        [record] = await self._current.read([self._id])
        if record is None and self.latest.generation > 1:
            raise MigrationError(
                f"the migration's record {self._id.key!r} is gone: this process cannot know where "
                "the documents are; restart it with the configuration of now",
                store=self._current.adaptor.name,
            )
        return self._learn(_control_of(record))

    async def read_in_target(self) -> Control | None:
        """The target's copy; None if it has none."""
        [record] = await self._target.read([self._id])
        return None if record is None else self._learn(_control_of(record))

    async def create(self) -> Control:
        """The document as it stands, or a new one where there is none yet."""
        return await self.change(lambda control: control)

    async def change(self, fn: Callable[[Control], Control]) -> Control:
        """Change it; `fn` is called again if somebody else comes between.

        The target's copy is renewed too, even if `fn` changes nothing. While documents are only
        mirrored there, it may be late.

        Raises:
            UnavailableError: a store did not answer: it is not known whether it was changed.
            CorruptRecordError: what stands there cannot be read.
        """
        while True:
            [standing] = await self._current.read([self._id])
            control = _control_of(standing)
            changed = fn(control)
            record, applied = standing, True
            if standing is None or changed != control:
                record = self._record(changed, standing)
                condition = Absent() if standing is None else Exactly(standing.version)
                [outcome] = await self._current.write([Write(record, condition)])
                applied = outcome.applied
            if applied and record is not None:
                if changed.phase is not Phase.CURRENT:  # then the target is to be left alone
                    needed = {control.phase, changed.phase} & {Phase.HANDOFF, Phase.TARGET}
                    await self._copy(record, needed=bool(needed))
                return self._learn(changed)

    async def pause(self, reason: str) -> Control:
        """Let the background work wait, in every process, for a reason that is shown.

        What the service asks is done as ever. Errors as of `change`, of all three.
        """
        return await self.change(lambda control: replace(control, paused=reason))

    async def resume(self) -> Control:
        """Let the background work go on."""
        return await self.change(lambda control: replace(control, paused=None))

    async def limit(
        self, *, documents_per_second: float | None = None, bytes_per_second: float | None = None
    ) -> Control:
        """Let the background work go no faster than this, all processes together.

        Args:
            documents_per_second: greater than 0; None for no limit.
            bytes_per_second: of encoded bodies; likewise.
        """
        return await self.change(
            lambda control: replace(
                control,
                documents_per_second=documents_per_second,
                bytes_per_second=bytes_per_second,
            )
        )

    async def _copy(self, record: Record, *, needed: bool) -> None:
        try:
            await self._target.write([Write(record, Newer())])
        except UnavailableError as error:
            if needed:
                raise
            _logger.warning("the target has no copy of the control document yet: %s", error)

    def _record(self, control: Control, standing: Record | None) -> Record:
        now = self._clock.now()
        version = self._clock.next(None if standing is None else standing.version)
        body = msgspec.json.encode(control).decode()
        return Record(self._id, body, version, now, now)

    def _learn(self, control: Control) -> Control:
        if control.generation >= self.latest.generation:
            self.latest = control
        return self.latest


def _control_of(record: Record | None) -> Control:
    if record is None or record.body is None:
        return Control()
    return _CODEC.decode(record.body)
