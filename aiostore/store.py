"""What a user holds: `Store`, one concrete class over one adaptor."""

from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from aiostore.channel import Channel
from aiostore.codecs import codec_for
from aiostore.collection import Collection
from aiostore.documents import Mapper
from aiostore.errors import (
    InvalidValueError,
    UnsupportedError,
)
from aiostore.filters import Field
from aiostore.limits import PORTABLE, SYSTEM_COLLECTION, UNLIMITED, Limits, check_collection
from aiostore.plans import declared
from aiostore.protocols import Adaptor, Capabilities, DocumentId
from aiostore.sending import USUAL_RETRIES, Retries
from aiostore.transaction import ATTEMPTS, Transaction, run
from aiostore.two_way_index import Half, TwoWayIndex
from aiostore.versions import PROCESS_CLOCK, VersionClock

T = TypeVar("T")
R = TypeVar("R")


class Store:
    """Documents in collections, over one adaptor, on one event loop.

    Usually made by `open_store`. Used as `async with store:`, or opened by `open` and closed by
    `aclose`. It may be opened once.

    Args:
        adaptor: the engine, or a wrapper around engines; opened and closed by the store.
        limits: the portability contract's limits; None lifts those on size and nesting, and with
            them the promise that every other store accepts the documents.
        clock: makes versions and tells the time.
        retries: how what the engine did not answer is repeated.
    """

    def __init__(
        self,
        adaptor: Adaptor,
        *,
        limits: Limits | None = PORTABLE,
        clock: VersionClock = PROCESS_CLOCK,
        retries: Retries = USUAL_RETRIES,
    ) -> None:
        self.adaptor = adaptor
        self._limits = UNLIMITED if limits is None else limits
        self._clock = clock
        self._channel = Channel(adaptor, retries)

    @property
    def name(self) -> str:
        """The store as a person knows it, without secrets."""
        return self.adaptor.name

    @property
    def capabilities(self) -> Capabilities:
        """What this store can do and how much at once."""
        return self.adaptor.capabilities

    @overload
    def collection(
        self, name: str, *, indexes: Iterable[str | Field] = ()
    ) -> Collection[dict[str, Any]]: ...

    @overload
    def collection(
        self, name: str, type_: type[T], *, indexes: Iterable[str | Field] = ()
    ) -> Collection[T]: ...

    def collection(
        self, name: str, type_: type[Any] = dict, *, indexes: Iterable[str | Field] = ()
    ) -> Collection[Any]:
        """A named set of documents; nothing is sent, it exists once it holds a document.

        Args:
            name: 1 to 64 characters of `a-z A-Z 0-9 _ -`.
            type_: what its documents are: dict, a dataclass, a TypedDict, a msgspec.Struct or a
                pydantic model.
            indexes: fields that filters and orders are to be fast by, 16 at most, as in
                `["email", "address.city"]` or `[F.email]`: by the names that are stored, of
                letters, digits and `_`. For all stores; those without indexes do without. See
                `Collection.ensure_indexes`. One that is declared no more stays where it is.

        Raises:
            InvalidKeyError: the name is not allowed.
            InvalidValueError: an index is on no such field, or there are too many.
            ConfigurationError: documents cannot be of this type.
        """
        mapper = Mapper(
            self.name, check_collection(name), codec_for(type_), self._limits, self._clock
        )
        try:
            return Collection(self._channel, mapper, declared(indexes))
        except InvalidValueError as error:
            error.store, error.collection = self.name, name
            raise

    def transaction(self) -> Transaction:
        """A transaction, for `async with store.transaction() as tx:`; see `Transaction`.

        Raises:
            UnsupportedError: this store has no atomic writes.
        """
        return self._transaction({})

    async def run(
        self, fn: Callable[[Transaction], Awaitable[R]], *, attempts: int = ATTEMPTS
    ) -> R:
        """Call `fn` with a transaction, and again with a new one whenever there is a conflict.

        After each conflict, a pause of a random length: at most 5 ms after the first one, twice
        that after each further one, and never more than a second.

        Args:
            fn: does its work by the transaction that it gets. As it may be called several times, it
                has no other effects; and as its reads may not belong together, it returns the
                errors that rest on several of them instead of raising them.
            attempts: how often to call it.

        Returns:
            What the call of `fn` returned whose transaction was committed.

        Raises:
            ConflictError: the last attempt's; nothing was written.
            UnsupportedError: this store has no atomic writes.
            Exception: any other that `fn` raised or that `Transaction` raises at the end of its
                block; neither is tried again.
        """
        met: dict[DocumentId, str] = {}
        return await run(lambda: self._transaction(met), fn, attempts)

    def two_way_index(self, name: str) -> TwoWayIndex:
        """Unique pairs of texts, looked up from both sides; nothing is sent.

        Args:
            name: of the collection that holds the pairs, and nothing else.

        Raises:
            InvalidKeyError: the name is not allowed.
            UnsupportedError: this store has no atomic writes.
        """
        self._check_atomic_writes()
        return TwoWayIndex(self.name, self.collection(name, Half), self.run, self._limits)

    async def collections(self) -> list[str]:
        """The names of the collections that hold something, in order."""
        return [name for name in await self._channel.collections() if name != SYSTEM_COLLECTION]

    async def purge_expired(self) -> int:
        """Free the room that expired documents take, in all collections; returns their number.

        Worth doing now and then where documents expire; see `Collection.purge_expired`.
        """
        return sum(
            [await self.collection(name).purge_expired() for name in await self.collections()]
        )

    async def open(self) -> Self:
        """Connect, and create what is missing.

        Raises:
            ConfigurationError: the store cannot be used as configured; nothing was changed.
            MigrationError: its data are in the hands of a migration; the message says what to do.
        """
        await self._channel.open()
        try:
            await self._channel.check_claim()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def aclose(self) -> None:
        """Refuse new operations, let those under way end, release everything. Idempotent."""
        await self._channel.aclose()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Store {self.name}>"

    def _transaction(self, met: dict[DocumentId, str]) -> Transaction:
        self._check_atomic_writes()
        return Transaction(self._channel, self._clock, met)

    def _check_atomic_writes(self) -> None:
        if not self.capabilities.atomic_writes:
            raise UnsupportedError(
                "this store cannot write several documents in one step, so it has neither "
                "transactions nor two-way indexes: use one that can, or a single document",
                store=self.name,
            )
