"""What documents cost in DynamoDB: by AWS's published rules, and with prices passed in."""

import json
from typing import Any

import pytest
from test_main import run

from aiostore.adaptors.dynamodb._items import Items
from aiostore.cli.dynamodb.calculator import (
    Prices,
    Units,
    Workload,
    estimate,
    item_bytes,
)
from aiostore.cli.dynamodb.quantities import count, size
from aiostore.errors import ConfigurationError
from aiostore.keys import segment_of
from aiostore.protocols import DocumentId, Record

PLAIN = Workload(documents=10_000_000, body_bytes=800)
USUAL = ("dynamodb", "cost", "--documents", "10M", "--size", "1KB")


def as_json(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    """What the command tells programs."""
    code, out, err = run(capsys, *USUAL, "--json", *options)
    assert (code, err) == (0, "")
    answer: dict[str, Any] = json.loads(out)
    return answer


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("250", 250), ("20K", 20_000), ("10M", 10_000_000), ("1.5B", 1_500_000_000)],
)
def test_a_number_of_things(text: str, number: int) -> None:
    """Large numbers are written short."""
    assert count(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [("800", 800), ("800B", 800), ("1KB", 1000), ("1KiB", 1024), ("0.5MB", 500_000)],
)
def test_a_number_of_bytes(text: str, number: int) -> None:
    """A kilobyte has a thousand bytes, a kibibyte 1,024."""
    assert size(text) == number


@pytest.mark.parametrize("text", ["", "M", "-1", "10 M", "1e6", "10Q", "1,000", "1.0001K", "٣"])
def test_what_is_no_number(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ConfigurationError, match="is not"):
        count(text)
    with pytest.raises(ConfigurationError, match="is not"):
        size(text)


@pytest.mark.parametrize("indexes", [0, 1])
def test_the_size_of_an_item_is_that_of_what_is_stored(indexes: int) -> None:
    """It is the names and values of all attributes, as the adaptor writes them."""
    key = next(key for key in map("{:036}".format, range(100)) if segment_of(key, 16) >= 10)
    body = '{"category":"0123456789abcdef"}'
    id_ = DocumentId("twelve-bytes", key)
    record = Record(id_, body, "0" * 32, 1_700_000_000_123_456, 1_700_000_000_123_457)
    item = Items(16, [("category",)] * indexes).item(record)
    stored = 0
    for name, typed in item.items():
        [(kind, value)] = typed.items()
        stored += len(name) + (len(value) if kind == "S" else len(value) // 2 + 1)
    assert item_bytes(Workload(documents=1, body_bytes=len(body), indexes=indexes)) == stored


def test_units_of_single_operations() -> None:
    """A unit reads 4 KB and writes 1 KB; eventual reads are half, transactions double."""
    found = estimate(PLAIN).operations
    assert found.read == Units(read=1)
    assert found.read_eventually == Units(read=0.5)
    assert found.create == found.replace == found.replace_indexed == Units(write=1)
    assert found.refused == Units(write=1)
    assert found.transaction == Units(write=2)


def test_units_are_rounded_up_by_the_item() -> None:
    """One byte more is one unit more, and the names count."""
    others = item_bytes(Workload(documents=1, body_bytes=0))
    for extra, write in ((0, 4), (1, 5)):
        workload = Workload(documents=1, body_bytes=4096 - others + extra)
        found = estimate(workload).operations
        assert found.create == Units(write=write)
        assert found.read == Units(read=1 + extra)


def test_units_of_indexes() -> None:
    """An index costs a unit when its entry comes or goes, and two when it moves."""
    found = estimate(Workload(documents=1, body_bytes=500, indexes=2)).operations
    assert found.create == Units(write=3)
    assert found.replace == Units(write=1)
    assert found.replace_indexed == Units(write=5)
    assert found.transaction == Units(write=4)
    assert found.find_one == Units(read=1.5)


def test_units_of_walks() -> None:
    """A walk pays for its bytes; whatever begins one asks every shard."""
    found = estimate(PLAIN)
    assert found.operations.scan.read == -(-10_000_000 * found.item_bytes // 4096)
    assert found.operations.page == Units(read=16)


def test_eventually_consistent_reads_are_half() -> None:
    """But for those that are so or so whatever is asked for."""
    strict = estimate(Workload(documents=1000, body_bytes=800, reads_per_second=10, indexes=1))
    lax = estimate(
        Workload(documents=1000, body_bytes=800, reads_per_second=10, indexes=1, consistent=False)
    )
    assert lax.second == strict.second * 0.5
    assert lax.operations.scan == strict.operations.scan * 0.5
    assert lax.operations.page == strict.operations.page * 0.5
    assert lax.operations.find_one == Units(read=1.0)
    assert lax.operations.read == strict.operations.read
    assert lax.migration == strict.migration
    assert lax.partitions.document_reads == 2 * strict.partitions.document_reads


def test_a_month_is_730_hours() -> None:
    """Of the average load, whose writes touch all indexes."""
    found = estimate(
        Workload(documents=1, body_bytes=800, writes_per_second=10, reads_per_second=3, indexes=1)
    )
    assert found.second == Units(read=3, write=20)
    assert found.month == found.second * (730 * 3600)


def test_the_units_of_a_migration() -> None:
    """Each document is one conditional write; the proof a walk, and half of one to count."""
    found = estimate(Workload(documents=10_000, body_bytes=800, writes_per_second=2, indexes=1))
    walk = found.operations.scan
    assert found.migration.into == Units(write=10_000 * 2 + 100)
    assert found.migration.proof == walk * 1.5
    assert found.migration.out_of == walk * 3
    assert found.migration.day == Units(write=2 * 2 * 86_400)
    assert found.migration.copy_seconds == 10_000 / 4000


@pytest.mark.parametrize(
    ("workload", "least"),
    [
        (Workload(documents=0, body_bytes=0), 1),
        (Workload(documents=100_000_000, body_bytes=800), 9),
        (Workload(documents=1, body_bytes=800, writes_per_second=2500), 3),
        (
            Workload(documents=1, body_bytes=800, writes_per_second=500, reads_per_second=4500),
            2,
        ),
    ],
)
def test_how_many_partitions_there_are(workload: Workload, least: int) -> None:
    """A partition holds 10 GB, and takes 1,000 units written or 3,000 read, or parts of both."""
    assert estimate(workload).partitions.least == least


def test_what_shards_and_single_keys_take() -> None:
    """A shard is one partition at least, and so is a value of an indexed field."""
    found = estimate(Workload(documents=1, body_bytes=1500, shards=4, indexes=1)).partitions
    assert (found.collection_writes, found.collection_reads) == (2000, 12_000)
    assert (found.document_writes, found.document_reads) == (500, 3000)
    assert found.same_value_writes == 1000
    assert estimate(PLAIN).partitions.same_value_writes is None


def test_storage_holds_100_bytes_more_for_each_item_and_entry() -> None:
    """Which is what AWS counts for its own index of them."""
    plain = estimate(Workload(documents=10, body_bytes=800))
    assert plain.stored_bytes == 10 * (plain.item_bytes + 100)
    indexed = estimate(Workload(documents=10, body_bytes=800, indexes=1))
    entry = (indexed.stored_bytes - 10 * (indexed.item_bytes + 100)) // 10 - 100
    # Both keys, a field's name and its value: all that an index that holds keys alone has.
    assert entry == (2 + 12 + 3) + (2 + 36) + (3 + 8) + (12 + 2 + 16)


def test_a_document_that_is_too_large() -> None:
    """DynamoDB's limit is that of the whole item."""
    with pytest.raises(ConfigurationError, match="DynamoDB takes 409600"):
        Workload(documents=1, body_bytes=409_600)


def test_money() -> None:
    """It is units times prices."""
    prices = Prices(
        read_million=2, write_million=3, storage_gb=0.5, read_unit_hour=0.1, write_unit_hour=0.2
    )
    assert prices.of_requests(Units(read=500_000, write=2_000_000)) == 1 + 6
    assert prices.of_capacity(Units(read=1.5, write=4)) == pytest.approx(730 * (2 * 0.1 + 4 * 0.2))
    assert prices.of_storage(3 * 2**30) == 1.5


def test_a_price_that_is_not_known() -> None:
    """Nothing is told rather than a part, but what is not needed needs no price."""
    assert Prices(read_million=2).of_requests(Units(read=1, write=1)) is None
    assert Prices(read_million=2).of_requests(Units(read=1_000_000)) == 2
    assert Prices(write_unit_hour=2).of_capacity(Units(read=1, write=1)) is None
    assert Prices().of_storage(1) is None
    assert Prices().of_storage(0) == 0


def test_the_command_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Tables of units, without a price."""
    code, out, err = run(capsys, *USUAL, "--writes-per-second", "500")
    assert (code, err) == (0, "")
    assert "10,000,000 documents of 1,000 bytes make items of 1,130 bytes each" in out
    assert "and 11.46 GB of storage" in " ".join(out.split())
    for title in ("One operation", "A month", "A migration of all documents", "A second, at most"):
        assert title in out
    [row] = [line.split() for line in out.splitlines() if "create or delete" in line]
    assert row[-2:] == ["0", "2"]
    [row] = [line.split() for line in out.splitlines() if "requests, on demand" in line]
    assert row[-2:] == ["0", "2,628,000,000"]
    assert "too few" not in out


def test_the_command_with_prices(capsys: pytest.CaptureFixture[str]) -> None:
    """With prices the same is told in money."""
    _, out, _ = run(
        capsys,
        *USUAL,
        *("--writes-per-second", "500", "--price-write-million", "0.5"),
        *("--price-storage-gb", "0.25", "--indexes", "1"),
    )
    [row] = [line.split() for line in out.splitlines() if "requests, on demand" in line]
    assert row[-1] == "1,971.00"
    assert "documents of one indexed value" in out


def test_the_command_warns_of_too_few_shards(capsys: pytest.CaptureFixture[str]) -> None:
    """Shards are fixed, so it is told before."""
    _, out, _ = run(
        capsys, *USUAL, "--shards", "2", "--writes-per-second", "2000", "--reads-per-second", "9000"
    )
    told = " ".join(out.split())
    assert "2 shards are too few for 2,000 documents written a second" in told
    assert "2 shards are too few for 9,000 documents read a second" in told


def test_the_command_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object, in which what no price is known for is null."""
    answer = as_json(capsys, "--writes-per-second", "500", "--price-storage-gb", "0.25")
    assert answer["item_bytes"] == 1130
    assert answer["operations"]["create"] == {"read": 0.0, "write": 2.0}
    assert answer["partitions"]["least"] == 2
    money = answer.pop("money")
    assert money.pop("storage_month") == pytest.approx(12_300_000_000 / 2**30 * 0.25)
    assert set(money.values()) == {None}


def test_the_command_passes_every_option_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Each option changes the answer."""
    plain = as_json(capsys)
    for options in (
        ["--key-size", "100"],
        ["--writes-per-second", "1"],
        ["--reads-per-second", "1"],
        ["--indexes", "1"],
        ["--shards", "8"],
        ["--eventual"],
        ["--price-storage-gb", "1"],
        ["--price-read-million", "1"],
    ):
        assert as_json(capsys, *options) != plain, options
    busy = ("--writes-per-second", "1", "--reads-per-second", "1")
    prices = {"--price-read-unit-hour": "1", "--price-write-unit-hour": "2"}
    options = [*busy, *(part for pair in prices.items() for part in pair)]
    assert as_json(capsys, *options)["money"]["capacity_month"] == 730 * (1 + 2 * 2)


@pytest.mark.parametrize(
    "options", [("--documents", "many", "--size", "1KB"), ("--documents", "1", "--size", "1GB")]
)
def test_the_command_with_a_wrong_number(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    """It is told in one line."""
    code, out, err = run(capsys, "dynamodb", "cost", *options)
    assert (code, out) == (2, "")
    assert err.startswith("aiostore: '")
    assert err.count("\n") == 1
