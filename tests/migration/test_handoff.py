"""The hand-off: whatever comes between, each document has one authority."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from msgspec.structs import replace
from rolling import Roll, roll

from aiostore.migration import MigrationAdaptor, Phase, rows
from aiostore.migration.authority import Authority
from aiostore.migration.handoff import Handoff, Standing
from aiostore.protocols import DocumentId, Mark, Record
from aiostore.testing.histories import Habits

FORWARD = Roll()
SPARSE = Roll(habits=Habits(keys=tuple("abcdefgh"), steps=3), processes=2)
LOSSY = Roll(failing=0.05, losing=0.05)
BACK = Roll(back=Phase.DUAL_WRITE)
LOSSY_BACK = Roll(failing=0.05, losing=0.05, back=Phase.DUAL_WRITE)

SEEDS = 60
SEEDS_FOR_A_BUG = 400
LONGEST = 5  # seconds for a history, which takes a tenth of one

Ids = Sequence[DocumentId]
Patch = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.parametrize(
    "how", [FORWARD, LOSSY, BACK, LOSSY_BACK], ids=["forward", "lossy", "back", "lossy back"]
)
async def test_every_roll_is_linearizable(how: Roll) -> None:
    """What clients are told while processes roll through the phases fits one order."""
    for seed in range(SEEDS):
        pair, anomalies = await roll(seed, how)
        assert not anomalies, f"seed {seed}: " + "\n".join(map(str, anomalies))
        marks = {record.mark for record in pair.current.held().values()}
        there = {record.mark for record in pair.target.held().values()}
        if how.back is None:
            assert there <= {Mark.LIVE}, f"seed {seed}"
        else:
            assert (marks, there) <= ({Mark.LIVE}, {Mark.LIVE, Mark.MIRROR}), f"seed {seed}"


def _no_verification(patch: pytest.MonkeyPatch) -> None:
    """Whatever the target holds becomes the authority."""

    async def freeze(self: Handoff, ids: Ids, theirs: Standing, ours: Standing) -> Ids:
        for id_ in ids:
            [there] = await self._target.read([id_])
            while not rows.is_authority(there):
                wanted = rows.frozen(id_, None, None) if there is None else there
                write = rows.in_place_of(there, replace(wanted, mark=Mark.LIVE))
                await self._target.write([write])
                [there] = await self._target.read([id_])
        return ids

    patch.setattr(Handoff, "_freeze", freeze)


def _target_unread(patch: pytest.MonkeyPatch) -> None:
    """While documents are handed off, what the current store lacks is taken for absent."""
    right = Authority.read_moving

    async def read(self: Authority, ids: Ids) -> list[Record | None]:
        ours, found = await asyncio.gather(self._current.read(ids), right(self, ids))
        return [None if here is None else one for here, one in zip(ours, found, strict=True)]

    patch.setattr(Authority, "read_moving", read)


def _old_answers(patch: pytest.MonkeyPatch) -> None:
    """While documents are handed off, the target's answer counts though it came before."""

    async def read(self: Authority, ids: Ids) -> list[Record | None]:
        theirs = await self._target.read(ids)
        ours = await self._current.read(ids)
        return [
            rows.shown(there if here is None or rows.is_moved(here) else here)
            for here, there in zip(ours, theirs, strict=True)
        ]

    patch.setattr(Authority, "read_moving", read)


def _both_at_once(patch: pytest.MonkeyPatch) -> None:
    """While documents are handed off, they are still written to both stores."""
    right = MigrationAdaptor._write

    async def write(self: MigrationAdaptor, *arguments: object) -> None:
        entered, self._phase = self._phase, Phase.DUAL_WRITE
        writing = right(self, *arguments)  # type: ignore[arg-type]  # passed through
        if entered is Phase.TARGET:
            self._phase = entered
        task = asyncio.ensure_future(writing)
        await asyncio.sleep(0)
        self._phase = entered
        await task

    patch.setattr(MigrationAdaptor, "_write", write)


def _no_draining(patch: pytest.MonkeyPatch) -> None:
    """Processes go on though what they have begun in the phase before is under way."""

    async def enter(self: MigrationAdaptor, phase: Phase) -> None:
        self._phase = phase

    patch.setattr(MigrationAdaptor, "enter", enter)


def _no_fence(patch: pytest.MonkeyPatch) -> None:
    """On the way back the target's record can still be written."""

    async def fence(_: Handoff, ids: Ids, theirs: Standing) -> Ids:
        return [id_ for id_ in ids if rows.is_authority(theirs[id_])]

    patch.setattr(Handoff, "_fence", fence)


def _written_as_copies(patch: pytest.MonkeyPatch) -> None:
    """On the way back the target's record is written though it is the authority no more."""
    patch.setattr(rows, "is_authority", lambda record: record is not None)


def _copies_trusted(patch: pytest.MonkeyPatch) -> None:
    """On the way back a reader that saw a moved document takes what the target holds."""

    async def read(self: Authority, ids: Ids) -> list[Record | None]:
        ours = await self._current.read(ids)
        theirs = await self._target.read(ids)
        return [
            rows.shown(there if rows.is_moved(here) else here)
            for here, there in zip(ours, theirs, strict=True)
        ]

    patch.setattr(Authority, "read_moved", read)


BUGS: dict[Patch, Roll] = {
    _no_verification: FORWARD,
    _target_unread: SPARSE,
    _old_answers: FORWARD,
    _both_at_once: FORWARD,
    _no_draining: SPARSE,
    _no_fence: BACK,
    _written_as_copies: BACK,
    _copies_trusted: replace(SPARSE, back=Phase.DUAL_WRITE),
}


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__.removeprefix("_"))
async def test_every_seeded_bug_is_found(bug: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rule of the hand-off is needed: leaving it out breaks a promise in some history."""
    bug(monkeypatch)
    for seed in range(SEEDS_FOR_A_BUG):
        try:
            async with asyncio.timeout(LONGEST):
                _, anomalies = await roll(seed, BUGS[bug])
        except TimeoutError:
            return  # writers who never come to an end are a broken promise, too
        if anomalies:
            return
    pytest.fail(f"not found in {SEEDS_FOR_A_BUG} histories")
