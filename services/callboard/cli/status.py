"""`callboard status`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
import typer
from google.protobuf.message import Message
from rich import box
from rich.console import Console
from rich.table import Table

from callboard.cli.settings import read_settings
from callboard.core.errors import Unavailable
from callboard.wire.endpoint import check_endpoint
from callboard.wire.status import OPERATIONS, channel_options, error_from
from callboard.wire.v1 import operations_pb2 as pb
from callboard.worker.settings import ClientSettings

_PIPE_WIDTH = 160
"""How wide tables are in a pipe: lines can be long there, and grep wants whole rows."""


def run(
    *, operators: str | None, as_json: bool, connect_timeout_s: float | None, host: str | None
) -> None:
    """Show what a host holds."""
    settings = read_settings(ClientSettings, host=host, connect_timeout_s=connect_timeout_s)
    if operators is not None:
        check_endpoint(operators)
    description = asyncio.run(_describe(settings, operators))
    if as_json:
        typer.echo(json.dumps(_plain(description), indent=2, ensure_ascii=False))
    else:
        _show(description)


async def _describe(settings: ClientSettings, operators: str | None) -> pb.DescribeResponse:
    if operators is not None:
        return await _ask(operators, settings.connect_timeout_s)
    async with settings.runtime() as runtime:
        welcome = runtime.welcome
        machine = settings.host.rpartition(":")[0]
        address = f"{machine}:{welcome.operators_port}"
        description = await _ask(address, settings.connect_timeout_s)
    others = [each for each in description.sessions if each.session_id != welcome.session_id]
    del description.sessions[:]
    description.sessions.extend(others)
    return description


async def _ask(address: str, timeout_s: float) -> pb.DescribeResponse:
    """Ask the operators' service. Raises `Unavailable` when there is none in time."""
    async with grpc.aio.insecure_channel(address, options=channel_options()) as channel:
        describe = channel.unary_unary(
            f"/{OPERATIONS}/Describe",
            request_serializer=pb.DescribeRequest.SerializeToString,
            response_deserializer=pb.DescribeResponse.FromString,
        )
        try:
            async with asyncio.timeout(timeout_s):
                await channel.channel_ready()
            answer: pb.DescribeResponse = await describe(pb.DescribeRequest(), timeout=timeout_s)
        except TimeoutError as error:
            msg = (
                f"no operators' service at {address}: gave up after {timeout_s:g} s; "
                "--operators names another address"
            )
            raise Unavailable(msg) from error
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                msg = f"what serves {address} is not the operators' service of a Callboard host"
                raise Unavailable(msg) from error
            raise error_from(error) from error
    return answer


def _plain(message: Message) -> dict[str, Any]:
    """A message as JSON values, every field there; protobuf's own JSON has integers as text."""

    def value_of(value: Any) -> Any:
        if isinstance(value, Message):
            return _plain(value)
        if isinstance(value, str | int | float):
            return value
        return [value_of(each) for each in value]

    return {
        field.name: value_of(getattr(message, field.name)) for field in message.DESCRIPTOR.fields
    }


def _show(host: pb.DescribeResponse) -> None:
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
    uptime = timedelta(seconds=int(host.uptime_s))
    console.print(
        f"host {host.host_id} at {host.address}, up {uptime}, "
        f"engine {host.engine}, callboard {host.version}",
        markup=False,
    )
    console.print(
        _table(
            "agent types",
            ("type", "sessions", "partitions", "queued", "oldest", "in flight", "subscriptions"),
            (
                (
                    each.name,
                    each.sessions,
                    each.partitions_held,
                    each.queued,
                    f"{each.oldest_age_s:.1f} s" if each.queued else "",
                    each.in_flight,
                    ", ".join(each.subscriptions),
                )
                for each in host.types
            ),
        ),
        _table(
            "sessions",
            ("session", "client id", "in flight", "partitions", "leaving", "types"),
            (
                (
                    each.session_id,
                    each.client_id,
                    each.in_flight,
                    each.partitions_held,
                    "yes" if each.draining else "no",
                    ", ".join(each.types),
                )
                for each in host.sessions
            ),
        ),
        _table(
            "since it started",
            ("counter", "count"),
            ((name.replace("_", " "), count) for name, count in _plain(host.counters).items()),
        ),
    )


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
    rows = list(rows)
    for at, column in enumerate(columns):
        are_numbers = bool(rows) and all(isinstance(row[at], int) for row in rows)
        table.add_column(column, justify="right" if are_numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*[str(cell) for cell in row])
    if not rows:
        table.add_row("none")
    return table
