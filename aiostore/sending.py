"""Calls of the adaptor, repeated until they get through.

Only `UnavailableError` is worth a repetition: any other error would come again. Reads are simply
repeated. A write is sent again as it was, with the version that its writer made, so it recognises
itself: if its own version stands there, an earlier attempt has taken effect, and its answer was
lost. What cannot be told is told so, by an `UnavailableError`, and never by a refusal, which would
claim that nothing was written.

One thing cannot be noticed, as an erasure leaves no trace: that a put or a create took effect, was
removed by another process, and took effect again when it was repeated.
"""

import asyncio
import copy
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from datetime import timedelta
from functools import partial
from typing import Generic, TypeAlias, TypeVar

import stamina
from msgspec import Struct
from msgspec.structs import replace

from aiostore.codecs import decode_plain
from aiostore.errors import (
    ConfigurationError,
    CorruptRecordError,
    StoreError,
    UnavailableError,
)
from aiostore.filters import Path
from aiostore.orders import Coarse, coarse_at, loosened
from aiostore.protocols import (
    Adaptor,
    Check,
    DocumentId,
    Exactly,
    Outcome,
    Purge,
    Record,
    Scan,
    Sort,
    Write,
)

R = TypeVar("R")
Answer = TypeVar("Answer")
Item = TypeVar("Item")
AnyError = TypeVar("AnyError", bound=Exception)

Meanings: TypeAlias = Callable[[Sequence[Item], Sequence[Answer]], Sequence[Answer | Exception]]

_MOST_IN_VAIN = 16
"""So often an ordered scan is begun again where it was before, and its chunks doubled each time."""

_MISSES = 2
"""After so many calls in a row without an answer it is the engine that is away."""


class Retries(Struct, frozen=True):
    """How a call is repeated whose engine did not answer (`UnavailableError`).

    The pauses double from `first_pause` to `longest_pause`; each is longer by a random part of
    `first_pause`, so that the clients of one engine do not come back all at once. By default they
    add up to 0.35 to 0.5 seconds: enough for a broken connection or a busy moment, and bearable for
    somebody who waits for a page. Where the engine itself takes long to give up (a lock's timeout)
    `patience` keeps that from being multiplied.

    Attributes:
        attempts: how often a call is tried at most; 1 for no repetition.
        first_pause: the pause before the first repetition.
        longest_pause: the longest pause.
        patience: nothing is repeated once this long has passed since the first attempt began.

    Raises:
        ConfigurationError: attempts are fewer than 1, or a duration is negative.
    """

    attempts: int = 4
    first_pause: timedelta = timedelta(milliseconds=50)
    longest_pause: timedelta = timedelta(seconds=1)
    patience: timedelta = timedelta(seconds=5)

    def __post_init__(self) -> None:
        shortest = min(self.first_pause, self.longest_pause, self.patience)
        if self.attempts < 1 or shortest < timedelta(0):
            raise ConfigurationError(f"attempts are 1 or more, durations not negative: {self}")


USUAL_RETRIES = Retries()


class Sender:
    """The adaptor's operations, each repeated as `retries` say.

    `read`, `read_older` and `write` answer each item, with its error where there is one, and raise
    nothing: a batch that fails is tried item by item, so that an item's error is its own. No error
    is given twice.
    """

    def __init__(self, adaptor: Adaptor, retries: Retries) -> None:
        self._adaptor = adaptor
        self._retries = retries

    def read(self, ids: Sequence[DocumentId]) -> Awaitable[Sequence[Record | Exception | None]]:
        """The records at `ids`."""
        return self._deliver(ids, self._adaptor.read)

    def read_older(
        self, ids: Sequence[DocumentId]
    ) -> Awaitable[Sequence[Record | Exception | None]]:
        """The records at `ids`, in an older state perhaps: a read that need not be consistent."""
        return self._deliver(ids, partial(self._adaptor.read, consistent=False))

    def write(self, writes: Sequence[Write]) -> Awaitable[Sequence[Outcome | Exception]]:
        """The outcomes of `writes`."""
        return self._deliver(writes, self._adaptor.write, _meanings)

    async def write_atomic(self, items: Sequence[Write | Check]) -> list[Outcome]:
        """The outcomes of `items`, all or none; raises what the adaptor does.

        If an earlier attempt turns out to have taken effect, the outcomes tell what was sent, which
        something newer may have replaced since.
        """
        fate = _Fate()
        answer: list[Outcome] | Exception
        try:
            answer = await self.patiently(partial(self._write_atomic, items, fate))
        except Exception as error:  # noqa: BLE001  # raised below, as what it means
            answer = fate.verdict(error)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def scan(self, request: Scan) -> AsyncGenerator[Sequence[Record], None]:
        """The adaptor's chunks; where the scan breaks off it goes on behind the last key.

        Every chunk has all the attempts. A scan with an order goes on from the last place, where
        many records may stand in no certain order, so those that came before come again.
        """
        async with aclosing(_Walk(self._adaptor, request)) as walk:
            while (chunk := await self.patiently(walk.next)) is not None:
                yield chunk

    async def index(self, collection: str, path: Path) -> None:
        """Have a field indexed."""
        await self.patiently(partial(self._adaptor.index, collection, path))

    async def collections(self) -> Sequence[str]:
        """The adaptor's collections."""
        return await self.patiently(self._adaptor.collections)

    async def count(self, collection: str, alive_at: int) -> int:
        """How many documents a collection holds."""
        return await self.patiently(partial(self._adaptor.count, collection, alive_at=alive_at))

    async def purge(self, request: Purge) -> int:
        """How many records were removed; those of an attempt without an answer are not counted.

        Repeated, because what has expired or was deleted long ago may go at any moment. Not so
        `everything`: a document written after the first attempt would go with the second.
        """
        if request.everything:
            return await self._adaptor.purge(request)
        return await self.patiently(partial(self._adaptor.purge, request))

    async def patiently(self, call: Callable[[], Awaitable[R]]) -> R:
        """What `call` returns; the `UnavailableError` of the last attempt, if all have one."""
        began = asyncio.get_running_loop().time()
        try:
            return await call()
        except UnavailableError as error:
            return await self._again(call, error, began)

    async def _again(
        self, call: Callable[[], Awaitable[R]], error: UnavailableError, began: float
    ) -> R:
        """Likewise, after a first attempt, which began then and ended with that."""
        left = self._retries.patience.total_seconds()
        left -= asyncio.get_running_loop().time() - began
        if left <= 0:
            raise error
        failed: UnavailableError | None = error

        async def again() -> R:
            # The first attempt of stamina's is the one before. To begin with stamina would cost
            # every call more than a fast engine takes to answer it.
            nonlocal failed
            if failed is not None:
                error, failed = failed, None
                raise error
            return await call()

        return await stamina.AsyncRetryingCaller(
            attempts=self._retries.attempts,
            timeout=left,
            wait_initial=self._retries.first_pause,
            wait_max=self._retries.longest_pause,
            wait_jitter=self._retries.first_pause,
        )(UnavailableError, again)

    async def _deliver(
        self,
        items: Sequence[Item],
        call: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        meanings: "Meanings[Item, Answer] | None" = None,
    ) -> Sequence[Answer | Exception]:
        """The answers to `items`.

        Args:
            items: what is sent.
            call: sends them.
            meanings: of writes, what the answers mean after an attempt without one.
        """
        # All that is alive goes through here, so the first attempt is made at once.
        began = asyncio.get_running_loop().time()
        try:
            return _complete(await call(items), items)
        except Exception as error:  # noqa: BLE001  # of whatever kind, it is an answer
            failed = error
        return await self._insist(items, _Attempts(call, meanings), failed, began)

    async def _insist(
        self,
        items: Sequence[Item],
        attempts: "_Attempts[Item, Answer]",
        error: Exception,
        began: float,
    ) -> Sequence[Answer | Exception]:
        """The answers, after a first attempt that began then and ended with that."""
        fate = _Fate()
        attempts.weigh(error, fate)
        if isinstance(error, UnavailableError):
            try:
                return await self._again(partial(attempts.make, items, fate), error, began)
            except Exception as last:  # noqa: BLE001  # likewise
                error = last
        if len(items) == 1:
            return [fate.verdict(error)]
        exhausted = isinstance(error, UnavailableError)
        answers: list[Answer | Exception] = []
        missed: list[Exception] = []
        for item in items:
            own = _Fate(unknown=fate.unknown)
            if len(missed) == _MISSES:
                answers.append(own.verdict(copied(missed[-1])))
                continue
            alone = partial(attempts.make, [item], own)
            try:
                answers += await (alone() if exhausted else self.patiently(alone))
            except Exception as error:  # noqa: BLE001  # likewise
                answers.append(own.verdict(error))
                missed = [*missed, error] if isinstance(error, UnavailableError) else []
            else:
                missed = []
        return answers

    async def _write_atomic(
        self, items: Sequence[Write | Check], fate: "_Fate"
    ) -> list[Outcome] | Exception:
        repeated = fate.unknown
        try:
            outcomes = _complete(await self._adaptor.write_atomic(items), items)
        except Exception as error:
            fate.weigh(error)
            raise
        return _meaning(items, outcomes) if repeated else list(outcomes)


class _Attempts(Generic[Item, Answer]):
    """Attempts at one call, after the first."""

    def __init__(
        self,
        call: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        meanings: "Meanings[Item, Answer] | None",
    ) -> None:
        self._call = call
        self._meanings = meanings

    async def make(self, items: Sequence[Item], fate: "_Fate") -> Sequence[Answer | Exception]:
        """Another one."""
        repeated = fate.unknown
        try:
            answers = _complete(await self._call(items), items)
        except Exception as error:
            self.weigh(error, fate)
            raise
        return self._meanings(items, answers) if repeated and self._meanings else answers

    def weigh(self, error: Exception, fate: "_Fate") -> None:
        """One of them ended with this error."""
        if self._meanings is not None:  # a read has no effect that could be unknown
            fate.weigh(error)


class _Fate:
    """What is known of the attempts at one call.

    Attributes:
        unknown: one of them went without an answer, so it may have taken effect, or still may.
    """

    def __init__(self, *, unknown: bool = False) -> None:
        self.unknown = unknown

    def weigh(self, error: Exception) -> None:
        """An attempt ended with this error."""
        # By the contract anything else means that nothing of the call took effect; an adaptor that
        # raises what is no StoreError has left the contract.
        if isinstance(error, UnavailableError) or not isinstance(error, StoreError):
            self.unknown = True

    def verdict(self, error: Exception) -> Exception:
        """The last attempt's error as what it means for the call."""
        if not self.unknown or not isinstance(error, StoreError):
            return error
        verdict = UnavailableError(
            f"{Exception.__str__(error)}: it is not known whether the write took effect, read it "
            "to see",
            store=error.store,
            collection=error.collection,
            key=error.key,
        )
        verdict.__cause__ = error
        return verdict


class _Walk:
    """A scan that can be begun again where it broke off."""

    def __init__(self, adaptor: Adaptor, request: Scan) -> None:
        self._adaptor = adaptor
        self._rest = request
        self._chunks: AsyncGenerator[Sequence[Record], None] | None = None
        self._last: Sequence[Record] = ()
        self._in_vain = 0

    async def next(self) -> Sequence[Record] | None:
        """The next chunk, or None at the end."""
        if self._chunks is None:
            if self._in_vain > _MOST_IN_VAIN:
                raise UnavailableError("the scan broke off again and again at the same place")
            self._chunks = self._adaptor.scan(self._rest)
        try:
            chunk = await anext(self._chunks, None)
        except UnavailableError:
            self._chunks = None  # a generator that has raised has ended
            if self._last:
                self._go_on(self._last)
                self._last = ()
            raise
        self._last = chunk or self._last
        return chunk

    async def aclose(self) -> None:
        if self._chunks is not None:
            await self._chunks.aclose()

    def _go_on(self, last: Sequence[Record]) -> None:
        """Leave out what has come; in a scan with an order, what comes before where it stands."""
        rest = self._rest
        if rest.order is None:
            self._rest = replace(rest, start_after=last[-1].id.key)
            return
        start = _reached(last, rest.order)
        if start == rest.order.start:
            # As many as a chunk holds, or more, are alike there, and the same ones may come again.
            self._in_vain += 1
            self._rest = replace(rest, chunk=rest.chunk * 2)
        else:
            self._rest = replace(rest, order=replace(rest.order, start=start))


def _reached(chunk: Sequence[Record], order: Sort) -> Coarse | None:
    """A place that nothing comes before which is still to come: the order's start, or beyond it."""
    start = order.start
    for record in chunk:
        if record.body is not None:
            with suppress(CorruptRecordError):  # whoever reads the record is told
                place = coarse_at(decode_plain(record.body), order.path)
                place = loosened(place, descending=order.descending)
                if start is None or (place < start if order.descending else place > start):
                    start = place
    return start


def copied(error: AnyError) -> AnyError:
    """The same error for somebody else, who may write into it; what is no `StoreError` as it is."""
    if not isinstance(error, StoreError):
        return error
    another = copy.copy(error).with_traceback(error.__traceback__)
    another.__cause__ = error.__cause__
    return another


def _complete(answers: Sequence[Answer], items: Sequence[object]) -> Sequence[Answer]:
    if len(answers) != len(items):
        raise RuntimeError(f"the adaptor answered {len(items)} items with {len(answers)}")
    return answers


def _meanings(writes: Sequence[Write], outcomes: Sequence[Outcome]) -> list[Outcome | Exception]:
    """Likewise of `writes` that stand or fall each by itself."""
    answers: list[Outcome | Exception] = []
    for write, outcome in zip(writes, outcomes, strict=True):
        meaning = _meaning([write], [outcome])
        answers += [meaning] if isinstance(meaning, Exception) else meaning
    return answers


def _meaning(
    items: Sequence[Write | Check], outcomes: Sequence[Outcome]
) -> list[Outcome] | UnavailableError:
    """What an answer means after attempts without one; `items` stand or fall together."""
    if all(outcome.applied for outcome in outcomes):
        return list(outcomes)
    pairs = list(zip(items, outcomes, strict=True))
    if any(_is_own(item, outcome) for item, outcome in pairs):
        return [_taken(item, outcome) for item, outcome in pairs]
    if _is_without_effect(pairs):
        return list(outcomes)
    [refused, *_] = [outcome.record for outcome in outcomes if not outcome.applied]
    return UnavailableError(
        "an attempt went without an answer, and what stands there now is not what was written: it "
        "is not known whether the write took effect and another came in between, read it to see",
        collection=None if refused is None else refused.id.collection,
        key=None if refused is None else refused.id.key,
    )


def _is_own(item: Write | Check, outcome: Outcome) -> bool:
    """Whether it was refused by itself: nobody else makes its version.

    Of an item that was not refused the outcome's record does not tell what stands there.
    """
    return (
        isinstance(item, Write)
        and not outcome.applied
        and outcome.record is not None
        and outcome.record.version == item.record.version
    )


def _taken(item: Write | Check, outcome: Outcome) -> Outcome:
    if isinstance(item, Check) or _is_own(item, outcome):
        return Outcome(applied=True, record=outcome.record)
    return Outcome(applied=True, record=None if item.erase else item.record)


def _is_without_effect(pairs: Sequence[tuple[Write | Check, Outcome]]) -> bool:
    """Whether a refusal proves that no earlier attempt took effect, or ever will.

    Both proofs rest on versions being unique: one that was replaced or erased never comes back.

    1. None has taken effect: a write was to replace or erase a version that still stands there,
       for its condition held, or it was refused by that version, which had expired or was marked.
       Had an attempt taken effect, this write would have, and the version would be gone.
    2. None will, however late it arrives: there is a condition that can never hold again. It asks
       for a version that does not stand there, and will not come back; or for one that must not
       have expired at a moment that is fixed, and has: neither date of a version changes.

    `Absent` and `Newer` prove nothing: what refuses them may have come after an attempt that took
    effect, and once it is erased a late attempt would find nothing. Nor does a mark, which may be
    changed back.
    """
    untouched = any(
        isinstance(item, Write)
        and isinstance(item.condition, Exactly)
        and (outcome.applied or _stands(item.condition, outcome.record))
        for item, outcome in pairs
    )
    hopeless = any(
        isinstance(item.condition, Exactly)
        and not outcome.applied
        and (
            not _stands(item.condition, outcome.record)
            or _has_expired(item.condition, outcome.record)
        )
        for item, outcome in pairs
    )
    return untouched and hopeless


def _stands(condition: Exactly, record: Record | None) -> bool:
    return record is not None and record.version == condition.version


def _has_expired(condition: Exactly, record: Record | None) -> bool:
    return (
        condition.unexpired_at is not None
        and record is not None
        and record.expires_at is not None
        and record.expires_at <= condition.unexpired_at
    )
