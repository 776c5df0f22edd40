"""The library that this one is a rewrite of, `object-store-abstraction`, where it still runs.

It is synchronous, so a service has to call it in threads, as here. Its versions are counted, and
what is there already it writes only with one, so it has no `put`.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from datetime import UTC, datetime
from importlib.util import find_spec
from io import StringIO
from typing import Any

from benchmarks.documents import Value
from benchmarks.variants import Documents, Variant

PACKAGE = "object_store_abstraction"


def original(configuration: Mapping[str, Any], *, needs: str = PACKAGE) -> Sequence[Variant]:
    """Its store of a configuration, as the one variant, if the package is installed.

    Args:
        configuration: as it takes it.
        needs: a further package, which it connects by.
    """
    if None in (find_spec(PACKAGE), find_spec(needs)):
        return []
    from object_store_abstraction import (  # noqa: PLC0415  # no dependency: its own pins are old
        createObjectStoreInstance,
    )

    with redirect_stdout(StringIO()):  # it tells its type
        store = createObjectStoreInstance(
            dict(configuration), {"getCurDateTime": lambda: datetime.now(UTC)}
        )
    return [
        Variant(
            "object-store-abstraction",
            lambda name: OriginalDocuments(store, name.replace("_", "-")),
            home="object-store-abstraction",
            remark="synchronous, each call in a thread",
        )
    ]


class OriginalDocuments(Documents):
    """One of its object types."""

    def __init__(self, store: Any, name: str) -> None:
        self._store = store
        self._name = name

    async def get(self, key: str) -> Value:
        found = await self._run(lambda context: context.getObjectJSON(self._name, key))
        value: Value = found[0]
        return value

    async def replace(self, key: str, value: Value, version: str) -> str | None:
        from object_store_abstraction import (  # noqa: PLC0415  # as above
            WrongObjectVersionException,
        )

        try:
            return str(await self._run(self._saving(key, value, version)))
        except type(WrongObjectVersionException):
            return None

    async def fill(self, values: Mapping[str, Value]) -> Mapping[str, str | None]:
        return {
            key: str(await self._run(self._saving(key, value, None)))
            for key, value in values.items()
        }

    def _saving(self, key: str, value: Value, version: str | None) -> Callable[[Any], Any]:
        return lambda context: context.saveJSONObject(self._name, key, value, version)

    async def _run(self, work: Callable[[Any], Any]) -> Any:
        return await asyncio.to_thread(self._store.executeInsideTransaction, work)
