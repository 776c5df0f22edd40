"""What a check expects, said so that a failure explains itself; kept under `python -O`."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any, Generic, TypeVar

from aiostore.errors import StoreError

E = TypeVar("E", bound=StoreError)


_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds between one question and the next, for an answer that may lag behind."""


class CheckFailedError(AssertionError):
    """An adaptor broke a promise."""


def expect(condition: bool, promise: str) -> None:  # noqa: FBT001  # it reads like assert
    """Fail, naming the promise, unless `condition` holds."""
    if not condition:
        raise CheckFailedError(f"broken: {promise}")


def expect_equal(actual: object, expected: object, promise: str) -> None:
    """Fail, showing both, or where two lists part, unless they are equal."""
    if actual == expected:
        return
    if isinstance(actual, list) and isinstance(expected, list):
        promise += f" (expected {len(expected)} items, got {len(actual)})"
        pairs = enumerate(zip_longest(actual, expected, fillvalue=_NOTHING))
        position, (actual, expected) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
        promise += f", at position {position}"
    raise CheckFailedError(
        f"broken: {promise}\nexpected: {expected!r:.1000}\nactual:   {actual!r:.1000}"
    )


async def expect_in_time(
    ask: Callable[[], Awaitable[object]], expected: object, promise: str, *, lags: bool = True
) -> None:
    """Fail unless the answer is, or comes to be within some seconds, equal to what is expected.

    It has no time for that, and has to be equal at once, unless it `lags`.
    """
    if not lags:
        expect_equal(await ask(), expected, promise)
        return
    for pause in _PAUSES:
        if await ask() == expected:
            return
        await asyncio.sleep(pause)
    expect_equal(await ask(), expected, f"{promise}, in time")


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


_NOTHING = _Nothing()


class Caught(Generic[E]):
    """Holds the error once the block has ended."""

    error: E


@contextmanager
def expect_error(kind: type[E], promise: str) -> Iterator[Caught[E]]:
    """Fail unless the block raises exactly this kind of error."""
    caught: Caught[E] = Caught()
    try:
        yield caught
    except StoreError as error:
        if type(error) is not kind:
            raise CheckFailedError(
                f"broken: {promise}\nexpected: {kind.__name__}\nactual:   "
                f"{type(error).__name__}: {error}"
            ) from error
        caught.error = error
    else:
        raise CheckFailedError(f"broken: {promise}\nexpected: {kind.__name__}\nactual:   no error")


def exact(value: Any) -> str:
    """A text that two values share only if they are equal in every type: 1 is not 1.0 nor True."""
    if isinstance(value, dict):
        return f"{{{','.join(f'{name!r}:{exact(item)}' for name, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(exact, value))}]"
    return f"{type(value).__name__}:{value!r}"
