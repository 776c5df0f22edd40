"""What power failures and failing disks leave of writes to files."""

import asyncio
import errno
import itertools
import os
import shutil
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from disks import Disk, lay_out
from one_write import (
    BEFORE,
    CHECKS,
    CREATED,
    ELSEWHERE,
    NEW,
    OLD,
    READ,
    REMOVED,
    REPLACED,
    WRITES,
    Versions,
    documents,
    each_old_or_new,
    fill,
    find,
    format_of,
    left_over,
    listing,
    opened,
    record,
    temporary_of,
    versions,
)
from processes import FILL_ATOMICALLY, child

from aiostore.adaptors.files import FileAdaptor
from aiostore.errors import ConfigurationError, CorruptRecordError, StoreError, UnavailableError
from aiostore.protocols import Newer, Purge, Write

SENDERS: dict[str, Callable[[FileAdaptor], Coroutine[Any, Any, Any]]] = {
    "atomic": lambda adaptor: adaptor.write_atomic([*WRITES, *CHECKS]),
    "batch": lambda adaptor: adaptor.write(WRITES),
}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is a model, so nothing waits for the real one."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with the old documents."""
    folder = tmp_path / "data"
    asyncio.run(fill(folder))
    return folder


@pytest.fixture
def disk(folder: Path) -> Iterator[Disk]:
    """The disk that the folder is on."""
    disk = Disk(folder)
    yield disk
    disk.close()


def observe(disk: Disk, run: Coroutine[Any, Any, object]) -> None:
    """Watch the disk while this runs, and at its end."""
    with pytest.MonkeyPatch.context() as patch:
        disk.install(patch)
        asyncio.run(run)
        disk.note()


def after_power_failures(disk: Disk, place: Path) -> Iterator[tuple[Any, Versions]]:
    """For each state that the disk may have been left in: what was known, and what is found."""
    for tree, known in disk.states:
        lay_out(tree, place)
        yield known, asyncio.run(find(place))
        assert left_over(place) == []
        shutil.rmtree(place)


def test_a_power_failure_leaves_all_or_none(folder: Path, disk: Disk, tmp_path: Path) -> None:
    """Whatever was not on disk yet; and all, once the write was acknowledged."""

    async def run() -> None:
        async with opened(folder) as adaptor:
            await adaptor.write_atomic([*WRITES, *CHECKS])
            disk.known = "written"

    observe(disk, run())
    found = set(after_power_failures(disk, tmp_path / "after"))
    assert found == {(None, OLD), (None, NEW), ("written", NEW)}


def test_a_power_failure_leaves_each_of_a_batch_whole(
    folder: Path, disk: Disk, tmp_path: Path
) -> None:
    """A batch that is not atomic: each old or new, and new once it was acknowledged."""

    async def run() -> None:
        async with opened(folder) as adaptor:
            await adaptor.write(WRITES)
            disk.known = "written"

    observe(disk, run())
    for known, found in after_power_failures(disk, tmp_path / "after"):
        assert each_old_or_new(found)
        assert known is None or found == NEW


def test_a_power_failure_does_not_bring_an_old_journal_back(
    folder: Path, disk: Disk, tmp_path: Path
) -> None:
    """Later writes to the same places stay once they are acknowledged."""
    last = (3, 1, None, 3, 3)
    later = [
        Write(record(REPLACED, 3), Newer()),
        Write(record(CREATED, 3, None), Newer(), erase=True),
        Write(record(ELSEWHERE, 3), Newer()),
        Write(record(REMOVED, 3), Newer()),
    ]

    async def run() -> None:
        async with opened(folder) as adaptor:
            await adaptor.write_atomic([*WRITES, *CHECKS])
            disk.known = "written"
            for one in later:
                await adaptor.write([one])
            disk.known = "written again"

    observe(disk, run())
    for known, found in after_power_failures(disk, tmp_path / "after"):
        match known:
            case None:
                assert found in (OLD, NEW)
            case "written":
                pairs = zip(NEW, last, strict=True)
                assert all(one in pair for one, pair in zip(found, pairs, strict=True))
            case _:
                assert found == last


def test_a_power_failure_of_a_new_store(tmp_path: Path) -> None:
    """It can be opened at every moment, and what was acknowledged is there."""
    place = tmp_path / "parent"
    place.mkdir()
    disk = Disk(place)

    async def run() -> None:
        async with opened(place / "data") as adaptor:
            await adaptor.write(BEFORE)
            disk.known = "written"

    observe(disk, run())
    disk.close()
    for number, (tree, known) in enumerate(disk.states):
        after = tmp_path / str(number)
        lay_out(tree, after)
        found = asyncio.run(find(after / "data"))
        assert all(one in (None, old) for one, old in zip(found, OLD, strict=True))
        assert known is None or found == OLD


@pytest.mark.parametrize("sender", SENDERS)
def test_a_power_failure_after_a_crash(tmp_path: Path, sender: str) -> None:
    """What is found, and written, after a crash is there after a power failure too.

    The crash is a disk on which no call succeeds any more, from the n-th on.
    """

    async def crash_and_open(folder: Path, disk: Disk, n: int) -> None:
        async with opened(folder) as adaptor:
            disk.fail([None] * n + [errno.EIO] * 1000)
            with suppress(UnavailableError):
                await SENDERS[sender](adaptor)
        disk.fail([])
        async with opened(folder) as adaptor:
            found = await versions(adaptor)
            later = (3, *found[1:4], 3)
            disk.known = frozenset({found, (3, *found[1:]), later})
            await adaptor.write([Write(record(REPLACED, 3), Newer())])
            await adaptor.write([Write(record(REMOVED, 3), Newer())])
            disk.known = frozenset({later})

    for n in itertools.count():
        folder = tmp_path / str(n)
        asyncio.run(fill(folder))
        disk = Disk(folder)
        observe(disk, crash_and_open(folder, disk, n))
        for known, found in after_power_failures(disk, tmp_path / "after"):
            if known is None:
                assert each_old_or_new(found)
                assert sender == "batch" or found in (OLD, NEW)
            else:
                assert found in known
        disk.close()
        if not disk.failures:
            break
    assert n > 10


@pytest.mark.parametrize(("number", "times"), [(errno.ENOSPC, 1), (errno.EROFS, 100)])
@pytest.mark.parametrize("sender", SENDERS)
def test_a_call_that_fails(tmp_path: Path, sender: str, number: int, times: int) -> None:
    """Nothing was done, or it is not known and the next call finishes it first.

    Any error but `UnavailableError` tells that nothing of the call took effect. A write that is
    sent again is answered by what it has left there, and not before that is on disk.
    """
    errors = []

    async def fail_and_send_again(folder: Path, disk: Disk, n: int) -> None:
        before = await asyncio.to_thread(documents, folder)
        async with opened(folder) as adaptor:
            disk.fail([None] * n + [number] * times)
            try:
                await SENDERS[sender](adaptor)
            except StoreError as error:
                errors.append(error)
                if not isinstance(error, UnavailableError):
                    assert await asyncio.to_thread(documents, folder) == before
                disk.fail([])
                outcomes = await SENDERS[sender](adaptor)
                standing = [outcome.record for outcome in outcomes[:4]]
                assert standing == [*(one.record for one in WRITES[:3]), None]
            disk.known = NEW

    for n in itertools.count():
        folder = tmp_path / str(n)
        asyncio.run(fill(folder))
        disk = Disk(folder)
        observe(disk, fail_and_send_again(folder, disk, n))
        assert asyncio.run(find(folder)) == NEW
        for known, found in after_power_failures(disk, tmp_path / "after") if times == 1 else ():
            assert each_old_or_new(found)
            assert sender == "batch" or found in (OLD, NEW)
            assert known in (None, found)
        disk.close()
        if not disk.failures:
            break
    assert len(errors) == n > 10
    kinds = {type(error) for error in errors}
    if number == errno.EROFS:
        assert kinds == {UnavailableError, ConfigurationError}
    else:
        assert kinds == {UnavailableError}


def test_a_single_write_whose_end_fails_is_unavailable(folder: Path, disk: Disk) -> None:
    """Its file has its name by then, so that nothing took effect cannot be said."""

    async def run() -> None:
        async with opened(folder) as adaptor:
            disk.fail([None, None, errno.EROFS])
            with pytest.raises(UnavailableError, match="read-only"):
                await adaptor.write(WRITES[:1])
            assert await versions(adaptor) == (2, *OLD[1:])

    observe(disk, run())
    assert disk.failures == 1


def test_a_write_whose_rename_fails_took_no_effect(folder: Path, disk: Disk) -> None:
    """Until the first file has its name the error says what it is."""

    async def run() -> None:
        async with opened(folder) as adaptor:
            before = await asyncio.to_thread(listing, folder)
            for sender in (adaptor.write(WRITES[:1]), adaptor.write_atomic(WRITES[:1])):
                disk.fail([None, errno.EROFS])
                with pytest.raises(ConfigurationError, match="read-only"):
                    await sender
                assert await asyncio.to_thread(listing, folder) == before

    observe(disk, run())
    assert disk.failures == 2


def test_a_folder_that_is_gone_need_not_be_finished(folder: Path, disk: Disk) -> None:
    """Somebody removed a collection by hand, after a write in it was left unfinished."""

    async def run() -> None:
        async with opened(folder) as adaptor:
            disk.fail([None, None, errno.EIO])
            with pytest.raises(UnavailableError):
                await adaptor.write(WRITES[:1])
            await asyncio.to_thread(shutil.rmtree, folder / "users")
            [outcome] = await adaptor.write([Write(record(REPLACED, 3), Newer())])
            assert outcome.applied
            assert await versions(adaptor) == (3, None, None, None, 1)

    observe(disk, run())
    assert disk.failures == 1


def test_nothing_is_written_before_what_was_begun_is_finished(folder: Path, disk: Disk) -> None:
    """Every later call tries that first, and fails if it cannot; reads go on."""
    other = Write(record(READ, 3), Newer())

    async def run() -> None:
        async with opened(folder) as adaptor:
            calls_until_commit = 12
            disk.fail([None] * calls_until_commit + [errno.EIO] * 100)
            with pytest.raises(UnavailableError, match="in whole, in part or not"):
                await adaptor.write_atomic([*WRITES, *CHECKS])
            assert format_of(folder)["version"] == 2
            for call in (
                adaptor.write([other]),
                adaptor.write_atomic([other, Write(record(REMOVED, 3), Newer())]),
                adaptor.purge(Purge("users", everything=True)),
            ):
                with pytest.raises(UnavailableError, match="earlier write cannot be finished"):
                    await call
            assert await versions(adaptor) == OLD
            disk.fail([])
            [outcome] = await adaptor.write([other])
            assert outcome.applied
            assert await versions(adaptor) == (NEW[0], 3, *NEW[2:])
            assert await asyncio.to_thread(left_over, folder) == []

    observe(disk, run())
    assert disk.failures == 4


def test_a_full_disk_at_every_size(tmp_path: Path) -> None:
    """Nothing is changed and nothing left over, whichever file it is that has no room."""
    folder = tmp_path / "data"
    with child(FILL_ATOMICALLY, f"file:{folder}", folder) as process:
        output, _ = process.communicate()
    assert process.returncode == 0
    *refused, written, more = output.splitlines()
    assert len(refused) > 10
    assert all(line.startswith("unavailable") for line in refused)
    assert written.startswith("written")
    assert more == "0"


def test_damage_while_the_store_is_open(folder: Path, disk: Disk) -> None:
    """What cannot be finished keeps everything else from being written."""

    async def run() -> None:
        async with opened(folder) as adaptor:
            disk.fail([None] * 12 + [errno.EIO] * 100)
            with pytest.raises(UnavailableError):
                await adaptor.write_atomic([*WRITES, *CHECKS])
            disk.fail([])
            await asyncio.to_thread(lambda: temporary_of(folder).write_text("{}"))
            before = await asyncio.to_thread(listing, folder)
            for _ in range(2):
                with pytest.raises(CorruptRecordError, match="gone or damaged"):
                    await adaptor.write([Write(record(READ, 3), Newer())])
            assert await asyncio.to_thread(listing, folder) == before

    observe(disk, run())
