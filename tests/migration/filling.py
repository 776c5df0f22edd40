"""Documents for a pair of stores, as plain stores and others behind their backs write them."""

from faults import FaultyMemory, Pair

from aiostore.protocols import Record
from aiostore.store import Store


async def filled(pair: Pair, number: int = 100) -> None:
    """Fill the current store of a pair, as a plain store would."""
    async with Store(pair.current) as plain:
        values = {f"k{n:04}": {"n": n} for n in range(number)}
        await plain.collection("c").put_many(values)
        await plain.collection("d").put("k", {"n": 0})


async def rewrite(adaptor: FaultyMemory, record: Record) -> None:
    """Put a record into an engine behind everybody's back."""
    id_ = record.id
    adaptor.memory._collections[id_.collection][id_.key] = record
