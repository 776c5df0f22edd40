"""Records and writes as the protocol has them: what each store is sent, and what equality means."""

from msgspec.structs import replace

from aiostore.conditions import is_alive
from aiostore.limits import SYSTEM_COLLECTION
from aiostore.protocols import Condition, Exactly, Mark, Newer, Record, Write
from aiostore.versions import PROCESS_CLOCK

MIRROR = Mark.LIVE
"""The mark of a copy in the target.

While one phase exists there is nothing to tell a copy from: the hand-off, which makes copies
authoritative one by one, will need `Mark.MIRROR` here.
"""


def for_current(write: Write) -> Write:
    """`write` as the current store is sent it: a deletion leaves its tombstone."""
    return replace(write, mark=Mark.LIVE, erase=False)


def for_target(write: Write) -> Write:
    """`write` as the target is sent it at the same time, under the very same condition.

    The condition is what keeps a rejected write from covering an accepted one there: it can stand
    only on what is committed, or on nothing.
    """
    record = replace(write.record, mark=MIRROR)
    return replace(write, record=record, mark=MIRROR, erase=False)


def copy(record: Record) -> Write:
    """What the current store holds, to the target, unless that has something newer."""
    return Write(replace(record, mark=MIRROR), Newer(), mark=MIRROR)


def correction(standing: Record, wanted: Record | None) -> Write:
    """In place of exactly this record of the target, what the current store holds; or nothing."""
    condition: Condition = Exactly(standing.version)
    if wanted is None:
        return Write(replace(standing, body=None), condition, mark=MIRROR, erase=True)
    return Write(replace(wanted, mark=MIRROR), condition, mark=MIRROR)


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


def _has_expired(record: Record) -> bool:
    return record.body is not None and not is_alive(record, PROCESS_CLOCK.now())
