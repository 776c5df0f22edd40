import asyncio
import errno
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from processes import FILL_DISK, child, unprivileged

import aiostore
from aiostore.adaptors.files import FileAdaptor
from aiostore.adaptors.files._folder import Folder
from aiostore.adaptors.files._names import file_name, key_in
from aiostore.errors import (
    ClosedError,
    ConfigurationError,
    CorruptRecordError,
    StoreError,
    UnavailableError,
)
from aiostore.limits import PORTABLE
from aiostore.protocols import DocumentId, Mark, Newer, Purge, Record, Scan, Write
from aiostore.store import Store
from aiostore.versions import VersionClock

MICROSECONDS = 1_700_000_000_123_456
CLOCK = VersionClock(lambda: MICROSECONDS)
KEYS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=128
)
HOSTILE = [
    "../x", "..", ".", "/", "//", "a/b", "/etc/passwd", "CON", "con", "nul.json", "aux", "~", "~~",
    "a~1", "%", "%41", "a%2f", "A", "a", "aA", "Aa", "AA", "aa", ".hidden", ".x.tmp", "a.json",
    "a.json.json", "\x01", "\n", " ", "a ", " a", "a.", "\x7f", "ä", "a\u0308", "Ä", "ß", "ẞ",
    "\U0001f469\u200d\U0001f680", "\U0010ffff" * 128, "x" * 512, "X" * 512, "x" * 200, "x" * 201,
    "X" * 150, "x" * 511 + "X", "%" * 512, "\\", "a:b", "*", "?", "<|>", '"', "-", "--", "\u0131",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the store is to be."""
    return tmp_path / "data"


def listing(folder: Path) -> dict[str, bytes | None]:
    """All that there is in and below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def record(key: str, body: str | None = "{}", **fields: Any) -> Record:
    """A record with a fresh version."""
    return Record(DocumentId("users", key), body, CLOCK.next(), MICROSECONDS, 2, **fields)


def put(folder: Path, *keys: str) -> None:
    """Store a document under each key."""

    async def run() -> None:
        async with Store(FileAdaptor(folder), clock=CLOCK) as store:
            for key in keys or ("alice",):
                await store.collection("users").put(key, {"name": key, "age": 1.0})

    asyncio.run(run())


def open_and_close(folder: Path) -> None:
    """Open a store, which may fail, and close it."""

    async def run() -> None:
        async with Store(FileAdaptor(folder)):
            pass

    asyncio.run(run())


def test_a_document_is_a_readable_file(folder: Path) -> None:
    """JSON with the key, the version, the dates and the value, in a folder of the collection."""
    put(folder, "alice")
    found = listing(folder)
    assert sorted(found) == ["aiostore.json", "aiostore.lock", "users", "users/alice.json"]
    text = (folder / "users" / "alice.json").read_text()
    version = json.loads(text)["version"]
    assert text == (
        "{\n"
        '  "key": "alice",\n'
        f'  "version": "{version}",\n'
        '  "created_at": "2023-11-14T22:13:20.123456Z",\n'
        '  "updated_at": "2023-11-14T22:13:20.123456Z",\n'
        '  "value": {\n'
        '    "name": "alice",\n'
        '    "age": 1.0\n'
        "  }\n"
        "}\n"
    )


async def test_what_is_seldom_is_only_written_when_it_is_there(folder: Path) -> None:
    """A moment of expiry, a mark, and null for the value of a tombstone."""
    adaptor = FileAdaptor(folder)
    await adaptor.open()
    try:
        tombstone = record("alice", None, expires_at=MICROSECONDS, mark=Mark.MOVED)
        await adaptor.write([Write(tombstone, Newer())])
        assert await adaptor.read([tombstone.id]) == [tombstone]
    finally:
        await adaptor.aclose()
    assert json.loads((folder / "users" / "alice.json").read_text()) == {
        "key": "alice",
        "version": tombstone.version,
        "created_at": "2023-11-14T22:13:20.123456Z",
        "updated_at": "1970-01-01T00:00:00.000002Z",
        "expires_at": "2023-11-14T22:13:20.123456Z",
        "mark": "moved",
        "value": None,
    }


async def test_a_file_may_be_edited_by_hand(folder: Path) -> None:
    """Its layout does not matter, nor the order of its names."""
    put_version = CLOCK.next()
    async with Store(FileAdaptor(folder)) as store:
        users = store.collection("users")
        await users.put("alice", {})
        (folder / "users" / "alice.json").write_text(
            f'{{"value": {{"a": [1,\n 2.0]}}, "key": "alice", "version": "{put_version}",'
            ' "created_at": "2024-01-01T00:00:00+01:00", "updated_at": "2024-01-01T00:00:00Z"}'
        )
        document = await users.get("alice")
    assert document.value == {"a": [1, 2.0]}
    assert document.created_at == datetime(2023, 12, 31, 23, tzinfo=UTC)


@given(st.lists(KEYS, min_size=2, max_size=2, unique=True))
@example(["a", "A"])
@example(["x" * 300, "X" + "x" * 299])
def test_no_two_keys_share_a_name(keys: list[str]) -> None:
    """Names differ even where the file system folds case, and every file system can hold them."""
    names = [file_name(key) for key in keys]
    assert names[0].casefold() != names[1].casefold()
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9_%~-]+", name)
        assert len(name) + len(".json") <= 255


@given(KEYS)
def test_a_short_name_tells_its_key(key: str) -> None:
    """So that a scan need not open the file; a long one is a hash that tells nothing."""
    name = file_name(key)
    assert key_in(name + ".json") == (None if "~~" in name else key)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("alice", "alice"),
        ("../x", "%2e%2e%2fx"),
        (".", "%2e"),
        ("CON", "CON~7"),
        ("aB", "aB~2"),
        ("ä", "%c3%a4"),
        ("~", "%7e"),
    ],
)
def test_names_of_files(key: str, name: str) -> None:
    """Letters, digits, `_` and `-` stand for themselves, capitals are told behind a tilde."""
    assert file_name(key) == name


async def test_hostile_keys(folder: Path) -> None:
    """Each is a document of its own inside the folder of its collection."""
    values = {key: {"key": key} for key in HOSTILE}
    async with Store(FileAdaptor(folder)) as store:
        users = store.collection("Users")
        stored = await users.put_many(values)
        assert {key: document.value for key, document in stored.items()} == values
        assert await users.get_many(HOSTILE) == stored
        assert [document.key async for document in users.scan()] == sorted(HOSTILE)
        assert [document.key async for document in users.scan(prefix="x" * 201)] == sorted(
            key for key in HOSTILE if key.startswith("x" * 201)
        )
        assert await store.collections() == ["Users"]
    names = set(listing(folder)) - {"aiostore.json", "aiostore.lock", "Users~1"}
    assert len(names) == len(HOSTILE)
    assert {os.path.dirname(name) for name in names} == {"Users~1"}  # noqa: PTH120  # a text


def test_a_crash_before_the_rename_leaves_the_old_document(folder: Path) -> None:
    """The temporary file that a crash leaves is no document, and is removed at the next open."""
    put(folder)
    before = listing(folder)
    script = """
import asyncio, os, pathlib, sys, aiostore
pathlib.Path.replace = lambda *_: os._exit(9)

async def main():
    async with aiostore.open_store(f"file:{sys.argv[1]}") as store:
        await store.collection("users").put("alice", {"age": 2})

asyncio.run(main())
"""
    with child(script, folder) as process:
        assert process.wait() == 9
    [left_over] = set(listing(folder)) - set(before)
    assert left_over.endswith(".tmp")
    open_and_close(folder)
    assert listing(folder) == before


def test_a_crash_during_the_first_open_can_be_repeated(folder: Path) -> None:
    """What was made of a folder before the process died does not hinder the next."""
    script = """
import asyncio, os, sys, aiostore
os.fsync = lambda _: os._exit(9)

async def main():
    async with aiostore.open_store(f"file:{sys.argv[1]}"):
        pass

asyncio.run(main())
"""
    with child(script, folder) as process:
        assert process.wait() == 9
    put(folder)
    assert sorted(listing(folder)) == [
        "aiostore.json",
        "aiostore.lock",
        "users",
        "users/alice.json",
    ]


HOLD_FOLDER = """
import asyncio, sys, aiostore

async def main():
    async with aiostore.open_store(f"file:{sys.argv[1]}") as store:
        await store.collection("users").put("alice", {})
        print("open", flush=True)
        sys.stdin.readline()

asyncio.run(main())
"""


def test_one_process_owns_the_folder(folder: Path) -> None:
    """A second is refused, and the first is not disturbed; when it ends, the next may come."""
    with child(HOLD_FOLDER, folder) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        before = listing(folder)
        with pytest.raises(ConfigurationError, match="in use by another process") as caught:
            open_and_close(folder)
        assert str(folder) in str(caught.value)
        assert listing(folder) == before
        other.communicate("end\n")
    open_and_close(folder)


async def test_one_adaptor_owns_the_folder(folder: Path) -> None:
    """A second store in the same process is refused too, until the first is closed."""
    async with Store(FileAdaptor(folder)) as store:
        with pytest.raises(ConfigurationError, match="in use"):
            await Store(FileAdaptor(folder)).open()
        await store.collection("users").put("alice", {})
    async with Store(FileAdaptor(folder)) as store:
        assert await store.collections() == ["users"]


def kill_after_lock(folder: Path) -> None:
    """Kill a process that owns the folder."""
    with child(HOLD_FOLDER, folder) as other:
        assert other.stdout is not None
        other.stdout.readline()
        other.kill()


def test_a_killed_process_does_not_keep_the_folder(folder: Path) -> None:
    """The lock ends with the process, and what was acknowledged is there."""
    kill_after_lock(folder)
    put(folder, "bob")
    assert {"users/alice.json", "users/bob.json"} <= set(listing(folder))


def file_there(folder: Path) -> None:
    """Put a file where the folder should be."""
    folder.write_text("hello")


def other_things(folder: Path) -> None:
    """Make a folder of something else."""
    (folder / "photos").mkdir(parents=True)
    (folder / "photos" / "a.json").write_text("{}")


def format_of(content: bytes) -> Callable[[Path], None]:
    """Make a store whose format is told like this."""

    def make(folder: Path) -> None:
        put(folder)
        (folder / "aiostore.json").write_bytes(content)

    return make


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (file_there, "a file stands where the folder should be"),
        (other_things, r"other things \('photos'\)"),
        (format_of(b'{"format": "aiostore files", "version": 2}'), "does not name a format"),
        (format_of(b'{"format": "other", "version": 1}'), "does not name a format"),
        (format_of(b""), "does not name a format"),
        (format_of(b"\xff\xfe"), "does not name a format"),
        (format_of(b'"\xff"'), "does not name a format"),
    ],
)
def test_a_folder_that_is_not_ours_is_refused(
    folder: Path, make: Callable[[Path], None], reason: str
) -> None:
    """`ConfigurationError` says what it is, and nothing has changed."""
    make(folder)
    before = listing(folder.parent)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        open_and_close(folder)
    assert caught.value.store == f"file:{folder}"
    assert listing(folder.parent) == before


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    """A part of the path is no folder."""
    (tmp_path / "file").write_text("hello")
    with pytest.raises(ConfigurationError, match="a part of the path is a file"):
        open_and_close(tmp_path / "file" / "data")
    assert listing(tmp_path) == {"file": b"hello"}


def test_a_missing_parent_is_not_made(tmp_path: Path) -> None:
    """A mistyped path does not make a tree of folders."""
    with pytest.raises(ConfigurationError, match="cannot be made"):
        open_and_close(tmp_path / "no" / "data")
    assert listing(tmp_path) == {}


def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    """By the file system's own limit."""
    with pytest.raises(ConfigurationError, match="too long"):
        open_and_close(tmp_path / ("x" * 300))


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A place that every user may go to, unlike pytest's own."""
    with TemporaryDirectory() as name:
        parent = Path(name)
        parent.chmod(0o755)
        yield parent / "data"


@pytest.mark.parametrize("prepare", [lambda _: None, Path.mkdir, put], ids=["no", "empty", "store"])
def test_a_folder_that_may_only_be_read_is_refused(
    public_folder: Path, prepare: Callable[[Path], None]
) -> None:
    """Whether there is no folder yet, an empty one or a store."""
    prepare(public_folder)
    before = listing(public_folder.parent)
    with unprivileged(), pytest.raises(ConfigurationError, match="no permission"):
        open_and_close(public_folder)
    assert listing(public_folder.parent) == before


def file_of(**changes: object) -> bytes:
    """What stands in the file of a document, with changes."""
    moment = "2024-01-01T00:00:00Z"
    whole = {
        "key": "alice",
        "version": "1",
        "created_at": moment,
        "updated_at": moment,
        "value": {},
    }
    return msgspec.json.encode(whole | changes)


def test_a_file_that_is_not_damaged(folder: Path) -> None:
    """What the damaged ones below would be without their damage."""
    put(folder)
    (folder / "users" / "alice.json").write_bytes(file_of())

    async def read() -> dict[str, Any]:
        async with Store(FileAdaptor(folder)) as store:
            return (await store.collection("users").get("alice")).value

    assert asyncio.run(read()) == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"{}",
        b"\xff\xff",
        file_of(updated_at="yesterday"),
        file_of(updated_at="2024-01-01T00:00:00"),
        file_of(version=1),
        file_of(mark="red"),
        file_of(key="bob"),
        file_of(value=[1]),
        file_of(value=b"{}").replace(b"e30=", b"\xff"),
        file_of().replace(b"{}", b'{"a":1,}'),
    ],
)
def test_a_damaged_file_is_told(folder: Path, content: bytes) -> None:
    """Reading it, alone or in a scan, is a `CorruptRecordError` that names it; others are read."""
    put(folder, "alice", "bob")
    path = folder / "users" / "alice.json"
    path.write_bytes(content)

    async def read() -> None:
        async with Store(FileAdaptor(folder)) as store:
            users = store.collection("users")
            for reading in (users.get("alice"), anext(users.scan(prefix="alice"))):
                with pytest.raises(CorruptRecordError) as caught:
                    await reading
                error = caught.value
                assert (error.store, error.collection) == (f"file:{folder}", "users")
                assert str(path) in str(error) or error.key == "alice"
            assert (await users.get("bob")).key == "bob"

    asyncio.run(read())
    assert path.read_bytes() == content


async def test_a_damaged_file_of_a_long_key_is_told(folder: Path) -> None:
    """A scan has to open it to know its key."""
    key = "x" * 300
    async with Store(FileAdaptor(folder)) as store:
        users = store.collection("users")
        await users.put(key, {})
        [path] = (folder / "users").iterdir()
        path.write_text("{")
        with pytest.raises(CorruptRecordError, match=path.name):
            await anext(users.scan())


async def test_a_file_that_is_gone_meanwhile_is_no_document(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document with a long key, removed between the listing and the reading of a scan."""
    adaptor = FileAdaptor(folder)
    async with Store(adaptor) as store:
        users = store.collection("users")
        await users.put("x" * 300, {})
        ghost = folder / "users" / f"{'y' * 100}~~0.json"
        real = Folder.paths
        monkeypatch.setattr(Folder, "paths", lambda *where: real(*where) | {ghost})
        assert [document.key async for document in users.scan()] == ["x" * 300]


async def test_other_files_in_a_collection_are_let_be(folder: Path) -> None:
    """Temporary files and notes of somebody's are no documents, and no collection."""
    async with Store(FileAdaptor(folder)) as store:
        await store.collection("users").put("alice", {})
        (folder / "users" / "README.txt").write_text("hello")
        (folder / "users" / ".0.tmp").write_text("hello")
        (folder / "users" / ".hidden.json").write_text("hello")
        (folder / "empty").mkdir()
        assert [document.key async for document in store.collection("users").scan()] == ["alice"]
        assert await store.adaptor.count("users") == 1
        assert await store.collections() == ["users"]


async def test_closing_leaves_no_thread(folder: Path) -> None:
    """Nor a lock: the next may open at once."""
    before = set(threading.enumerate())
    for _ in range(2):
        adaptor = FileAdaptor(folder)
        await adaptor.open()
        await adaptor.write([Write(record(str(number)), Newer()) for number in range(20)])
        await adaptor.aclose()
        await adaptor.aclose()
        left = {thread.name for thread in set(threading.enumerate()) - before}
        assert {name for name in left if not name.startswith("asyncio_")} == set()


async def test_an_adaptor_may_be_opened_again(folder: Path) -> None:
    """After `aclose`; its documents are there."""
    adaptor = FileAdaptor(folder)
    for expected in (0, 1):
        await adaptor.open()
        assert await adaptor.count("users") == expected
        await adaptor.write([Write(record("alice"), Newer())])
        await adaptor.aclose()


def test_a_file_that_cannot_grow_is_unavailable(folder: Path) -> None:
    """The document stays as it was, nothing is left over, and the next write works.

    The room is taken away by a limit on the size of files, not by a full disk.
    """
    with child(FILL_DISK, f"file:{folder}", 100_000) as process:
        output, _ = process.communicate()
    unavailable, *rest = output.splitlines()
    assert unavailable.startswith("unavailable")
    assert rest == ["{'n': 1}", "{'n': 2}"]
    assert set(listing(folder)) == {"aiostore.json", "aiostore.lock", "users", "users/alice.json"}


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, UnavailableError),
        (errno.EDQUOT, UnavailableError),
        (errno.EIO, UnavailableError),
        (errno.EROFS, ConfigurationError),
        (errno.ENOTRECOVERABLE, StoreError),
    ],
)
async def test_an_error_of_the_disk_is_translated(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[StoreError]
) -> None:
    """By its number, with its cause; the old documents stay and no temporary file is left.

    A mock of `os.fsync` stands for the disk.
    """
    fsync = os.fsync
    calls = iter(range(1000))

    def failing(descriptor: int) -> None:
        if next(calls) % 3 == 1:
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    adaptor = FileAdaptor(folder)
    async with Store(adaptor) as store:
        users = store.collection("users")
        await users.put("0", {"n": 1})
        before = set(listing(folder))
        monkeypatch.setattr(os, "fsync", failing)
        with pytest.raises(error) as caught:
            await adaptor.write([Write(record(str(n)), Newer()) for n in range(50)])
        monkeypatch.undo()
        assert type(caught.value) is error
        assert isinstance(caught.value.__cause__, OSError)
        assert set(listing(folder)) == before
        assert (await users.get("0")).value == {"n": 1}


async def test_cancellation_leaves_the_old_or_the_new(folder: Path) -> None:
    """Wherever a write is cancelled, the document is whole and the next write works."""
    async with Store(FileAdaptor(folder)) as store:
        users = store.collection("users")
        standing = await users.put("alice", {"n": -1})
        for number in range(50):
            put = asyncio.create_task(users.put("alice", {"n": number}))
            for _ in range(number % 10):
                await asyncio.sleep(0)
            put.cancel()
            await asyncio.wait([put])
            current = await users.get("alice")
            assert current == standing or current.value == {"n": number}
            standing = await users.put("alice", {"n": -1})
    assert [path.name for path in (folder / "users").iterdir()] == ["alice.json"]


async def test_a_cancelled_open_leaves_the_folder_free(folder: Path) -> None:
    """Neither a lock nor a thread is left of it."""
    for _ in range(5):
        opening = asyncio.create_task(Store(FileAdaptor(folder)).open())
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    async with Store(FileAdaptor(folder)) as store:
        assert await store.collections() == []


async def test_batches_scans_and_purges(folder: Path) -> None:
    """What many documents need: a batch, chunks, segments, and removal for good."""
    adaptor = FileAdaptor(folder)
    await adaptor.open()
    try:
        assert [chunk async for chunk in adaptor.scan(Scan("users"))] == []
        assert await adaptor.purge(Purge("users", everything=True)) == 0
        records = [record(f"{n:02}") for n in range(10)] + [record("a", None), record("B")]
        await adaptor.write([Write(one, Newer()) for one in records])
        chunks = [chunk async for chunk in adaptor.scan(Scan("users", start_after="02", chunk=4))]
        assert [len(chunk) for chunk in chunks] == [4, 4, 1]
        segments = [Scan("users", segment=segment, segments=3) for segment in range(3)]
        parts = [chunk for request in segments async for chunk in adaptor.scan(request)]
        assert sorted(one.id.key for part in parts for one in part) == sorted(
            one.id.key for one in records
        )
        assert await adaptor.purge(Purge("users", deleted_before=3)) == 1
        erasure = Write(record("B", None), Newer(), erase=True)
        [outcome] = await adaptor.write([erasure])
        assert outcome.record is None
        assert await adaptor.count("users") == 10
        assert await adaptor.purge(Purge("users", everything=True)) == 10
        assert await adaptor.collections() == []
    finally:
        await adaptor.aclose()


async def test_documents_are_counted_exactly(folder: Path) -> None:
    """Without tombstones and what has expired by then; an estimate counts the files."""
    adaptor = FileAdaptor(folder)
    await adaptor.open()
    try:
        assert await adaptor.count("users", alive_at=0) == 0
        records = [
            record("alive"),
            record("x" * 300),
            record("deleted", None),
            record("expires", expires_at=10),
        ]
        await adaptor.write([Write(one, Newer()) for one in records])
        assert await adaptor.count("users") == 4
        assert await adaptor.count("users", alive_at=9) == 3
        assert await adaptor.count("users", alive_at=10) == 2
    finally:
        await adaptor.aclose()


async def test_an_adaptor_that_is_not_open_says_so(folder: Path) -> None:
    """Nothing is done in a thread of somebody else's, nor is the folder made."""
    adaptor = FileAdaptor(folder)
    with pytest.raises(ClosedError, match="not open"):
        await adaptor.read([DocumentId("users", "alice")])
    with pytest.raises(ClosedError, match="not open"):
        await adaptor.write([Write(record("alice"), Newer())])
    assert await asyncio.to_thread(os.listdir, folder.parent) == []


async def test_a_chunk_whose_documents_are_gone_is_not_yielded(folder: Path) -> None:
    """Chunks are never empty."""
    adaptor = FileAdaptor(folder)
    await adaptor.open()
    try:
        await adaptor.write([Write(record(key), Newer()) for key in "abc"])
        scan = adaptor.scan(Scan("users", chunk=1))
        assert [one.id.key for one in await anext(scan)] == ["a"]
        await adaptor.write([Write(record("b", None), Newer(), erase=True)])
        assert [one.id.key for one in await anext(scan)] == ["c"]
        await scan.aclose()
    finally:
        await adaptor.aclose()


async def test_a_url_names_the_folder(tmp_path: Path) -> None:
    """With spaces and other signs percent-encoded; the message of an error tells it."""
    async with aiostore.open_store(f"file://{tmp_path}/a%20b") as store:
        assert store.name == f"file:{tmp_path}/a b"
        await store.collection("users").put("x" * (PORTABLE.key_bytes or 0), {})
    assert (tmp_path / "a b" / "users").is_dir()
