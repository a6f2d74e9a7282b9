"""`callboard worker`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog
import typer

from callboard.cli.settings import read_settings
from callboard.cli.signals import StopSignals
from callboard.worker.loader import Target
from callboard.worker.settings import WorkerSettings

log = structlog.get_logger(__name__)


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
        log.debug("connecting", host=settings.host)
        try:
            async with signals.cut_short():
                await runtime.start()
                is_connected = True
                for target in targets:
                    await target.register(runtime)
                typer.echo("ready")
                await runtime.wait()
        finally:
            if is_connected:
                await runtime.stop()
