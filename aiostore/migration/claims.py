"""The claim: what a migration has made of each of its stores, kept in the store itself.

A plain `Store` reads it when it opens and refuses where it says so, which keeps a wrong
configuration from writing where nobody will look.
"""

import logging
from typing import Literal

import msgspec

from aiostore.channel import CONTROL_ID
from aiostore.codecs import codec_for
from aiostore.errors import MigrationError
from aiostore.migration.legs import Leg
from aiostore.migration.rows import is_users
from aiostore.protocols import Absent, Adaptor, Exactly, Record, Write
from aiostore.versions import VersionClock

_logger = logging.getLogger("aiostore.migration")

Role = Literal["source", "target"]


class Claim(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stands at `CONTROL_ID`.

    Attributes:
        migration: its name.
        role: this store's part in it.
        finished: whether the target has taken over.
        refusal: why a plain store must not open, and what to do; None if it may.
    """

    migration: str
    role: Role
    finished: bool = False
    refusal: str | None = None


_CODEC = codec_for(Claim)


class Claims:
    """The claims of one migration.

    Args:
        current: the current store.
        target: the target.
        migration: the migration's name.
        clock: makes their versions.
    """

    def __init__(
        self, current: Adaptor, target: Adaptor, migration: str, clock: VersionClock
    ) -> None:
        self._current = current
        self._target = target
        self._migration = migration
        self._clock = clock

    async def check_current(self) -> None:
        """See whether the current store may be migrated; nothing is written.

        Raises:
            MigrationError: another migration has it.
        """
        here = await claim_in(self._current)
        if here is not None and not here.finished and here.migration != self._migration:
            raise MigrationError(
                f"the current store is part of the migration {here.migration!r}: finish that first",
                store=self._current.name,
            )

    async def check_target(self) -> None:
        """See whether the target may be migrated to; nothing is written.

        If this migration has come to its end there, processes may go on in its last phase.

        Raises:
            MigrationError: it holds something else, or another migration has it.
        """
        there = await claim_in(self._target)
        if there is None or (there.finished and there.role == "source"):
            held = [name for name in await self._target.collections() if is_users(name)]
            if held:
                raise MigrationError(
                    f"the target is not empty, it holds the collection {held[0]!r}: choose an "
                    "empty store",
                    store=self._target.name,
                )
        elif there.migration != self._migration:
            raise MigrationError(
                f"the store belongs to the migration {there.migration!r}: choose another target",
                store=self._target.name,
            )
        elif there.finished:
            _logger.warning(
                "the migration %r is finished: configure %s alone",
                self._migration,
                self._target.name,
            )
        here = await claim_in(self._current)
        if here is not None and here.finished and here.role == "source" and there is None:
            raise MigrationError(
                here.refusal or "the store was moved away", store=self._current.name
            )

    async def check_open(self) -> None:
        """See whether steps can still be taken.

        Raises:
            MigrationError: plain stores may be using the target.
        """
        there = await claim_in(self._target)
        if there is not None and there.finished:
            raise MigrationError(
                f"the migration {self._migration!r} is finished, plain stores may be using the "
                "target: to go back, migrate in the other direction",
                store=self._target.name,
            )

    async def take(self) -> None:
        """Claim both stores, or go on with them; errors as of the two checks."""
        await self.check_current()
        await self.check_target()
        await self._set(
            self._target,
            "target",
            refusal=f"the migration {self._migration!r} is copying into this store, which is not "
            "complete: open it with the migration's configuration, or finish the migration",
            renew=False,
        )
        await self._set(self._current, "source", renew=False)

    async def keep_plain_stores_out(self) -> None:
        """Let no plain store open the current one any more: its documents begin to move."""
        await self._set(
            self._current,
            "source",
            refusal=f"the migration {self._migration!r} is moving this store's documents to "
            f"{self._target.name}: open it with the migration's configuration, or roll the "
            "migration back",
        )

    async def let_plain_stores_in(self) -> None:
        """The current store may be opened by a plain one again: all documents are there."""
        await self._set(self._current, "source")

    async def close(self) -> None:
        """Write down that the target has taken over; may be repeated after a crash in between."""
        await self._set(
            self._current,
            "source",
            finished=True,
            refusal=f"the migration {self._migration!r} moved this store's documents to "
            f"{self._target.name}, which has been written since: configure that store",
        )
        await self._set(self._target, "target", finished=True)

    async def drop(self) -> None:
        """Give both stores back: it is as if there had been no migration."""
        for store in (self._target, self._current):
            while (standing := await _standing(store)) is not None:
                tombstone = msgspec.structs.replace(standing, body=None)
                write = Write(tombstone, Exactly(standing.version), erase=True)
                [outcome] = await store.write([write])
                if outcome.applied:
                    break

    async def _set(
        self,
        store: Adaptor,
        role: Role,
        *,
        finished: bool = False,
        refusal: str | None = None,
        renew: bool = True,
    ) -> None:
        """Write a claim; unless it is to be renewed, not where this migration has one already."""
        claim = Claim(self._migration, role, finished, refusal)
        while True:
            standing = await _standing(store)
            known = _claim_of(standing)
            if known == claim or (
                not renew
                and known is not None
                and (known.migration, known.role) == (self._migration, role)
            ):
                return
            now = self._clock.now()
            version = self._clock.next(None if standing is None else standing.version)
            record = Record(CONTROL_ID, msgspec.json.encode(claim).decode(), version, now, now)
            condition = Absent() if standing is None else Exactly(standing.version)
            [outcome] = await store.write([Write(record, condition)])
            if outcome.applied:
                return


async def _standing(store: Adaptor | Leg) -> Record | None:
    [record] = await store.read([CONTROL_ID])
    return record


async def claim_in(store: Adaptor | Leg) -> Claim | None:
    """What a migration has made of this store; None for nothing."""
    return _claim_of(await _standing(store))


def _claim_of(record: Record | None) -> Claim | None:
    return None if record is None or record.body is None else _CODEC.decode(record.body)
