"""`callboard worker`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import structlog
import typer

from callboard.cli.settings import read_settings
from callboard.cli.signals import StopSignals
from callboard.telemetry.export import exporting
from callboard.worker.loader import Target
from callboard.worker.settings import WorkerSettings

log = structlog.get_logger(__name__)


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
    asyncio.run(_serve(settings, targets))


async def _serve(settings: WorkerSettings, targets: Sequence[Target]) -> None:
    runtime = settings.runtime()
    is_connected = False
    with StopSignals() as signals:
        async with exporting("callboard-worker"), _health(settings.health_address) as health:
            log.debug("connecting", host=settings.host)
            try:
                async with signals.cut_short():
                    await runtime.start()
                    is_connected = True
                    for target in targets:
                        await target.register(runtime)
                    await health.set_ready(is_ready=True)
                    typer.echo("ready")
                    await runtime.wait_disconnected()
                    await health.set_ready(is_ready=False)  # a turn may take longer to end
                    await runtime.wait()
            finally:
                await health.set_ready(is_ready=False)
                if is_connected:
                    await runtime.stop()


@asynccontextmanager
async def _health(address: str | None) -> AsyncIterator[Health]:
    if address is None:
        yield NobodyAsks()
        return
    from callboard.worker.health import serve_health  # noqa: PLC0415 (needs the extra `worker`)

    async with serve_health(address) as health:
        yield health
