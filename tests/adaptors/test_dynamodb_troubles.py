"""Between the adaptor and the server something is always going wrong, and no promise is broken."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from dynamodb_harnesses import INDEXES
from dynamodb_proxy import ANY, Fault, FaultProxy
from dynamodb_stores import Table, proxied_table
from msgspec.structs import replace
from servers import DYNAMODB_ENGINES

from aiostore.protocols import Adaptor
from aiostore.store import Store
from aiostore.testing import Harness, all_checks
from aiostore.testing.check import Check
from aiostore.testing.checks.linearizability import ONE_STORE, TWO_STORES, Scenario, histories
from aiostore.testing.histories import Habits
from aiostore.testing.running import run_check
from aiostore.versions import PROCESS_CLOCK, VersionClock

HIDDEN = {"throttled": 0.15, "partial": 0.4, "slow": 0.1, "late": 0.1}
"""Faults of which nobody is to notice anything, with their probabilities."""

TOLD = {
    "throttled": 0.15,
    "partial": 0.1,
    "slow": 0.1,
    "late": 0.1,
    "error": 0.05,
    "lost-request": 0.05,
    "lost-answer": 0.1,
    "truncated": 0.05,
    "garbled": 0.05,
}
"""Faults after which somebody may be told that the outcome is unknown, among others."""

TOPICS = ("batches", "concurrency", "pages", "purging", "reads", "scans", "transactions", "writes")
"""What a batch that is done by half, or a request that is repeated, could break."""


@pytest.fixture(params=DYNAMODB_ENGINES)
def table(request: pytest.FixtureRequest) -> Table:
    """Of a server that a proxy can stand before."""
    return proxied_table(request.param)


def made_through(proxy: FaultProxy, table: Table) -> Callable[[], Adaptor]:
    """What makes an adaptor over the table whose requests go through the proxy."""
    return lambda: table.adaptor_at(proxy.url, index=INDEXES)


@pytest.mark.parametrize(
    "check",
    [check for check in all_checks() if check.topic in TOPICS],
    ids=lambda check: f"{check.topic}-{check.name}",
)
async def test_nobody_notices(table: Table, check: Check) -> None:
    """Throttling, unprocessed items and slowness are the adaptor's own business."""
    async with FaultProxy(table.server.endpoint) as proxy:
        harness = Harness(made_through(proxy, table))
        if reason := check.reason_to_skip(harness.features):
            pytest.skip(reason)
        proxy.at_random(random.Random(f"{check.topic}/{check.name}"), HIDDEN)
        await run_check(check, harness)
        met = {each.word for each in proxy.requests}
        assert met & {"throttled", "slow", "late"}


class Troubled(Harness):
    """Opens stores in peace; from then on everything goes wrong, until the end is looked at."""

    def __init__(self, proxy: FaultProxy, table: Table, opening: int) -> None:
        self._proxy = proxy
        self._opening = opening
        self._made_through = made_through(proxy, table)
        super().__init__(self._make)

    @asynccontextmanager
    async def store(self, clock: VersionClock = PROCESS_CLOCK) -> AsyncIterator[Store]:
        self._proxy.heal()
        async with Store(self._made_through(), clock=clock) as store:
            yield store

    def _make(self) -> Adaptor:
        self._proxy.faults[:] = [Fault(ANY, "pass", times=self._opening)]
        return self._made_through()


# Of a creation that was lost, and whose document another store has removed before it was repeated,
# nothing is left to recognise it by: it takes effect twice.
WITHOUT_DELETIONS = Habits(verbs=[verb for verb in Habits().verbs if verb != "delete"])
SCENARIOS = [ONE_STORE, replace(TWO_STORES, habits=WITHOUT_DELETIONS)]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
async def test_histories_are_linearizable(table: Table, scenario: Scenario) -> None:
    """What clients are told fits one order, though requests and answers are lost between."""
    async with FaultProxy(table.server.endpoint) as proxy:
        for _ in range(2):  # the table is made first
            proxy.requests.clear()
            adaptor = made_through(proxy, table)()
            await adaptor.open()
            await adaptor.aclose()
        harness = Troubled(proxy, table, opening=len(proxy.requests))
        for seed in range(6):
            proxy.requests.clear()
            proxy.at_random(random.Random(seed), TOLD)
            await histories(harness, [seed], scenario)
            assert {"lost-answer", "lost-request"} <= {each.word for each in proxy.requests}
