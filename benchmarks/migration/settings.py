"""How much of a migration is measured."""

from datetime import timedelta

from msgspec import Struct

from benchmarks.measuring import Pace


class MigrationSettings(Struct, frozen=True, kw_only=True):
    """See the modules of the same names.

    Attributes:
        moved: how many documents are moved,
        moves: and how often, between each two stores.
        pace: of `dual_write`.
        served: how many documents the service has.
        spell: how long the service is watched with, and then without, a backfill,
        spells: and how often.
        copied_a_second: the operator's limit meanwhile.
        growth: how many documents there are, from few to many.
    """

    moved: int = 100_000
    moves: int = 3
    pace: Pace = Pace()
    served: int = 100_000
    spell: timedelta = timedelta(seconds=5)
    spells: int = 5
    copied_a_second: float = 1000.0
    growth: tuple[int, ...] = (10_000, 100_000, 1_000_000)


FULL = MigrationSettings()

QUICK = MigrationSettings(
    moved=5000,
    moves=1,
    pace=Pace(timedelta(milliseconds=200), repetitions=5, most_documents=2000),
    served=5000,
    spell=timedelta(seconds=1),
    spells=2,
    growth=(1000, 4000, 16_000),
)
