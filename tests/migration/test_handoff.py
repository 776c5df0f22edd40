"""Documents on their way between two stores, while somebody else sends them another way."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import pytest

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.migration import rows
from aiostore.migration.handoff import Handoff
from aiostore.migration.legs import Leg
from aiostore.protocols import DocumentId, Newer, Record, Write

ID = DocumentId("c", "k")
DEADLINE = timedelta(seconds=5)


class Overtaken(MemoryAdaptor):
    """A store that is slow once: while it is asked, something else happens."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        """Read, after that."""
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return await super().read(ids, consistent=consistent)


@pytest.mark.parametrize("slow", ["current", "target"])
async def test_what_another_has_handed_back_is_left_alone(slow: str) -> None:
    """The target's copy of it is not taken for one that the target has lost."""
    stores = {"current": Overtaken(), "target": Overtaken()}
    current, target = (Leg(store, DEADLINE) for store in stores.values())
    handoff, another = Handoff(current, target), Handoff(current, target)
    await current.write([Write(Record(ID, '{"n":1}', "2", 0, 0), Newer())])
    await handoff.forth([ID])

    async def hand_back() -> None:
        await another.back([ID])

    stores[slow].meanwhile = hand_back
    await handoff.back([ID], demoted=False)
    assert stores[slow].meanwhile is None
    [[ours], [theirs]] = [await leg.read([ID]) for leg in (current, target)]
    assert not rows.is_moved(ours)
    assert theirs is not None
    assert rows.is_copy(theirs)
