"""Ends a process with the one that started it, however that one ended."""

from __future__ import annotations

import os
import signal
import threading
import time

LIFELINE = "CALLBOARD_LIFELINE"
"""Set in the environment of a process whose standard input is a pipe that its parent holds open."""

_GRACE_S = 10.0


def hold_lifeline() -> None:
    """Where `LIFELINE` is set: when the standard input ends, end as by SIGTERM, or without grace.

    Nobody writes to that pipe, and the system closes it when the parent is gone, by SIGKILL too.
    """
    if os.environ.pop(LIFELINE, None) is not None:
        threading.Thread(target=_wait, name="lifeline", daemon=True).start()


def _wait() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os._exit(1)
