"""What a service could do on its current store, and cannot on the target, or not as well."""

from collections.abc import Iterator

from aiostore.migration.findings import Finding
from aiostore.protocols import Capabilities


def gaps(ours: Capabilities, theirs: Capabilities, *, processes: int = 0) -> Iterator[Finding]:
    """What will be different for the service.

    Args:
        ours: what the current store can.
        theirs: what the target can.
        processes: how many of the service's processes are known to use the current store.
    """
    if ours.persistent and not theirs.persistent:
        yield Finding(
            "stop",
            "the target keeps nothing beyond the process that has it open",
            "choose a target that does",
        )
    if ours.shared and not theirs.shared:
        known = f"; {processes} are at work now" if processes > 1 else ""
        yield Finding(
            "stop" if processes > 1 else "warning",
            f"the target serves one process at a time, the current store several{known}",
            "run the service as one process, or choose another target",
        )
    yield from _of_transactions(ours, theirs)
    yield from _of_queries(ours, theirs)
    if theirs.max_batch < ours.max_batch:
        yield Finding(
            "note",
            f"the target takes {theirs.max_batch:,} documents a request, the current store "
            f"{ours.max_batch:,}: get_many and put_many of more take several",
        )


def _of_transactions(ours: Capabilities, theirs: Capabilities) -> Iterator[Finding]:
    if ours.atomic_writes and not theirs.atomic_writes:
        yield Finding(
            "warning",
            "the target cannot write several documents in one step: transactions and two-way "
            "indexes are refused as soon as the service runs on the migration",
            "choose another target if the service uses them",
        )
    elif theirs.atomic_writes and theirs.max_atomic < ours.max_atomic:
        yield Finding(
            "warning",
            f"the target takes {theirs.max_atomic:,} documents in a transaction, the current store "
            f"{ours.max_atomic:,}: larger ones are refused as soon as the service runs on the "
            "migration",
            "split larger transactions first",
        )


def _of_queries(ours: Capabilities, theirs: Capabilities) -> Iterator[Finding]:
    lacking = sorted(ours.filters - theirs.filters)
    if lacking:
        yield Finding(
            "warning",
            f"the target does not narrow a search down by {', '.join(lacking)}: such filters give "
            "the same answers there, and read whole collections",
            "see which searches of the service use them",
        )
    if ours.orders and not theirs.orders:
        yield Finding(
            "warning",
            "the target does not sort: a list in an order reads all that match before the first "
            "one comes",
            "see which lists of the service have an order",
        )
    if ours.indexes and not theirs.indexes:
        yield Finding(
            "warning",
            "the target has no indexes: what is declared has no effect there",
            "see which searches of the service rely on one",
        )
    if theirs.filters and theirs.filters_need_index and not ours.filters_need_index:
        yield Finding(
            "warning",
            "the target narrows a search down by indexed fields alone: any other filter reads the "
            "whole collection",
            "declare indexes on the fields that the service searches by",
        )
    if theirs.indexes_lag and not ours.indexes_lag:
        yield Finding(
            "warning",
            "the target's indexes lag: a search by one may miss what was written in the last "
            "moments, usually less than a second",
            "read by key where the service must see its last write",
        )
