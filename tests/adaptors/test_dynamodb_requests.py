"""What the DynamoDB adaptor does in its own way: what is stored, asked for, and paid for."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from dynamodb_proxy import FaultProxy
from dynamodb_stores import Table, place, put, record
from msgspec.structs import replace
from servers import DYNAMODB_ENGINES, dynamodb_server

from aiostore.adaptors.dynamodb import DynamoDBAdaptor
from aiostore.errors import (
    ConfigurationError,
    CorruptRecordError,
    InvalidKeyError,
    StoreError,
    TooLargeError,
    UnsupportedError,
)
from aiostore.filters import F
from aiostore.keys import segment_of
from aiostore.metering import metered
from aiostore.opening import open_adaptor
from aiostore.protocols import (
    Absent,
    Capabilities,
    Check,
    Exactly,
    Mark,
    Newer,
    Purge,
    Scan,
    Write,
)
from aiostore.store import Store

DAY = 86_400


@pytest.fixture(params=DYNAMODB_ENGINES)
def table(request: pytest.FixtureRequest) -> Table:
    """A table on each engine."""
    return Table(dynamodb_server(request.param))


@pytest.fixture
def complete() -> Table:
    """A table on the engine that lacks nothing."""
    return Table(dynamodb_server("dynamodb"))


async def test_an_item_is_as_the_page_says(table: Table) -> None:
    """A document is one item; its moments are numbers, and its indexed fields attributes."""
    body = json.dumps({"n": 1, "in": {"t": "x" * 200}, "list": [1]}, separators=(",", ":"))
    one = replace(record("k/1", body), expires_at=3_000_001)
    async with table.opened(index="n,in.t,list,missing") as adaptor:
        await adaptor.write([Write(one, Newer())])
    partition = f"users#{segment_of('k/1', 4)}"
    assert await table.item(partition, "k/1") == {
        "pk": {"S": partition},
        "sk": {"S": "k/1"},
        "body": {"S": body},
        "version": {"S": one.version},
        "created": {"N": "1"},
        "updated": {"N": "2"},
        "expires": {"N": "3000001"},
        "ttl": {"N": "4"},
        "by-n": {"S": "users#31.0"},
        "by-in.t": {"S": "users#4" + "x" * 128},
    }


async def test_a_tombstone_and_a_mark_have_no_time_to_live(table: Table) -> None:
    """What a migration has marked, DynamoDB does not remove; a tombstone has nothing to find."""
    marked = replace(record("marked"), expires_at=3_000_000, mark=Mark.MOVED)
    async with table.opened(index="n") as adaptor:
        await adaptor.write([Write(marked, Newer()), put("gone", None)])
    item = await table.item(f"users#{segment_of('marked', 4)}", "marked")
    assert item is not None
    assert item["mark"] == {"S": "moved"}
    assert "ttl" not in item
    gone = await table.item(f"users#{segment_of('gone', 4)}", "gone")
    assert gone is not None
    assert set(gone) == {"pk", "sk", "version", "created", "updated"}


async def test_a_replacement_leaves_nothing_of_what_it_replaces(table: Table) -> None:
    """Where the moment of creation is kept all other attributes are the new record's."""
    old = replace(record("k", '{"n":1,"m":1}'), expires_at=3_000_000, mark=Mark.MIRROR)
    new = replace(record("k", '{"m":2}'), created_at=7)
    async with table.opened(index="n,m") as adaptor:
        await adaptor.write([Write(old, Newer())])
        write = Write(new, Exactly(old.version), keep_created_at=True)
        [outcome] = await adaptor.write([write])
        assert outcome.record == replace(new, created_at=1)
        [found] = await adaptor.read([place("k")])
        assert found == replace(new, created_at=1)
    item = await table.item(f"users#{segment_of('k', 4)}", "k")
    assert item is not None
    assert {name for name in item if name.startswith("by-")} == {"by-m"}
    assert "ttl" not in item


async def test_a_write_is_one_request(complete: Table) -> None:
    """Missing and other versions are told by the refusal itself."""
    async with complete.behind_proxy() as (store, proxy):
        adaptor = store.adaptor
        await adaptor.write([put("k")])
        proxy.requests.clear()
        outcomes = [
            *await adaptor.write([Write(record("k"), Absent())]),
            *await adaptor.write([Write(record("missing"), Exactly("7"))]),
        ]
        assert [outcome.applied for outcome in outcomes] == [False, False]
        assert [outcome.record is None for outcome in outcomes] == [False, True]
        assert [each.operation for each in proxy.requests] == ["PutItem", "PutItem"]


async def test_a_server_that_does_not_tell_is_asked() -> None:
    """Where a refusal does not say what stands there, that is read, consistently."""
    table = Table(dynamodb_server("dynalite"))
    async with table.behind_proxy() as (store, proxy):
        adaptor = store.adaptor
        await adaptor.write([put("k")])
        proxy.requests.clear()
        [outcome] = await adaptor.write([Write(record("k"), Absent())])
        assert outcome.record is not None
        assert [each.operation for each in proxy.requests] == ["PutItem", "GetItem"]
        assert proxy.requests[1].body["ConsistentRead"] is True


@pytest.mark.parametrize(
    ("segments", "segment", "shards"),
    [(4, 1, {1}), (2, 1, {1, 3}), (8, 5, {1}), (3, 0, {0, 1, 2, 3}), (6, 4, {0, 2})],
)
async def test_a_segment_reads_no_other_shards(
    table: Table, segments: int, segment: int, shards: set[int]
) -> None:
    """Shards and segments are remainders of one checksum, so a segment is some of the shards."""
    keys = [f"k{number}" for number in range(40)]
    async with table.behind_proxy() as (store, proxy):
        await store.adaptor.write([put(key) for key in keys])
        proxy.requests.clear()
        scan = Scan("users", segment=segment, segments=segments)
        found = [one.id.key async for chunk in store.adaptor.scan(scan) for one in chunk]
        assert found == sorted(key for key in keys if segment_of(key, segments) == segment)
        asked = {
            each.body["ExpressionAttributeValues"][":partition"]["S"] for each in proxy.requests
        }
        assert asked == {f"users#{shard}" for shard in shards}


async def test_a_page_reads_little_more_than_it_holds(table: Table) -> None:
    """Of a thousand documents a page of twenty has some forty read, and the next ones no more."""
    async with table.behind_proxy() as (store, proxy):
        users = store.collection("users")
        await users.put_many({f"k{number:04}": {"n": number} for number in range(1000)})
        proxy.requests.clear()
        page = await users.page(size=20)
        first = sum(each.body["Limit"] for each in proxy.requests)
        assert [each.operation for each in proxy.requests] == ["Query"] * len(proxy.requests)
        proxy.requests.clear()
        await users.page(size=20, cursor=page.next_cursor)
        second = sum(each.body["Limit"] for each in proxy.requests)
        assert max(first, second) <= 80


async def test_a_whole_scan_reads_everything_once(table: Table) -> None:
    """The pages of a scan that goes on grow, and none is read twice."""
    async with table.behind_proxy() as (store, proxy):
        users = store.collection("users")
        documents = {f"k{number:04}": {"text": "x" * 500} for number in range(1000)}
        await users.put_many(documents)
        proxy.requests.clear()
        assert [document.key async for document in users.scan()] == sorted(documents)
        assert {each.operation for each in proxy.requests} == {"Query"}
        limits = [each.body["Limit"] for each in proxy.requests]
        assert limits[-1] > limits[0]
        assert len(limits) <= 4 * 4


async def test_large_documents_make_short_pages(table: Table) -> None:
    """A page of a shard holds as many documents as make 256 KB."""
    async with table.behind_proxy() as (store, proxy):
        users = store.collection("users")
        await users.put_many({f"k{number:03}": {"t": "x" * 100_000} for number in range(60)})
        proxy.requests.clear()
        assert len([document async for document in users.scan()]) == 60
        assert min(each.body["Limit"] for each in proxy.requests) == 2


async def test_reads_are_consistent_unless_they_need_not_be(table: Table) -> None:
    """Every kind of read asks for consistency by default, and for none if it is told so."""
    async with table.behind_proxy() as (store, proxy):
        users = store.collection("users")
        await users.put_many({"a": {}, "b": {}})
        for consistent in (True, False):
            proxy.requests.clear()
            await users.get("a", consistent=consistent)
            await users.get_many(["a", "b"], consistent=consistent)
            assert [one.key async for one in users.scan(consistent=consistent)] == ["a", "b"]
            asked = [
                each.body.get("ConsistentRead")
                if "RequestItems" not in each.body
                else each.body["RequestItems"][table.name].get("ConsistentRead")
                for each in proxy.requests
            ]
            assert set(asked) == {consistent}
            assert {each.operation for each in proxy.requests} == {
                *("GetItem", "BatchGetItem", "Query")
            }


async def test_an_index_is_asked_for_keys_and_the_table_for_documents(table: Table) -> None:
    """Equality on an indexed field is one query of the index, and reads what it found."""
    async with table.behind_proxy(index="city") as (store, proxy):
        users = store.collection("users", indexes=["city"])
        cities = ["Rome", "Oslo", "Bonn"]
        await users.put_many({f"k{n:02}": {"city": cities[n % 3], "n": n} for n in range(30)})
        await users.ensure_indexes()
        proxy.requests.clear()
        where = (F.n > 5) & (F.city == "Rome")
        assert [one.key async for one in users.find(where)] == [f"k{n:02}" for n in range(6, 30, 3)]
        assert [each.operation for each in proxy.requests] == ["Query", "BatchGetItem"]
        assert proxy.requests[0].body["IndexName"] == "by-city"
        assert "ConsistentRead" not in proxy.requests[0].body
        assert proxy.requests[1].body["RequestItems"][table.name]["ConsistentRead"] is True
        proxy.requests.clear()
        found = [one.key async for one in users.find(F.city.in_(["Bonn", "Oslo", "Paris"]))]
        assert found == [f"k{n:02}" for n in range(30) if n % 3]
        asked = [each.body.get("IndexName") for each in proxy.requests]
        assert asked == ["by-city"] * 3 + [None]


async def test_too_many_values_are_not_looked_up(table: Table) -> None:
    """With more than a hundred values the collection is walked through instead."""
    async with table.behind_proxy(index="n") as (store, proxy):
        users = store.collection("users", indexes=["n"])
        await users.put_many({f"k{n}": {"n": n} for n in range(10)})
        await users.ensure_indexes()
        proxy.requests.clear()
        found = [one.value["n"] async for one in users.find(F.n.in_(range(101)))]
        assert sorted(found) == list(range(10))
        assert not any("IndexName" in each.body for each in proxy.requests)


async def test_what_has_gone_since_the_index_was_read_is_left_out(table: Table) -> None:
    """An index may name documents that are no more."""
    async with table.opened(index="n") as adaptor:
        await adaptor.write([put("k", '{"n":1}')])
        item = await table.item(f"users#{segment_of('k', 4)}", "k")
        assert item is not None
        # As an index that lags behind has it: an item of no document at a key of its own.
        ghost = {**item, "pk": {"S": "users#9"}}
        del ghost["body"]
        await table.call("put_item", Item=ghost)
        await table.call("delete_item", Key={"pk": item["pk"], "sk": item["sk"]})
        scan = Scan("users", where=F.n == 1)
        assert [chunk async for chunk in adaptor.scan(scan)] == []


async def test_an_index_that_the_table_lacks_is_refused(table: Table) -> None:
    """Indexes are those of the table; queries do without, and the message says what to do."""
    async with table.store(index="n") as store:
        with pytest.raises(UnsupportedError, match=r"create-table.*migrate"):
            await store.adaptor.index("users", ("m",))
        users = store.collection("users", indexes=["m"])
        await users.put("k", {"m": 1})
        assert [one.key async for one in users.find(F.m == 1)] == ["k"]


async def test_an_index_that_was_dropped_is_missed(table: Table) -> None:
    """The layout names an index that somebody has removed from the table."""
    async with table.opened() as adaptor:
        layout = await table.item("#", "layout")
        assert layout is not None
        await table.call("put_item", Item={**layout, "indexes": {"L": [{"S": "n"}]}})
    async with table.opened() as adaptor:
        with pytest.raises(UnsupportedError, match="no index 'by-n'"):
            await adaptor.index("users", ("n",))


async def test_what_no_item_can_hold_is_refused_before_anything_is_sent(complete: Table) -> None:
    """Without the portable limits DynamoDB's own are checked, for the whole batch at once."""
    async with complete.behind_proxy() as (store, proxy):
        adaptor = store.adaptor
        large = put("large", json.dumps({"t": "ä" * 210_000}, ensure_ascii=False))
        for bad, kind in ((large, TooLargeError), (put("k" * 1025), InvalidKeyError)):
            with pytest.raises(kind, match="DynamoDB takes"):
                await adaptor.write([put("a"), bad])
        halves: list[Write | Check] = [
            put(f"k{n}", json.dumps({"t": "x" * 380_000})) for n in range(12)
        ]
        with pytest.raises(TooLargeError, match="fewer documents"):
            await adaptor.write_atomic(halves)
        assert proxy.requests == []


async def test_keys_that_are_too_long_match_nothing(table: Table) -> None:
    """A scan takes prefixes and beginnings of any length."""
    async with table.opened() as adaptor:
        keys = ["k" * 1024, "l"]
        await adaptor.write([put(key) for key in keys])

        async def found(scan: Scan) -> list[str]:
            return [one.id.key async for chunk in adaptor.scan(scan) for one in chunk]

        assert await found(Scan("users", prefix="k" * 1025)) == []
        assert await found(Scan("users", prefix="k" * 1024)) == keys[:1]
        assert await found(Scan("users", prefix="k" * 1023 + "\x7f")) == []
        assert await found(Scan("users", start_after="k" * 1025)) == keys[1:]
        assert await found(Scan("users", start_after="k" * 1024 + "ä")) == keys[1:]


async def test_a_transaction_is_sent_with_what_makes_it_one(complete: Table) -> None:
    """The same transaction has the same token; checks alone have new ones, to be decided anew."""
    async with complete.behind_proxy() as (store, proxy):
        await store.adaptor.write([put("k")])
        proxy.requests.clear()
        writes: list[Write | Check] = [put("a"), Check(place("none"), Absent())]
        await store.adaptor.write_atomic(writes)
        await store.adaptor.write_atomic(writes)
        await store.adaptor.write_atomic([put("a"), Check(place("none"), Absent())])
        for _ in range(2):
            await store.adaptor.write_atomic([Check(place("none"), Absent())])
        tokens = [each.body["ClientRequestToken"] for each in proxy.requests]
        assert tokens[0] == tokens[1]
        assert len(set(tokens)) == 4


async def test_a_transaction_keeps_the_moment_of_creation(complete: Table) -> None:
    """The date that is to be kept stays; where another version stands, the write is refused."""
    async with complete.opened() as adaptor:
        old = record("k")
        await adaptor.write([Write(old, Newer())])
        new = replace(record("k"), created_at=9)
        for expected, applied in ((Exactly("7"), False), (Exactly(old.version), True)):
            write = Write(new, expected, keep_created_at=True)
            [outcome] = await adaptor.write_atomic([write])
            assert outcome.applied is applied
        assert await adaptor.read([place("k")]) == [replace(new, created_at=1)]


async def test_collections_are_found_without_a_scan(table: Table) -> None:
    """They are written down, once each; those that hold nothing are left out."""
    async with table.behind_proxy() as (store, proxy):
        for name in ("one", "two", "one"):
            await store.collection(name).put("k", {})
        await store.collection("two").delete("k")
        markers = [each for each in proxy.requests if "#collections" in json.dumps(each.body)]
        assert [each.operation for each in markers] == ["GetItem", "PutItem"] * 2
        proxy.requests.clear()
        assert await store.collections() == ["one"]
        assert {each.operation for each in proxy.requests} == {"Query"}
    async with table.behind_proxy() as (store, proxy):
        await store.collection("one").put("k", {})
        assert [each.operation for each in proxy.requests] == ["GetItem", "PutItem"]


async def test_clearing_goes_by_the_dozen(table: Table) -> None:
    """A collection is emptied in batches of 25, after a look for a migration's claim."""
    async with table.behind_proxy() as (store, proxy):
        users = store.collection("users")
        await users.put_many({f"k{number}": {} for number in range(120)})
        proxy.requests.clear()
        assert await users.clear() == 120
        removals = [each for each in proxy.requests if each.operation == "BatchWriteItem"]
        sizes = [len(each.body["RequestItems"][table.name]) for each in removals]
        assert sum(sizes) == 120
        assert max(sizes) == 25
        assert proxy.requests[0].operation == "GetItem"
        assert {each.operation for each in proxy.requests[1:]} == {"Query", "BatchWriteItem"}


async def test_a_purge_of_nothing_asks_nothing(table: Table) -> None:
    """A purge that means no record costs nothing."""
    async with table.behind_proxy() as (store, proxy):
        assert await store.adaptor.purge(Purge("users")) == 0
        assert proxy.requests == []


async def test_what_is_consumed_is_told(table: Table) -> None:
    """By the request, in a block, for a query, and altogether, for metrics."""
    async with table.store() as store:
        adaptor = store.adaptor
        assert isinstance(adaptor, DynamoDBAdaptor)
        opening = replace(adaptor.usage)
        assert opening.requests >= 1
        users = store.collection("users")
        with metered() as writing:
            await users.put("k", {"name": "x" * 200})
        assert (writing.requests, writing.read_units > 0, writing.write_units) == (3, True, 2)
        with metered() as reading:
            await users.get("k")
        assert (reading.requests, reading.read_units > 0, reading.write_units) == (1, True, 0)
        analysis = await users.analyze(F.name == "y")
        assert (analysis.documents, analysis.usage.requests) == (0, 4)
        assert f"4 requests, {analysis.usage.read_units:g} read unit" in str(analysis)
        parts = (opening, writing, reading, analysis.usage)
        for name in ("requests", "read_units", "write_units"):
            assert getattr(adaptor.usage, name) == sum(getattr(part, name) for part in parts)


async def test_a_read_that_need_not_be_consistent_costs_half() -> None:
    """As DynamoDB charges it, and dynalite counts it."""
    table = Table(dynamodb_server("dynalite"))
    async with table.store() as store:
        users = store.collection("users")
        await users.put("k", {"text": "x" * 7000})
        for consistent, units in ((True, 2), (False, 1)):
            with metered() as usage:
                await users.get("k", consistent=consistent)
            assert usage.read_units == units


async def test_a_missing_table_is_told_with_what_to_do(table: Table) -> None:
    """Without `create` nothing is made."""
    with pytest.raises(ConfigurationError, match=r"create-table.*create=true") as caught:
        async with Store(open_adaptor(table.url.replace("create=true", "create=false"))):
            pass
    assert caught.value.store == f"dynamodb://{table.name}"
    assert table.name not in await tables_of(table)


async def test_a_table_of_somebody_else_is_left_alone(table: Table) -> None:
    """One with other keys, or with items that no layout explains, is refused and not changed."""
    keys: dict[str, Any] = {
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        "BillingMode": "PAY_PER_REQUEST",
    }
    types = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]
    await table.call("create_table", **keys, AttributeDefinitions=types)
    await made(table)
    await table.call("put_item", Item={"pk": {"S": "order#1"}, "sk": {"S": "x"}})
    with pytest.raises(ConfigurationError, match="not aiostore's"):
        async with table.store():
            pass
    found = await table.call("scan")
    assert found["Count"] == 1


async def test_a_table_with_other_keys_is_told_so(table: Table) -> None:
    """The message names the key that it has and the one that it must have."""
    await table.call(
        "create_table",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    await made(table)
    with pytest.raises(ConfigurationError, match=r"id \(HASH\).*pk \(HASH\) and sk \(RANGE\)"):
        async with table.store():
            pass


async def test_a_table_made_by_hand_is_taken(table: Table) -> None:
    """An empty one of the right shape gets its layout at the first opening, with its indexes."""
    names = ("pk", "sk", "by-a.b")
    await table.call(
        "create_table",
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
        BillingMode="PAY_PER_REQUEST",
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-a.b",
                "KeySchema": [
                    {"AttributeName": "by-a.b", "KeyType": "HASH"},
                    {"AttributeName": "sk", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
    )
    await made(table)
    async with table.opened() as adaptor:
        await adaptor.index("users", ("a", "b"))
    assert await table.item("#", "layout") == {
        "pk": {"S": "#"},
        "sk": {"S": "layout"},
        "layout": {"N": "1"},
        "shards": {"N": "4"},
        "indexes": {"L": [{"S": "a.b"}]},
    }


async def test_the_tables_own_shards_count(table: Table) -> None:
    """A table keeps the number of its shards, whatever a later URL says."""
    async with table.opened() as adaptor:
        await adaptor.write([put(f"k{number}") for number in range(20)])
    other = table.url.replace("shards=4", "shards=7")
    async with Store(open_adaptor(other)) as store:
        assert len([one async for one in store.collection("users").scan()]) == 20


async def test_a_later_layout_is_refused(table: Table) -> None:
    """A table that a later version has laid out is left to it."""
    async with table.opened():
        pass
    layout = await table.item("#", "layout")
    assert layout is not None
    await table.call("put_item", Item={**layout, "layout": {"N": "2"}})
    with pytest.raises(ConfigurationError, match="upgrade"):
        async with table.store():
            pass


async def test_several_may_make_a_table_at_once(table: Table) -> None:
    """Each finds it made, and all have one layout."""

    async def use(number: int) -> None:
        async with table.opened() as adaptor:
            await adaptor.write([put(f"k{number}")])

    await asyncio.gather(*map(use, range(5)))
    async with table.opened() as adaptor:
        assert await adaptor.count("users") == 5


async def test_a_prefix_stands_before_the_name(table: Table) -> None:
    """Tables of several services or stages are told apart by a prefix."""
    url = table.url.replace(f"//{table.name}", f"//{table.name[9:]}")
    async with Store(open_adaptor(f"{url}&prefix={table.name[:9]}")) as store:
        assert store.name == f"dynamodb://{table.name}"
        await store.collection("users").put("k", {})
    async with table.store() as store:
        assert await store.collections() == ["users"]


@pytest.mark.parametrize(
    "change", [{"version": None}, {"mark": {"S": "odd"}}, {"created": {"N": "0.5"}}]
)
async def test_damage_is_told_with_its_place(
    table: Table, change: dict[str, dict[str, str] | None]
) -> None:
    """An item that is no record of ours says where it is, read or met by a write."""
    async with table.opened() as adaptor:
        await adaptor.write([put("k")])
        item = await table.item(f"users#{segment_of('k', 4)}", "k")
        assert item is not None
        damaged = {name: value for name, value in (item | change).items() if value is not None}
        await table.call("put_item", Item=damaged)
        with pytest.raises(CorruptRecordError) as caught:
            await adaptor.read([place("k")])
        assert (caught.value.collection, caught.value.key) == place("k")
        with pytest.raises(CorruptRecordError):
            await adaptor.write([Write(record("k"), Absent())])


async def test_it_opens_again_after_closing(table: Table) -> None:
    """Closing is idempotent, and nothing works in between."""
    adaptor = table.adaptor()
    for _ in range(2):
        await adaptor.open()
        await adaptor.write([put("k")])
        await adaptor.aclose()
        await adaptor.aclose()
        with pytest.raises(StoreError, match="not open"):
            await adaptor.read([place("k")])


async def test_without_transactions_there_are_none(complete: Table) -> None:
    """A server that lacks them is declared to, and `write_atomic` refuses."""
    async with complete.opened(transactions="false") as adaptor:
        assert adaptor.capabilities.atomic_writes is False
        assert adaptor.capabilities.max_atomic == 0
        with pytest.raises(UnsupportedError, match="transactions=false"):
            await adaptor.write_atomic([put("k")])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("dynamodb:table", "write dynamodb://table"),
        ("dynamodb://", "write dynamodb://table"),
        ("dynamodb://key:secret@table", "as for any AWS client"),
        ("dynamodb://host:8000/table", "as for any AWS client"),
        ("dynamodb://ab", "3 to 255 characters"),
        ("dynamodb://table?secret=hunter2", "region"),
        ("dynamodb://table?shards=0", "1 to 1000 shards"),
        ("dynamodb://table?index=a..b", "an index is of a field"),
        ("dynamodb://table?read_timeout=0", "read_timeout"),
    ],
)
def test_a_wrong_url_says_what_is_wrong(url: str, message: str) -> None:
    """And shows nothing that may be secret."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        open_adaptor(url)
    assert "secret@" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_capabilities_are_told_without_a_connection() -> None:
    """What it can do is known from the URL alone."""
    can = open_adaptor("dynamodb://table").capabilities
    assert isinstance(can, Capabilities)
    assert (can.max_batch, can.max_atomic, can.indexes, can.orders) == (100, 100, True, False)


async def tables_of(table: Table) -> list[str]:
    """All tables of its server."""
    answer = await asyncio.to_thread(table.server.client.list_tables)
    names: list[str] = answer["TableNames"]
    return names


async def made(table: Table) -> None:
    """Wait until a table can be used."""
    waiter = table.server.client.get_waiter("table_exists")
    await asyncio.to_thread(waiter.wait, TableName=table.name, WaiterConfig={"Delay": 1})


async def test_credentials_and_region_are_found_as_by_every_client(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here in the files of a profile, which are not read on the event loop."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for variable, name, text in (
        ("AWS_CONFIG_FILE", "config", "[profile tests]\nregion = ap-south-2\n"),
        (
            "AWS_SHARED_CREDENTIALS_FILE",
            "credentials",
            "[tests]\naws_access_key_id = somebody\naws_secret_access_key = knows\n",
        ),
    ):
        (tmp_path / name).write_text(text)
        monkeypatch.setenv(variable, str(tmp_path / name))
    url = re.sub("&?region=[^&]*", "", table.url)
    async with FaultProxy(table.server.endpoint) as proxy:
        url = url.replace(f"{table.server.endpoint}", proxy.url)
        async with Store(open_adaptor(f"{url}&profile=tests")) as store:
            await store.collection("users").put("k", {})
        assert re.search(r"Credential=somebody/\d+/ap-south-2/", proxy.requests[0].signed)
