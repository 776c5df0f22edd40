"""What a migration costs: `moving`, `dual_write`, the `service` meanwhile, and `growth`."""

from benchmarks.migration.dual_write import dual_write
from benchmarks.migration.growth import growth
from benchmarks.migration.moving import moving
from benchmarks.migration.service import service
from benchmarks.migration.settings import FULL, QUICK, MigrationSettings

MIGRATION = "migration"
"""As `--only` calls it."""

SERVER = "postgresql"
"""The engine that all of it needs."""

PARTS = (moving, dual_write, service, growth)

__all__ = ["FULL", "MIGRATION", "PARTS", "QUICK", "SERVER", "MigrationSettings"]
