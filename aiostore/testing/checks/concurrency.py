"""Several writers on one key."""

import asyncio

from aiostore.errors import AlreadyExistsError, ConflictError, NotFoundError
from aiostore.protocols import Absent, Exactly, Newer, Write
from aiostore.testing.check import check
from aiostore.testing.expectations import expect, expect_equal
from aiostore.testing.harness import Harness
from aiostore.testing.records import record, version

_WRITERS = 12


@check()
async def check_one_replaces(harness: Harness) -> None:
    """Of many writes that expect the same version exactly one is applied, and it stands there."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        for round_ in range(5):
            key = f"k{round_}"
            await adaptor.write([Write(record(collection, key, 1), Absent())])
            rivals = [record(collection, key, 2 + number) for number in range(_WRITERS)]
            answers = await asyncio.gather(
                *(adaptor.write([Write(rival, Exactly(version(1)))]) for rival in rivals)
            )
            outcomes = [outcome for [outcome] in answers]
            winners = [outcome.record for outcome in outcomes if outcome.applied]
            expect_equal(len(winners), 1, "the number of those applied")
            expect_equal(list(await adaptor.read([rivals[0].id])), winners, "what stands there")


@check()
async def check_one_creates(harness: Harness) -> None:
    """Of many creations of one key exactly one is applied."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        for round_ in range(5):
            rivals = [record(collection, f"k{round_}", 1 + number) for number in range(_WRITERS)]
            answers = await asyncio.gather(
                *(adaptor.write([Write(rival, Absent())]) for rival in rivals)
            )
            winners = [outcome.record for [outcome] in answers if outcome.applied]
            expect_equal(len(winners), 1, "the number of those applied")
            expect_equal(list(await adaptor.read([rivals[0].id])), winners, "what stands there")


@check()
async def check_newest_stays(harness: Harness) -> None:
    """Of many `Newer` writes to one key the largest version stands in the end, in any order."""
    collection = harness.collection()
    async with harness.adaptor() as adaptor:
        rivals = [
            record(collection, "k", 1 + (number * 5) % _WRITERS) for number in range(_WRITERS)
        ]
        await asyncio.gather(*(adaptor.write([Write(rival, Newer())]) for rival in rivals))
        newest = max(rivals, key=lambda rival: rival.version)
        expect_equal(list(await adaptor.read([newest.id])), [newest], "what stands there")


@check(needs=("shared",))
async def check_one_replaces_across_adaptors(harness: Harness) -> None:
    """Of two adaptors' writes that expect the same version exactly one is applied."""
    collection = harness.collection()
    async with harness.adaptor() as one, harness.adaptor() as other:
        await one.write([Write(record(collection, "k", 1), Absent())])
        for number in range(1, 20):
            rivals = [record(collection, "k", number + 1, body=f'{{"by":{who}}}') for who in (1, 2)]
            answers = await asyncio.gather(
                *(
                    adaptor.write([Write(rival, Exactly(version(number)))])
                    for adaptor, rival in zip((one, other), rivals, strict=True)
                )
            )
            winners = [outcome.record for [outcome] in answers if outcome.applied]
            expect_equal(len(winners), 1, "the number of those applied")
            expect_equal(list(await other.read([rivals[0].id])), winners, "what stands there")


@check()
async def check_counter(harness: Harness) -> None:
    """No update is lost: a counter that many increment holds their number in the end."""
    async with harness.store() as store:
        counters = store.collection(harness.collection())
        await counters.create("k", {"n": 0})

        async def increment() -> None:
            for _ in range(4):
                await counters.update("k", lambda value: {"n": value["n"] + 1})

        await asyncio.gather(*(increment() for _ in range(8)))
        expect_equal((await counters.get("k")).value, {"n": 32}, "the counter")


@check()
async def check_every_ending_is_a_promise(harness: Harness) -> None:
    """Whatever races on one key is applied or refused by a declared error, and the last stays."""
    async with harness.store() as store:
        collection = store.collection(harness.collection())
        stored: dict[str, int] = {}

        async def race(number: int) -> None:
            for step in range(6):
                value = {"by": number, "step": step}
                try:
                    match (number + step) % 4:
                        case 0:
                            document = await collection.put("k", value)
                        case 1:
                            document = await collection.create("k", value)
                        case 2:
                            read = await collection.get("k")
                            document = await collection.replace("k", value, version=read.version)
                        case _:
                            await collection.delete("k")
                            continue
                except (AlreadyExistsError, ConflictError, NotFoundError):
                    continue
                expect_equal(document.value, value, "the value of an applied write")
                expect(document.version not in stored, "every version is new")
                stored[document.version] = number

        await asyncio.gather(*(race(number) for number in range(8)))
        last = await collection.get("k", default=None)
        if last is not None:
            expect_equal(last.version, max(stored), "the largest version stands there")
            expect_equal(last.value["by"], stored[last.version], "with its own value")
