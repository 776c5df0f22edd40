"""Indexes, made in the background: each once, one after the other."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context

from aiostore.filters import Path, name_of
from aiostore.sending import copied

_logger = logging.getLogger("aiostore")


class Indexer:
    """The indexes that one store has been asked for; on its event loop.

    Args:
        make: makes an index, and returns when it is in use.
    """

    def __init__(self, make: Callable[[str, Path], Awaitable[None]]) -> None:
        self._make = make
        self._tasks: dict[tuple[str, Path], asyncio.Task[Exception | None]] = {}
        self._one_at_a_time = asyncio.Lock()

    def begin(self, collection: str, paths: Iterable[Path]) -> None:
        """See to it that these are made, if nobody has; a failure is logged, and left at that."""
        for path in paths:
            if (collection, path) not in self._tasks:
                self._start(collection, path)

    async def ensure(self, collection: str, paths: Iterable[Path]) -> None:
        """Wait until these are made, trying again what has failed; raises the first error."""
        for path in paths:
            task = self._tasks.get((collection, path))
            if task is None or (task.done() and task.result() is not None):
                task = self._start(collection, path)
            await asyncio.wait([task])  # it goes on though the caller be cancelled
            error = task.result()
            if error is not None:
                raise copied(error)

    async def aclose(self) -> None:
        """Cancel what is under way."""
        tasks = [task for task in self._tasks.values() if not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _start(self, collection: str, path: Path) -> "asyncio.Task[Exception | None]":
        name = f"aiostore: index on {name_of(path)} of {collection}"
        # It is for all who ask, and not part of what the first of them has asked: it has none's
        # context, and is charged to nobody (`aiostore.metering`).
        task = asyncio.get_running_loop().create_task(
            self._attempt(collection, path), name=name, context=Context()
        )
        self._tasks[collection, path] = task
        return task

    async def _attempt(self, collection: str, path: Path) -> Exception | None:
        try:
            async with self._one_at_a_time:
                await self._make(collection, path)
        except Exception as error:  # noqa: BLE001  # of whatever kind, queries do without the index
            _logger.warning(
                "no index on %s of %s, so queries by it are slow: %r",
                name_of(path),
                collection,
                error,
            )
            return error
        return None
