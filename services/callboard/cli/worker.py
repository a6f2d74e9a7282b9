"""`callboard worker`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import structlog
import typer

from callboard.cli import loop
from callboard.cli.ending import LastResort
from callboard.cli.settings import read_settings
from callboard.cli.signals import StopSignals
from callboard.core.errors import Unavailable
from callboard.telemetry.export import exporting
from callboard.worker import WorkerRuntime
from callboard.worker.loader import Target
from callboard.worker.settings import WorkerSettings

log = structlog.get_logger(__name__)

END_S = 8.0
"""How long the end may take after the drain timeout: 1 s for turns that it has cancelled, 3 for
their agents to close, 2 for a host that does not end the stream, 2 for the last traces."""

LAST_TURNS_S = 1.0
"""How long turns may take that still run when the worker has left."""

LOST_S = 11.0
"""How long turns and agents may take to end when the host is lost: what agents have to close."""


class Health(Protocol):
    """Who is told whether the worker serves its agents."""

    async def set_ready(self, *, is_ready: bool) -> None:
        """Say whether it does."""
        ...


class NobodyAsks:
    """The `Health` of a worker that has no address for probes."""

    async def set_ready(self, *, is_ready: bool) -> None:
        """Nobody hears it."""


def run(names: Sequence[str], **given: object) -> None:
    """Serve what ``names`` name until SIGTERM or SIGINT."""
    settings = read_settings(WorkerSettings, **given)
    sys.path.insert(0, str(Path.cwd()))
    targets = [Target.load(name) for name in names]
    loop.run(_serve(settings, targets))


async def _serve(settings: WorkerSettings, targets: Sequence[Target]) -> None:
    runtime = settings.runtime()
    is_connected = False
    last_resort = LastResort(settings.drain_timeout_s + END_S, code=0)
    with StopSignals(last_resort) as signals:
        async with (
            exporting("callboard-worker") as provider,
            _health(settings.health_address) as health,
        ):
            if provider is not None:
                last_resort.flush = provider.shutdown
            log.debug("connecting", host=settings.host)
            telling: asyncio.Task[None] | None = None
            try:
                async with signals.cut_short():
                    await runtime.start()
                    is_connected = True
                    for target in targets:
                        await target.register(runtime)
                    telling = asyncio.create_task(_tell_readiness(runtime, health))
                    typer.echo("ready")
                    await runtime.wait_disconnected()
                    await health.set_ready(is_ready=False)  # a turn may take longer to end
                    if not await _has_ended(runtime.wait(), LOST_S):
                        msg = f"lost the host at {settings.host}, and a turn does not end"
                        raise Unavailable(msg)
            finally:
                if telling is not None:
                    telling.cancel()
                await health.set_ready(is_ready=False)
                if is_connected:
                    await _stop(runtime, LAST_TURNS_S if signals.have_come else LOST_S)


async def _tell_readiness(runtime: WorkerRuntime, health: Health) -> None:
    """Tell whenever the host can reach the worker's agents, or cannot."""
    while True:
        await runtime.wait_ready()
        await health.set_ready(is_ready=True)
        await runtime.wait_ready(is_ready=False)
        await health.set_ready(is_ready=False)


async def _stop(runtime: WorkerRuntime, within_s: float) -> None:
    """Let the worker leave, and then have what does not end so much time."""
    stopping = asyncio.create_task(runtime.stop(), name="stop")
    await runtime.wait_disconnected()
    await _has_ended(stopping, within_s)


async def _has_ended(
    what: Coroutine[None, None, None] | asyncio.Task[None], within_s: float
) -> bool:
    """Whether it has returned within the time; raises what it has raised."""
    task = asyncio.ensure_future(what)
    await asyncio.wait([task], timeout=within_s)
    if task.done():
        await task
    return task.done()


@asynccontextmanager
async def _health(address: str | None) -> AsyncIterator[Health]:
    if address is None:
        yield NobodyAsks()
        return
    from callboard.worker.health import serve_health  # noqa: PLC0415 (needs the extra `worker`)

    async with serve_health(address) as health:
        yield health
