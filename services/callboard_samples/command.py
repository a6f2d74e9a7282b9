"""What the samples share: failing with one clear line, and naming where code runs."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine

from callboard import AgentRuntime
from callboard.core.errors import CallboardError
from callboard.telemetry.export import exporting


class SampleFailed(Exception):
    """The sample did not show what it is there to show. The text is one line for whoever ran it."""


def run(main: Coroutine[None, None, None]) -> int:
    """Run a sample; its exit code. What goes wrong is one line on the standard error.

    Its traces are exported where OpenTelemetry's variables ask for it, as for `callboard`.
    """
    try:
        asyncio.run(_traced(main))
    except (SampleFailed, CallboardError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except asyncio.CancelledError:  # the demo's way to be stopped
        return 128 + signal.SIGTERM
    return 0


async def _traced(main: Coroutine[None, None, None]) -> None:
    try:
        async with exporting("callboard-samples"):
            await main
    finally:
        main.close()  # it was not begun when traces were asked for that cannot be had


def place_of(runtime: AgentRuntime) -> str:
    """The worker's name at its host; a runtime without a host has none."""
    return str(getattr(runtime, "client_id", "this process"))
