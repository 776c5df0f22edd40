"""Records for checks, and what checks do with them at the boundary."""

from collections.abc import Sequence
from contextlib import aclosing

from aiostore.protocols import Adaptor, DocumentId, Mark, Newer, Record, Scan, Write
from aiostore.testing.expectations import expect
from aiostore.versions import now_in_microseconds

NOW = now_in_microseconds()
"""A moment for checks, in microseconds since 1970 UTC."""


def version(number: int) -> str:
    """A version for checks: well-formed, and ordered by `number`, which is small."""
    return f"{number:012x}70008000000000000000"


def record(
    collection: str,
    key: str,
    number: int,
    *,
    body: str | None = '{"a":1}',
    created_at: int | None = None,
    expires_at: int | None = None,
    mark: Mark = Mark.LIVE,
) -> Record:
    """A record for checks; its version and its moments follow from `number`."""
    return Record(
        DocumentId(collection, key),
        body,
        version(number),
        NOW + number if created_at is None else created_at,
        NOW + number,
        expires_at,
        mark,
    )


async def standing_at(adaptor: Adaptor, id_: DocumentId) -> Record | None:
    """What stands at one id."""
    [found] = await adaptor.read([id_])
    return found


async def write_all(adaptor: Adaptor, records: Sequence[Record]) -> None:
    """Put records where nothing newer stands, in batches that the adaptor can take."""
    size = adaptor.capabilities.max_batch
    for start in range(0, len(records), size):
        batch = [Write(one, Newer()) for one in records[start : start + size]]
        outcomes = await adaptor.write(batch)
        expect(all(outcome.applied for outcome in outcomes), "a first write is applied")


async def scanned(adaptor: Adaptor, request: Scan) -> list[Record]:
    """All that a scan yields."""
    async with aclosing(adaptor.scan(request)) as chunks:
        return [one async for chunk in chunks for one in chunk]
