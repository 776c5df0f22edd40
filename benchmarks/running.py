"""A whole run: engines one after another, in each of them every case."""

import gc
from collections.abc import Callable, Sequence
from datetime import timedelta

from msgspec import Struct, field

from benchmarks.documents import FINDING, Content
from benchmarks.figures import Figure
from benchmarks.goals import CPU_GOALS, SIZE, TASKS, Ratio, Tail, ratios, tails
from benchmarks.machine import Machine, Probe, probe
from benchmarks.measuring import Case, Measurement, Pace, compare
from benchmarks.operations import FIND, OPERATIONS
from benchmarks.variants import LIBRARY, Documents, Engine, Place, Variant

_FILLED_AT_ONCE = 1000

Say = Callable[[str], object]


class Settings(Struct, frozen=True, kw_only=True):
    """How much is measured.

    Attributes:
        documents: preloaded, of each size.
        found: preloaded where documents are found by a field.
        sizes: of documents, in kilobytes.
        tasks: that ask at the same time.
        operations: what is asked.
    """

    documents: int = 100_000
    found: int = 5000
    sizes: tuple[int, ...] = (1, 10)
    tasks: tuple[int, ...] = TASKS
    operations: tuple[str, ...] = tuple(OPERATIONS)
    pace: Pace = Pace()


FULL = Settings()

QUICK = Settings(
    documents=2000,
    found=2000,
    sizes=(1,),
    pace=Pace(timedelta(milliseconds=50), repetitions=5, most_documents=2000),
)


class CPU(Struct, frozen=True):
    """What an operation of one task in memory takes, in microseconds."""

    operation: str
    cpu_us: float
    goal: float


class Report(Struct, kw_only=True):
    """All that a run has found, as the JSON holds it.

    Attributes:
        absent: engines and rivals that were not measured, and why.
        remarks: what a reader of a variant's figures has to know.
        servers: of the engines that have one, which it was.
        disk: how quick it was, before and after each engine whose writes wait for it.
    """

    command: str
    began: str
    machine: Machine
    versions: dict[str, str]
    settings: Settings
    seconds: float = 0.0
    absent: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    servers: dict[str, str] = field(default_factory=dict)
    disk: list[Probe] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    tails: list[Tail] = field(default_factory=list)
    cpu: list[CPU] = field(default_factory=list)
    migration: list[Figure] = field(default_factory=list)

    def conclude(self) -> None:
        """Hold what was measured against the goals."""
        self.ratios = ratios(self.measurements)
        self.tails = tails(self.measurements)
        self.cpu = [
            CPU(each.operation, each.cpu_us, CPU_GOALS[each.operation])
            for each in self.measurements
            if (each.engine, each.variant) == ("memory", LIBRARY)
            and (each.size, each.tasks) == (SIZE, 1)
            and each.operation in CPU_GOALS
        ]


class Prepared:
    """The variants of one engine, and their collections, filled when they are first needed."""

    def __init__(self, variants: Sequence[Variant], settings: Settings) -> None:
        self._variants = variants
        self._settings = settings
        self._contents: dict[tuple[str, str], Content] = {}

    async def of(self, case: Case) -> dict[str, tuple[Documents, Content]]:
        """Who takes part in a case: each that offers the operation, and the library with them."""
        collection, count = f"airports-{case.size}", self._settings.documents
        if case.operation == FIND.name:
            collection, count = FINDING, self._settings.found
        taking = {}
        for variant in self._variants:
            documents = variant.open_documents(collection)
            if documents.offers(case.operation):
                content = await self._content(variant, collection, case.size, count)
                if case.operation == FIND.name:
                    await documents.index()
                taking[variant.name] = (documents, content)
        return taking

    async def _content(self, variant: Variant, collection: str, size: int, count: int) -> Content:
        place = (variant.home, collection)
        if place not in self._contents:
            content = Content(collection, 1024 * size, count)
            await self._fill(variant.home, content)
            self._contents[place] = content
            gc.collect()
            gc.freeze()  # what is preloaded is none of the rounds' garbage
        return self._contents[place]

    async def _fill(self, home: str, content: Content) -> None:
        filling = (each for each in self._variants if each.home == home)
        documents = next(
            documents
            for documents in (each.open_documents(content.collection) for each in filling)
            if documents.offers("fill")
        )
        for first in range(0, content.count, _FILLED_AT_ONCE):
            numbers = range(first, min(first + _FILLED_AT_ONCE, content.count))
            values = {content.keys[number]: content.value(number, 0) for number in numbers}
            for key, version in (await documents.fill(values)).items():
                content.accept(key, 0, version)
        for variant in self._variants:
            documents = variant.open_documents(content.collection)
            if documents.offers("settle"):
                await documents.settle()


def cases(engine: Engine, settings: Settings) -> list[Case]:
    """What is measured of an engine, in order."""
    return [
        Case(engine.NAME, operation, size, tasks)
        for size in settings.sizes
        for operation in settings.operations
        if operation not in engine.LEFT_OUT
        for tasks in settings.tasks
        if (operation != FIND.name or size == SIZE) and tasks <= OPERATIONS[operation].most_tasks
    ]


async def measure_engine(
    engine: Engine, place: Place, settings: Settings, report: Report, say: Say
) -> None:
    """Measure one engine's variants, and add what is found to the report.

    Raises:
        WrongAnswerError: one of them answered what is not so.
    """
    if engine.DURABLE:
        report.disk.append(probe(engine.NAME, place.folder))
    async with engine.opened(place) as variants:
        prepared = Prepared(variants, settings)
        report.remarks |= {
            f"{engine.NAME}: {variant.name}": variant.remark
            for variant in variants
            if variant.remark
        }
        report.absent |= {
            f"{engine.TITLE}, {name}": reason for name, reason in engine.LEFT_OUT.items()
        }
        try:
            for case in cases(engine, settings):
                say(f"{engine.TITLE}: {case.operation}, {case.size} KB, {case.tasks} tasks")
                taking = await prepared.of(case)
                report.measurements += await compare(case, taking, settings.pace)
        finally:
            gc.unfreeze()
    if engine.DURABLE:
        report.disk.append(probe(engine.NAME, place.folder))
