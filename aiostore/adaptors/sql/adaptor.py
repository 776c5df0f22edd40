"""The adaptor: pieces of work on sessions, and outcomes from what the statements return."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

import msgspec
import stamina
from sqlalchemy.ext.asyncio import AsyncEngine

from aiostore.adaptors.sql._changes import Changes, slices
from aiostore.adaptors.sql._connections import Connections
from aiostore.adaptors.sql._databases import Database
from aiostore.adaptors.sql._dialects import Judging
from aiostore.adaptors.sql._drivers import SESSIONS, Rows, Session
from aiostore.adaptors.sql._errors import Errors, OvertakenError
from aiostore.adaptors.sql._filters import KINDS
from aiostore.adaptors.sql._prepared import Prepared
from aiostore.adaptors.sql._scans import Scans
from aiostore.adaptors.sql._schema import prepare
from aiostore.adaptors.sql._statements import Statements, id_of, record_of, text_of
from aiostore.adaptors.sql._tables import tables
from aiostore.adaptors.sql._walks import Walk
from aiostore.conditions import decide, place_of
from aiostore.errors import StoreError, UnsupportedError
from aiostore.filters import Path
from aiostore.keys import segment_of
from aiostore.protocols import (
    Absent,
    Capabilities,
    Check,
    Condition,
    DocumentId,
    Mark,
    Outcome,
    Purge,
    Record,
    Scan,
    Write,
)

R = TypeVar("R")

_CONTENTION_ATTEMPTS = 10
_FIRST_CONTENTION_PAUSE = 0.005  # seconds
_LONGEST_CONTENTION_PAUSE = 0.2

_GRACE = timedelta(seconds=1)


@dataclass(slots=True)
class _Opened:
    """What there is while the adaptor is open.

    Attributes:
        statements: the store's.
        single: the same for batches of one.
        connections: to the database.
        judging: how the database judges documents; None if it is too old for it.
        indexes: the fields that have one, by collection and path, as far as this process knows.
    """

    statements: Statements
    single: Statements
    connections: Connections
    judging: Judging | None = None
    indexes: set[tuple[str, Path]] = field(default_factory=set)

    def statements_for(self, number: int) -> Statements:
        """Those for a batch of so many."""
        return self.single if number == 1 else self.statements


class SQLAdaptor:
    """One database.

    Args:
        database: which one, and how it is reached.
        prefix: what the names of the tables begin with: `{prefix}documents`, `{prefix}schema`.
        table: the table of documents is `{prefix}{table}` instead.
        shared: make the tables though a file of SQLite's holds others.

    Raises:
        ConfigurationError: the tables cannot have these names.
    """

    def __init__(
        self,
        database: Database,
        *,
        prefix: str = "aiostore_",
        table: str | None = None,
        shared: bool = False,
    ) -> None:
        self._database = database
        self._dialect = database.dialect
        self._tables = tables(prefix, table)
        self._shared = shared or self._dialect.shared
        self._capabilities = Capabilities(
            persistent=True,
            shared=True,
            atomic_writes=True,
            max_batch=1000,
            max_atomic=1000,
            filters=KINDS,
            orders=True,
            indexes=True,
            read_lanes=2,
            write_lanes=1 if self._dialect.one_writer else 2,
        )
        self._errors = Errors(self._dialect, database.name)
        self._writing = asyncio.Lock()
        self._jobs: set[asyncio.Task[Any]] = set()
        self._dispensable: set[asyncio.Task[Any]] = set()
        self._opened: _Opened | None = None

    @property
    def name(self) -> str:
        return self._database.name

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def open(self) -> None:
        with self._errors.translated(opening=True):
            engine = await asyncio.to_thread(self._database.engine)
            await self._run_until_closed(self._open(engine))

    async def aclose(self) -> None:
        for job in self._dispensable:
            job.cancel()  # what is left of an index is removed when it is made the next time
        while self._jobs:
            await asyncio.wait(self._jobs)
        opened, self._opened = self._opened, None
        if opened is not None:
            await asyncio.shield(asyncio.ensure_future(opened.connections.aclose()))

    async def read(
        self,
        ids: Sequence[DocumentId],
        /,
        *,
        consistent: bool = True,  # noqa: ARG002  # every read is
    ) -> Sequence[Record | None]:
        if not self._dialect.can_give_up:
            found = await self._run(self._read(ids))
        else:
            try:
                found = await self._read(ids)
            except Exception as error:
                self._errors.translate(error)
                raise
        return [found.get(id_) for id_ in ids]

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        if self._dialect.returning:
            return await self._run(self._write(writes))
        return await self._run(self._write_locked(writes, atomic=False))

    async def write_atomic(self, items: Sequence[Write | Check], /) -> Sequence[Outcome]:
        return await self._run(self._write_locked(items, atomic=True))

    async def scan(self, request: Scan, /) -> AsyncGenerator[Sequence[Record], None]:
        opened = self._open_now()
        scans = Scans(opened.statements, opened.judging, opened.indexes, self._fetch)
        async with aclosing(scans.scan(request)) as chunks:
            async for chunk in chunks:
                wanted = [
                    record
                    for record in chunk
                    if segment_of(record.id.key, request.segments) == request.segment
                ]
                if wanted:
                    yield wanted

    async def index(self, collection: str, path: Path, /) -> None:
        with self._errors.translated():
            await self._run_until_closed(self._index(collection, path))

    async def count(self, collection: str, /, *, alive_at: int | None = None) -> int:
        return await self._run(self._count(collection, alive_at))

    async def collections(self) -> Sequence[str]:
        return await self._run(self._collections())

    async def purge(self, request: Purge, /) -> int:
        walk = Walk(self._open_now().statements, None, request.collection)
        removed, after = await self._run(self._purge(walk, request, None))
        while after is not None:
            more, after = await self._run(self._purge(walk, request, after))
            removed += more
        return removed

    async def _run(self, work: Coroutine[Any, Any, R]) -> R:
        """Do `work` in a task of our own: a cancelled caller leaves no half-used connection."""
        with self._errors.translated():
            return await asyncio.shield(self._started(work))

    async def _run_until_closed(self, work: Coroutine[Any, Any, R]) -> R:
        """The same for what `aclose` need not wait for."""
        job = self._started(work)
        self._dispensable.add(job)
        return await asyncio.shield(job)

    def _started(self, work: Coroutine[Any, Any, R]) -> asyncio.Task[R]:
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._ended)
        return job

    def _ended(self, job: asyncio.Task[Any]) -> None:
        self._jobs.discard(job)
        self._dispensable.discard(job)
        if not job.cancelled():
            job.exception()  # whoever waited for it has it; if nobody did, it is nobody's

    async def _open(self, engine: AsyncEngine) -> None:
        dialect = self._dialect
        pool = self._database.pool
        limit = pool.statement_timeout
        # The server gives a statement up, so that nothing of it goes on; unless it is out of reach.
        seconds = None if limit is None else (limit + _GRACE).total_seconds()
        statements = Statements(self._tables, dialect, engine.dialect)
        single = statements
        if dialect.single is not None:
            single = Statements(self._tables, dialect, engine.dialect, dialect.single)
        self._opened = _Opened(
            statements,
            single,
            Connections(
                engine,
                lambda connection: SESSIONS[dialect.driver](connection, seconds),
                pool,
                setup=self._database.setup,
                limits=() if limit is None else dialect.limited(limit),
                connect_timeout=self._database.connect_timeout,
                is_lost=self._errors.is_lost,
            ),
        )
        async with self._opened.connections.fresh() as connection:
            await prepare(connection, self._tables, dialect, shared=self._shared)
            version = engine.dialect.server_version_info or ()
            if dialect.judging is not None and version >= dialect.judging.since:
                self._opened.judging = dialect.judging
        self._opened.connections.be_patient()
        if not dialect.one_writer:
            await self._try_to_write(self._opened)

    async def _try_to_write(self, opened: "_Opened") -> None:
        """Change nothing, and be refused if the user may not or the server takes no writes."""
        statements = opened.statements
        async with opened.connections.session() as session:
            await session.change(statements.insert, statements.inserted([]))
            await session.change(statements.replace, statements.replaced([]))
            await session.change(statements.erase, statements.erased({}))

    def _open_now(self) -> "_Opened":
        if self._opened is None:
            raise StoreError("the adaptor is not open", store=self.name)
        return self._opened

    async def _patiently(self, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """What a transaction returns; one that others were in the way of is tried again."""
        try:
            return await work()
        except Exception as error:
            if not self._errors.is_contention(error):
                raise
        return await stamina.AsyncRetryingCaller(
            attempts=_CONTENTION_ATTEMPTS,
            timeout=None,
            wait_initial=_FIRST_CONTENTION_PAUSE,
            wait_max=_LONGEST_CONTENTION_PAUSE,
            wait_jitter=_FIRST_CONTENTION_PAUSE,
        )(self._errors.is_contention, work)

    @asynccontextmanager
    async def _writer(self) -> AsyncIterator[Session]:
        """A session whose every statement is a transaction."""
        async with (
            self._writing if self._dialect.one_writer else nullcontext(),
            self._open_now().connections.session() as session,
        ):
            yield session

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Session]:
        async with self._writer() as session:
            await session.run(self._dialect.begin)
            try:
                yield session
                await session.run("COMMIT")
            except Exception as error:
                if not session.is_closed and not self._errors.is_lost(error):
                    await session.roll_back()
                raise

    async def _read(self, ids: Sequence[DocumentId]) -> dict[DocumentId, Record]:
        statements = self._open_now().statements_for(len(ids))
        rows = await self._fetched(statements.read, statements.ids(ids))
        return {record.id: record for record in map(record_of, rows)}

    async def _fetch(self, statement: Prepared, values: dict[str, Any]) -> Rows:
        return await self._run(self._fetched(statement, values))

    async def _fetched(self, statement: Prepared, values: dict[str, Any]) -> Rows:
        return await self._open_now().connections.fetch(statement, values)

    async def _end_of_stretch(self, session: Session, walk: Walk, after: str | None) -> str | None:
        rows = await session.fetch(walk.end_of_stretch(after), walk.values(after, None, 0))
        return text_of(rows[0][0]) if rows else None

    async def _index(self, collection: str, path: Path) -> None:
        opened = self._open_now()
        if opened.judging is None:
            raise UnsupportedError(
                "this version of the database has no indexes of the kind that is needed",
                store=self.name,
                collection=collection,
            )
        place = opened.judging.place(path)
        one_by_one = self._writing if self._dialect.one_writer else nullcontext()
        async with one_by_one, opened.connections.fresh() as connection:
            await opened.judging.make_index(
                connection, str(self._tables.documents.name), collection, path, place
            )
        opened.indexes.add((collection, path))

    async def _count(self, collection: str, alive_at: int | None) -> int:
        statements = self._open_now().statements
        statement = statements.count if alive_at is None else statements.count_alive
        values = {"collection": collection, "alive_at": alive_at}
        async with self._open_now().connections.session() as session:
            [row] = await session.fetch(statement, values)
        return int(row[0])

    async def _collections(self) -> list[str]:
        """From one to the next, for there are few, and many documents in each."""
        statement = self._open_now().statements.next_collection
        names: list[str] = []
        async with self._open_now().connections.session() as session:
            while True:
                after = names[-1] if names else ""
                [row] = await session.fetch(statement, {"after": after})
                if row[0] is None:
                    return names
                names.append(text_of(row[0]))

    async def _purge(self, walk: Walk, request: Purge, after: str | None) -> tuple[int, str | None]:
        """How many went of the next stretch, and its last key, or None at the end."""

        async def work() -> tuple[int, str | None]:
            async with self._writer() as session:
                end = await self._end_of_stretch(session, walk, after)
                statement = walk.purge(after, end, request)
                return await session.change(statement, walk.values(after, end, 0)), end

        return await self._patiently(work)

    async def _write(self, writes: Sequence[Write]) -> list[Outcome]:
        """Statements decide; what they refuse is told with what stands there."""
        outcomes: dict[DocumentId, Outcome] = {}
        left = list(writes)
        while left:
            applied, standing = await self._patiently(partial(self._store, left))
            again = []
            for write in left:
                id_ = write.record.id
                if id_ in applied:
                    outcomes[id_] = _applied(write, applied[id_])
                    continue
                found = standing.get(id_)
                outcome = decide(write, found)
                if outcome.applied and not (write.erase and found is None):
                    again.append(write)  # what refused it has gone meanwhile
                else:
                    outcomes[id_] = outcome
            left = again
        return [outcomes[write.record.id] for write in writes]

    async def _store(
        self, writes: Sequence[Write]
    ) -> tuple[dict[DocumentId, int], dict[DocumentId, Record]]:
        """When those that were applied were created, and what stands instead of the others."""
        opened = self._open_now()
        groups: dict[tuple[type[Condition], Mark | None, bool], list[Write]] = defaultdict(list)
        for write in writes:
            if not (write.erase and isinstance(write.condition, Absent)):  # nothing would change
                groups[type(write.condition), write.mark, write.erase].append(write)
        applied: dict[DocumentId, int] = {}
        # One statement is a transaction by itself.
        async with self._transaction() if len(groups) > 1 else self._writer() as session:
            for (kind, _, erase), group in groups.items():
                statements = opened.statements_for(len(group))
                statement = statements.store(kind, erase=erase)
                for row in await session.fetch(statement, statements.written(group)):
                    applied[id_of(row)] = row[2]
        refused = [write.record.id for write in writes if write.record.id not in applied]
        return applied, await self._read(refused) if refused else {}

    async def _write_locked(self, items: Sequence[Write | Check], *, atomic: bool) -> list[Outcome]:
        """Lock what stands there, decide, and write what is bound to what was found."""

        async def work() -> dict[DocumentId, Outcome]:
            async with self._transaction() as session:
                found = await self._lock(session, items)
                outcomes = {
                    place_of(item): decide(item, found.get(place_of(item))) for item in items
                }
                if not atomic or all(outcome.applied for outcome in outcomes.values()):
                    await self._change(session, Changes(items, outcomes, found))
                return outcomes

        outcomes = await self._patiently(work)
        return [outcomes[place_of(item)] for item in items]

    async def _lock(
        self, session: Session, items: Sequence[Write | Check]
    ) -> dict[DocumentId, Record]:
        """What stands there, until the end; by id, so that no transactions wait in a ring."""
        statements = self._open_now().statements
        found: dict[DocumentId, Record] = {}
        for only_checked, run in groupby(
            sorted(items, key=place_of), key=lambda item: isinstance(item, Check)
        ):
            statement = statements.lock_shared if only_checked else statements.lock
            ids = [place_of(item) for item in run]
            for record in map(record_of, await session.fetch(statement, statements.ids(ids))):
                found[record.id] = record
        return found

    async def _change(self, session: Session, changes: Changes) -> None:
        """Store and erase; raises if another has put something where nothing stood."""
        statements = self._open_now().statements
        most = self._dialect.most_bytes
        done = 0
        for records in slices(changes.inserted, most):
            done += await session.change(statements.insert, statements.inserted(records))
        for pairs in slices(changes.replaced, most):
            done += await session.change(statements.replace, statements.replaced(pairs))
        for versions in (changes.erased, changes.claims):
            if versions:
                done += await session.change(statements.erase, statements.erased(versions))
        if done != len(changes):
            raise OvertakenError


def _applied(write: Write, created_at: int) -> Outcome:
    if write.erase:
        return Outcome(applied=True, record=None)
    return Outcome(
        applied=True, record=msgspec.structs.replace(write.record, created_at=created_at)
    )
