"""`@check`: a promise as an async function, with what an adaptor must have, or lack, for it."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from aiostore.testing.harness import Harness

CheckFunction = Callable[[Harness], Awaitable[None]]


class Check(Struct, frozen=True):
    """One promise.

    Attributes:
        topic: what it is about; the name of its module.
        name: the function's, without `check_`.
        promise: the first line of its docstring.
        needs: features of the harness without which it does not apply.
        lacks: features with which it does not apply.
        function: raises `CheckFailedError` if the promise is broken.
    """

    topic: str
    name: str
    promise: str
    needs: frozenset[str]
    lacks: frozenset[str]
    function: CheckFunction

    def reason_to_skip(self, features: frozenset[str]) -> str | None:
        """Why it does not apply to an adaptor with these features; None if it does."""
        missing, excess = self.needs - features, self.lacks & features
        if missing:
            return f"needs {', '.join(sorted(missing))}"
        if excess:
            return f"is for adaptors without {', '.join(sorted(excess))}"
        return None


_checks: list[Check] = []


def check(
    *, needs: tuple[str, ...] = (), lacks: tuple[str, ...] = ()
) -> Callable[[CheckFunction], CheckFunction]:
    """Make a function a check; for its features see `Harness.features`."""

    def register(function: CheckFunction) -> CheckFunction:
        topic = function.__module__.rpartition(".")[2]
        name = getattr(function, "__name__", "").removeprefix("check_")
        promise = (function.__doc__ or "").partition("\n")[0]
        _checks.append(Check(topic, name, promise, frozenset(needs), frozenset(lacks), function))
        return function

    return register


def all_checks() -> list[Check]:
    """Every check that has been imported, the kit's own and others', by topic."""
    return sorted(_checks, key=lambda check: check.topic)
