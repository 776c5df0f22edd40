"""The demonstration itself: load, use, move while in use, use, audit."""

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from aiostore.cli.demo.airports import COLLECTION, Airport, load
from aiostore.cli.demo.audit import Findings, Standing, audit
from aiostore.cli.demo.bars import Bars
from aiostore.cli.demo.journal import Journal
from aiostore.cli.demo.ledger import Ledger, digest
from aiostore.cli.demo.places import Place, borrowed
from aiostore.cli.demo.service import AirportService, Restart
from aiostore.cli.demo.tally import Tally
from aiostore.cli.demo.traffic import Traffic
from aiostore.errors import ConfigurationError, MigrationError
from aiostore.migration import MigrationAdaptor, Progress, Verification, backfill, finish, verify
from aiostore.protocols import Adaptor, Scan
from aiostore.store import Store

MIGRATION = "demo"

_CHUNK = 500
_VERIFICATIONS = 5
_PATIENCE = 65.0  # seconds; longer than the migration's grace, after which doubts are settled
_TICK = 0.05


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
        documents: load the first so many airports; None for all.
        seconds: how long the traffic goes on before, and again after the migration.
    """

    source: Place
    target: Place
    keep: bool
    ledger: Path
    keep_ledger: bool
    seed: int
    documents: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it.

    Attributes:
        loaded: airports at the start.
        documents: documents in the target at the end.
        copied: records that the backfill copied.
        verification: the last one.
        switch: the restart on the target alone; None if the verification forbade it.
        tally: what the clients met.
        ledger: what they know.
        findings: what the target's contents say to that.
        seconds: all of it.
    """

    loaded: int
    documents: int
    copied: int
    verification: Verification
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
        return await _move(settings, source.adaptor, target.adaptor, bars)


async def _move(settings: Settings, source: Adaptor, target: Adaptor, bars: Bars) -> Result:
    started = time.perf_counter()
    airports = await asyncio.to_thread(load, settings.documents)
    async with Journal(settings.ledger) as journal:
        ledger = Ledger(journal.write)
        await _fill(source, airports, ledger, bars)
        service = AirportService()
        await service.restart(source)
        try:
            traffic = Traffic(service, airports, ledger, settings.seed)
            async with traffic:
                await _spell("before", settings.seconds, traffic.tally, bars)
                traffic.tally.phase = "during"
                migration = MigrationAdaptor(source, target, name=MIGRATION)
                await service.restart(migration)
                copied, found = await _copy(migration, traffic, bars)
                switch = await _switch(service, migration) if found.clean else None
                if switch is not None:
                    traffic.tally.phase = "after"
                    await _spell("after", settings.seconds, traffic.tally, bars)
        finally:
            await service.aclose()
        contents = await _contents(target, plain=switch is not None)
        findings = audit(ledger, contents)
    seconds = time.perf_counter() - started
    return Result(
        len(airports),
        len(contents),
        copied,
        found,
        switch,
        traffic.tally,
        ledger,
        findings,
        seconds,
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


async def _spell(name: str, seconds: float, tally: Tally, bars: Bars) -> None:
    """Let the traffic go on for a while."""
    bar = bars.add(name, timed=True)
    before, end = tally.operations, time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(left, _TICK))
        gone = seconds - max(0.0, end - time.monotonic())
        bar.show(gone, seconds, tally.operations - before)


async def _copy(
    migration: MigrationAdaptor, traffic: Traffic, bars: Bars
) -> tuple[int, Verification]:
    """Backfill, then verify until no document is on the move at every look."""
    show = bars.reporter("backfill", traffic.tally)

    def report(progress: Progress) -> None:
        show(progress)
        traffic.frontier.move(progress.percent / 100)

    traffic.frontier.move(0.0)
    copied = await backfill(migration, report=report)
    traffic.frontier.move(None)
    for _ in range(_VERIFICATIONS):
        found = await verify(migration, report=bars.reporter("verify", traffic.tally))
        if found.clean or found.mismatches:
            break
    return copied, found


async def _switch(service: AirportService, migration: MigrationAdaptor) -> Restart:
    """Restart the service on the target alone, once nothing is in doubt any more."""
    end = time.monotonic() + _PATIENCE
    while True:
        await _undoubted(migration, end)
        try:
            return await service.restart(migration.target, last=lambda: finish(migration))
        except MigrationError:
            if time.monotonic() >= end:
                raise


async def _undoubted(migration: MigrationAdaptor, end: float) -> None:
    """Wait until no document is in doubt any more; at `end`, no longer."""
    left = end - time.monotonic()
    for _ in range(math.ceil(left / _TICK)):
        if migration.complete:
            return
        await asyncio.sleep(_TICK)


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
