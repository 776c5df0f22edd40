"""The demonstration itself: load, use, move while in use, use, audit."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import msgspec

from aiostore.cli.demo.airports import COLLECTION, Airport, load
from aiostore.cli.demo.audit import Findings, Standing, audit
from aiostore.cli.demo.bars import Bars
from aiostore.cli.demo.course import Course, Outcome
from aiostore.cli.demo.journal import Journal
from aiostore.cli.demo.ledger import Ledger, digest
from aiostore.cli.demo.places import Place, borrowed
from aiostore.cli.demo.service import AirportService, Restart
from aiostore.cli.demo.tally import Tally
from aiostore.cli.demo.traffic import Traffic, spell
from aiostore.errors import ConfigurationError
from aiostore.migration import MigrationAdaptor
from aiostore.protocols import Adaptor, Scan
from aiostore.store import Store

MIGRATION = "demo"

PROCESSES = 2

_CHUNK = 500
_SHARE_ON_TARGET = 0.25
_LEASE = timedelta(seconds=6)  # shorter than usual: a step is noticed within a third of it
_GRACE = timedelta(seconds=10)  # likewise: no store of a demo takes so long over a request


@dataclass(frozen=True, slots=True)
class Settings:
    """What to do.

    Attributes:
        source: the store to begin on.
        target: the store to end on.
        keep: leave in them what they hold in the end.
        ledger: where to write the ledger; a new file.
        keep_ledger: whether that file stays.
        seed: fixes each client's requests.
        documents: load the first so many airports.
        seconds: how long the traffic goes on before, and again after the migration; and for a
            quarter of it on the target while the way back is still open.
    """

    source: Place
    target: Place
    keep: bool
    ledger: Path
    keep_ledger: bool
    seed: int
    documents: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it.

    Attributes:
        loaded: airports at the start.
        documents: documents in the target at the end.
        outcome: of the migration.
        switch: the restart on the target alone; None if a verification forbade it.
        tally: what the clients met.
        ledger: what they know.
        findings: what the target's contents say to that.
        seconds: all of it.
    """

    loaded: int
    documents: int
    outcome: Outcome
    switch: Restart | None
    tally: Tally
    ledger: Ledger
    findings: Findings
    seconds: float


async def move(settings: Settings, bars: Bars) -> Result:
    """Load the source, and move it to the target under traffic.

    Args:
        settings: what to do.
        bars: where to show how far it is.

    Raises:
        ConfigurationError: a store is not empty or cannot be used; nothing was written.
        MigrationError: doubts about documents could not be settled in time.
        StoreError: what the demo had put into a store could not be removed.
    """
    source, target = settings.source, settings.target
    if source.name == target.name and not (source.temporary and target.temporary):
        raise ConfigurationError(
            "the demo moves documents from one store to another: name two stores"
        )
    async with borrowed((source, target), keep=settings.keep):
        return await _move(settings, source, target, bars)


async def _move(settings: Settings, source: Place, target: Place, bars: Bars) -> Result:
    started = time.perf_counter()
    airports = await asyncio.to_thread(load, settings.documents)
    switch = None
    async with Journal(settings.ledger) as journal:
        ledger = Ledger(journal.write)
        await _fill(source.adaptor, airports, ledger, bars)
        service = AirportService()
        await service.restart([source.connection() for _ in range(PROCESSES)])
        try:
            traffic = Traffic(service, airports, ledger, settings.seed)
            async with traffic:
                await spell("before", settings.seconds, traffic.tally, bars)
                migrations = [_migration(source, target) for _ in range(PROCESSES)]
                bar = bars.add("dual-write")
                traffic.tally.phase = "dual-write"
                await service.switch(migrations)
                bar.show(PROCESSES, PROCESSES)
                seconds = settings.seconds * _SHARE_ON_TARGET
                course = Course(migrations[0], PROCESSES, traffic, bars, seconds)
                await course.run()
                if course.outcome.complete:
                    switch = await service.restart([target.connection() for _ in range(PROCESSES)])
                    traffic.tally.phase = "after"
                    await spell("after", settings.seconds, traffic.tally, bars)
        finally:
            await service.aclose()
        contents = await _contents(target.adaptor, plain=course.outcome.complete)
        findings = audit(ledger, contents)
    return Result(
        loaded=len(airports),
        documents=len(contents),
        outcome=course.outcome,
        switch=switch,
        tally=traffic.tally,
        ledger=ledger,
        findings=findings,
        seconds=time.perf_counter() - started,
    )


def _migration(source: Place, target: Place) -> MigrationAdaptor:
    """What one process of the service runs on meanwhile."""
    return MigrationAdaptor(
        source.connection(), target.connection(), name=MIGRATION, lease=_LEASE, grace=_GRACE
    )


async def _fill(
    source: Adaptor, airports: Mapping[str, Airport], ledger: Ledger, bars: Bars
) -> None:
    keys = list(airports)
    bar = bars.add("load")
    async with Store(source) as store:
        collection = store.collection(COLLECTION)
        for start in range(0, len(keys), _CHUNK):
            chunk = {key: airports[key] for key in keys[start : start + _CHUNK]}
            attempts = [ledger.send("load", key, airport) for key, airport in chunk.items()]
            stored = await collection.put_many(chunk)
            for attempt in attempts:
                ledger.acknowledge(attempt, stored[attempt.key].version)
            bar.show(start + len(chunk), len(keys))


async def _contents(target: Adaptor, *, plain: bool) -> dict[str, Standing]:
    """All that the target holds: through a plain store, unless that is still to be refused."""
    if plain:
        async with Store(target) as store:
            documents = store.collection(COLLECTION).scan()
            return {d.key: Standing(d.version, digest(d.value)) async for d in documents}
    await target.open()
    try:
        return {
            record.id.key: Standing(record.version, digest(msgspec.json.decode(record.body)))
            async for records in target.scan(Scan(COLLECTION))
            for record in records
            if record.body is not None
        }
    finally:
        await target.aclose()
