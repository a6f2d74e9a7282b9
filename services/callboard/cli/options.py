"""The options that several commands have."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Loads(StrEnum):
    """What `callboard bench` measures."""

    EVENTS = "events"
    CALLS = "calls"
    STREAM = "stream"


LOGS = "Logs and errors"

HostOption = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="HOST:PORT",
        help="The host's address. (CALLBOARD_HOST; default 127.0.0.1:50051)",
    ),
]
ConnectTimeout = Annotated[
    float | None,
    typer.Option(
        "--connect-timeout",
        metavar="SECONDS",
        help="How long to look for the host. (CALLBOARD_CONNECT_TIMEOUT_S; default 10)",
    ),
]
LogLevel = Annotated[
    str | None,
    typer.Option(
        metavar="debug|info|warning|error",
        rich_help_panel=LOGS,
        help="The least that is logged. (CALLBOARD_LOG_LEVEL)",
    ),
]
LogFormat = Annotated[
    str | None,
    typer.Option(
        metavar="console|json",
        rich_help_panel=LOGS,
        help="How logs are written to the standard error. (CALLBOARD_LOG_FORMAT; default console)",
    ),
]
Debug = Annotated[
    bool, typer.Option("--debug", rich_help_panel=LOGS, help="Show whole tracebacks of errors.")
]
Targets = Annotated[
    list[str],
    typer.Argument(
        metavar="MODULE:ATTRIBUTE",
        help="Each an `async def setup(runtime)`, or an agent class. A class's type is its "
        "attribute `agent_type`, or else its name. The current directory is searched too.",
        show_default=False,
    ),
]
TYPE_NAME = "The name of the message's type, for example its class."
DATA = "The message as JSON; @FILE reads a file, - the standard input."
TypeName = Annotated[str | None, typer.Option(metavar="NAME", help=f"{TYPE_NAME} (required)")]
Data = Annotated[str | None, typer.Option(metavar="JSON", help=f"{DATA} (required)")]
Operators = Annotated[
    str | None,
    typer.Option(
        "--operators",
        metavar="HOST:PORT",
        help="The host's operators' address, when it cannot be asked for it.",
    ),
]
