"""The state machine is worth something only if it finds what is wrong."""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

import pytest
from blockbuster import BlockingError
from broken import LeavesATask, ResumesByOffset
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from msgspec.structs import replace

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.protocols import (
    Check,
    DocumentId,
    Exactly,
    Newer,
    Outcome,
    Purge,
    Record,
    Scan,
    Write,
)
from aiostore.testing import CheckFailedError, Harness
from aiostore.testing.machine import DocumentMachine, machine_for


class ReadsTheStale(MemoryAdaptor):
    """Tells what it has read once more, though the document has been overwritten since."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[DocumentId, Record | None] = {}

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        standing = dict(zip(ids, await super().read(ids, consistent=consistent), strict=True))
        told = [self._told.get(id_, record) for id_, record in standing.items()]
        self._told.update(standing)
        return told


class LosesTheLastWrite(MemoryAdaptor):
    """Says that it is persistent, and forgets the last write when it is closed."""

    _last: DocumentId | None = None

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        self._last = writes[-1].record.id
        return await super().write(writes)

    async def aclose(self) -> None:
        if self._last is not None:
            self._collections.get(self._last.collection, {}).pop(self._last.key, None)


class KeepsTheExpired(MemoryAdaptor):
    """Stores no document's end."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await super().write(
            [replace(write, record=replace(write.record, expires_at=None)) for write in writes]
        )


class ExpiresAMillisecondLate(MemoryAdaptor):
    """Rounds a document's end up to milliseconds."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await super().write(
            [replace(write, record=_rounded_up(write.record)) for write in writes]
        )


class ScansBackwards(MemoryAdaptor):
    """Yields each chunk in the opposite order."""

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        async for chunk in super().scan(request):
            yield chunk[::-1]


class IgnoresTheCondition(MemoryAdaptor):
    """Replaces any version."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await super().write(
            [replace(write, condition=Newer()) if _replaces(write) else write for write in writes]
        )


class ShowsTombstones(MemoryAdaptor):
    """Keeps what is erased as an empty document."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await super().write(
            [
                replace(write, record=replace(write.record, body="{}"), erase=False)
                if write.erase
                else write
                for write in writes
            ]
        )


class ComparesAsCollationsDo(MemoryAdaptor):
    """Compares versions without regard to case and to spaces at their end."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await super().write([_collated(write) for write in writes])


class CommitsHalf(MemoryAdaptor):
    """Forgets to check what a transaction has only read."""

    async def write_atomic(self, items: Sequence[Write | Check], /) -> Sequence[Outcome]:
        writes = [item for item in items if isinstance(item, Write)]
        outcomes = iter(await super().write_atomic(writes))
        return [
            next(outcomes) if isinstance(item, Write) else Outcome(applied=True, record=None)
            for item in items
        ]


class PurgesTheLiving(MemoryAdaptor):
    """Has a clock of its own, which is ahead."""

    async def purge(self, request: Purge, /) -> int:
        before = request.expired_before
        later = None if before is None else before + 24 * 60 * 60 * 1_000_000
        return await super().purge(replace(request, expired_before=later))


class Blocks(MemoryAdaptor):
    """Waits for its engine on the event loop."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        time.sleep(0.001)  # noqa: ASYNC251  # that is what is wrong with it
        return await super().write(writes)


WRONG: list[type[MemoryAdaptor]] = [
    ReadsTheStale,
    LosesTheLastWrite,
    KeepsTheExpired,
    ExpiresAMillisecondLate,
    ScansBackwards,
    IgnoresTheCondition,
    ShowsTombstones,
    ComparesAsCollationsDo,
    CommitsHalf,
    PurgesTheLiving,
    LeavesATask,
    ResumesByOffset,
]
"""Wrong in one way each; hidden from whoever looks at one call alone."""


def _rounded_up(record: Record) -> Record:
    if record.expires_at is None:
        return record
    return replace(record, expires_at=-(-record.expires_at // 1000) * 1000)


def _replaces(write: Write) -> bool:
    return isinstance(write.condition, Exactly) and not write.erase


def _collated(write: Write) -> Write:
    if not isinstance(write.condition, Exactly):
        return write
    return replace(
        write, condition=replace(write.condition, version=write.condition.version.lower().rstrip())
    )


quick = settings(
    derandomize=True,  # the same examples every time
    database=None,
    deadline=None,
    phases=[Phase.generate],  # the first that fails will do as it is
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],  # on a busy machine
)


def run(machine: type[DocumentMachine], examples: int) -> None:
    """Run it; raises what the first example that fails does."""
    run_state_machine_as_test(machine, settings=settings(quick, max_examples=examples))


def in_memory(kind: Callable[[], MemoryAdaptor]) -> Harness:
    """A harness over an adaptor whose documents live in the object."""
    adaptor = kind()
    return Harness(lambda: adaptor)


def over(kind: Callable[[], MemoryAdaptor], folder: Path) -> type[DocumentMachine]:
    """The machine over such adaptors."""
    return machine_for(lambda _: in_memory(kind), folder)


STEPS = [
    *(f"get: {end}" for end in ("done", "NotFoundError")),
    *(f"create: {end}" for end in ("done", "AlreadyExistsError")),
    "put: done",
    *(f"replace: {end}" for end in ("done", "NotFoundError", "ConflictError")),
    *(f"update: {end}" for end in ("done", "NotFoundError", "InvalidValueError")),
    *(f"delete: {end}" for end in ("done", "NotFoundError", "ConflictError")),
    *(f"update while Put: {end}" for end in ("value", "None", "error")),
    *(f"update while Delete: {end}" for end in ("value", "None", "error")),
    *("at once", "rivals", "put many", "delete many", "get many"),
    *(f"{verb}: {end}" for verb in ("find", "scan") for end in ("something", "nothing")),
    *("walk: ended", "walk: left", "page: another", "page: last"),
    *("wait", "wait for expiry", "purge: something", "purge: nothing", "clear: something"),
    *(f"reopen: {clock} clock" for clock in ("same", "new", "set back")),
    *(f"transaction: {end}" for end in ("committed", "ConflictError", "left by an error")),
    *("transaction: AlreadyExistsError", "transaction: NotFoundError", "run"),
    *(f"wrong argument: {error}" for error in ("InvalidKeyError", "InvalidValueError")),
    "wrong cursor",
]
"""What is counted when it is done."""


@pytest.mark.parametrize("kind", WRONG, ids=lambda kind: kind.__name__)
def test_finds_what_is_wrong(kind: type[MemoryAdaptor], tmp_path: Path) -> None:
    """A wrong adaptor parts from the model within a bounded number of examples."""
    with pytest.raises(CheckFailedError):
        run(over(kind, tmp_path), 500)


def test_what_blocks_the_loop_is_found(tmp_path: Path) -> None:
    """The machine's own event loop is watched as every other is."""
    with pytest.raises(BlockingError):
        run(over(Blocks, tmp_path), 20)


def test_every_step_is_taken(tmp_path: Path) -> None:
    """What the machine can do it does, with every outcome that there can be."""
    machine = over(MemoryAdaptor, tmp_path)
    run(machine, 120)
    assert [step for step in STEPS if not machine.done[step]] == []


def test_nothing_is_left_of_an_example(tmp_path: Path) -> None:
    """Its folder is gone, whether it passed or failed."""
    run(over(MemoryAdaptor, tmp_path), 5)
    with pytest.raises(CheckFailedError):
        run(over(ScansBackwards, tmp_path), 500)
    assert list(tmp_path.iterdir()) == []


TestMine = machine_for(lambda _: in_memory(MemoryAdaptor)).TestCase
TestMine.settings = settings(quick, max_examples=10)


def test_a_harness_that_cannot_be_made_leaves_no_folder(tmp_path: Path) -> None:
    """An engine that is missing is found out before there is an example to tear down."""

    def missing(_: Path) -> Harness:
        raise LookupError

    with pytest.raises(LookupError):
        machine_for(missing, tmp_path)()
    assert list(tmp_path.iterdir()) == []
