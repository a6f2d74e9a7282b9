"""Where the `callboard` command begins: with an answer to SIGTERM, before all that takes time.

To the first process of a container a signal without a handler does nothing at all: it would be
killed after its whole grace period. So this module, and what it imports, imports next to nothing.
"""

from __future__ import annotations

import atexit
import sys

from callboard.cli.sigterm import BROKEN_OFF, exit_on_sigterm, ignore_sigterm

UNTIL_STOPPED = frozenset({"host", "worker", "dev"})
"""The commands that SIGTERM ends in good order at any time; the others have something to finish."""


def main() -> None:
    """Run the command line and exit."""
    command = next((each for each in sys.argv[1:] if not each.startswith("-")), "")
    exit_on_sigterm(0 if command in UNTIL_STOPPED else BROKEN_OFF)
    atexit.register(ignore_sigterm)  # the first registered is the last to run

    from callboard.cli.main import main as run  # noqa: PLC0415 (see the module)

    run()
