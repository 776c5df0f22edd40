"""Tests of what waits long, on an event loop whose time passes at once."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

from aiostore.testing.simulation.loop import SimulatedLoop

P = ParamSpec("P")


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on a simulated event loop. There are no threads and no sockets."""

    @wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        SimulatedLoop(most_steps=2_000_000, longest=100_000.0).run(test(*arguments, **named))

    return run
