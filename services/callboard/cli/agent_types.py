"""`callboard types`."""

from __future__ import annotations

from collections.abc import Iterable

import typer
from rich.table import Table

from callboard.cli.operators import Operators, ask_operators
from callboard.cli.tables import console, printable, show_json, table
from callboard.wire.v1 import operations_pb2 as pb


def run_list(*, as_json: bool, operators: str | None, **given: object) -> None:
    """Show the agent types of a host."""

    async def ask(operators: Operators) -> pb.TypesResponse:
        return await operators.ask("Types", pb.TypesRequest(), pb.TypesResponse)

    answer = ask_operators(ask, operators=operators, **given)
    if as_json:
        show_json(answer)
    else:
        console().print(types_table(answer.types))


def run_remove(name: str, *, as_json: bool, operators: str | None, **given: object) -> None:
    """Remove an agent type; what waited for it are dead letters then."""

    async def ask(operators: Operators) -> pb.RemoveTypeResponse:
        request = pb.RemoveTypeRequest(name=name)
        return await operators.ask("RemoveType", request, pb.RemoveTypeResponse, may_take_long=True)

    answer = ask_operators(ask, operators=operators, **given)
    if as_json:
        show_json(answer)
    else:
        count = answer.dead_letters
        waited = (
            "1 event that waited for it is a dead letter now"
            if count == 1
            else f"{count} events that waited for it become dead letters"
        )
        typer.echo(f"removed agent type {printable(name)}; {waited}")


def types_table(types: Iterable[pb.TypeDescription]) -> Table:
    """Agent types as a table."""
    return table(
        "agent types",
        (
            *("type", "durable", "sessions", "partitions", "queued", "oldest", "in flight"),
            "subscriptions",
        ),
        (
            (
                each.name,
                "yes" if each.durable else "no",
                each.sessions,
                each.partitions_held,
                each.queued,
                f"{each.oldest_age_s:.1f} s" if each.queued else "",
                each.in_flight,
                ", ".join(each.subscriptions),
            )
            for each in types
        ),
    )
