"""The end of a process, which does not wait without limit for what will not end.

That is a thread of a handler's (`asyncio.to_thread`, in the loop's executor), a task that swallows
its cancellation, or an event loop that is blocked: Python itself waits for all of them for ever.
Whoever stops a process sends one signal, and kills it when its grace period is over.

Like `entry`, it imports next to nothing: every command ends by it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import sleep
from typing import NoReturn

THREADS_S = 2.0
"""How long threads, and Python's own end, may take after all else."""

LAST_WORDS_S = 3.0
"""How long it may take to say why a process is ended, with the last traces and lines."""


class LastResort:
    """Ends the process some seconds after `begin`, whatever it does then.

    In a thread, since the event loop may be blocked; one that is there beforehand, since `begin` is
    for signal handlers, which may not wait for a lock.

    Attributes:
        flush: What is to be done before the end; it has `LAST_WORDS_S` in all.
    """

    def __init__(self, after_s: float, code: int) -> None:
        """Do nothing before `begin`.

        Args:
            after_s: How long the process has from then on.
            code: Its exit code if it takes longer.
        """
        self._after_s = after_s
        self._code = code
        self._begun: SimpleQueue[None] = SimpleQueue()
        self.flush: Callable[[], None] = lambda: None
        threading.Thread(target=self._wait, name="last resort", daemon=True).start()

    def begin(self) -> None:
        """The process is to end. Idempotent."""
        self._begun.put(None)

    def _wait(self) -> None:
        self._begun.get()
        sleep(self._after_s)
        _end_now(self._code, self._last_words)

    def _last_words(self) -> None:
        _warn("ended though it still ran", after_s=self._after_s, threads=_threads())
        self.flush()


def leave(code: int) -> NoReturn:
    """End the process: in Python's way, or without it when something has not ended in time."""
    if _kept:
        _end_now(code, lambda: None)
    if _threads():
        threading.Thread(target=_wait_for_threads, args=(code,), daemon=True).start()
    sys.exit(code)


_kept: list[object] = []


def keep(what: object) -> None:
    """``what`` cannot be ended, and `leave` is not to try: to collect it would wake it."""
    _kept.append(what)


def _threads() -> list[str]:
    """The names of the threads that Python would wait for."""
    here = threading.main_thread()
    return sorted(
        each.name for each in threading.enumerate() if each is not here and not each.daemon
    )


def _wait_for_threads(code: int) -> None:
    sleep(THREADS_S)
    _end_now(code, lambda: _warn("threads do not end", threads=_threads()))


def _end_now(code: int, last_words: Callable[[], None]) -> NoReturn:
    """End the process, with what there is to say; what is in the way of that is passed over."""
    words = threading.Thread(target=_say, args=(last_words,), daemon=True)
    words.start()
    words.join(LAST_WORDS_S)
    os._exit(code)


def _warn(event: str, **about: object) -> None:
    from callboard.log import Logger  # noqa: PLC0415 (see the module)

    Logger(__name__).warning(event, **about)


def _say(last_words: Callable[[], None]) -> None:
    try:
        last_words()
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
