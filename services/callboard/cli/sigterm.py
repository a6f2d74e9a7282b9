"""SIGTERM where no `StopSignals` takes it: before a command runs, and after."""

from __future__ import annotations

import os
import signal
import sys

BROKEN_OFF = 128 + signal.SIGTERM
"""The exit code of what SIGTERM ended before it was done: what shells say of one that it killed."""


def exit_on_sigterm(code: int) -> None:
    """From now on SIGTERM ends the process at once, with ``code``.

    Not by `SystemExit`: raised in a callback of the import system that would be printed and
    forgotten, and threads that a module has started would hold it up.
    """
    signal.signal(signal.SIGTERM, lambda *_: _exit(code))


def ignore_sigterm() -> None:
    """From now on the end is Python's own, with the exit code that it has."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _exit(code: int) -> None:
    try:  # noqa: SIM105 (contextlib takes longer to import than the rest of this)
        sys.stdout.flush()
    except (AttributeError, OSError, RuntimeError, ValueError):
        pass  # there is none, nobody reads it, it is being written to just now, or it is closed
    os._exit(code)
