"""The ledger's file: one JSON object a line, written behind the clients' backs."""

import asyncio
import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiofiles

_REST = 0.1


class Journal:
    """Entries on their way to a new file; all are in it when the journal is closed.

    Args:
        path: must not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[dict[str, Any]] = []
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def write(self, entry: dict[str, Any]) -> None:
        """Enter it; returns at once."""
        self._waiting.append(entry)

    async def __aenter__(self) -> Self:
        file = await aiofiles.open(self._path, "x", encoding="utf-8")
        self._task = asyncio.create_task(self._stream(file), name="aiostore demo: journal")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.set()
        if self._task is not None:
            await self._task

    async def _stream(self, file: Any) -> None:
        try:
            while self._waiting or not self._closing.is_set():
                entries, self._waiting = self._waiting, []
                if entries:
                    await file.write("".join(f"{json.dumps(entry)}\n" for entry in entries))
                    await asyncio.sleep(0)
                if not self._closing.is_set():
                    await asyncio.sleep(_REST)
        finally:
            await file.close()
