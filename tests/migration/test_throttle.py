"""How fast background work goes, and what it says about that."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest
from virtual_time import in_virtual_time

from aiostore.errors import StoreError, UnavailableError
from aiostore.metering import charge
from aiostore.migration.progress import Progress, Speed
from aiostore.migration.throttle import Limits, Throttle


async def nothing() -> None:
    """No claim is kept."""


def now() -> float:
    """The event loop's time."""
    return asyncio.get_running_loop().time()


async def chunks(throttle: Throttle, number: int, documents: int = 100, size: int = 0) -> float:
    """Handle so many chunks, which takes no time; how long they had to wait."""
    began = now()
    for _ in range(number):
        throttle.rest(await throttle.turn(documents, size, nothing))
    return now() - began


class Told:
    """What a throttle has said, each time that it changed."""

    def __init__(self, throttle: Throttle) -> None:
        self.reasons: list[str | None] = []
        throttle.changed = lambda: self.reasons.append(throttle.reason)


@in_virtual_time
async def test_without_limits_nothing_waits() -> None:
    """Where nothing is limited a chunk's turn comes at once, and no reason is given."""
    throttle = Throttle()
    assert await chunks(throttle, 1000) == 0.0
    assert throttle.reason is None
    assert throttle.most(500) == 500


@in_virtual_time
async def test_keeps_to_documents_a_second() -> None:
    """On the average no more documents are handled than allowed; chunks are a second's at most."""
    throttle = Throttle(lambda: Limits(documents_per_second=250.5))
    assert throttle.most(500) == 250
    assert throttle.most(100) == 100
    assert await chunks(throttle, 26) == pytest.approx(2500 / 250.5)
    assert throttle.reason == "limited to 250.5 documents/s"


@in_virtual_time
async def test_keeps_to_bytes_a_second() -> None:
    """Likewise bytes; the limit that binds is the one that is told."""
    throttle = Throttle(lambda: Limits(documents_per_second=1000, bytes_per_second=10_000))
    assert await chunks(throttle, 11, size=5_000) == pytest.approx(5.0)
    assert throttle.reason == "limited to 10000 bytes/s"


@in_virtual_time
async def test_limits_may_change_at_any_time() -> None:
    """A wait that began under a low limit ends early when it is raised; lifted, it is forgotten."""
    limits = Limits(documents_per_second=0.5)
    throttle = Throttle(lambda: limits)
    assert throttle.most(500) == 1
    await chunks(throttle, 1)
    waiting = asyncio.ensure_future(chunks(throttle, 1))
    await asyncio.sleep(10)
    assert not waiting.done()
    limits = Limits(documents_per_second=1000)
    await waiting
    assert now() < 12
    limits = Limits()
    assert await chunks(throttle, 10) == 0.0
    assert throttle.reason is None


@in_virtual_time
async def test_workers_share_the_limits() -> None:
    """What is allowed is divided among all who work at the job."""
    throttle = Throttle(lambda: Limits(documents_per_second=1000, bytes_per_second=1e9))
    throttle.workers = 4
    assert throttle.most(500) == 250
    assert await chunks(throttle, 11) == pytest.approx(4.0)
    assert throttle.reason == "limited to 1000 documents/s"


@in_virtual_time
async def test_waits_while_paused() -> None:
    """Paused work waits, says why, and keeps its claims; then it goes on."""
    limits = Limits("by ann")
    throttle = Throttle(lambda: limits)
    told, kept = Told(throttle), list[float]()

    async def keep() -> None:
        kept.append(now())

    turn = asyncio.ensure_future(throttle.turn(1, 1, keep))
    await asyncio.sleep(100.5)
    assert not turn.done()
    assert kept == list(range(1, 101))
    limits = Limits()
    await turn
    assert told.reasons == ["paused: by ann", None]


class Service:
    """A live service, which tells how long its calls take."""

    def __init__(self, *latencies: float | None) -> None:
        self.latency: float | None = 10.0
        self._latencies = iter(latencies)

    async def __call__(self) -> float | None:
        """The next latency; the last one for ever."""
        self.latency = next(self._latencies, self.latency)
        return self.latency


async def work(throttle: Throttle, seconds: float) -> float:
    """Chunks of a tenth of a second for so long; which part of the time was work."""
    began, worked = now(), 0.0
    while now() < began + seconds:
        since = await throttle.turn(1, 1, nothing)
        await asyncio.sleep(0.1)
        throttle.rest(since)
        worked += 0.1
    return worked / (now() - began)


@in_virtual_time
async def test_goes_back_when_the_service_slows_down() -> None:
    """Where the service's calls take more than twice as long as at rest, the work halves itself."""
    service = Service(8.0, 10.0)
    throttle = Throttle(latency=service)
    assert await work(throttle, 10) > 0.95
    service.latency = 31.0
    assert await work(throttle, 30) < 0.2
    assert throttle.reason is not None
    assert throttle.reason.startswith("the service's calls take 3.")
    assert throttle.share == 1 / 64
    assert await work(throttle, 60) < 0.03


@in_virtual_time
async def test_grows_again_when_the_service_has_recovered() -> None:
    """Slowly, and no more is said when the whole time is used again; not while it is half slow."""
    service = Service()
    throttle = Throttle(latency=service)
    await work(throttle, 5)
    service.latency = 25.0
    await work(throttle, 5)
    service.latency = 17.0
    share = throttle.share
    await work(throttle, 10)
    assert throttle.share == share < 0.2
    service.latency = 11.0
    await work(throttle, 4)
    assert share < throttle.share < 1
    await work(throttle, 30)
    assert throttle.share == 1.0
    assert throttle.reason is None


@in_virtual_time
async def test_what_lasts_is_taken_for_normal_in_the_end() -> None:
    """After an hour the load of the day is no reason any more to hold back."""
    service = Service()
    throttle = Throttle(latency=service)
    await work(throttle, 5)
    service.latency = 40.0
    await work(throttle, 600)
    assert throttle.share < 0.1
    await work(throttle, 3000)
    assert throttle.share == 1.0


@in_virtual_time
async def test_nobody_minds_milliseconds() -> None:
    """A few milliseconds are no trouble, whatever the ratio; nor one that tells none."""
    throttle = Throttle(latency=Service(0.1, 0.1, 4.9, 4.9, None, 4.0, None))
    await work(throttle, 10)
    assert throttle.share == 1.0


class Answers:
    """Calls of a store that end as they are told to."""

    def __init__(self, *ends: str) -> None:
        self._ends: Iterator[str] = iter(ends)

    async def __call__(self) -> str:
        """The next one; all beyond the last succeed."""
        match next(self._ends, "done"):
            case "unanswered":
                raise UnavailableError("down")
            case "refused":
                raise StoreError("no")
            case "throttled":
                charge(requests=2, throttled=1)
        return "done"


@in_virtual_time
async def test_calls_are_repeated_until_they_are_answered() -> None:
    """With growing pauses; the reason is told meanwhile, and afterwards the work goes slower."""
    throttle = Throttle()
    told = Told(throttle)
    assert await throttle.ask("the target", Answers(*["unanswered"] * 8)) == "done"
    assert now() == pytest.approx(0.05 * (2**8 - 1))
    assert told.reasons == ["the target did not answer"]
    assert throttle.share < 0.1
    await work(throttle, 30)
    assert throttle.reason is None


@in_virtual_time
async def test_patience_ends() -> None:
    """What has not been answered for as long as the patience lasts is given up."""
    throttle = Throttle(patience=timedelta(seconds=60))
    with pytest.raises(UnavailableError):
        await throttle.ask("the target", Answers(*["unanswered"] * 1000))
    assert 45 < now() <= 60


@in_virtual_time
async def test_other_errors_are_not_repeated() -> None:
    """Any other error would come again, and is raised at once."""
    with pytest.raises(StoreError):
        await Throttle().ask("the target", Answers("refused"))
    assert now() == 0


@in_virtual_time
async def test_goes_back_when_a_store_has_no_capacity() -> None:
    """Where an engine refuses requests for want of capacity, though they then get through."""
    throttle = Throttle()
    assert await throttle.ask("the target", Answers("throttled")) == "done"
    assert throttle.reason == "the target has no capacity left"
    assert throttle.share == 0.5
    await throttle.ask("the target", Answers("throttled"))
    assert throttle.share == 0.5  # troubles of one moment count once
    throttle.wait_for_others(waiting=True)
    assert throttle.reason == "the target has no capacity left"
    await work(throttle, 10)
    assert throttle.reason == "waiting for another worker's part"
    throttle.wait_for_others(waiting=False)
    assert throttle.reason is None


def observed(samples: Sequence[tuple[float, int]]) -> Speed:
    """A speed that has seen these."""
    speed = Speed()
    for moment, number in samples:
        speed.observe(number, moment)
    return speed


def test_speed_is_that_of_the_last_half_minute() -> None:
    """Not that of the beginning; and unknown until something has been seen for a while."""
    assert observed([]).rate is None
    assert observed([(0, 0)]).rate is None
    assert observed([(0, 0), (0.4, 100)]).rate is None
    assert observed([(0, 5), (10, 105)]).rate == 10.0
    samples = [(moment / 10, 100 * moment) for moment in range(1000)]
    samples += [(100 + moment / 10, 100_000 + moment) for moment in range(1000)]
    speed = observed(samples)
    assert speed.rate == pytest.approx(10.0, rel=0.01)
    assert len(speed._samples) < 100


def test_eta_is_told_after_one_percent() -> None:
    """Before, and where nothing moves, it would be a guess."""
    speed = observed([(0, 0), (10, 100)])
    assert speed.eta(9, 1000) is None
    assert speed.eta(10, 1000) == timedelta(seconds=99)
    assert speed.eta(1001, 1000) == timedelta(0)
    assert observed([(0, 5), (10, 5)]).eta(5, 10) is None
    assert observed([]).eta(5, 10) is None


def test_only_what_is_finished_is_at_100_percent() -> None:
    """An estimate that was too low ends below it; an empty collection begins at 0."""
    states = [
        Progress("backfill", "c", 0, 0),
        Progress("backfill", "c", 50, 200),
        Progress("backfill", "c", 200, 200),
        Progress("backfill", "c", 200, 200, finished=True),
        Progress("backfill", "c", 0, 0, finished=True),
    ]
    assert [state.percent for state in states] == [0.0, 25.0, 99.9, 100.0, 100.0]
