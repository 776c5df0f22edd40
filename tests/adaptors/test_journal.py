"""Atomic writes to files, and what kills and damage leave of them."""

import asyncio
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import crashes
import pytest
from one_write import (
    CHECKS,
    CREATED,
    ELSEWHERE,
    NEW,
    OLD,
    READ,
    REMOVED,
    REPLACED,
    WRITES,
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
from processes import TRANSFER, child

from aiostore.errors import ConfigurationError, CorruptRecordError, StoreError
from aiostore.protocols import (
    Absent,
    Check,
    DocumentId,
    Exactly,
    Newer,
    Outcome,
    Write,
)

AT_REST = {"format": "aiostore files", "version": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with the old documents."""
    folder = tmp_path / "data"
    asyncio.run(fill(folder))
    return folder


# Kills


def with_kills(job: str, out: Path, *folders: Path) -> list[tuple[Path, bool]]:
    """Copies of the folders, in which the job was killed before each of its system calls."""
    out.mkdir()
    command = [sys.executable, crashes.__file__, job, *map(str, (out, *folders))]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE)  # noqa: S603  # our own script
    return [(Path(copy), killed) for copy, killed in map(json.loads, answer.stdout.splitlines())]


@pytest.fixture
def killed(folder: Path, tmp_path: Path) -> list[Path]:
    """Copies of the store in which the atomic write was killed, before each of its system calls."""
    copies = with_kills("write", tmp_path / "killed", folder)
    assert [was_killed for _, was_killed in copies] == [True] * (len(copies) - 1) + [False]
    assert asyncio.run(find(copies.pop()[0])) == NEW
    return [copy for copy, _ in copies]


@pytest.fixture
def committed(killed: list[Path]) -> list[Path]:
    """Those of them that hold a journal."""
    return [copy for copy in killed if format_of(copy)["version"] == 2]


def test_a_kill_leaves_all_or_none(killed: list[Path], committed: list[Path]) -> None:
    """Before whichever system call it comes; and the store is at rest once it was opened."""
    assert 8 <= len(committed) < len(killed) - 10
    first, last = killed.index(committed[0]), killed.index(committed[-1])
    assert killed[first : last + 1] == committed
    for number, copy in enumerate(killed):
        for _ in range(2):
            assert asyncio.run(find(copy)) == (NEW if number >= first else OLD)
            assert left_over(copy) == []
            assert format_of(copy) == AT_REST


def test_a_kill_during_recovery(committed: list[Path], tmp_path: Path) -> None:
    """What was committed is carried out, however often that is interrupted."""
    some = committed[::3]
    again = with_kills("find", tmp_path / "again", *some)
    assert len(again) > 5 * len(some)
    thrice = with_kills("find", tmp_path / "thrice", again[4][0])
    for copy, _ in again + thrice:
        assert asyncio.run(find(copy)) == NEW
        assert left_over(copy) == []
        assert format_of(copy) == AT_REST


@pytest.mark.parametrize("seed", range(6))
def test_no_money_is_lost(tmp_path: Path, seed: int) -> None:
    """Transfers between accounts, in a process that is killed over and over: the sum stays.

    What a transfer that was acknowledged left in an account is there, or what a later one left.
    """
    folder = tmp_path / "bank"
    rounds = random.Random(seed)
    accounts = [DocumentId(f"bank-{n % 3}", f"account-{n}") for n in range(6)]

    async def balances() -> dict[DocumentId, tuple[str, int]]:
        async with opened(folder) as adaptor:
            found = await adaptor.read(accounts)
        return {
            one.id: (one.version, json.loads(one.body or "")["amount"])
            for one in found
            if one is not None
        }

    for _ in range(3):
        acknowledged = {}
        with child(TRANSFER, f"file:{folder}") as process:
            assert process.stdout is not None
            for _ in range(rounds.randint(1, 60)):
                collection, key, version = process.stdout.readline().split()
                acknowledged[DocumentId(collection, key)] = version
            process.kill()
        assert process.returncode == -signal.SIGKILL
        found = asyncio.run(balances())
        assert sum(amount for _, amount in found.values()) == 600
        assert all(found[id_][0] >= version for id_, version in acknowledged.items())
        assert left_over(folder) == []


# Damage


def change_format(old: bytes, new: bytes) -> Callable[[Path], None]:
    """Damage to the format file that holds the journal."""

    def change(folder: Path) -> None:
        path = folder / "aiostore.json"
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new))

    return change


def write_format(content: object) -> Callable[[Path], None]:
    """Another format file."""

    def change(folder: Path) -> None:
        (folder / "aiostore.json").write_text(json.dumps(content))

    return change


def lose_format(folder: Path) -> None:
    """The format file is removed."""
    (folder / "aiostore.json").unlink()


def lose_temporary(folder: Path) -> None:
    """A temporary file is removed."""
    temporary_of(folder).unlink()


def empty_temporary(folder: Path) -> None:
    """A temporary file is emptied."""
    temporary_of(folder).write_bytes(b"")


DAMAGES: dict[str, tuple[Callable[[Path], None], type[StoreError], str]] = {
    "key": (change_format(b"Alice", b"Alicf"), CorruptRecordError, "checksum is wrong"),
    "checksum": (change_format(b'"sha256":"', b'"sha256":"0'), CorruptRecordError, "checksum"),
    "version": (change_format(b'"version":2', b'"version":1'), ConfigurationError, "format"),
    "name": (change_format(b"aiostore files", b"other"), ConfigurationError, "format"),
    "text": (change_format(b"}]}", b"}]"), ConfigurationError, "format"),
    "no journal": (write_format(AT_REST | {"version": 2}), ConfigurationError, "format"),
    "gone": (lose_temporary, CorruptRecordError, "is gone or damaged"),
    "empty": (empty_temporary, CorruptRecordError, "is gone or damaged"),
    "no format": (lose_format, ConfigurationError, "other things"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_told_and_nothing_is_changed(committed: list[Path], damage: str) -> None:
    """An atomic write that cannot be finished is never dropped in silence."""
    do, error, reason = DAMAGES[damage]
    folder = committed[0]
    do(folder)
    before = listing(folder)
    for _ in range(2):
        with pytest.raises(error, match=reason) as caught:
            asyncio.run(find(folder))
        assert type(caught.value) is error
        assert caught.value.store == f"file:{folder}"
        assert listing(folder) == before


def test_what_recovery_needs_besides_is_made_anew(committed: list[Path]) -> None:
    """The format file that is to take the journal's place may be gone or damaged."""
    for number, copy in enumerate(committed):
        resting = copy / "aiostore.json.rest.tmp"
        if number % 2:
            resting.unlink(missing_ok=True)
        else:
            resting.write_text("{")
        assert asyncio.run(find(copy)) == NEW
        assert format_of(copy) == AT_REST
        assert left_over(copy) == []


def test_who_accepts_the_damage_can_go_on(committed: list[Path]) -> None:
    """The message says how: the documents are then as they were left."""
    folder = committed[2]
    temporary_of(folder).unlink()
    with pytest.raises(CorruptRecordError) as caught:
        asyncio.run(find(folder))
    advice = str(caught.value).partition("aiostore.json hold ")[2]
    (folder / "aiostore.json").write_text(advice[: advice.index("}") + 1])
    assert each_old_or_new(asyncio.run(find(folder)))
    assert left_over(folder) == []


# Without failures


async def test_refused_writes_change_nothing(tmp_path: Path) -> None:
    """Each that does not hold is told with what stands there, checks too; no file is touched."""
    folder = tmp_path / "data"
    await fill(folder)
    async with opened(folder) as adaptor:
        before = await asyncio.to_thread(listing, folder)
        outcomes = await adaptor.write_atomic(
            [
                Write(record(REPLACED, 2), Exactly(f"{7:032x}")),
                Check(READ, Absent()),
                Write(record(CREATED, 2), Absent()),
                Check(ELSEWHERE, Exactly(f"{1:032x}")),
                Write(record(REMOVED, 2, None), Newer(), erase=True),
            ]
        )
        assert outcomes == [
            Outcome(applied=False, record=record(REPLACED, 1)),
            Outcome(applied=False, record=record(READ, 1)),
            Outcome(applied=True, record=record(CREATED, 2)),
            Outcome(applied=False, record=None),
            Outcome(applied=True, record=None),
        ]
        assert await asyncio.to_thread(listing, folder) == before
        assert sorted(path.name for path in folder.iterdir()) == [
            "aiostore.json",
            "aiostore.lock",
            "logins",
            "users",
        ]


async def test_one_document_needs_no_journal(tmp_path: Path) -> None:
    """However many are checked; and what only checks, or erases nothing, writes nothing."""
    folder = tmp_path / "data"
    await fill(folder)
    nothing = Write(record(DocumentId("none", "x"), 2, None), Newer(), erase=True)

    def format_file() -> int:
        return (folder / "aiostore.json").stat().st_ino

    async with opened(folder) as adaptor:
        before = await asyncio.to_thread(format_file)
        assert [one.applied for one in await adaptor.write_atomic([*CHECKS, nothing])] == [True] * 2
        assert await adaptor.write_atomic([*CHECKS, nothing, WRITES[0]]) == [
            Outcome(applied=True, record=record(READ, 1)),
            Outcome(applied=True, record=None),
            Outcome(applied=True, record=record(REPLACED, 2)),
        ]
        assert await asyncio.to_thread(format_file) == before
        await adaptor.write_atomic([*WRITES[1:], nothing])
        assert await asyncio.to_thread(format_file) != before
        assert await versions(adaptor) == NEW
    assert not (folder / "none").exists()


async def test_what_is_finished_is_not_looked_for_again(tmp_path: Path) -> None:
    """A search for what was left over costs a walk through all folders; only errors lead to it."""
    folder = tmp_path / "data"
    await fill(folder)
    async with opened(folder) as adaptor:
        await asyncio.to_thread((folder / "users" / ".0.tmp").touch)
        await adaptor.write_atomic([*WRITES, *CHECKS])
        await adaptor.write([Write(record(READ, 3), Newer())])
        assert await asyncio.to_thread(left_over, folder) == ["users/.0.tmp"]


async def test_as_many_as_the_capabilities_say(tmp_path: Path) -> None:
    """In one write, with keys as long as may be."""
    folder = tmp_path / "data"
    async with opened(folder) as adaptor:
        ids = [
            DocumentId(f"c{n % 7}", f"{n:03}" * 170) for n in range(adaptor.capabilities.max_atomic)
        ]
        assert len(ids) == 500
        outcomes = await adaptor.write_atomic([Write(record(id_, 1), Absent()) for id_ in ids])
        assert all(outcome.applied for outcome in outcomes)
    async with opened(folder) as adaptor:
        assert await adaptor.read(ids) == [record(id_, 1) for id_ in ids]


@pytest.mark.parametrize("number", range(12))
async def test_a_cancelled_write_goes_on_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Whatever it was waiting for; and the store can be closed at once."""
    folder = tmp_path / "data"
    await fill(folder)
    loop = asyncio.get_running_loop()
    async with opened(folder) as adaptor:
        fsync, calls, cancelled = os.fsync, itertools.count(), threading.Event()

        def cancelling(descriptor: int) -> None:
            if next(calls) == number:
                loop.call_soon_threadsafe(writing.cancel)
                cancelled.wait()
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", cancelling)
        writing = asyncio.create_task(adaptor.write_atomic([*WRITES, *CHECKS]))
        writing.add_done_callback(lambda _: cancelled.set())
        with pytest.raises(asyncio.CancelledError):
            await writing
    assert await find(folder) == NEW


async def test_a_write_that_is_cancelled_at_once_leaves_all_or_none(tmp_path: Path) -> None:
    """Whether it had begun or not."""
    folder = tmp_path / "data"
    await fill(folder)
    async with opened(folder) as adaptor:
        writing = asyncio.create_task(adaptor.write_atomic([*WRITES, *CHECKS]))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
    assert await find(folder) in (OLD, NEW)


async def test_one_of_many_wins(tmp_path: Path) -> None:
    """Atomic writes at the same moment on the same documents: one is applied, whole."""
    folder = tmp_path / "data"
    await fill(folder)
    async with opened(folder) as adaptor:
        answers = await asyncio.gather(
            *(
                adaptor.write_atomic(
                    [
                        Write(record(REPLACED, number), Exactly(f"{1:032x}")),
                        Write(record(REMOVED, number), Exactly(f"{1:032x}")),
                    ]
                )
                for number in range(2, 12)
            )
        )
        applied = [all(one.applied for one in outcomes) for outcomes in answers]
        assert sum(applied) == 1
        found = await versions(adaptor)
        assert found == (applied.index(True) + 2, 1, None, None, applied.index(True) + 2)
