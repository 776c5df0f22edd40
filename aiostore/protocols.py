"""The boundary between the library and its engines.

Above this line are `Store` and `Collection`, which hold every convenience, default and check.
Below it is one `Adaptor` per kind of engine, which stores and compares encoded records and knows
nothing of types, retries or queries. Wrappers (the migration, caching, tenancy) are adaptors
around adaptors.

The contract stands on the methods of `Adaptor`, once; implementations document only what differs.
"""

from collections.abc import AsyncGenerator, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from msgspec import Struct

from aiostore.filters import Filter, Path
from aiostore.orders import Coarse


class DocumentId(NamedTuple):
    """Where a document is: compared and ordered by collection, then by key, by code point."""

    collection: str
    key: str


class Mark(StrEnum):
    """Which store is a record's authority. `live`, but during a migration.

    Adaptors store the mark and compare it, nothing more.
    """

    LIVE = "live"
    MOVED = "moved"
    MIRROR = "mirror"
    AUTHORITY = "authority"
    RETURNING = "returning"


class Record(Struct, frozen=True):
    """One stored document, encoded; or the tombstone of a deleted one.

    Attributes:
        id: where it stands.
        body: the value as compact JSON text, exactly as it is to come back; None for a tombstone.
        version: 32 lower-case hex digits (a UUIDv7), compared as text.
        created_at: microseconds since 1970-01-01 UTC.
        updated_at: likewise.
        expires_at: likewise; from that moment on the document counts as absent. None for never.
        mark: see `Mark`.
    """

    id: DocumentId
    body: str | None
    version: str
    created_at: int
    updated_at: int
    expires_at: int | None = None
    mark: Mark = Mark.LIVE


class Absent(Struct, frozen=True):
    """No record at all stands there. A tombstone or an expired document is a record."""


class Exactly(Struct, frozen=True):
    """The record that stands there, a document or a tombstone, has this version.

    Attributes:
        version: the version that must stand there.
        unexpired_at: if given, the moment (microseconds since 1970 UTC) at which the standing
            record must not have expired: its `expires_at` is None or later.
    """

    version: str
    unexpired_at: int | None = None


class Newer(Struct, frozen=True):
    """Nothing stands there, or a record (a tombstone counts) with a smaller version."""


Condition = Absent | Exactly | Newer


class Write(Struct, frozen=True):
    """One record to be stored if a condition holds.

    Attributes:
        record: what is stored, verbatim.
        condition: what must stand there for the write to be applied.
        mark: the mark that a standing record must have, or None for any. Where nothing stands it
            demands nothing.
        keep_created_at: with `Exactly`, the standing record's `created_at` stays.
        erase: `record` is a tombstone and need not be kept: when applied, no record is left. (A
            wrapper that needs the tombstone may leave it.)
    """

    record: Record
    condition: Condition
    mark: Mark | None = None
    keep_created_at: bool = False
    erase: bool = False


class Check(Struct, frozen=True):
    """A condition on a record that stays as it is; one of the items of `write_atomic`.

    Attributes:
        id: the record's place.
        condition: what must stand there.
        mark: the mark that a standing record must have, or None for any.
    """

    id: DocumentId
    condition: Absent | Exactly
    mark: Mark | None = None


class Outcome(Struct, frozen=True):
    """The answer to one write or check.

    Attributes:
        applied: whether the condition held and the write, if it is one, took effect.
        record: what stands there now: after an applied write the record as it was stored (None
            after an erasure), after a refused write or check the record that refused it (None if
            nothing stood there). `write_atomic` may know less of what was not refused: of a check
            that held it tells what that met, or None; of a write with `keep_created_at`, it may
            tell the `created_at` that was sent; and of a write whose own condition held, while
            another item was refused, whatever it likes.
    """

    applied: bool
    record: Record | None


class Sort(Struct, frozen=True):
    """The order of a scan: the coarse order (`aiostore.orders`) of one field.

    Attributes:
        path: the field; its names are `plain` ones, as those of filters.
        descending: the other way round.
        start: the coarse place to begin at; None for the beginning.
    """

    path: Path
    descending: bool = False
    start: Coarse | None = None


class Scan(Struct, frozen=True):
    """Which records of one collection to walk through.

    Attributes:
        collection: the collection.
        prefix: only keys that begin with it.
        start_after: only keys greater than it.
        segment: only the keys of this segment, 0 to `segments` - 1.
        segments: into how many segments the keys are divided. Which segment a key falls into
            depends on the key and on this number alone.
        chunk: about how many records to yield at a time; a hint.
        where: leave out records that do not match, as far as the engine can. Made of the kinds
            that the capabilities name and of `plain` names of fields alone. Tombstones never
            match; whether a document has expired is no matter.
        order: come in this order instead of that of the keys; only where the capabilities have
            `orders`. There is no `start_after` then, and one segment.
        consistent: if false, each record may come in an older state, or be missing if it had none
            or was no match in that state, as `Adaptor.read` has it.
    """

    collection: str
    prefix: str = ""
    start_after: str | None = None
    segment: int = 0
    segments: int = 1
    chunk: int = 500
    where: Filter | None = None
    order: Sort | None = None
    consistent: bool = True


class Purge(Struct, frozen=True):
    """Which records of one collection to remove for good.

    A record goes if any of the three holds for it at the moment of its removal.

    Attributes:
        collection: the collection.
        expired_before: documents whose `expires_at` is smaller (microseconds since 1970 UTC).
        deleted_before: tombstones whose `updated_at` is smaller.
        everything: every record.
    """

    collection: str
    expired_before: int | None = None
    deleted_before: int | None = None
    everything: bool = False


class Capabilities(Struct, frozen=True):
    """What an adaptor can do and how much at once: declared, never detected.

    Attributes:
        persistent: what was acknowledged is there after `aclose` and `open` in a new process.
        shared: several processes may have the same data open at once.
        atomic_writes: `write_atomic` works; otherwise it raises `UnsupportedError`.
        max_batch: most items in one `read` or `write`.
        max_atomic: most items in one `write_atomic`; 0 without `atomic_writes`.
        filters: the kinds of filters (`aiostore.filters.kinds_of`) that a scan narrows down by.
        filters_need_index: they save something only where they ask after fields that have an index.
            So a scan is given others for no other reason than that an index is not there yet, or
            cannot be made; it then need not heed them.
        orders: a scan can come in another order than that of the keys.
        indexes: `index` works; otherwise it raises `UnsupportedError`.
        indexes_lag: a scan that goes by an index may leave out what came to match in the last
            moments, usually less than a second.
        read_lanes: how many calls of `read` may gain by being under way at once.
        write_lanes: how many calls of `write`.
    """

    persistent: bool
    shared: bool
    atomic_writes: bool
    max_batch: int
    max_atomic: int = 0
    filters: frozenset[str] = frozenset()
    orders: bool = False
    filters_need_index: bool = False
    indexes: bool = False
    indexes_lag: bool = False
    read_lanes: int = 1
    write_lanes: int = 1


class Adaptor(Protocol):
    """An engine, seen by the library.

    The caller (`Store`, or a wrapper) guarantees: names, keys and bodies keep to the portability
    contract (`aiostore.limits`); a batch is not empty, not longer than the capabilities say and
    holds no id twice; `open` has returned before anything else is called, `aclose` is called when
    nothing else is under way; everything is called on one event loop.

    Every method: does not block the event loop; lets cancellation through at once and leaves every
    record whole, the old or the new one; raises `UnavailableError` if the engine cannot be
    reached or does not answer (after a write it is then not known whether it, or a part of it,
    took effect), `CorruptRecordError` for data that cannot be read, and plain `StoreError`, with
    its cause, for an error that it does not know. Any error but `UnavailableError` means that
    nothing of this call took effect; the caller may try its items one by one.
    """

    @property
    def name(self) -> str:
        """The store as a person knows it, without secrets: for messages."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """Constant from construction on."""
        ...

    async def open(self) -> None:
        """Connect, and create what is missing. May be called again after `aclose`.

        Raises:
            ConfigurationError: the place is missing, not writable, not ours or in use by another
                process. Nothing was changed then.
        """
        ...

    async def aclose(self) -> None:
        """Release everything: no task, thread, connection or lock is left.

        Idempotent; called after an `open` that failed, too.
        """
        ...

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        """The records that stand at `ids`, in their order; tombstones and expired ones too.

        A read begun after a write was acknowledged sees that write or a later one. If it need not
        be `consistent` it may see an older state instead, where that is cheaper: of each record one
        that it has had, or none if there was none yet, be it from before a write that this very
        process was acknowledged, or from before what the last read saw. Without further writes such
        reads come to see the latest state, usually within a second. An adaptor may ignore it; a
        wrapper forwards it.
        """
        ...

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        """Apply each write whose condition holds; outcomes in the order of `writes`.

        Each write stands alone: it is applied whole or not at all, its condition is decided and
        its record stored in one step that no other writer comes between, and a refused one does
        not hinder its neighbours. An acknowledged write is as durable as the engine makes it.
        """
        ...

    async def write_atomic(self, items: Sequence[Write | Check], /) -> Sequence[Outcome]:
        """Apply all writes in one step if every condition holds, otherwise none of them.

        Whatever the engine crashes on, all or none are there afterwards. When one is refused, the
        outcomes tell which (`applied` is false for them) and what stands there; for the others
        `applied` tells that their own condition held, though nothing was stored. A `read` of many
        ids that is under way meanwhile may see a part of it.

        Raises:
            UnsupportedError: the capabilities say that it does not exist here.
        """
        ...

    def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        """The records in the order of their keys (code points), in chunks that are not empty.

        Tombstones and expired documents are among them. Not a snapshot: a record that is there
        and unchanged from start to end is yielded exactly once, one that is written meanwhile at
        most once, in its state of some moment during the scan. A record that does not match
        `where` may come all the same; one that matches is never left out; but with
        `indexes_lag` one that has not matched for long may be. Constant memory, but for what the
        adaptor's own page says. `aclose` of the generator, at any point, releases everything.

        With an `order` of the request, records come by the coarse order of its field: by rank of
        the value's type; numbers by value, but those that differ by a part of 1e-13 (or 1e-300)
        or less in any order; texts by their first 128 code points; in any order where they are
        alike; all of it the other way round if it is `descending`. From `start` on everything
        comes, what is exactly there too; a little from before may. Tombstones may be left out. A
        record that is written meanwhile comes where the state that is yielded belongs, and may
        come twice: at its old place and at its new one. All else is as without an order.
        """
        ...

    async def index(self, collection: str, path: Path, /) -> None:
        """Make filters and orders by a field of a collection fast; returns when they are.

        Its names are `plain` ones. Idempotent, and fit to be called by several processes at once.
        Meanwhile all else goes on, as well as the engine can. The index outlives `aclose`, if the
        data do. With `indexes_lag` it may go on missing what was written in the last moments.

        Raises:
            UnsupportedError: the capabilities say that there are no indexes here; or this store's
                are fixed, and this is none of them.
        """
        ...

    async def count(self, collection: str, /, *, alive_at: int | None = None) -> int:
        """How many records the collection holds.

        Without `alive_at`, for progress and planning: tombstones and expired ones included, and
        the engine's estimate may do. With it, exactly the documents: no tombstones, and none that
        has expired at that moment (microseconds since 1970 UTC).
        """
        ...

    async def collections(self) -> Sequence[str]:
        """The names of the collections that hold a record, in order."""
        ...

    async def purge(self, request: Purge, /) -> int:
        """Remove records for good; returns how many.

        Each removal is conditional on the record as it stands at that moment, so a fresh write is
        never removed by a purge for what stood there before. A wrapper may put off what it cannot
        do safely, and return 0.
        """
        ...
