"""`aiostore migrate plan`: the pre-flight check."""

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import typer

from aiostore.cli.dynamodb.calculator import Units, Workload, estimate
from aiostore.cli.migrate.command import Options, both_open, perform, status_as_json
from aiostore.migration import MigrationAdaptor, Plan
from aiostore.migration import plan as make_plan
from aiostore.migration.plan import Times

_DYNAMODB = "dynamodb:"
_MOST_ROWS = 20


def plan(
    options: Options,
    *,
    sample: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Read only the first N records of each collection by key."
        ),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="Write some 200 documents into the target's system collection, read them and "
            "remove them again, to tell how long it takes.",
        ),
    ] = False,
) -> None:
    """Check before a migration, or during one, what it moves and what stands in its way.

    Counts and sizes; documents that not every store takes; what the target cannot do that the
    current store can; whether the target is empty; who takes part; documents that somebody has
    written past the migration; and, with --measure, how long it takes. Opens both stores, so that
    an empty target gets its tables or folder; documents are only read. Exits with 1 if something
    must be mended first.
    """
    migration = options.opened_by()
    if options.dry_run:
        would = [f"read {migration.current.name}"]
        if measure:
            would.append(f"write to {migration.target.name}, and remove it again")
        options.tell("\n".join(f"would {one}" for one in would), would=would)
        return
    found = perform(_made(migration, sample, measure=measure))
    units = _units(migration, found)
    options.tell("\n".join(_page(found, units)), **_as_json(found, units))
    if not found.can_go_on:
        raise typer.Exit(1)


async def _made(migration: MigrationAdaptor, sample: int | None, *, measure: bool) -> Plan:
    async with both_open(migration):
        return await make_plan(
            migration.current,
            migration.target,
            migration.migration,
            sample=sample,
            measure=measure,
        )


def _units(migration: MigrationAdaptor, found: Plan) -> dict[str, Units]:
    """What DynamoDB charges for it, by the part that it has; without indexes."""
    if not found.records:
        return {}
    body = max(1, round(found.bytes / found.records))
    estimated = estimate(Workload(documents=found.records, body_bytes=body, key_bytes=0)).migration
    units = {}
    if migration.target.name.startswith(_DYNAMODB):
        units["target"] = estimated.into + estimated.proof
    if migration.current.name.startswith(_DYNAMODB):
        units["current"] = estimated.out_of
    return units


def _page(found: Plan, units: dict[str, Units]) -> Iterator[str]:
    status = found.status
    yield f"{status.migration}: {status.current} → {status.target}"
    yield f"{found.records:,} records, {found.bytes:,} bytes, the largest {found.largest:,}"
    for one in found.collections[:_MOST_ROWS]:
        about = "" if one.whole else "about "
        yield f"  {one.collection}: {about}{one.records:,} records, {about}{one.all_bytes:,} bytes"
    if len(found.collections) > _MOST_ROWS:
        yield f"  and {len(found.collections) - _MOST_ROWS:,} more collections"
    yield from _of_times(found.times)
    for part, charged in units.items():
        yield (
            f"DynamoDB, as the {part}: {charged.read:,.0f} read units and {charged.write:,.0f} "
            "write units for the copy and its proof, without indexes; aiostore dynamodb cost tells "
            "more"
        )
    for finding in found.findings:
        yield f"{finding.level}: {finding.text}"
        if finding.advice:
            yield f"  → {finding.advice}"
    yield (
        "nothing is in the way" if found.can_go_on else "not before what says stop has been mended"
    )


def _of_times(times: Times) -> Iterator[str]:
    if times.copy is None or times.verify is None or times.handoff is None:
        yield "time: not measured (--measure)"
        return
    limited = ", held up by the limits that are set" if times.throttled else ""
    yield (
        f"time: the backfill about {_told(times.copy)}{limited}, a verification "
        f"{_told(times.verify)}, the hand-off {_told(times.handoff)}, with one worker and nobody "
        "else at work"
    )


def _told(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _as_json(found: Plan, units: dict[str, Units]) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(found)
    return plain | {
        "status": status_as_json(found.status),
        "records": found.records,
        "bytes": found.bytes,
        "largest": found.largest,
        "can_go_on": found.can_go_on,
        "dynamodb": msgspec.to_builtins(units),
    }
