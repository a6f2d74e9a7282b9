"""`callboard host`."""

from __future__ import annotations

import asyncio

import typer

from callboard.cli.settings import read_settings
from callboard.cli.signals import StopSignals
from callboard.host.host import Host
from callboard.host.settings import HostSettings
from callboard.telemetry.export import exporting, interceptors_of


def run(*, address: str | None, operators_address: str | None, engine: str | None) -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = read_settings(
        HostSettings, address=address, operators_address=operators_address, engine=engine
    )
    asyncio.run(_serve(settings))


async def _serve(settings: HostSettings) -> None:
    with StopSignals() as signals:
        async with exporting("callboard-host") as provider:
            host = Host(
                settings.address,
                operators_address=settings.operators_address,
                limits=settings.limits,
                operators_interceptors=interceptors_of(provider),
            )
            async with host, signals.cut_short():
                typer.echo(f"listening on {host.address}")
                await host.wait()
