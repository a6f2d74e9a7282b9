"""SIGTERM and SIGINT for commands that run until they are asked to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from callboard.cli.ending import LastResort
from callboard.cli.sigterm import BROKEN_OFF, exit_on_sigterm


class StopSignals:
    """SIGTERM and SIGINT, from `__enter__` to `__exit__`.

    The first of them cuts `cut_short` short. Those that come while the command ends in good order
    mean the same: Ctrl-C reaches a whole group of processes, and whoever started them may pass it
    on. But a second SIGINT is somebody in a hurry, and raises `KeyboardInterrupt`.
    """

    def __init__(self, last_resort: LastResort | None = None) -> None:
        """Take none before `__enter__`.

        Args:
            last_resort: Begins with the first of them; None: the end has what time it takes.
        """
        self._last_resort = last_resort
        self._limit: asyncio.Timeout | None = None
        self._interrupts = 0
        self.have_come = False

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._take, signal.SIGINT)

        # That has every signal wake the loop. SIGTERM is not the loop's, which can only put back
        # the default: in that moment another SIGTERM would kill.
        def terminate(*_: object) -> None:
            self._begin_last_resort()  # here: the loop may be blocked
            loop.call_soon_threadsafe(self._take, signal.SIGTERM)

        signal.signal(signal.SIGTERM, terminate)
        signal.siginterrupt(signal.SIGTERM, False)  # noqa: FBT003 (takes no keyword)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        exit_on_sigterm(0 if kind is None else BROKEN_OFF)
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)

    @property
    def was_interrupted(self) -> bool:
        """Whether SIGINT has come."""
        return self._interrupts > 0

    @asynccontextmanager
    async def cut_short(self) -> AsyncIterator[None]:
        """A block that ends, quietly, when a signal comes: what it awaits is cancelled."""
        try:
            async with asyncio.timeout(0 if self.have_come else None) as self._limit:
                yield
        except TimeoutError:
            if self._limit is None or not self._limit.expired():
                raise
        finally:
            self._limit = None

    def _begin_last_resort(self) -> None:
        if self._last_resort is not None:
            self._last_resort.begin()

    def _take(self, which: signal.Signals) -> None:
        self._begin_last_resort()
        self._interrupts += which is signal.SIGINT
        if self._interrupts > 1:
            raise KeyboardInterrupt
        self.have_come = True
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time())
