"""The control document: what a migration has made of each of its stores, kept in the store itself.

A plain `Store` reads it when it opens and refuses where it says so, which keeps a wrong
configuration from writing where nobody will look.
"""

from typing import Literal

import msgspec

from aiostore.codecs import codec_for
from aiostore.errors import MigrationError
from aiostore.limits import SYSTEM_COLLECTION
from aiostore.migration.rows import is_users
from aiostore.protocols import Absent, Adaptor, DocumentId, Exactly, Record, Write
from aiostore.store import CONTROL_ID
from aiostore.versions import PROCESS_CLOCK

Role = Literal["source", "target"]


class Control(msgspec.Struct, frozen=True, omit_defaults=True):
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


_CODEC = codec_for(Control)


def checkpoint_id(migration: str, collection: str) -> DocumentId:
    """Where a migration's backfill of one collection keeps, in the target, how far it is."""
    return DocumentId(SYSTEM_COLLECTION, f"backfill/{migration}/{collection}")


async def start(current: Adaptor, target: Adaptor, migration: str) -> None:
    """Claim both stores for a migration, or resume it.

    Raises:
        MigrationError: the target holds something else, or another migration has one of them.
    """
    there = await _read(target)
    if there is None or (there.finished and there.role == "source"):
        held = [name for name in await target.collections() if is_users(name)]
        if held:
            raise MigrationError(
                f"the target is not empty, it holds the collection {held[0]!r}: choose an empty "
                "store",
                store=target.name,
            )
    elif there.migration != migration:
        raise MigrationError(
            f"the store belongs to the migration {there.migration!r}: choose another target",
            store=target.name,
        )
    elif there.finished:
        raise MigrationError(
            f"the migration {migration!r} is finished: configure the target's URL alone",
            store=target.name,
        )
    here = await _read(current)
    if here is not None and not here.finished and here.migration != migration:
        raise MigrationError(
            f"the current store is part of the migration {here.migration!r}: finish that first",
            store=current.name,
        )
    if here is not None and here.finished and here.role == "source" and there is None:
        raise MigrationError(here.refusal or "the store was moved away", store=current.name)
    await _write(
        target,
        Control(
            migration,
            "target",
            refusal=f"the migration {migration!r} is copying into this store, which is not "
            "complete: open it with the migration's configuration, or finish the migration",
        ),
    )
    await _write(current, Control(migration, "source"))


async def close(current: Adaptor, target: Adaptor, migration: str) -> None:
    """Write down that the target has taken over; may be repeated after a crash in between."""
    moved = (
        f"the migration {migration!r} moved this store's documents to {target.name}, which has "
        "been written since: configure that store"
    )
    await _write(current, Control(migration, "source", finished=True, refusal=moved))
    await _write(target, Control(migration, "target", finished=True))


async def _read(adaptor: Adaptor) -> Control | None:
    [record] = await adaptor.read([CONTROL_ID])
    if record is None or record.body is None:
        return None
    return _CODEC.decode(record.body)


async def _write(adaptor: Adaptor, control: Control) -> None:
    body = msgspec.json.encode(control).decode()
    while True:
        [standing] = await adaptor.read([CONTROL_ID])
        now = PROCESS_CLOCK.now()
        version = PROCESS_CLOCK.next(None if standing is None else standing.version)
        record = Record(CONTROL_ID, body, version, now, now)
        condition = Absent() if standing is None else Exactly(standing.version)
        [outcome] = await adaptor.write([Write(record, condition)])
        if outcome.applied:
            return
