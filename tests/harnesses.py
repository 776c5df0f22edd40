"""The adaptors and stacks of wrappers that the conformance kit is run over."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dynamodb_harnesses import dynamodb_harness, dynamodb_makes
from servers import DYNAMODB_ENGINES, LOCAL_SERVERS
from sql_harnesses import sql_harness, sql_makes

from aiostore.adaptors.files import FileAdaptor
from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.adaptors.sql import SQLAdaptor, SQLiteDatabase
from aiostore.migration import (
    MigrationAdaptor,
    Phase,
    advance,
    backfill,
    hand_off,
    rows,
    verify,
)
from aiostore.protocols import Adaptor, DocumentId, Mark, Record, Scan
from aiostore.testing import Faults, FaultyAdaptor, Harness
from aiostore.testing.expectations import expect_equal

Make = Callable[[], Adaptor]


def memory(_: Path) -> Make:
    """One adaptor object, which is where its data live."""
    adaptor = MemoryAdaptor()
    return lambda: adaptor


def files(folder: Path) -> Make:
    """A new adaptor over one folder at every call."""
    return lambda: FileAdaptor(folder / "files")


def sqlite(folder: Path) -> Make:
    """A new adaptor over one database at every call."""
    return lambda: SQLAdaptor(SQLiteDatabase(str(folder / "documents.db")))


ENGINES: dict[str, Callable[[Path], Make]] = {
    "memory": memory,
    "file": files,
    "sqlite": sqlite,
    "postgresql": sql_makes("postgresql"),
    "mariadb": sql_makes("mariadb"),
    "dynamodb": dynamodb_makes("dynamodb"),
    "dynalite": dynamodb_makes("dynalite"),
}

ATOMIC = [name for name in ENGINES if name not in ("file", "dynalite")]
"""Those with atomic writes; told without starting a server."""

SERVED = tuple(LOCAL_SERVERS)
"""Those that are servers."""


def harness_of(stack: str, folder: Path) -> Harness:
    """A harness over `engine`, `faulty(kind)-over-engine` or a migration.

    That is `engine-to-engine`, in the phase `dual-write`, or `engine-to-engine-in-PHASE`; `back` is
    that of `dual-write` after the way back.
    """
    current, _, target = stack.partition("-to-")
    if target:
        target, _, phase = target.partition("-in-")
        return MigrationHarness(current, target, folder, phase or Phase.DUAL_WRITE)
    kind, _, engine = stack.partition("-over-")
    return faulty_harness(kind, engine, folder) if engine else engine_harness(stack, folder)


def engine_harness(engine: str, folder: Path) -> Harness:
    """A harness over one engine, which looks behind its back without the adaptor."""
    if engine in DYNAMODB_ENGINES:
        return dynamodb_harness(engine)
    if engine in SERVED:
        return sql_harness(engine, "statement_timeout=0.1")
    make = ENGINES[engine](folder)
    match engine:
        case "file":
            return Harness(
                make,
                peek=_peek_files(folder),
                poke=_poke_files(folder),
                damage=lambda id_: _damaged_file(folder, id_),
                unusable=lambda: FileAdaptor(folder / "missing" / "files"),
            )
        case "sqlite":
            return Harness(
                make,
                peek=_peek_sqlite(folder),
                poke=_poke_sqlite(folder),
                damage=lambda id_: _damaged_row(folder, id_),
                unusable=lambda: SQLAdaptor(
                    SQLiteDatabase(str(folder / "missing" / "documents.db"))
                ),
                outage=lambda: _locked_sqlite(folder),
            )
        case _:
            return Harness(make)


def faulty_harness(kind: str, engine: str, folder: Path) -> Harness:
    """A harness over one engine behind a wrapper whose faults do not show."""
    inner = engine_harness(engine, folder)
    faults = Faults(pauses=HARMLESS[kind])
    hooks: dict[str, Any] = {
        name: hook for name, hook in inner._hooks.items() if name in inner.features
    }
    return Harness(lambda: FaultyAdaptor(inner.make(), faults), **hooks)


HARMLESS: dict[str, tuple[int, ...]] = {"faulty(none)": (), "faulty(slow)": (0, 0, 1, 3)}
"""Wrappers that fail nothing: how many turns of the event loop their calls wait."""


class MigrationHarness(Harness):
    """A migration between two engines, in one of its phases.

    After each check the stores must stand to each other as the phase has it.
    """

    def __init__(
        self, current: str, target: str, folder: Path, phase: str = Phase.DUAL_WRITE
    ) -> None:
        for name in ("current", "target"):
            (folder / name).mkdir()
        make_current = ENGINES[current](folder / "current")
        make_target = ENGINES[target](folder / "target")
        # Marks are the migration's own, and purging waits for its end.
        super().__init__(
            lambda: _InPhase(make_current(), make_target(), phase),
            without=frozenset({"marks", "purges"}),
        )

    async def clean(self) -> None:
        """Nothing was failing, so at rest there is one authority, and the rest is its copy."""
        migration = self.make()
        assert isinstance(migration, MigrationAdaptor)
        await migration.open()
        try:
            if migration.phase is Phase.DUAL_WRITE:
                await backfill(migration)
                found = await verify(migration)
                expect_equal(found.differences, [], "both stores are equal at rest")
                expect_equal(found.unsettled, 0, "nothing moves at rest")
            else:
                if migration.phase is Phase.HANDOFF:
                    await hand_off(migration)
                    marks = await _marks(migration.current)
                    expect_equal(marks - {Mark.MOVED}, set(), "everything is handed off")
                marks = await _marks(migration.target)
                expect_equal(marks - {Mark.LIVE}, set(), "the target is the authority")
            expect_equal(migration.repair.suspects, 0, "nothing is in doubt")
        finally:
            await migration.aclose()


class _InPhase(MigrationAdaptor):
    """A migration that is led to a phase when it is opened first."""

    def __init__(self, current: Adaptor, target: Adaptor, phase: str) -> None:
        rest = timedelta(milliseconds=1)
        super().__init__(current, target, name="conformance", rest=rest)
        self._led_to = phase

    async def open(self) -> None:
        await super().open()
        if not self.control.latest.pristine or self._led_to == Phase.DUAL_WRITE:
            return
        await advance(self, Phase.HANDOFF, force=True)
        if self._led_to != Phase.HANDOFF:
            await hand_off(self)
        if self._led_to == "back":
            await advance(self, Phase.DUAL_WRITE)
        elif self._led_to == Phase.TARGET:
            await advance(self, Phase.TARGET)


async def _marks(store: Adaptor) -> set[Mark]:
    """Those of all documents."""
    marks: set[Mark] = set()
    for name in await store.collections():
        if rows.is_users(name):
            async with aclosing(store.scan(Scan(name))) as chunks:
                marks |= {record.mark async for chunk in chunks for record in chunk}
    return marks


def _peek_files(folder: Path) -> Callable[[DocumentId], Awaitable[Record | None]]:
    def peek(id_: DocumentId) -> Record | None:
        for path in (folder / "files" / id_.collection).glob("*.json"):
            stored = json.loads(path.read_text())
            if stored["key"] == id_.key:
                value = stored["value"]
                return Record(
                    id_,
                    None if value is None else json.dumps(value, separators=(",", ":")),
                    stored["version"],
                    _microseconds(stored["created_at"]),
                    _microseconds(stored["updated_at"]),
                )
        return None

    return lambda id_: asyncio.to_thread(peek, id_)


def _poke_files(folder: Path) -> Callable[[Record], Awaitable[None]]:
    def poke(record: Record) -> None:
        assert record.body is not None
        place = folder / "files" / record.id.collection
        place.mkdir()
        stored = {
            "value": json.loads(record.body),
            "key": record.id.key,
            "version": record.version,
            "created_at": _text(record.created_at),
            "updated_at": _text(record.updated_at),
        }
        (place / f"{record.id.key}.json").write_text(json.dumps(stored))

    return lambda record: asyncio.to_thread(poke, record)


@asynccontextmanager
async def _damaged_file(folder: Path, id_: DocumentId) -> AsyncIterator[None]:
    path = folder / "files" / id_.collection / f"{id_.key}.json"
    sound = await asyncio.to_thread(path.read_text)
    await asyncio.to_thread(path.write_text, sound[: len(sound) // 2])
    try:
        yield
    finally:
        await asyncio.to_thread(path.write_text, sound)


def _peek_sqlite(folder: Path) -> Callable[[DocumentId], Awaitable[Record | None]]:
    def peek(id_: DocumentId) -> Record | None:
        with closing(sqlite3.connect(folder / "documents.db")) as connection:
            row = connection.execute(
                "SELECT body, version, created_at, updated_at, expires_at, mark"
                " FROM aiostore_documents WHERE collection = ? AND key = ?",
                id_,
            ).fetchone()
        if row is None:
            return None
        body, version, created_at, updated_at, expires_at, mark = row
        return Record(id_, body, version, created_at, updated_at, expires_at, Mark(mark))

    return lambda id_: asyncio.to_thread(peek, id_)


def _poke_sqlite(folder: Path) -> Callable[[Record], Awaitable[None]]:
    def poke(record: Record) -> None:
        with closing(sqlite3.connect(folder / "documents.db")) as connection, connection:
            connection.execute(
                "INSERT INTO aiostore_documents"
                " (collection, key, body, version, created_at, updated_at, expires_at, mark)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *record.id,
                    record.body,
                    record.version,
                    record.created_at,
                    record.updated_at,
                    record.expires_at,
                    record.mark,
                ),
            )

    return lambda record: asyncio.to_thread(poke, record)


@asynccontextmanager
async def _damaged_row(folder: Path, id_: DocumentId) -> AsyncIterator[None]:
    def change(change: str) -> None:
        with closing(sqlite3.connect(folder / "documents.db")) as connection, connection:
            statement = (
                f"UPDATE aiostore_documents SET body = {change} WHERE (collection, key) = (?, ?)"  # noqa: S608  # a text of ours
            )
            connection.execute(statement, id_)

    await asyncio.to_thread(change, "'{' || body")
    try:
        yield
    finally:
        await asyncio.to_thread(change, "substr(body, 2)")


@asynccontextmanager
async def _locked_sqlite(folder: Path) -> AsyncIterator[Adaptor]:
    """Another holds the write lock for longer than the adaptor waits."""
    path = str(folder / "documents.db")
    adaptor = SQLAdaptor(SQLiteDatabase(path, busy_timeout=timedelta(milliseconds=10)))
    await adaptor.open()
    other = await asyncio.to_thread(
        sqlite3.connect, path, isolation_level=None, check_same_thread=False
    )
    try:
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
        yield adaptor
    finally:
        await asyncio.to_thread(other.close)
        await adaptor.aclose()


def _microseconds(text: str) -> int:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return (datetime.fromisoformat(text) - epoch) // timedelta(microseconds=1)


def _text(microseconds: int) -> str:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return (epoch + timedelta(microseconds=microseconds)).isoformat()
