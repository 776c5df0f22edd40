"""A rule left out: how a bug is put into the real code, and taken out again."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from msgspec import Struct


class Patches:
    """Attributes that are other ones meanwhile: `with Patches() as patches: ...`."""

    def __init__(self) -> None:
        self._undo: list[tuple[object, str, Any]] = []

    def set(self, owner: object, name: str, value: object) -> None:
        """Set an attribute of a class or a module, for as long as the block lasts."""
        self._undo.append((owner, name, vars(owner)[name]))
        setattr(owner, name, value)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._undo:
            setattr(*self._undo.pop())


class Bug(Struct, frozen=True):
    """One rule of the protocol, broken.

    Attributes:
        breaks: the rule, as what is done instead.
        apply: puts it into the code.
        scenario: the kind of run that can show it.
        seeds: within so many it is found.
    """

    breaks: str
    apply: Callable[[Patches], None]
    scenario: str
    seeds: int = 400


async def nothing(*_: object, **__: object) -> None:
    """What is done instead of a rule that is left out."""
