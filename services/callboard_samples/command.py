"""What the samples share: failing with one clear line, and naming where code runs."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager

from callboard import AgentRuntime
from callboard.cli import loop
from callboard.cli.ending import LastResort
from callboard.cli.sigterm import BROKEN_OFF, exit_on_sigterm
from callboard.core.errors import CallboardError
from callboard.telemetry.export import exporting

PATIENCE_S = 10.0
"""How long a sample looks again for a host that it has lost."""

END_S = 5.0
"""How long a sample may take to leave after SIGTERM."""


class SampleFailed(Exception):
    """The sample did not show what it is there to show. The text is one line for whoever ran it."""


def run(main: Coroutine[None, None, None]) -> int:
    """Run a sample; its exit code. What goes wrong is one line on the standard error.

    SIGTERM breaks it off, as the first process of a container too. Its traces are exported where
    OpenTelemetry's variables ask for it, as for `callboard`.
    """
    exit_on_sigterm(BROKEN_OFF)
    try:
        loop.run(_traced(main))
    except (SampleFailed, CallboardError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except asyncio.CancelledError:
        return BROKEN_OFF
    return 0


async def _traced(main: Coroutine[None, None, None]) -> None:
    try:
        async with exporting("callboard-samples") as provider:
            last_resort = LastResort(END_S, BROKEN_OFF)
            if provider is not None:
                last_resort.flush = provider.shutdown
            with _cancelled_by_sigterm(last_resort):
                await main
    finally:
        main.close()  # it was not begun when traces were asked for that cannot be had


@contextmanager
def _cancelled_by_sigterm(last_resort: LastResort) -> Iterator[None]:
    """Leave by the same way as after any failure; the last traces go, and no process is left."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 (a coroutine runs in one)

    def stop() -> None:
        last_resort.begin()
        if not task.cancelling():  # again would break off how it leaves
            task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    try:
        yield
    finally:
        exit_on_sigterm(BROKEN_OFF)


def place_of(runtime: AgentRuntime) -> str:
    """The worker's name at its host; a runtime without a host has none."""
    return str(getattr(runtime, "client_id", "this process"))
