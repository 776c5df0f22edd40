"""Many schedules of the real wrapper, and the bugs that they must find.

Five processes write the same few keys through a wrapper each, over one pair of memory stores whose
calls take a random number of turns of the event loop, while a backfill copies and repairs run. In
lossy schedules writes to the current store fail, before or after they have taken effect, and are
sent again. A seed fixes the choices. Afterwards the history is held against what the protocol
promises.
"""

import asyncio
import importlib
import random
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from faults import Pair, jitter
from msgspec.structs import replace

from aiostore.collection import Collection
from aiostore.errors import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    UnavailableError,
)
from aiostore.migration import MigrationAdaptor, backfill, rows
from aiostore.migration.dual_write import DualWrite
from aiostore.migration.repair import Repair
from aiostore.protocols import Absent, Adaptor, DocumentId, Exactly, Newer, Record, Write
from aiostore.sending import Retries
from aiostore.store import Store
from aiostore.versions import PROCESS_CLOCK, VersionClock, now_in_microseconds

KEYS = ("a", "b")
PROCESSES = 5
SEEDS = 600
LOSSY_SEEDS = 300
SEEDS_FOR_A_BUG = 2_500
PERSISTENT = Retries(50, timedelta(0), timedelta(0), timedelta(hours=1))

dual_write_module = importlib.import_module("aiostore.migration.dual_write")
backfill_module = importlib.import_module("aiostore.migration.backfill")
Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass
class History:
    """What the clients were told."""

    acknowledged: dict[str, dict[str, object]] = field(default_factory=dict)
    successors: list[tuple[str, str]] = field(default_factory=list)
    rejected: list[object] = field(default_factory=list)
    unknown: dict[str, set[object]] = field(default_factory=dict)


async def run(seed: int, *, lossy: bool = False) -> list[str]:
    """One schedule; returns what was promised and not kept."""
    choices = random.Random(seed)
    pair = Pair()
    history = History({key: {} for key in KEYS})
    async with Store(pair.current) as plain:
        for key in KEYS:
            await _prepare(plain, key, choices, history)
    pair.current.faults = pair.target.faults = jitter(f"{seed}/jitter")
    if lossy:
        pair.current.fates = _fates(random.Random(f"{seed}/fates"))
    async with AsyncExitStack() as running:
        stores = [
            await running.enter_async_context(_process(pair, choices)) for _ in range(PROCESSES)
        ]
        clients = [
            _client(store.collection("c"), f"{seed}/{number}", history)
            for number, store in enumerate([*stores, stores[0]])
        ]
        mends = [_mends(store.adaptor, f"{seed}/{n}") for n, store in enumerate(stores[:2])]
        await asyncio.gather(*clients, _copies(stores[0].adaptor, seed), *mends)
        for store in stores:
            await MigrationAdaptor.of(store).drain()
    return _violations(pair, history)


@pytest.mark.bulk
@pytest.mark.parametrize("first", range(0, SEEDS, 150))
async def test_every_schedule_keeps_the_promises(first: int) -> None:
    """Without a crash or a failed leg both stores are equal at rest, and no answer was a lie."""
    broken = {seed: found for seed in range(first, first + 150) if (found := await run(seed))}
    assert broken == {}


@pytest.mark.bulk
@pytest.mark.parametrize("first", range(0, LOSSY_SEEDS, 150))
async def test_every_schedule_with_lost_answers_keeps_the_promises(first: int) -> None:
    """Nor where writes are sent again: each takes effect at most once, and in both stores."""
    seeds = range(first, first + 150)
    broken = {seed: found for seed in seeds if (found := await run(seed, lossy=True))}
    assert broken == {}


def _no_reissue(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DualWrite, "_issue_again", _nothing)


def _no_settle(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DualWrite, "_settle", _nothing)


def _no_second_read(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Repair, "_copy_what_crossed", _nothing)


def _newer_legs(patch: pytest.MonkeyPatch) -> None:
    right = rows.for_target
    patch.setattr(rows, "for_target", lambda write: replace(right(write), condition=Newer()))


def _no_tombstones(patch: pytest.MonkeyPatch) -> None:
    for name in ("for_current", "for_target"):
        right = getattr(rows, name)
        patch.setattr(
            rows, name, lambda write, right=right: replace(right(write), erase=write.erase)
        )


def _unconditional_backfill(patch: pytest.MonkeyPatch) -> None:
    async def copy(target: Adaptor, records: list[Record]) -> int:
        for record in records:
            [standing] = await target.read([record.id])
            condition = Absent() if standing is None else Exactly(standing.version)
            await target.write([Write(rows.mirror(record), condition)])
        return len(records)

    patch.setattr(backfill_module, "_copy", copy)


def _repair_without_grace(patch: pytest.MonkeyPatch) -> None:
    async def mend(self: Repair, ahead: dict[DocumentId, str]) -> None:
        await self.settle(ahead)

    patch.setattr(Repair, "_mend_ahead", mend)


def _no_copies_of_tombstones(patch: pytest.MonkeyPatch) -> None:
    right = backfill_module._copy

    async def copy(target: Adaptor, records: list[Record]) -> int:
        documents = [record for record in records if record.body is not None]
        return int(await right(target, documents)) if documents else 0

    patch.setattr(backfill_module, "_copy", copy)


BUGS: dict[Patch, int] = {
    _no_reissue: 0,
    _no_settle: 0,
    _no_second_read: 3_800,
    _newer_legs: 0,
    _no_tombstones: 0,
    _unconditional_backfill: 0,
    _repair_without_grace: 2_500,
    _no_copies_of_tombstones: 1_850,
}
"""Each bug, and the seed from which on to look for it: three of them are rare."""


@pytest.mark.bulk
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__.removeprefix("_"))
async def test_every_seeded_bug_is_found(bug: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rule of the protocol is needed: leaving it out breaks a promise in some schedule."""
    bug(monkeypatch)
    for seed in range(BUGS[bug], BUGS[bug] + SEEDS_FOR_A_BUG):
        if await run(seed):
            return
    pytest.fail(f"not found in {SEEDS_FOR_A_BUG} schedules")


async def test_a_write_that_does_not_know_itself_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write sent again that takes its first attempt for somebody else's breaks a promise."""
    monkeypatch.setattr(dual_write_module, "_holds", lambda *_: False)
    for seed in range(SEEDS_FOR_A_BUG):
        if await run(seed, lossy=True):
            return
    pytest.fail(f"not found in {SEEDS_FOR_A_BUG} schedules")


async def _nothing(*_: object) -> None:
    """What a left-out rule does."""


async def _prepare(store: Store, key: str, choices: random.Random, history: History) -> None:
    start = choices.choice(("nothing", "document", "document", "tombstone"))
    if start == "document":
        first = await store.collection("c").create(key, {"by": f"{key}/start"})
        history.acknowledged[key][first.version] = first.value["by"]
    elif start == "tombstone":
        now = PROCESS_CLOCK.now()
        tombstone = Record(DocumentId("c", key), None, PROCESS_CLOCK.next(), now, now)
        await store.adaptor.write([Write(tombstone, Absent())])


async def _client(c: Collection[dict[str, Any]], seed: str, history: History) -> None:
    choices = random.Random(seed)
    known: dict[str, str] = {}
    for step in range(choices.randint(2, 5)):
        key = choices.choice(KEYS)
        value = {"by": f"{seed}/{step}"}
        try:
            match choices.choice(("put", "create", "replace", "replace", "delete", "delete_any")):
                case "put":
                    stored = await c.put(key, value)
                case "create":
                    stored = await c.create(key, value)
                case "delete_any":
                    await c.delete(key, missing_ok=True)
                    history.acknowledged[key]["deleted"] = None
                    continue
                case verb:
                    version = known.get(key) or (await c.get(key)).version
                    if verb == "delete":
                        await c.delete(key, version=version)
                        history.successors.append((key, version))
                        continue
                    stored = await c.replace(key, value, version=version)
                    history.successors.append((key, version))
        except (AlreadyExistsError, ConflictError, NotFoundError):
            known.pop(key, None)
            history.rejected.append(value["by"])
        except UnavailableError:
            known.pop(key, None)
            history.unknown.setdefault(key, set()).add(value["by"])
        else:
            known[key] = stored.version
            history.acknowledged[key][stored.version] = value["by"]


async def _copies(migration: Adaptor, seed: int) -> None:
    assert isinstance(migration, MigrationAdaptor)
    choices = random.Random(f"{seed}/copies")
    await _turns(choices.randint(0, 60))
    await backfill(migration, chunk=choices.randint(1, 3))


async def _mends(migration: Adaptor, seed: str) -> None:
    assert isinstance(migration, MigrationAdaptor)
    choices = random.Random(f"{seed}/mends")
    for _ in range(choices.choice((0, 0, 1, 2))):
        await _turns(choices.randint(0, 60))
        await migration.repair.mend([DocumentId("c", choices.choice(KEYS))])


def _process(pair: Pair, choices: random.Random) -> Store:
    migration = pair.migration(grace=timedelta(hours=1))
    return Store(migration, clock=_skewed(choices), retries=PERSISTENT)


def _skewed(choices: random.Random) -> VersionClock:
    """A process's clock, which may be seconds ahead or behind."""
    skew = choices.choice((0, 0, -3_000_000, 5_000_000))
    return VersionClock(now=lambda: now_in_microseconds() + skew)


def _fates(choices: random.Random) -> Iterator[str]:
    while True:
        yield from choices.choices(("lost", "unanswered", ""), (15, 15, 70))


async def _turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def _violations(pair: Pair, history: History) -> list[str]:
    current, target = pair.current.held(), pair.target.held()
    found = []
    if not pair.equal():
        found.append(f"not equal at rest: {current} and {target}")
    doubles = {one for one in history.successors if history.successors.count(one) > 1}
    if doubles:
        found.append(f"one version was succeeded twice: {doubles}")
    for key, record in [*current.items(), *target.items()]:
        if record.body is not None:
            found += _faults_of(key, record, history)
    for key, acknowledged in history.acknowledged.items():
        newest = max((version for version in acknowledged if version != "deleted"), default=None)
        gone = (
            (key, newest) in history.successors
            or "deleted" in acknowledged
            or key in history.unknown
        )
        if newest is not None and not gone and current[key].version != newest:
            found.append(f"the newest write at {key}, {newest}, is not there: {current[key]}")
    return found


def _faults_of(key: str, record: Record, history: History) -> list[str]:
    value = (record.body or "").split('"')[3]
    acknowledged = history.acknowledged[key].get(record.version) == value
    unknown = value in history.unknown.get(key, ())
    faults = {
        "a rejected write": value in history.rejected,
        "an unacknowledged write": not acknowledged and not unknown,
        "a write that was succeeded": (key, record.version) in history.successors,
    }
    return [f"{fault} stands at {key}: {record}" for fault, found in faults.items() if found]
