"""The command line: `aiostore`, or `python -m aiostore`.

Exit codes: 0, all is well; 1, the command did its work and found something wrong; 2, it could not
do its work, and says why in one line.
"""

import sys
from collections.abc import Sequence

from aiostore.errors import StoreError
from aiostore.opening import DISTRIBUTION

_FAILED = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that `arguments` name, those of the process if there are none; exits."""
    try:
        from aiostore.cli.app import app  # noqa: PLC0415  # the `cli` extra may not be installed
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "aiostore":
            raise
        _fail(
            f"the command line needs the package {error.name!r}, which is not installed: "
            f"pip install '{DISTRIBUTION}[cli]'"
        )
    try:
        app(arguments, prog_name="aiostore")
    except StoreError as error:
        _fail(str(error))


def _fail(message: str) -> None:
    line = " ".join(message.split())
    sys.stderr.write(f"aiostore: {line}\n")
    raise SystemExit(_FAILED)
