"""What the boundary's conditions mean, in Python: for adaptors whose engine cannot decide them."""

import msgspec

from aiostore.protocols import Absent, Condition, Exactly, Outcome, Purge, Record, Write


def decide(write: Write, standing: Record | None) -> Outcome:
    """The outcome of `write` where `standing` stands; the caller keeps it from changing meanwhile.

    If applied, the outcome's record is what has to be stored; None means that nothing is to be
    left there.
    """
    if not _holds(write, standing):
        return Outcome(applied=False, record=standing)
    if write.erase:
        return Outcome(applied=True, record=None)
    if write.keep_created_at and standing is not None and isinstance(write.condition, Exactly):
        kept = msgspec.structs.replace(write.record, created_at=standing.created_at)
        return Outcome(applied=True, record=kept)
    return Outcome(applied=True, record=write.record)


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


def _holds(write: Write, standing: Record | None) -> bool:
    condition = write.condition
    if standing is None:
        return not isinstance(condition, Exactly)
    if write.mark is not None and standing.mark is not write.mark:
        return False
    return _holds_on(condition, standing, write.record.version)


def _holds_on(condition: Condition, standing: Record, version: str) -> bool:
    match condition:
        case Absent():
            return False
        case Exactly(version=expected, unexpired_at=unexpired_at):
            return standing.version == expected and (
                unexpired_at is None
                or standing.expires_at is None
                or standing.expires_at > unexpired_at
            )
        case _:
            return standing.version < version
