"""`aiostore dynamodb cost`: an estimate, in units and, with prices passed in, in money."""

import sys
from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from aiostore.cli.dynamodb import quantities
from aiostore.cli.dynamodb.calculator import (
    NEW_TABLE_WRITE_UNITS,
    Estimate,
    Migration,
    Partitions,
    Prices,
    Units,
    Workload,
    estimate,
)

_PRICES = "Prices"


def cost(
    *,
    documents: Annotated[
        str, typer.Option(metavar="NUMBER", help="How many there are: 250, 20K, 10M, 1B.")
    ],
    size: Annotated[
        str,
        typer.Option(metavar="BYTES", help="Of one as JSON: 800, 1KB (1,000), 350KiB (358,400)."),
    ],
    key_size: Annotated[str, typer.Option(metavar="BYTES", help="Of its key.")] = "36",
    writes_per_second: Annotated[float, typer.Option(min=0, help="On an average.")] = 0.0,
    reads_per_second: Annotated[
        float, typer.Option(min=0, help="Likewise, of single documents.")
    ] = 0.0,
    indexes: Annotated[int, typer.Option(min=0, max=20, help="Indexed fields.")] = 0,
    shards: Annotated[int, typer.Option(min=1, max=1000, help="Of the table.")] = 16,
    eventual: Annotated[
        bool, typer.Option("--eventual", help="Reads are eventually consistent, at half the cost.")
    ] = False,
    price_read_million: Annotated[
        float | None,
        typer.Option(min=0, rich_help_panel=_PRICES, help="A million read request units."),
    ] = None,
    price_write_million: Annotated[
        float | None,
        typer.Option(min=0, rich_help_panel=_PRICES, help="A million write request units."),
    ] = None,
    price_storage_gb: Annotated[
        float | None,
        typer.Option(min=0, rich_help_panel=_PRICES, help="A gigabyte stored for a month."),
    ] = None,
    price_read_unit_hour: Annotated[
        float | None,
        typer.Option(min=0, rich_help_panel=_PRICES, help="A provisioned read unit, an hour."),
    ] = None,
    price_write_unit_hour: Annotated[
        float | None,
        typer.Option(min=0, rich_help_panel=_PRICES, help="A provisioned write unit, an hour."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, and nothing else.")
    ] = False,
) -> None:
    """Estimate the units, the storage and the partitions that documents take.

    AWS is not asked, and no price is known: pass in those of your region, from the page "Amazon
    DynamoDB pricing", and the same is told in money. docs/dynamodb.md says by which rules.
    """
    workload = Workload(
        documents=quantities.count(documents),
        body_bytes=quantities.size(size),
        key_bytes=quantities.size(key_size),
        writes_per_second=writes_per_second,
        reads_per_second=reads_per_second,
        indexes=indexes,
        shards=shards,
        consistent=not eventual,
    )
    prices = Prices(
        read_million=price_read_million,
        write_million=price_write_million,
        storage_gb=price_storage_gb,
        read_unit_hour=price_read_unit_hour,
        write_unit_hour=price_write_unit_hour,
    )
    found = estimate(workload)
    if as_json:
        answer = {**msgspec.to_builtins(found), "money": _money(found, prices)}
        sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    else:
        _show(workload, found, prices)


def _money(found: Estimate, prices: Prices) -> dict[str, float | None]:
    """What the prices make of it; None where one is missing."""
    return {
        "storage_month": prices.of_storage(found.stored_bytes),
        "requests_month": prices.of_requests(found.month),
        "capacity_month": prices.of_capacity(found.second),
        "migration_into": prices.of_requests(found.migration.into + found.migration.proof),
        "migration_out_of": prices.of_requests(found.migration.out_of),
        "migration_day": prices.of_requests(found.migration.day),
    }


def _show(workload: Workload, found: Estimate, prices: Prices) -> None:
    console = Console()
    kind = "consistent" if workload.consistent else "eventually consistent"
    console.print(
        f"{workload.documents:,} documents of {workload.body_bytes:,} bytes make items of "
        f"{found.item_bytes:,} bytes each, and {_gigabytes(found.stored_bytes)} GB of storage; "
        f"indexed fields: {workload.indexes}; reads: {kind}.",
        highlight=False,
    )
    _print(console, "One operation", ["", "read units", "write units"], _operations(found))
    money = _money(found, prices)
    costs = ["", "read units", "write units", "cost"]
    _print(console, "A month", costs, _month(found, money))
    _print(console, "A migration of all documents", costs, _migration(found.migration, money))
    _print(console, "A second, at most", ["", "reads", "writes"], _limits(found.partitions))
    console.print(_verdict(workload, found), highlight=False)


def _operations(found: Estimate) -> Iterable[Sequence[str]]:
    names = {
        "read": "read a document",
        "read_eventually": "read it with consistent=False",
        "create": "create or delete a document",
        "replace": "replace it, indexed fields unchanged",
        "replace_indexed": "replace it, all indexed fields changed",
        "refused": "a write whose condition fails",
        "transaction": "each document created in a transaction",
        "find_one": "find one document by an index",
        "page": "begin a list of documents, at least",
        "scan": "scan or count everything",
    }
    for name, told in names.items():
        yield [told, *_units(getattr(found.operations, name))]


def _month(found: Estimate, money: dict[str, float | None]) -> Iterable[Sequence[str]]:
    yield ["storage", "", "", _price(money["storage_month"])]
    yield ["requests, on demand", *_units(found.month), _price(money["requests_month"])]
    yield ["or capacity, a second", *_units(found.second), _price(money["capacity_month"])]


def _migration(units: Migration, money: dict[str, float | None]) -> Iterable[Sequence[str]]:
    yield [
        "into DynamoDB: copy and proof",
        *_units(units.into + units.proof),
        _price(money["migration_into"]),
    ]
    yield ["mirrored writes, a day of it", *_units(units.day), _price(money["migration_day"])]
    yield ["out of DynamoDB", *_units(units.out_of), _price(money["migration_out_of"])]


def _limits(partitions: Partitions) -> Iterable[Sequence[str]]:
    reads, writes = partitions.collection_reads, partitions.collection_writes
    yield ["documents of one collection", f"{reads:,.0f}", f"{writes:,.0f}"]
    reads, writes = partitions.document_reads, partitions.document_writes
    yield ["one and the same document", f"{reads:,.0f}", f"{writes:,.0f}"]
    if partitions.same_value_writes is not None:
        yield ["documents of one indexed value", "", f"{partitions.same_value_writes:,.0f}"]


def _verdict(workload: Workload, found: Estimate) -> str:
    partitions = found.partitions
    minutes = found.migration.copy_seconds / 60
    copied = (
        f"At {NEW_TABLE_WRITE_UNITS:,} write units a second, which a new table on demand takes, "
        f"all documents are copied in {minutes:,.0f} minutes."
    )
    lines = [f"There are {partitions.least} partitions at least.", copied]
    for asked, able, verb in (
        (workload.writes_per_second, partitions.collection_writes, "written"),
        (workload.reads_per_second, partitions.collection_reads, "read"),
    ):
        if asked > able:
            lines.append(
                f"If they are all of one collection, {workload.shards} shards are too few for "
                f"{asked:,.0f} documents {verb} a second: make the table with more, since they "
                "are fixed."
            )
    return "\n".join(lines)


def _print(
    console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]
) -> None:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="right" if column else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _units(units: Units) -> tuple[str, str]:
    return _number(units.read), _number(units.write)


def _number(number: float) -> str:
    """Halves are told where they matter."""
    return f"{number:,.1f}" if number < 1000 and number != int(number) else f"{number:,.0f}"


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:,.2f}"


def _price(amount: float | None) -> str:
    return "" if amount is None else f"{amount:,.2f}"
