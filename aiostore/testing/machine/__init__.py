"""A state machine that drives a store and a plain dict side by side, and finds where they part.

For an adaptor of one's own, in a file of tests (hypothesis must be installed; the extra `testing`
names it):

    from aiostore.testing import Harness
    from aiostore.testing.machine import machine_for

    TestMine = machine_for(lambda folder: Harness(lambda: MyAdaptor(folder / "data"))).TestCase

Each example has a harness of its own in an empty folder, a store on an event loop of its own and a
clock that stands still until a step moves it, so that every moment is known exactly. The steps are
the verbs of the public API, alone and at once, with hostile keys and values, stale and made-up
versions, pages and scans that are written between, transactions, expiry to the microsecond, and
reopening. After each step everything in the store must be as the model has it. A failure is told as
the shortest program that shows it.

How many examples and steps there are is hypothesis's affair: `TestMine.settings`, or a profile.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from aiostore.testing.machine.life import MakeHarness
from aiostore.testing.machine.reads import Reads
from aiostore.testing.machine.transactions import Transactions
from aiostore.testing.machine.writes import Writes

__all__ = ["DocumentMachine", "MakeHarness", "machine_for"]


class DocumentMachine(Writes, Reads, Transactions):
    """All the steps; `machine_for` gives it a harness."""


def machine_for(make_harness: MakeHarness, folder: Path | None = None) -> type[DocumentMachine]:
    """The state machine of one adaptor or stack of wrappers.

    Args:
        make_harness: called with a new, empty folder for every example.
        folder: where these folders are made, and removed; None for the system's place for such.
    """
    members: dict[str, Any] = {
        "make_harness": staticmethod(make_harness),
        "folder": folder,
        "done": Counter(),
    }
    return type("DocumentMachine", (DocumentMachine,), members)
