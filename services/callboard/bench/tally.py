"""What the agents of one process have handled."""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TypedDict

from callboard.bench.messages import Tick


class Handled(TypedDict):
    """Attributes: last_ns: when the last event was handled; latencies_ns: of each, if asked for."""

    last_ns: int
    latencies_ns: list[int]


class Tally:
    """Counts events, and says when the last one was handled that is waited for."""

    def __init__(self) -> None:
        self._left = 0
        self._last_ns = 0
        self._latencies_ns: list[int] | None = None
        self._all_handled = asyncio.Event()

    def expect(self, count: int, *, is_timed: bool) -> None:
        """Count from here on, up to ``count``; with ``is_timed`` the latency of each is kept."""
        self._left = count
        self._latencies_ns = [] if is_timed else None
        self._all_handled.clear()

    def count(self, tick: Tick) -> None:
        """An event is handled."""
        if self._latencies_ns is not None:
            self._latencies_ns.append(monotonic_ns() - tick.sent_ns)
        self._left -= 1
        if not self._left:
            self._last_ns = monotonic_ns()
            self._all_handled.set()

    async def handled(self) -> Handled:
        """Wait until all that is expected is handled."""
        await self._all_handled.wait()
        return {"last_ns": self._last_ns, "latencies_ns": self._latencies_ns or []}
