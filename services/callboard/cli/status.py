"""`callboard status`."""

from __future__ import annotations

from datetime import timedelta

from callboard.cli.agent_types import types_table
from callboard.cli.operators import Operators, ask_operators
from callboard.cli.tables import console, plain, show_json, table
from callboard.wire.v1 import operations_pb2 as pb


def run(*, as_json: bool, operators: str | None, **given: object) -> None:
    """Show what a host holds."""
    description = ask_operators(_describe, operators=operators, **given)
    if as_json:
        show_json(description)
    else:
        _show(description)


async def _describe(operators: Operators) -> pb.DescribeResponse:
    description = await operators.ask("Describe", pb.DescribeRequest(), pb.DescribeResponse)
    others = [each for each in description.sessions if each.session_id != operators.own_session]
    del description.sessions[:]
    description.sessions.extend(others)
    return description


def _show(host: pb.DescribeResponse) -> None:
    uptime = timedelta(seconds=int(host.uptime_s))
    out = console()
    out.print(
        f"host {host.host_id} at {host.address}, up {uptime}, "
        f"engine {host.engine}, callboard {host.version}",
    )
    out.print(
        types_table(host.types),
        table(
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
        table(
            "since it started",
            ("counter", "count"),
            ((name.replace("_", " "), count) for name, count in plain(host.counters).items()),
        ),
    )
