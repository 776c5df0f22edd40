"""An event loop on which time is a number and nothing happens by chance.

Nothing is waited for: when no callback is ready, time jumps to the next timer. There are no sockets
and no threads. Callbacks and tasks belong to the process (`Process`) that made them, and a process
can be killed, so that nothing of it ever runs again, or frozen, so that all of it runs late.
"""

import asyncio
import sys
from asyncio.events import _set_running_loop
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any, TypeAlias, TypeVar, TypeVarTuple

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

Choose: TypeAlias = Callable[[int], int]
"""Which of so many callbacks that are ready is to run, from 0 on."""

_EPILOGUE = 20_000
"""So many callbacks may run while what is left at the end is cancelled."""


class SimulationError(Exception):
    """What was simulated has not come to an end."""


class DeadlockError(SimulationError):
    """Nothing is ready, no timer is set, and yet there is somebody who waits."""


class NonTerminationError(SimulationError):
    """Too many steps have been taken, or too much time has passed."""


class Process:
    """Something that can die alone: what runs in its context is its own.

    Attributes:
        name: its own.
        dead: it has been killed.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self._held: list[_Handle] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def kill(self) -> None:
        """Let nothing of it run before the run is over, and all that is left is cancelled."""
        self.freeze()
        self.dead = True
        self._tasks = asyncio.all_tasks()  # which nobody else may hold any more

    def freeze(self) -> None:
        """Let nothing of it run until it is thawed."""
        if self._held is None:
            self._held = []

    @property
    def frozen(self) -> bool:
        """Whether nothing of it runs now."""
        return self._held is not None

    def thaw(self) -> None:
        """Let everything run that has become ready meanwhile, unless it is dead."""
        if not self.dead:
            self._release()

    def bury(self) -> None:
        """Let what it has left run, so that it can be cancelled."""
        self.dead = False
        self._release()

    def _release(self) -> None:
        held, self._held = self._held, None
        for handle in held or ():
            handle.loop.ready(handle)

    def context(self) -> Context:
        """A context for what is to be its own."""
        context = copy_context()
        context.run(_PROCESS.set, self)
        return context

    def hold(self, handle: "_Handle") -> bool:
        """Keep a callback until it is thawed, if it is frozen."""
        if self._held is None:
            return False
        self._held.append(handle)
        return True


_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class _Handle(asyncio.TimerHandle):
    """A callback, ready or timed, and whose it is.

    Asyncio's own does more than is needed here, a million times a minute, so nothing of it is used.
    """

    __slots__ = ("args", "at", "callback", "context", "loop", "off", "process")

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: "SimulatedLoop",
        context: Context | None,
    ) -> None:
        self.at = when
        self.callback = callback
        self.args = args
        self.loop = loop
        self.off = False
        if context is None:
            self.context = copy_context()
            self.process = _PROCESS.get()
        else:
            self.context = context
            self.process = context.get(_PROCESS)

    def cancel(self) -> None:
        """Never run it."""
        self.off = True
        self.args = ()

    def cancelled(self) -> bool:
        """Whether it is never to run."""
        return self.off

    def when(self) -> float:
        """At what time it runs."""
        return self.at


class SimulatedLoop(asyncio.BaseEventLoop):
    """One run; see the module.

    Args:
        choose: is asked where several callbacks are ready.
        most_steps: more callbacks than these are a run that does not end.
        longest: so are more seconds.

    Attributes:
        steps: how many callbacks have run.
        over: `main` has ended, and what is left is being cancelled.
        errors: what no task and no caller was there to hear, as asyncio's handlers get it.
    """

    def __init__(
        self, choose: Choose | None = None, *, most_steps: int = 200_000, longest: float = 3600.0
    ) -> None:
        self._running = False
        super().__init__()
        self.steps = 0
        self.over = False
        self.errors: list[dict[str, Any]] = []
        self._choose = choose
        self._most_steps = most_steps
        self._longest = longest
        self._now = 0.0
        self._queue: deque[_Handle] = deque()
        self._timers: list[tuple[float, int, _Handle]] = []
        self._order = count()
        self._processes: dict[Process, None] = {}

    def run(self, main: Coroutine[Any, Any, R]) -> R:
        """What `main` returns; whatever is left running then is cancelled, and the loop closed.

        Raises:
            DeadlockError: nobody can go on.
            NonTerminationError: it has taken too many steps, or too long.
        """
        hooks = sys.get_asyncgen_hooks()
        _set_running_loop(self)
        sys.set_asyncgen_hooks(finalizer=self._finalize)
        self._running = True
        try:
            task = self.create_task(main)
            try:
                self._turn_until(task.done)
            finally:
                self._cancel_all()
            return task.result()
        finally:
            self._running = False
            self.close()
            self._queue.clear()
            self._timers.clear()
            sys.set_asyncgen_hooks(*hooks)
            _set_running_loop(None)

    def ready(self, handle: _Handle) -> None:
        """Let a callback run after those that are ready."""
        self._queue.append(handle)

    def time(self) -> float:
        """Seconds since the beginning."""
        return self._now

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Run it when those that are ready have run."""
        handle = _Handle(self._now, callback, args, self, context)
        self._queue.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run it after so many seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run it at that time."""
        handle = _Handle(when, callback, args, self, context)
        heappush(self._timers, (when, next(self._order), handle))
        return handle

    def create_future(self) -> "asyncio.Future[Any]":
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, R] | Generator[Any, None, R],
        *,
        name: object = None,
        context: Context | None = None,
    ) -> "asyncio.Task[R]":
        """A task of the process that makes it, be it in a context of its own."""
        process = _PROCESS.get()
        if context is not None:
            if _PROCESS not in context:
                context.run(_PROCESS.set, process)
            process = context[_PROCESS]
        if process is not None:
            self._processes[process] = None
        label = None if name is None else str(name)
        return asyncio.Task(coro, loop=self, name=label, context=context)

    def is_running(self) -> bool:
        """Whether `run` has been called and has not returned."""
        return self._running

    def get_debug(self) -> bool:
        """Never."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep it in `errors`, unless the run is over."""
        if not self.over:
            self.errors.append(context)

    def _turn_until(self, done: Callable[[], bool]) -> None:
        while not done():
            if self.steps >= self._most_steps or self._now > self._longest:
                raise NonTerminationError(f"not ended after {self.steps} steps, {self._now:.3f} s")
            self.steps += 1
            handle = self._next()
            try:
                handle.context.run(handle.callback, *handle.args)
            except Exception as error:  # noqa: BLE001  # whatever a callback raises is told
                self.call_exception_handler({"message": "a callback raised", "exception": error})

    def _next(self) -> _Handle:
        """The callback to run."""
        while True:
            ready = self._queue
            while not ready:
                self._advance()
            handle = ready.popleft() if self._choose is None else self._take(ready)
            if handle.off:
                continue
            process = handle.process
            if process is None or not process.hold(handle):
                return handle

    def _take(self, ready: deque[_Handle]) -> _Handle:
        place = 0 if self._choose is None or len(ready) == 1 else self._choose(len(ready))
        if not place:
            return ready.popleft()
        handle = ready[place]
        del ready[place]
        return handle

    def _advance(self) -> None:
        """Go to the time of the next timer, and make those ready that are due."""
        timers = self._timers
        while timers and timers[0][2].off:
            heappop(timers)
        if not timers:
            waiting = sorted(repr(task.get_coro()) for task in asyncio.all_tasks(self))
            raise DeadlockError(f"at {self._now:.3f} s nobody can go on of {waiting}")
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            self._queue.append(heappop(timers)[2])

    def _cancel_all(self) -> None:
        """Let every task end, those of the dead too, so that nothing of them outlives the loop."""
        self._most_steps = self.steps + _EPILOGUE
        self._longest = inf
        self.over = True
        for process in self._processes:
            process.bury()
        while tasks := asyncio.all_tasks(self):
            for task in tasks:
                task.cancel()
            self._turn_until(lambda: all(task.done() for task in tasks))

    def _finalize(self, generator: AsyncGenerator[Any, Any]) -> None:
        """To close it now would make the run depend on when the garbage is collected."""
        self.call_exception_handler({"message": "nobody has closed it", "generator": generator})
