"""Records and writes as the protocol has them: what each store is sent, and what equality means.

Whose authority a document is stands in its records' marks:

| in | mark | |
|---|---|---|
| current | `live` | the authority is here |
| | `moved` | the authority is the target's record |
| target | `mirror` | a copy |
| | `live` | the authority, or frozen to become it: the current store's record tells which |
| | `returning` | frozen, on its way back |

So what a migration leaves behind in the target is what a plain store writes itself.
"""

from msgspec.structs import replace

from aiostore.conditions import is_alive
from aiostore.limits import SYSTEM_COLLECTION
from aiostore.protocols import Absent, DocumentId, Exactly, Mark, Newer, Record, Write
from aiostore.versions import PROCESS_CLOCK

ZERO = "0" * 32
"""Smaller than every version: of what has never been written."""


def for_current(write: Write) -> Write:
    """`write` as the current store is sent it: a deletion leaves its tombstone."""
    return replace(write, mark=Mark.LIVE, erase=False)


def for_authority(write: Write) -> Write:
    """`write` as the target is sent it where it is the authority; likewise."""
    return replace(write, record=replace(write.record, mark=Mark.LIVE), mark=Mark.LIVE, erase=False)


def for_target(write: Write) -> Write:
    """`write` as the target is sent it at the same time, under the very same condition.

    The condition is what keeps a rejected write from covering an accepted one there: it can stand
    only on what is committed, or on nothing.
    """
    return replace(write, record=mirror(write.record), mark=Mark.MIRROR, erase=False)


def mirror(record: Record) -> Record:
    """The target's copy of a record of the current store."""
    return replace(record, mark=Mark.MIRROR)


def copy(record: Record) -> Write:
    """What the current store holds, to the target, unless that has something newer."""
    return Write(mirror(record), Newer(), mark=Mark.MIRROR)


def correction(standing: Record, wanted: Record | None) -> Write:
    """In place of exactly this copy of the target, what the current store holds; or nothing."""
    if wanted is None:
        tombstone = replace(standing, body=None)
        return Write(tombstone, Exactly(standing.version), mark=Mark.MIRROR, erase=True)
    return in_place_of(standing, mirror(wanted))


def in_place_of(standing: Record | None, record: Record) -> Write:
    """`record` where exactly `standing` stands, its mark included; or where nothing does."""
    if standing is None:
        return Write(record, Absent())
    return Write(record, Exactly(standing.version), mark=standing.mark)


def frozen(id_: DocumentId, target: Record | None, current: Record | None) -> Record:
    """The target's record that is to become the authority."""
    if current is not None:
        return replace(current, mark=Mark.LIVE)
    if target is not None and is_authority(target):
        return target
    return _nothing(id_, Mark.LIVE)


def moved(id_: DocumentId, current: Record | None) -> Write:
    """Mark exactly this record of the current store, or that nothing stands there, as moved.

    It does not expire any more: no engine may remove what tells where the authority is.
    """
    if current is None:
        return Write(_nothing(id_, Mark.MOVED), Absent())
    return in_place_of(current, replace(current, mark=Mark.MOVED, expires_at=None))


def restored(id_: DocumentId, target: Record | None, mark: Mark = Mark.LIVE) -> Write:
    """An authority again that stands for nothing, in place of exactly what is none."""
    return in_place_of(target, _nothing(id_, mark))


def fenced(target: Record) -> Write:
    """Let this authority in the target be written no more."""
    return in_place_of(target, replace(target, mark=Mark.RETURNING))


def returned(current: Record | None, target: Record | None) -> Write:
    """The current store's record again, in place of a moved one, as the target last held it."""
    if current is None or target is None:
        raise ValueError("what is moved stands in both stores")
    return _left(target, in_place_of(current, replace(target, mark=Mark.LIVE)))


def demoted(target: Record) -> Write:
    """A copy again, in place of what is on its way back."""
    return _left(target, in_place_of(target, mirror(target)))


def is_moved(record: Record | None) -> bool:
    """Whether the current store says that the target is the authority."""
    return record is not None and record.mark is Mark.MOVED


def is_authority(record: Record | None) -> bool:
    """Whether the target's record is the authority, or frozen to become it."""
    return record is not None and record.mark is Mark.LIVE


def is_returning(record: Record | None) -> bool:
    """Whether the target's record is frozen, on its way back."""
    return record is not None and record.mark is Mark.RETURNING


def is_unborn(record: Record) -> bool:
    """Whether it stands for nothing: what was handed off was not there."""
    return record.version == ZERO


def is_nothing(target: Record) -> bool:
    """Whether the target's record counts as none, where the target is the authority of all."""
    return is_copy(target) or is_unborn(target)


def is_copy(record: Record) -> bool:
    """Whether the target's record is a copy and nothing more."""
    return record.mark is Mark.MIRROR


def is_lost(target: Record | None) -> bool:
    """Whether the target has no authority, though the current store says so.

    Its engine has removed a document that had expired; a write that was refused may have put a copy
    in its place.
    """
    return target is None or target.mark is Mark.MIRROR


def is_mirror_of(target: Record | None, current: Record | None) -> bool:
    """Whether the target holds what the current store holds: version, content and dates.

    An expired document may be missing, for some engines remove it by themselves.
    """
    if target is None or current is None:
        return all(one is None or _has_expired(one) for one in (target, current))
    return replace(target, mark=current.mark) == current


def is_ahead(target: Record | None, current: Record | None) -> bool:
    """Whether the target holds what the current store has never held, or no longer."""
    return target is not None and (current is None or target.version > current.version)


def is_users(collection: str) -> bool:
    """Whether a migration moves this collection: all but the library's own."""
    return collection != SYSTEM_COLLECTION


def shown(record: Record | None) -> Record | None:
    """A record as users' stores know it."""
    if record is None or is_unborn(record):
        return None
    return record if record.mark is Mark.LIVE else replace(record, mark=Mark.LIVE)


def _left(target: Record, write: Write) -> Write:
    """`write`, which leaves nothing where the target's record stands for nothing."""
    return replace(write, erase=is_unborn(target))


def _nothing(id_: DocumentId, mark: Mark) -> Record:
    return Record(id_, None, ZERO, 0, 0, mark=mark)


def _has_expired(record: Record) -> bool:
    return record.body is not None and not is_alive(record, PROCESS_CLOCK.now())
