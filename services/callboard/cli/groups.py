"""The commands for operators that have subcommands."""

from __future__ import annotations

from typing import Annotated

import typer

from callboard.cli.beginning import begin, given, module
from callboard.cli.options import ConnectTimeout, Debug, HostOption, LogFormat, LogLevel, Operators

_HELP = {"help_option_names": ["-h", "--help"]}

dead_letters = typer.Typer(
    name="dead-letters",
    help="Look at events that were not handled; publish them anew, or drop them.",
    context_settings=_HELP,
)
types = typer.Typer(
    name="types", help="Look at agent types; remove those without workers.", context_settings=_HELP
)

_MAX_POSITION = 2**63 - 1

OfType = Annotated[
    str | None,
    typer.Option("--type", metavar="AGENT_TYPE", help="Those for agents of this type."),
]
OfReason = Annotated[
    str | None, typer.Option("--reason", metavar="REASON", help="Those with this reason.")
]
Positions = Annotated[
    list[int] | None,
    typer.Argument(
        metavar="[POSITION]...",
        min=1,
        max=_MAX_POSITION,
        help="Which, as `list` names them.",
        show_default=False,
    ),
]
Every = Annotated[bool, typer.Option("--all", help="All of them.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, as the protocol's response.")]


@dead_letters.callback(invoke_without_command=True)
@types.callback(invoke_without_command=True)
def group(context: typer.Context) -> None:
    """Say what there is, when no subcommand is named."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@dead_letters.command("list")
def list_dead_letters(
    *,
    agent_type: OfType = None,
    reason: OfReason = None,
    oldest_first: Annotated[
        bool, typer.Option("--oldest-first", help="From the lowest position up.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 100,
    cursor: Annotated[
        int,
        typer.Option(
            metavar="POSITION",
            min=0,
            max=_MAX_POSITION,
            help="Those beyond this one; a page that is not the last ends with the next cursor.",
            show_default=False,
        ),
    ] = 0,
    host: HostOption = None,
    operators: Operators = None,
    connect_timeout: ConnectTimeout = None,
    as_json: Json = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    debug: Debug = False,
) -> None:
    """List dead letters, the newest first. What is in their events is not shown."""
    begin(log_level or "warning", log_format, debug=debug)
    module("dead_letters").run_list(
        agent_type=agent_type or "",
        reason=reason or "",
        oldest_first=oldest_first,
        limit=limit,
        cursor=cursor,
        as_json=as_json,
        operators=operators,
        host=host,
        connect_timeout_s=connect_timeout,
    )


@dead_letters.command()
def show(
    position: Annotated[
        int | None,
        typer.Argument(
            metavar="POSITION",
            min=1,
            max=_MAX_POSITION,
            help="Which, as `list` names it.",
            show_default=False,
        ),
    ] = None,
    *,
    host: HostOption = None,
    operators: Operators = None,
    connect_timeout: ConnectTimeout = None,
    as_json: Json = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    debug: Debug = False,
) -> None:
    """Show a dead letter and its event, data included."""
    begin(log_level or "warning", log_format, debug=debug)
    module("dead_letters").run_show(
        given(position, "POSITION"),
        as_json=as_json,
        operators=operators,
        host=host,
        connect_timeout_s=connect_timeout,
    )


@dead_letters.command()
def replay(
    positions: Positions = None,
    *,
    agent_type: OfType = None,
    reason: OfReason = None,
    every: Every = False,
    host: HostOption = None,
    operators: Operators = None,
    connect_timeout: ConnectTimeout = None,
    as_json: Json = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    debug: Debug = False,
) -> None:
    """Publish dead letters anew, each to the agent that it was for and to nobody else.

    Fails when one is refused, which stays a dead letter, or is not there; the others are replayed.
    """
    begin(log_level or "warning", log_format, debug=debug)
    module("dead_letters").run_replay(
        positions or [],
        agent_type=agent_type,
        reason=reason,
        every=every,
        as_json=as_json,
        operators=operators,
        host=host,
        connect_timeout_s=connect_timeout,
    )


@dead_letters.command()
def drop(
    positions: Positions = None,
    *,
    agent_type: OfType = None,
    reason: OfReason = None,
    every: Every = False,
    host: HostOption = None,
    operators: Operators = None,
    connect_timeout: ConnectTimeout = None,
    as_json: Json = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    debug: Debug = False,
) -> None:
    """Forget dead letters for good.

    Fails when one of the positions named is not there; the others are dropped.
    """
    begin(log_level or "warning", log_format, debug=debug)
    module("dead_letters").run_drop(
        positions or [],
        agent_type=agent_type,
        reason=reason,
        every=every,
        as_json=as_json,
        operators=operators,
        host=host,
        connect_timeout_s=connect_timeout,
    )


@types.command("list")
def list_types(
    *,
    host: HostOption = None,
    operators: Operators = None,
    connect_timeout: ConnectTimeout = None,
    as_json: Json = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    debug: Debug = False,
) -> None:
    """List agent types, and whether they outlive their workers."""
    begin(log_level or "warning", log_format, debug=debug)
    module("agent_types").run_list(
        as_json=as_json, operators=operators, host=host, connect_timeout_s=connect_timeout
    )


@types.command()
def remove(
    name: Annotated[
        str | None, typer.Argument(metavar="AGENT_TYPE", help="Which.", show_default=False)
    ] = None,
    *,
    host: HostOption = None,
    operators: Operators = None,
    connect_timeout: ConnectTimeout = None,
    as_json: Json = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    debug: Debug = False,
) -> None:
    """Remove an agent type that has no workers, with its subscriptions.

    What waits for it becomes dead letters.
    """
    begin(log_level or "warning", log_format, debug=debug)
    module("agent_types").run_remove(
        given(name, "AGENT_TYPE"),
        as_json=as_json,
        operators=operators,
        host=host,
        connect_timeout_s=connect_timeout,
    )
