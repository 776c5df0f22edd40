"""Reads that take long, while documents go from one store to the other."""

from collections.abc import Sequence
from datetime import timedelta

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.migration.authority import Authority
from aiostore.migration.handoff import Handoff
from aiostore.migration.legs import Leg
from aiostore.protocols import DocumentId, Newer, Record, Write

ID = DocumentId("c", "k")
DEADLINE = timedelta(seconds=5)


class Returning(MemoryAdaptor):
    """A target that is asked while its document is a copy: handed back, and off again after that.

    Attributes:
        handoff: the way there and back; taken once.
        crossed: it has been taken.
    """

    handoff: Handoff | None = None
    crossed: bool = False

    async def read(
        self, ids: Sequence[DocumentId], /, *, consistent: bool = True
    ) -> Sequence[Record | None]:
        """Read, in between."""
        handoff, self.handoff = self.handoff, None
        if handoff is not None:
            await handoff.back(ids)
        found = await super().read(ids, consistent=consistent)
        if handoff is not None:
            await handoff.forth(ids)
            self.crossed = True
        return found


async def test_what_came_back_and_went_again_is_found() -> None:
    """A read finds the document though each store was asked while the other was its authority."""
    current, target = Leg(MemoryAdaptor(), DEADLINE), Leg(returning := Returning(), DEADLINE)
    handoff = Handoff(current, target)
    await current.write([Write(Record(ID, '{"n":1}', "2", 0, 0), Newer())])
    await handoff.forth([ID])
    returning.handoff = handoff
    [found] = await Authority(current, target).read_moved([ID])
    assert returning.crossed
    assert found is not None
    assert found.body == '{"n":1}'
