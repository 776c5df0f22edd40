"""Since when documents differ: kept from one verification to the next, in the target."""

from collections.abc import Iterable, Mapping
from functools import partial

import msgspec

from aiostore.codecs import codec_for
from aiostore.limits import SYSTEM_COLLECTION
from aiostore.migration.legs import Leg
from aiostore.migration.throttle import Throttle
from aiostore.protocols import DocumentId, Newer, Record, Write
from aiostore.versions import VersionClock

MOST = 1000
_MOST_BYTES = 200_000


class _Sightings(msgspec.Struct, frozen=True):
    """When each was first seen to differ (microseconds since 1970 UTC), by collection and key."""

    first_seen: dict[str, dict[str, int]] = {}


_CODEC = codec_for(_Sightings)


class Mismatches:
    """The mismatches of the last verification, the first thousand.

    Args:
        store: the target.
        migration: the migration's name.
        throttle: waits and repeats.
        clock: the process's.
    """

    def __init__(self, store: Leg, migration: str, throttle: Throttle, clock: VersionClock) -> None:
        self._store = store
        self._id = DocumentId(SYSTEM_COLLECTION, f"mismatches/{migration}")
        self._throttle = throttle
        self._clock = clock

    async def load(self) -> dict[DocumentId, int]:
        """When each was first seen.

        Raises:
            UnavailableError: the target did not answer.
            CorruptRecordError: the record cannot be read.
        """
        [record] = await self._throttle.ask("the target", partial(self._store.read, [self._id]))
        if record is None or record.body is None:
            return {}
        return {
            DocumentId(collection, key): first_seen
            for collection, keys in _CODEC.decode(record.body).first_seen.items()
            for key, first_seen in keys.items()
        }

    async def save(self, first_seen: Mapping[DocumentId, int]) -> None:
        """Keep these, and no others; raises as `load`."""
        kept: dict[str, dict[str, int]] = {}
        for id_ in _fitting(first_seen):
            kept.setdefault(id_.collection, {})[id_.key] = first_seen[id_]
        body, now = msgspec.json.encode(_Sightings(kept)).decode(), self._clock.now()
        record = Record(self._id, body, self._clock.next(), now, now)
        await self._throttle.ask("the target", partial(self._store.write, [Write(record, Newer())]))


def _fitting(ids: Iterable[DocumentId]) -> list[DocumentId]:
    """The first of them, as many as fit into one record."""
    fitting: list[DocumentId] = []
    size = 0
    for id_ in ids:
        size += len(msgspec.json.encode(id_)) + 20
        if len(fitting) == MOST or size > _MOST_BYTES:
            break
        fitting.append(id_)
    return fitting
