"""`callboard host`."""

from __future__ import annotations

import typer

from callboard.cli import loop
from callboard.cli.ending import LastResort
from callboard.cli.settings import read_settings
from callboard.cli.signals import StopSignals
from callboard.host.host import Host
from callboard.host.settings import HostSettings
from callboard.telemetry.export import exporting, interceptors_of

END_S = 8.0
"""How long the end may take: 5 s for calls that are open, 2 for the last traces."""


def run(**given: object) -> None:
    """Serve until SIGTERM or SIGINT. ``given`` are settings that the command line names."""
    loop.run(_serve(read_settings(HostSettings, **given)))


async def _serve(settings: HostSettings) -> None:
    last_resort = LastResort(END_S, code=0)
    with StopSignals(last_resort) as signals:
        async with exporting("callboard-host") as provider:
            if provider is not None:
                last_resort.flush = provider.shutdown
            host = Host(
                settings.address,
                operators_address=settings.operators_address,
                engine=settings.new_engine(),
                limits=settings.limits,
                autogen_message_bytes=settings.autogen_message_bytes,
                operators_interceptors=interceptors_of(provider),
            )
            async with host, signals.cut_short():
                typer.echo(f"listening on {host.address}")
                await host.wait()
