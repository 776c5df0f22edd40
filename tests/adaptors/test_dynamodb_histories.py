"""Histories of several stores over one DynamoDB table, and adaptors that they find to be wrong."""

from collections.abc import Sequence
from typing import Any

import pytest
from dynamodb_histories import KINDS, Kind, troubled
from dynamodb_stores import CLOCK, Table, proxied_table
from msgspec.structs import replace
from servers import DYNAMODB_ENGINES

from aiostore.adaptors.dynamodb import DynamoDBAdaptor
from aiostore.errors import UnavailableError
from aiostore.protocols import Newer, Outcome, Write

FEW = range(5)
MANY = range(40)


@pytest.fixture(params=DYNAMODB_ENGINES)
def table(request: pytest.FixtureRequest) -> Table:
    """A table on each engine."""
    return proxied_table(request.param)


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
async def test_histories_are_linearizable(table: Table, kind: Kind) -> None:
    """What clients are told fits one order, whatever goes wrong between."""
    async with troubled(table, kind) as stores:
        assert await stores.first_anomalies(FEW) == ""


class DropsConditions(DynamoDBAdaptor):
    """Replaces whatever is older, whichever version was asked for."""

    async def write(self, writes: Sequence[Write], /) -> Sequence[Outcome]:
        return await super().write([replace(write, condition=Newer()) for write in writes])


class WritesAfresh(DynamoDBAdaptor):
    """Takes what was not answered for what was not done, and writes it as something new."""

    async def _write(
        self, opened: Any, write: Write, operation: str, parameters: dict[str, Any]
    ) -> Outcome:
        try:
            return await super()._write(opened, write, operation, parameters)
        except UnavailableError:
            again = replace(write, record=replace(write.record, version=CLOCK.next()))
            [outcome] = await self.write([again])
            return outcome


class HopesForTheBest(DynamoDBAdaptor):
    """Takes what was not answered for what was done."""

    async def _write(
        self, opened: Any, write: Write, operation: str, parameters: dict[str, Any]
    ) -> Outcome:
        try:
            return await super()._write(opened, write, operation, parameters)
        except UnavailableError:
            return Outcome(applied=True, record=None if write.erase else write.record)


class FearsTheWorst(DynamoDBAdaptor):
    """Takes what was not answered for what was refused by nothing."""

    async def _write(
        self, opened: Any, write: Write, operation: str, parameters: dict[str, Any]
    ) -> Outcome:
        try:
            return await super()._write(opened, write, operation, parameters)
        except UnavailableError:
            [found] = await self.read([write.record.id])
            return Outcome(applied=False, record=found)


@pytest.mark.parametrize("wrong", [DropsConditions, WritesAfresh, HopesForTheBest, FearsTheWorst])
@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
async def test_wrong_adaptors_are_found(
    table: Table, kind: Kind, wrong: type[DynamoDBAdaptor]
) -> None:
    """Within some histories, by what clients are told and nothing else."""
    async with troubled(table, kind, wrong) as stores:
        assert "fits no order" in await stores.first_anomalies(MANY)
