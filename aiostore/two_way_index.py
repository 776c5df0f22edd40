"""Unique pairs of texts, looked up from both sides: `TwoWayIndex`.

Stored shape: in one ordinary collection two documents for each pair, `left:<left>` and
`right:<right>`, each holding its partner; so keys of the two sides never meet, and the pairs come
in the order of their left texts.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar, overload

import msgspec

from aiostore.collection import Collection
from aiostore.errors import (
    CorruptRecordError,
    InvalidKeyError,
    InvalidValueError,
    NotFoundError,
    StoreError,
)
from aiostore.limits import Limits, check_key
from aiostore.transaction import Transaction

D = TypeVar("D")

Run = Callable[
    [Callable[[Transaction], Awaitable[StoreError | None]]], Awaitable[StoreError | None]
]
"""`Store.run`, as it is used here."""

_MISSING: Any = object()
_LEFT = "left:"
_RIGHT = "right:"


class Half(msgspec.Struct, frozen=True):
    """One of the two documents of a pair: the text on the other side."""

    partner: str


class TwoWayIndex:
    """Pairs (left, right) in which no left and no right text occurs twice.

    Made by `Store.two_way_index`. Texts keep to the rules of keys and are 6 bytes shorter, 1 to 506
    bytes of UTF-8 (`InvalidKeyError`). `set` and `remove` are transactions: all of it or nothing,
    begun again when another writer comes between. The collection of the same name holds nothing
    else; `Collection.clear` empties the index.

    Every method raises `ClosedError` if the store is not open and `UnavailableError` if the engine
    does not answer: after `set` and `remove` it is then not known whether they took effect.

    Args:
        store: the store's name, for messages.
        halves: the collection.
        run: the store's.
        limits: the store's.
    """

    def __init__(self, store: str, halves: Collection[Half], run: Run, limits: Limits) -> None:
        self.name = halves.name
        self._store = store
        self._halves = halves
        self._run = run
        longest = None if limits.key_bytes is None else limits.key_bytes - len(_RIGHT)
        self._limits = Limits(key_bytes=longest)

    def __repr__(self) -> str:
        return f"<TwoWayIndex {self.name!r} of {self._store}>"

    async def set(self, left: str, right: str) -> None:
        """Make (left, right) a pair; the pairs that either of them was in before are gone.

        Raises:
            CorruptRecordError: there is half a pair only; nothing was written.
            ConflictError: other writers came between too often.
        """
        ours = self._key(_LEFT, left), self._key(_RIGHT, right)

        async def set_pair(tx: Transaction) -> StoreError | None:
            partners = await self._partners(tx, *ours)
            if isinstance(partners, StoreError):
                return partners
            if partners.get(ours[0]) != ours[1]:
                for released in partners.values():
                    tx.delete(self._halves, released)
                tx.put(self._halves, ours[0], Half(right))
                tx.put(self._halves, ours[1], Half(left))
            return None

        await self._apply(set_pair)

    @overload
    async def get_right(self, left: str) -> str: ...

    @overload
    async def get_right(self, left: str, *, default: D) -> str | D: ...

    async def get_right(self, left: str, *, default: Any = _MISSING) -> Any:
        """The right text of the pair with this left one, or `default` if there is none.

        One read, which trusts what it finds; `set` and `remove` look at both halves.

        Raises:
            NotFoundError: there is none, and no default was given.
        """
        return await self._partner(_LEFT, left, default)

    @overload
    async def get_left(self, right: str) -> str: ...

    @overload
    async def get_left(self, right: str, *, default: D) -> str | D: ...

    async def get_left(self, right: str, *, default: Any = _MISSING) -> Any:
        """The left text of the pair with this right one; otherwise as `get_right`."""
        return await self._partner(_RIGHT, right, default)

    @overload
    async def remove(self, *, left: str, missing_ok: bool = False) -> None: ...

    @overload
    async def remove(self, *, right: str, missing_ok: bool = False) -> None: ...

    async def remove(
        self, *, left: str | None = None, right: str | None = None, missing_ok: bool = False
    ) -> None:
        """Remove the pair with this left, or this right text.

        Args:
            left: either the one,
            right: or the other.
            missing_ok: do not mind if there is none.

        Raises:
            NotFoundError: there is none, unless `missing_ok`.
            InvalidValueError: both are given, or neither.
            CorruptRecordError: there is half a pair only; nothing was written.
            ConflictError: other writers came between too often.
        """
        if right is None and left is not None:
            side, text = _LEFT, left
        elif left is None and right is not None:
            side, text = _RIGHT, right
        else:
            raise InvalidValueError(
                "a pair is removed by its left text or by its right one: give one of the two",
                store=self._store,
                collection=self.name,
            )
        key = self._key(side, text)

        async def remove_pair(tx: Transaction) -> StoreError | None:
            partners = await self._partners(tx, key)
            if isinstance(partners, StoreError):
                return partners
            for half in (*partners, *partners.values()):
                tx.delete(self._halves, half)
            return None if partners or missing_ok else self._not_found(side, text)

        await self._apply(remove_pair)

    async def pairs(self) -> AsyncGenerator[tuple[str, str], None]:
        """All pairs in the order of their left texts (code points), in constant memory.

        Not a snapshot: a pair that is there and unchanged from start to end comes exactly once.
        """
        async with aclosing(self._halves.scan(prefix=_LEFT)) as halves:
            async for half in halves:
                yield half.key.removeprefix(_LEFT), half.value.partner

    async def _partner(self, side: str, text: str, default: Any) -> Any:
        half = await self._halves.get(self._key(side, text), default=None)
        if half is not None:
            return half.value.partner
        if default is _MISSING:
            raise self._not_found(side, text)
        return default

    async def _partners(self, tx: Transaction, *keys: str) -> dict[str, str] | CorruptRecordError:
        """The key of the other half for each of `keys` at which there is a half.

        An error is returned, to be raised once the reads are known to belong together.
        """
        found = await tx.get_many(self._halves, keys)
        partners = {key: _opposite(key, half.value.partner) for key, half in found.items()}
        try:
            others = await tx.get_many(self._halves, partners.values())
        except InvalidKeyError:  # a text that no one can have set
            others = {}
        for key, partner in partners.items():
            if partner not in others or _opposite(partner, others[partner].value.partner) != key:
                return CorruptRecordError(
                    f"this is half a pair: {partner!r:.80} does not lead back here; restore that "
                    "document, or delete this one",
                    store=self._store,
                    collection=self.name,
                    key=key,
                )
        return partners

    async def _apply(self, fn: Callable[[Transaction], Awaitable[StoreError | None]]) -> None:
        error = await self._run(fn)
        if error is not None:
            raise error

    def _key(self, side: str, text: str) -> str:
        try:
            return side + check_key(text, self._limits, self.name)
        except InvalidKeyError as error:
            error.store = self._store
            raise

    def _not_found(self, side: str, text: str) -> NotFoundError:
        return NotFoundError(
            f"there is no such pair, with this text on the {side.removesuffix(':')}",
            store=self._store,
            collection=self.name,
            key=text,
        )


def _opposite(key: str, partner: str) -> str:
    return (_RIGHT if key.startswith(_LEFT) else _LEFT) + partner
