"""The two stores: made for the demo in its folder, or somebody's, found empty and left empty."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from aiostore.cli.demo.airports import COLLECTION
from aiostore.cli.demo.lending import Lent
from aiostore.errors import ConfigurationError, StoreError
from aiostore.limits import SYSTEM_COLLECTION
from aiostore.opening import open_adaptor, schemes
from aiostore.protocols import Adaptor, Purge

Role = Literal["source", "target"]


@dataclass(frozen=True, slots=True)
class Place:
    """A store that the demo moves from or to.

    Attributes:
        role: its part.
        url: where it is.
        adaptor: the same object from beginning to end: memory keeps its documents while it is
            closed.
        temporary: whether nothing of it outlives the demo.
    """

    role: Role
    url: str
    adaptor: Adaptor
    temporary: bool
    _users: set[Lent] = field(default_factory=set)

    @property
    def name(self) -> str:
        """As a person knows it, without secrets."""
        return self.adaptor.name

    def connection(self) -> Adaptor:
        """For one process of the service: of its own, where the store can be opened twice."""
        if self.adaptor.capabilities.shared:
            return open_adaptor(self.url)
        return Lent(self.adaptor, self._users)


def place_of(text: str, role: Role, folder: str) -> Place:
    """The store that an option names, not yet connected.

    Args:
        text: a URL, or a kind of store that needs none: `file`, `sqlite`, `memory`.
        role: its part.
        folder: where a store is made that is named by its kind.

    Raises:
        ConfigurationError: the URL is wrong, or a kind needs one.
    """
    made = {
        "file": f"file:{folder}/{role}",
        "sqlite": f"sqlite:///{folder}/{role}.db",
        "memory": "memory://",
    }
    if text in made:
        return Place(role, made[text], open_adaptor(made[text]), temporary=True)
    if text in schemes():
        raise ConfigurationError(
            f"the demo starts no {text} server: name an empty database of one, as in "
            f"{text}://user:password@host/database; `aiostore demo --help` says how to get one"
        )
    adaptor = open_adaptor(text)
    return Place(role, text, adaptor, temporary=not adaptor.capabilities.persistent)


@asynccontextmanager
async def borrowed(places: Sequence[Place], *, keep: bool) -> AsyncGenerator[None, None]:
    """In this context the stores are the demo's: it finds them empty, and leaves them empty.

    That holds when the context ends by an error or is cancelled, too. Tables and folders stay.

    Args:
        places: of them, those that are not temporary.
        keep: leave in them what they hold in the end.

    Raises:
        ConfigurationError: one holds anything already; nothing was changed.
        StoreError: what was put there could not be removed.
    """
    for place in places:
        await _refuse_used(place)
    async with AsyncExitStack() as removals:
        for place in places:
            if not (keep or place.temporary):
                removals.push_async_callback(_empty, place.adaptor)
        yield


async def _refuse_used(place: Place) -> None:
    """A migration moves all that a store holds, and marks the store as moved."""
    # Not through a `Store`, which does not show what a migration has left there.
    await place.adaptor.open()
    try:
        names = await place.adaptor.collections()
    finally:
        await place.adaptor.aclose()
    if names:
        held = (
            "what a migration keeps there, or a demo that was killed"
            if SYSTEM_COLLECTION in names
            else f"the collection {names[0]!r}"
        )
        raise ConfigurationError(
            f"the demo's {place.role} is to be an empty store, and this one holds {held}: nothing "
            "was changed, name another database, file or folder",
            store=place.name,
        )


async def _empty(adaptor: Adaptor) -> None:
    try:
        await adaptor.open()
        try:
            for name in (COLLECTION, SYSTEM_COLLECTION):
                await adaptor.purge(Purge(name, everything=True))
        finally:
            await adaptor.aclose()
    except StoreError as error:
        raise StoreError(
            f"what the demo has put there could not be removed: {error}", store=adaptor.name
        ) from error
