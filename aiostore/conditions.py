"""What the boundary's conditions mean, in Python: for adaptors whose engine cannot decide them."""

import msgspec

from aiostore.protocols import (
    Absent,
    Check,
    Condition,
    DocumentId,
    Exactly,
    Newer,
    Outcome,
    Purge,
    Record,
    Write,
)


def decide(item: Write | Check, standing: Record | None) -> Outcome:
    """The outcome of `item` where `standing` stands; the caller keeps it from changing meanwhile.

    If a write is applied, the outcome's record is what has to be stored; None means that nothing is
    to be left there.
    """
    if isinstance(item, Check):
        return Outcome(applied=_permits(item, standing), record=standing)
    return _decide_write(item, standing)


def place_of(item: Write | Check) -> DocumentId:
    """The id of the record that it is about."""
    return item.id if isinstance(item, Check) else item.record.id


def is_alive(record: Record, moment: int) -> bool:
    """Whether it is a document, no tombstone, that has not expired at `moment`."""
    return record.body is not None and (record.expires_at is None or record.expires_at > moment)


def is_doomed(record: Record, request: Purge) -> bool:
    """Whether `request` removes this record."""
    if request.everything:
        return True
    if record.body is None:
        return request.deleted_before is not None and record.updated_at < request.deleted_before
    return (
        request.expired_before is not None
        and record.expires_at is not None
        and record.expires_at < request.expired_before
    )


def _decide_write(write: Write, standing: Record | None) -> Outcome:
    if not _holds(write, standing):
        return Outcome(applied=False, record=standing)
    if write.erase:
        return Outcome(applied=True, record=None)
    if write.keep_created_at and standing is not None and isinstance(write.condition, Exactly):
        kept = msgspec.structs.replace(write.record, created_at=standing.created_at)
        return Outcome(applied=True, record=kept)
    return Outcome(applied=True, record=write.record)


def _holds(write: Write, standing: Record | None) -> bool:
    condition = write.condition
    if standing is None:
        return not isinstance(condition, Exactly)
    if write.mark is not None and standing.mark is not write.mark:
        return False
    return _holds_on(condition, standing, write.record.version)


def _permits(check: Check, standing: Record | None) -> bool:
    if standing is None:
        return isinstance(check.condition, Absent)
    if check.mark is not None and standing.mark is not check.mark:
        return False
    return _holds_on(check.condition, standing, version="")


def _holds_on(condition: Condition, standing: Record, version: str) -> bool:
    if isinstance(condition, Exactly):
        return standing.version == condition.version and (
            condition.unexpired_at is None
            or standing.expires_at is None
            or standing.expires_at > condition.unexpired_at
        )
    return isinstance(condition, Newer) and standing.version < version
