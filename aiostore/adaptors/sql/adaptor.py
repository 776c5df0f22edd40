"""The adaptor: connections, transactions, and outcomes from what the statements return."""

import asyncio
import os
import sqlite3
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import URL, Connection, delete, event, false, func, insert, inspect, or_, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from aiostore.adaptors.sql import _statements
from aiostore.adaptors.sql._dialects import SQLITE, error_code
from aiostore.adaptors.sql._tables import LAYOUT_VERSION, documents, layout, metadata
from aiostore.conditions import decide, place_of
from aiostore.errors import ConfigurationError, StoreError, UnavailableError, UnsupportedError
from aiostore.filters import Path as FieldPath
from aiostore.keys import segment_of
from aiostore.protocols import (
    Absent,
    Capabilities,
    Check,
    Condition,
    DocumentId,
    Exactly,
    Mark,
    Newer,
    Outcome,
    Purge,
    Record,
    Scan,
    Write,
)

R = TypeVar("R")

_CAPABILITIES = Capabilities(
    persistent=True,
    shared=True,
    atomic_writes=True,
    max_batch=1000,
    max_atomic=1000,
    filters=SQLITE.filters,
    read_lanes=4,
)
_OLDEST_SQLITE = (3, 35, 0)  # the first with RETURNING
_EFFECTIVE_IDS = os.access in os.supports_effective_ids
SYNCHRONOUS = ("full", "normal", "off")


class SQLAdaptor:
    """One database; SQLite for now.

    Args:
        database: the path of the database file, made at `open` if it is missing.
        synchronous: SQLite's own setting of that name. `full`: an acknowledged write survives a
            power failure; `normal`: only a crash of the process; `off`: neither.
        busy_timeout: seconds to wait for another process's lock before `UnavailableError`.
        shared: use the database though it holds other tables, and make ours beside them.
    """

    def __init__(
        self,
        database: str,
        *,
        synchronous: str = "full",
        busy_timeout: float = 5.0,
        shared: bool = False,
    ) -> None:
        if synchronous not in SYNCHRONOUS:
            raise ConfigurationError(
                f"synchronous is one of {', '.join(SYNCHRONOUS)}, not {synchronous!r}"
            )
        self._database = database
        self._synchronous = synchronous
        self._busy_timeout = busy_timeout
        self._shared = shared
        self._dialect = SQLITE
        self._engine: AsyncEngine | None = None
        self._writing = asyncio.Lock()
        self._jobs: set[asyncio.Task[Any]] = set()

    @property
    def name(self) -> str:
        return f"sqlite:///{self._database}"

    @property
    def capabilities(self) -> Capabilities:
        return _CAPABILITIES

    async def open(self) -> None:
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise ConfigurationError(
                f"SQLite {sqlite3.sqlite_version} is too old, 3.35 is needed: use a Python that "
                "comes with a newer one",
                store=self.name,
            )
        with self._translated():
            await asyncio.to_thread(self._find)
        self._engine = create_async_engine(
            URL.create(self._dialect.driver, database=self._database),
            isolation_level="AUTOCOMMIT",  # transactions begin and end by statements of ours
        )
        event.listen(self._engine.sync_engine, "connect", self._configure)
        await self._run(self._create())

    async def aclose(self) -> None:
        while self._jobs:
            await asyncio.wait(self._jobs)
        engine, self._engine = self._engine, None
        if engine is not None:
            await asyncio.shield(engine.dispose())

    async def read(self, ids: Sequence[DocumentId], /) -> Sequence[Record | None]:
        found = await self._run(self._read(ids))
        return [found.get(id_) for id_ in ids]

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await self._run(self._write(writes))

    async def write_atomic(self, items: Sequence[Write | Check], /) -> Sequence[Outcome]:
        return await self._run(self._write_atomic(items))

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        walk = _statements.Walk(request, self._dialect)
        after = request.start_after
        while True:
            records, after = await self._run(self._page(walk, request, after))
            chunk = [
                record
                for record in records
                if segment_of(record.id.key, request.segments) == request.segment
            ]
            if chunk:
                yield chunk
            if after is None:
                return

    async def index(self, collection: str, _: FieldPath, /) -> None:
        raise UnsupportedError("this store has no indexes", store=self.name, collection=collection)

    async def count(self, collection: str, /, *, alive_at: int | None = None) -> int:
        row = documents.c
        statement = select(func.count()).where(row.collection == collection)
        if alive_at is not None:
            alive = or_(row.expires_at.is_(None), row.expires_at > alive_at)
            statement = statement.where(row.body.is_not(None), alive)
        [row] = await self._run(self._rows(statement))
        return int(row[0])

    async def collections(self) -> Sequence[str]:
        statement = select(documents.c.collection).distinct().order_by(documents.c.collection)
        return [row[0] for row in await self._run(self._rows(statement))]

    async def purge(self, request: Purge, /) -> int:
        return await self._run(self._purge(request))

    async def _run(self, work: Coroutine[Any, Any, R]) -> R:
        """Do `work` in a task of our own: a cancelled caller leaves no half-used connection."""
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._ended)
        with self._translated():
            return await asyncio.shield(job)

    def _ended(self, job: asyncio.Task[Any]) -> None:
        self._jobs.discard(job)
        if not job.cancelled():
            job.exception()  # whoever waited for it has it; if nobody did, it is nobody's

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            kind, advice = self._dialect.errors.get(
                error_code(cause), (StoreError, "the database refused")
            )
            raise kind(f"{advice}: {cause}", store=self.name) from error
        except PoolTimeoutError as error:
            raise UnavailableError(
                "all connections were in use for too long: ask for less at the same time",
                store=self.name,
            ) from error

    def _find(self) -> None:
        """In a thread and without aiosqlite, which leaves its own behind when it cannot connect."""
        database = Path(self._database)
        if database.exists() and not os.access(database, os.W_OK, effective_ids=_EFFECTIVE_IDS):
            # SQLite would open it and only refuse to write.
            _, advice = self._dialect.errors[sqlite3.SQLITE_READONLY]
            raise ConfigurationError(advice, store=self.name)
        sqlite3.connect(database).close()

    def _configure(self, connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {round(self._busy_timeout * 1000)}")
        cursor.execute(f"PRAGMA synchronous = {self._synchronous}")
        cursor.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        if self._engine is None:
            raise StoreError("the adaptor is not open", store=self.name)
        async with self._engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        async with self._writing, self._connection() as connection:
            await connection.exec_driver_sql(self._dialect.begin)
            yield connection  # after an error the pool rolls back, unless SQLite has by itself
            await connection.exec_driver_sql("COMMIT")

    async def _create(self) -> None:
        async with self._connection() as connection:
            if await connection.run_sync(self._is_prepared):
                return
            # Not before the check: it is written into the file.
            await connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        async with self._transaction() as connection:
            await connection.run_sync(metadata.create_all)
            [made] = (await connection.execute(select(func.count()).select_from(layout))).one()
            if not made:
                await connection.execute(insert(layout).values(version=LAYOUT_VERSION))

    def _is_prepared(self, connection: Connection) -> bool:
        """Whether our tables are there; raises if the database belongs to something else."""
        inspector = inspect(connection)
        tables = set(inspector.get_table_names())
        ours = set(metadata.tables)
        if not tables & ours:
            if tables and not self._shared:
                raise ConfigurationError(
                    f"the database holds other tables ({min(tables)!r}): choose another file, or "
                    "add ?shared=true to keep the documents beside them",
                    store=self.name,
                )
            return False
        for name in tables & ours:
            found = {column["name"] for column in inspector.get_columns(name)}
            if found != set(metadata.tables[name].columns.keys()):
                raise ConfigurationError(
                    f"the table {name!r} is not as this version of aiostore makes it: choose "
                    "another database, or update aiostore",
                    store=self.name,
                )
        if layout.name in tables:
            versions = list(connection.scalars(select(layout.c.version)))
            if versions and versions != [LAYOUT_VERSION]:
                raise ConfigurationError(
                    f"the database has layout {versions}, and this version of aiostore knows "
                    f"layout {LAYOUT_VERSION}: update aiostore",
                    store=self.name,
                )
            return bool(versions) and ours <= tables
        return False

    async def _rows(self, statement: Any, parameters: Any = None) -> Sequence[Any]:
        async with self._connection() as connection:
            return (await connection.execute(statement, parameters)).all()

    async def _records(self, statement: Any, parameters: Any = None) -> list[Record]:
        return [_statements.record_of(row) for row in await self._rows(statement, parameters)]

    async def _read(self, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        records = await self._records(_READ, _statements.identities(ids))
        return {record.id: record for record in records}

    async def _page(
        self, walk: _statements.Walk, request: Scan, after: str | None
    ) -> tuple[list[Record], str | None]:
        """The next records of a scan, and the key that it has come to, or None at its end."""
        async with self._connection() as connection:
            end = None
            if request.where is not None:
                end = await connection.scalar(walk.end_of_stretch(after))
            rows = await connection.execute(walk.page(after, end))
            records = list(map(_statements.record_of, rows))
        return records, records[-1].id.key if len(records) == request.chunk else end

    async def _write(self, writes: Sequence[Write]) -> list[Outcome]:
        async with self._transaction() as connection:
            return await self._outcomes(connection, writes)

    async def _write_atomic(self, items: Sequence[Write | Check]) -> list[Outcome]:
        writes = [item for item in items if isinstance(item, Write)]
        checks = [item for item in items if isinstance(item, Check)]
        async with self._transaction() as connection:
            # The transaction holds the database's only lock for writing, so what a check reads
            # stands until the end.
            found = await self._standing(connection, [check.id for check in checks])
            outcomes = {check.id: decide(check, found.get(check.id)) for check in checks}
            written = await self._outcomes(connection, writes)
            for write, outcome in zip(writes, written, strict=True):
                outcomes[write.record.id] = outcome
            if not all(outcome.applied for outcome in outcomes.values()):
                await connection.exec_driver_sql("ROLLBACK")
                await connection.exec_driver_sql(self._dialect.begin)
        return [outcomes[place_of(item)] for item in items]

    async def _outcomes(
        self, connection: AsyncConnection, writes: Sequence[Write]
    ) -> list[Outcome]:
        groups: dict[tuple[type[Condition], Mark | None, bool], list[Write]] = defaultdict(list)
        for write in writes:
            groups[type(write.condition), write.mark, write.erase].append(write)
        created: dict[DocumentId, int] = {}
        for (kind, _, erase), group in groups.items():
            statement = _ERASE.get(kind) if erase else _STORE[kind]
            if statement is not None:
                parameters = _statements.parameters(group)
                for collection, key, created_at in await connection.execute(statement, parameters):
                    created[DocumentId(collection, key)] = created_at
        refused = [write.record.id for write in writes if write.record.id not in created]
        standing = await self._standing(connection, refused)
        return [
            _outcome(write, created.get(write.record.id), standing.get(write.record.id))
            for write in writes
        ]

    async def _standing(
        self, connection: AsyncConnection, ids: Sequence[DocumentId]
    ) -> dict[DocumentId, Record]:
        if not ids:
            return {}
        rows = await connection.execute(_READ, _statements.identities(ids))
        return {record.id: record for record in map(_statements.record_of, rows)}

    async def _purge(self, request: Purge) -> int:
        row = documents.c
        doomed = or_(
            row.body.is_(None) & (row.updated_at < request.deleted_before)
            if request.deleted_before is not None
            else false(),
            row.body.is_not(None) & (row.expires_at < request.expired_before)
            if request.expired_before is not None
            else false(),
        )
        statement = delete(documents).where(row.collection == request.collection)
        if not request.everything:
            statement = statement.where(doomed)
        async with self._transaction() as connection:
            return (await connection.execute(statement)).rowcount


_READ = _statements.read()
_STORE: dict[type[Condition], Any] = {
    kind: _statements.store(SQLITE, kind) for kind in (Absent, Exactly, Newer)
}
_ERASE: dict[type[Condition], Any] = {kind: _statements.erase(kind) for kind in (Exactly, Newer)}


def _outcome(write: Write, created_at: int | None, standing: Record | None) -> Outcome:
    if created_at is not None:
        if write.erase:
            return Outcome(applied=True, record=None)
        stored = msgspec.structs.replace(write.record, created_at=created_at)
        return Outcome(applied=True, record=stored)
    if write.erase and standing is None and not isinstance(write.condition, Exactly):
        return Outcome(applied=True, record=None)
    return Outcome(applied=False, record=standing)
