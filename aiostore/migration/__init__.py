"""Moving a live service from one store to another.

`MigrationAdaptor` is the wrapper that the service runs on meanwhile; `backfill` copies what is
old, `verify` proves both stores equal, `finish` hands the service over to the target; `lead` does
as much of it as is wanted, and `status` tells how it stands.
"""

from aiostore.migration.adaptor import MigrationAdaptor
from aiostore.migration.backfill import backfill
from aiostore.migration.control import Control
from aiostore.migration.coordinator import Waiting, abort, advance, complete
from aiostore.migration.findings import Finding
from aiostore.migration.finish import finish, rollback
from aiostore.migration.lead import lead
from aiostore.migration.phases import Phase
from aiostore.migration.plan import Plan, plan
from aiostore.migration.progress import Progress
from aiostore.migration.status import Status, status
from aiostore.migration.sweeps import hand_back, hand_off
from aiostore.migration.verify import Difference, Verification, repair, verify

__all__ = [
    "Control",
    "Difference",
    "Finding",
    "MigrationAdaptor",
    "Phase",
    "Plan",
    "Progress",
    "Status",
    "Verification",
    "Waiting",
    "abort",
    "advance",
    "backfill",
    "complete",
    "finish",
    "hand_back",
    "hand_off",
    "lead",
    "plan",
    "repair",
    "rollback",
    "status",
    "verify",
]
