"""SIGTERM and SIGINT for commands that run until they are asked to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self


class StopSignals:
    """SIGTERM and SIGINT, from `__enter__` to `__exit__`.

    The first of them cuts `cut_short` short. Those that come while the command ends in good order
    mean the same: Ctrl-C reaches a whole group of processes, and whoever started them may pass it
    on. But a second SIGINT is somebody in a hurry, and raises `KeyboardInterrupt`.
    """

    def __init__(self) -> None:
        self._limit: asyncio.Timeout | None = None
        self._interrupts = 0
        self.have_come = False

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._take, each)
        return self

    def __exit__(self, *exc: object) -> None:
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)

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

    def _take(self, which: signal.Signals) -> None:
        self._interrupts += which is signal.SIGINT
        if self._interrupts > 1:
            raise KeyboardInterrupt
        self.have_come = True
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time())
