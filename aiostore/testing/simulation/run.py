"""One run: everything put together, and the verdict."""

import logging
import random
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from aiostore.adaptors.memory import MemoryAdaptor
from aiostore.migration import MigrationAdaptor, Phase, rows
from aiostore.protocols import DocumentId, Newer, Record, Write
from aiostore.store import Store
from aiostore.testing.histories import History
from aiostore.testing.registers import Answer, Call, Stood, find_anomalies
from aiostore.testing.simulation.ledger import Ledger
from aiostore.testing.simulation.loop import SimulatedLoop
from aiostore.testing.simulation.network import Delays, Network, Weather
from aiostore.testing.simulation.operator import Operator
from aiostore.testing.simulation.scenarios import Plan
from aiostore.testing.simulation.service import COLLECTION, EPOCH, MIGRATION, Service
from aiostore.testing.simulation.trace import Trace
from aiostore.versions import VersionClock

_LOGGER = logging.getLogger("aiostore")
_CALM = {"C": Weather(), "T": Weather()}


class Verdict(Struct, frozen=True):
    """What became of one run.

    Attributes:
        faults: what was promised and not kept; none if all is well.
        lines: what has happened, if that was wanted.
        operations: how many the clients asked.
        steps: how many callbacks ran.
    """

    faults: Sequence[str]
    lines: Sequence[str]
    operations: int
    steps: int


def simulate(
    plan: Plan,
    seed: int,
    *,
    traced: bool = False,
    delays: Callable[[random.Random], Delays] = Delays,
) -> Verdict:
    """One run of a plan; the seed fixes everything in it.

    Args:
        plan: what is simulated.
        seed: any number.
        traced: whether the lines of what happens are wanted.
        delays: makes the chances of the network.
    """
    choices = random.Random(f"{seed}/run")  # noqa: S311  # no secret
    run = _Run(plan, choices, delays(choices), traced=traced)
    ear = _Ear(run.trace)
    state = random.getstate()
    random.seed(f"{seed}")  # the library draws its jitter from the module's own
    heard, _LOGGER.propagate = _LOGGER.propagate, False
    _LOGGER.addHandler(ear)
    try:
        return run.verdict()
    finally:
        _LOGGER.removeHandler(ear)
        _LOGGER.propagate = heard
        random.setstate(state)


class _Ear(logging.Handler):
    """Has what the library logs told in the trace."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        self._trace.say("log", record.getMessage())


class _Run:
    def __init__(self, plan: Plan, choices: random.Random, delays: Delays, *, traced: bool) -> None:
        self._plan = plan
        self._choices = choices
        self._loop = SimulatedLoop(self._choose if plan.shuffling else None)
        self.trace = Trace(self._loop.time, wanted=traced)
        self._history = History()
        current, target = MemoryAdaptor("C"), MemoryAdaptor("T")
        self._stores = current, target
        self._ledger = Ledger(current, target)
        self._network = Network(
            self._loop,
            self._stores,
            delays,
            self.trace,
            landed=self._ledger.landed,
            purged=self._ledger.purged,
        )

    def verdict(self) -> Verdict:
        """Run, and judge."""
        faults: list[str] = []
        try:
            self._loop.run(self._main())
        except Exception as error:  # noqa: BLE001  # whatever a run breaks off with is a fault
            faults.append(f"{type(error).__name__}: {error}")
        operations = self._history.operations
        self._ledger.check_answers(operations)
        faults += self._ledger.faults
        faults += [f"nobody heard of {error}" for error in self._loop.errors]
        faults += map(str, find_anomalies(operations))
        return Verdict(faults, self.trace.lines, len(operations), self._loop.steps)

    def _choose(self, number: int) -> int:
        choices = self._choices
        return int(choices.random() * number) if choices.random() < self._plan.shuffling else 0

    async def _main(self) -> None:
        await self._prepare()
        plan, network = self._plan, self._network
        network.weather = {"C": plan.current, "T": plan.target}
        service = Service(plan, self._choices, network, self._history)
        operator = Operator(plan, self._choices, service, self.trace)
        await operator.lead()
        network.weather = _CALM
        await service.end()
        await operator.replace_the_dead()
        last = plan.path[-1] if plan.path else Phase.DUAL_WRITE
        equal = last is Phase.DUAL_WRITE and operator.copied
        mended = plan.troubled or bool(plan.path)
        for member in service.living:
            await member.within(member.migration.settle())
        if equal and mended:
            await operator.repair()
        await service.look()
        self._ledger.check_rest(last, equal=equal, ended=operator.ended)
        for member in service.living:
            await member.within(member.store.aclose())

    async def _prepare(self) -> None:
        """Some documents are there, and perhaps copies of what they were."""
        clock = VersionClock(lambda: EPOCH - 1_000_000, self._choices.getrandbits)
        current, target = self._stores
        async with Store(MigrationAdaptor(current, target, name=MIGRATION, clock=clock)):
            """The migration has been begun: both stores are its own."""
        for key, start in zip(self._plan.keys, self._plan.starts, strict=True):
            for number, what in enumerate(start):
                if what == "nothing":
                    continue
                body = None if what in ("deleted", "erased") else f'{{"by":"start {key}{number}"}}'
                record = Record(DocumentId(COLLECTION, key), body, clock.next(), EPOCH, EPOCH)
                if what != "stray":
                    await self._put(current, record)
                    self._history.tell("start", key, *_as_asked(record))
                if what in ("both", "erased", "stray"):
                    await self._put(target, rows.mirror(record))
                if what == "spoiled":
                    other = replace(record, body='{"by":"nobody"}')
                    await target.write([Write(rows.mirror(other), Newer())])

    async def _put(self, store: MemoryAdaptor, record: Record) -> None:
        writes = [Write(record, Newer())]
        self._ledger.landed(store.name, writes, await store.write(writes))


def _as_asked(record: Record) -> tuple[Call, Answer]:
    if record.body is None:
        return Call("delete", missing_ok=True), Answer("done")
    value = record.body.split('"')[3]
    return Call("put", value), Answer("done", Stood(record.version, value))
