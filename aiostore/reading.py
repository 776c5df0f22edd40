"""The verbs that only read."""

import time
from collections.abc import AsyncGenerator, Coroutine, Iterable
from contextlib import aclosing
from typing import Any, Generic, TypeVar, overload

from aiostore.channel import Channel
from aiostore.documents import Document, Mapper, Page
from aiostore.errors import InvalidValueError
from aiostore.filters import Filter, Path
from aiostore.metering import metered
from aiostore.plans import Analysis, OrderBy, Plan, query
from aiostore.protocols import Record
from aiostore.queries import LARGEST_PAGE, Answer

T = TypeVar("T")
D = TypeVar("D")

_MISSING: Any = object()


class Reading(Generic[T]):
    """What `Collection` has of verbs that only read; what they all promise stands there."""

    def __init__(self, channel: Channel, mapper: Mapper[T], indexes: tuple[Path, ...] = ()) -> None:
        self.name = mapper.collection
        self._channel = channel
        self._mapper = mapper
        self._indexes = indexes

    @overload
    async def get(self, key: str, *, consistent: bool = True) -> Document[T]: ...

    @overload
    async def get(self, key: str, *, default: D, consistent: bool = True) -> Document[T] | D: ...

    async def get(self, key: str, *, default: Any = _MISSING, consistent: bool = True) -> Any:
        """The document at `key`, or `default` if there is none.

        Args:
            key: the document's key.
            default: what to return if there is none.
            consistent: if false, it may be an older state; see `Collection`.

        Raises:
            NotFoundError: there is none, and no default was given.
        """
        document = self._mapper.document(await self._read(key, consistent=consistent))
        if document is not None:
            return document
        if default is _MISSING:
            raise self._mapper.not_found(key)
        return default

    async def get_many(
        self, keys: Iterable[str], *, consistent: bool = True
    ) -> dict[str, Document[T]]:
        """The documents at `keys`, by key and in their order; missing ones are left out.

        Args:
            keys: the documents' keys, any number of them.
            consistent: if false, they may be older states; see `Collection`.
        """
        ids = list(dict.fromkeys(map(self._mapper.id, keys)))
        records = await self._channel.read(ids, consistent=consistent)
        documents = map(self._mapper.document, records)
        return {document.key: document for document in documents if document is not None}

    def scan(
        self, *, prefix: str = "", start_after: str | None = None, consistent: bool = True
    ) -> AsyncGenerator[Document[T], None]:
        """All documents in the order of their keys (code points), in constant memory.

        Not a snapshot: a document that is there and unchanged from start to end comes exactly
        once; one that is written meanwhile at most once.

        Args:
            prefix: only keys that begin with it.
            start_after: only keys greater than it.
            consistent: if false, older states may come; see `Collection`.
        """
        self._check_bound(prefix)
        if start_after is not None:
            self._check_bound(start_after)
        return self._answer(None, prefix, (), consistent=consistent).documents(start_after)

    def find(
        self,
        where: Filter | None = None,
        *,
        prefix: str = "",
        order_by: OrderBy = (),
        limit: int | None = None,
        allow_scan: bool = True,
        consistent: bool = True,
    ) -> AsyncGenerator[Document[T], None]:
        """The documents that match, in the order of their keys unless another is asked for.

        Not a snapshot, as `scan`. Memory is constant, but with `order_by` it grows with `limit`,
        or without one with the answer.

        Args:
            where: a filter made of `F`, as in `F.age >= 18`; see `aiostore.filters`.
            prefix: only keys that begin with it.
            order_by: a field or several, as in `"-age"` or `F.age.desc()`; where those are equal
                documents come in the order of their keys. See `aiostore.filters.Order`.
            limit: at most so many.
            allow_scan: if false, a filter or an order that makes the store walk through documents
                that are no part of the answer is refused; `explain` tells.
            consistent: if false, the answer may rest on older states; see `Collection`.

        Raises:
            InvalidValueError: the filter, the order or the limit is none.
            UnsupportedError: it would scan and may not.
        """
        answer = self._answer(
            where, prefix, order_by, limit, allow_scan=allow_scan, consistent=consistent
        )
        return answer.documents()

    async def page(
        self,
        where: Filter | None = None,
        *,
        size: int = 50,
        cursor: str | None = None,
        prefix: str = "",
        order_by: OrderBy = (),
        allow_scan: bool = True,
        consistent: bool = True,
    ) -> Page[T]:
        """A part of what `find` answers, and the cursor of the next one.

        A cursor stands for a place in the order, not for a number: documents that are created or
        deleted meanwhile move no other to another page. It is good on every store that has the
        documents, for the same query, with any `size`. It holds the values that the query sorts
        by, as long as they are.

        Args:
            where: see `find`.
            size: how many documents, 1 to 1000.
            cursor: the `next_cursor` of the page before; None for the first page.
            prefix: see `find`.
            order_by: see `find`.
            allow_scan: see `find`.
            consistent: see `find`.

        Raises:
            InvalidValueError: the cursor is damaged or belongs to another query, or as for `find`.
            UnsupportedError: as for `find`.
        """
        _check_number(size, "a page's size", 1, LARGEST_PAGE)
        answer = self._answer(
            where, prefix, order_by, size, allow_scan=allow_scan, consistent=consistent
        )
        return await answer.page(size, cursor)

    async def count(
        self,
        where: Filter | None = None,
        *,
        prefix: str = "",
        allow_scan: bool = True,
        consistent: bool = True,
    ) -> int:
        """How many documents there are, or match; arguments and errors as for `find`.

        Without a filter and a prefix it is exact, and `consistent` makes no difference.
        """
        if where is None and prefix == "":
            return await self._channel.count(self.name, self._mapper.clock.now())
        answer = self._answer(where, prefix, (), allow_scan=allow_scan, consistent=consistent)
        return await answer.count()

    def explain(
        self,
        where: Filter | None = None,
        *,
        prefix: str = "",
        order_by: OrderBy = (),
        limit: int | None = None,
    ) -> Plan:
        """How this store would answer `find` with these arguments; nothing is sent.

        For `page`, the limit is its size. Indexes are told as if they were made already.
        """
        return self._answer(where, prefix, order_by, limit).plan

    async def analyze(
        self,
        where: Filter | None = None,
        *,
        prefix: str = "",
        order_by: OrderBy = (),
        limit: int | None = None,
        consistent: bool = True,
    ) -> Analysis:
        """Answer `find` with these arguments, and tell how, and what that took: EXPLAIN ANALYZE.

        The documents are thrown away. Errors as for `find`.
        """
        answer = self._answer(where, prefix, order_by, limit, consistent=consistent)
        documents = 0
        began = time.perf_counter()
        with metered() as usage:
            async with aclosing(answer.documents()) as found:
                async for _ in found:
                    documents += 1
        return Analysis(answer.plan, documents, time.perf_counter() - began, usage)

    def _read(self, key: str, *, consistent: bool = True) -> Coroutine[Any, Any, Record | None]:
        return self._channel.read_one(self._mapper.id(key), consistent=consistent)

    def _answer(
        self,
        where: Filter | None,
        prefix: str,
        order_by: OrderBy,
        limit: int | None = None,
        *,
        allow_scan: bool = True,
        consistent: bool = True,
    ) -> Answer[T]:
        if limit is not None:
            _check_number(limit, "a limit", 0, None)
        asked = query(where, self._check_bound(prefix), order_by)
        return Answer(
            self._channel,
            self._mapper,
            asked,
            self._indexes,
            limit,
            allow_scan=allow_scan,
            consistent=consistent,
        )

    def _check_bound(self, bound: str) -> str:
        """A prefix, or a key to start after, which may be empty."""
        if bound != "":
            self._mapper.id(bound)
        return bound


def _check_number(number: object, what: str, least: int, most: int | None) -> None:
    if type(number) is not int or number < least or (most is not None and number > most):
        bounds = f"{least} or more" if most is None else f"{least} to {most}"
        raise InvalidValueError(f"{what} is a whole number, {bounds}, not {number!r:.40}")
