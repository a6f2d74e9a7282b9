"""How the writer of a stream waits for something to say."""

from __future__ import annotations

import asyncio


async def woken(wake: asyncio.Event, at: float | None) -> None:
    """Return when ``wake`` is set, which it is ``at`` that time of the loop at the latest."""
    if at is None:
        await wake.wait()
        return
    timer = asyncio.get_running_loop().call_at(at, wake.set)
    try:
        await wake.wait()
    finally:
        timer.cancel()
