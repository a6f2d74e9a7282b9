"""The `callboard` command: what it is called with, and how it ends.

Exit codes:
    0: All was done; for what runs until SIGTERM or SIGINT, it ended in good order.
    1: Something failed.
    2: The command line, or a setting in the environment, is wrong.
    130: Ctrl-C broke off what would have ended by itself.
    143: SIGTERM did.

What went wrong is one line on the standard error that begins with its `callboard.core.errors.Code`;
for a wrong command line, with the command.

Commands are imported when they run: ``callboard --help`` loads neither gRPC nor any of the runtime.
What comes before this module, and how SIGTERM ends a command that still loads, is in `entry`.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from callboard.cli.beginning import begin, extra_missed, given, is_debugged, module
from callboard.cli.ending import leave
from callboard.cli.groups import dead_letters, types
from callboard.cli.options import (
    DATA,
    TYPE_NAME,
    ConnectTimeout,
    Data,
    Debug,
    HostOption,
    Loads,
    LogFormat,
    LogLevel,
    Operators,
    Targets,
    TypeName,
)
from callboard.cli.usage import UsageError

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="callboard",
    help="A distributed runtime for agents.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(dead_letters)
app.add_typer(types)


@app.callback(invoke_without_command=True)
def callboard(
    context: typer.Context,
    *,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """A distributed runtime for agents: events and calls over many workers."""
    if show_version:
        typer.echo(f"callboard {version('callboard')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def host(
    *,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where to serve workers; port 0 takes a free one. "
            "(CALLBOARD_ADDRESS; default 127.0.0.1:50051)",
        ),
    ] = None,
    operators_address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where to serve tools. (CALLBOARD_OPERATORS_ADDRESS; default the next port)",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="Where events are kept: memory, lost with the host, or sqlite, a file that the "
            "next one finds. (CALLBOARD_ENGINE; default memory)"
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="The directory of that file, made when it is missing. "
            "(CALLBOARD_DATA; default callboard-data)",
        ),
    ] = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    debug: Debug = False,
) -> None:
    """Run a host, which routes events and calls between workers.

    Prints "listening on ADDRESS" when it serves; SIGTERM and Ctrl-C stop it. The environment sets
    limits: CALLBOARD_MAX_EVENT_BYTES and others.
    """
    begin(log_level, log_format, debug=debug)
    module("host").run(
        address=address, operators_address=operators_address, engine=engine, data=data
    )


@app.command()
def worker(
    targets: Targets,
    *,
    host: HostOption = None,
    connect_timeout: ConnectTimeout = None,
    reconnect_timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long to look again for a host that was lost. "
            "(CALLBOARD_RECONNECT_TIMEOUT_S; default: until the worker is stopped)",
        ),
    ] = None,
    drain_timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long turns may go on when the worker is to leave. "
            "(CALLBOARD_DRAIN_TIMEOUT_S; default 30)",
        ),
    ] = None,
    client_id: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Names this worker over restarts, so that its agents come back to it. "
            "(CALLBOARD_CLIENT_ID)",
        ),
    ] = None,
    idle_timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long an agent may be idle before it is closed; 0: for ever. "
            "(CALLBOARD_IDLE_TIMEOUT_S; default 900)",
        ),
    ] = None,
    max_instances: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            help="How many agents there may be before those idle longest are closed. "
            "(CALLBOARD_MAX_INSTANCES; default 10000)",
        ),
    ] = None,
    health_address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where to answer gRPC health probes, of the service `readiness` for one; port 0 "
            "takes a free one. (CALLBOARD_HEALTH_ADDRESS; default: nowhere)",
        ),
    ] = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    debug: Debug = False,
) -> None:
    """Run a worker, which holds agents for a host.

    Prints "ready" when all is registered. SIGTERM and Ctrl-C let it finish its turns and leave.
    """
    begin(log_level, log_format, debug=debug)
    module("worker").run(
        targets,
        host=host,
        connect_timeout_s=connect_timeout,
        reconnect_timeout_s=reconnect_timeout,
        drain_timeout_s=drain_timeout,
        client_id=client_id,
        idle_timeout_s=idle_timeout,
        max_instances=max_instances,
        health_address=health_address,
    )


@app.command()
def dev(
    targets: Targets,
    *,
    workers: Annotated[int, typer.Option(min=1, help="How many workers to run.")] = 2,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where the host serves. (CALLBOARD_ADDRESS; default 127.0.0.1:50051)",
        ),
    ] = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    debug: Debug = False,
) -> None:
    """Run a host and workers in one terminal; when a file changes the workers start again."""
    begin(log_level or "warning", log_format, debug=debug)
    module("dev").run(
        targets,
        worker_count=workers,
        address=address,
        log_level=log_level,
        log_format=log_format,
        debug=debug,
    )


@app.command()
def publish(
    topic: Annotated[
        str | None, typer.Argument(metavar="TOPIC", help="The topic's type.", show_default=False)
    ] = None,
    *,
    source: Annotated[
        str | None,
        typer.Option(
            help="The topic's source: the key of the agents that get the event. "
            "(required without --file)"
        ),
    ] = None,
    type_name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"{TYPE_NAME} (required without --file)"),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="JSON", help=f"{DATA} (required without --file)")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Publish CloudEvents instead, one in JSON on each line; - is the standard input. "
            "Their `type` and `source` are the topic; `dataschema`, or else --type-name, names the "
            "message's type.",
        ),
    ] = None,
    host: HostOption = None,
    connect_timeout: ConnectTimeout = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    debug: Debug = False,
) -> None:
    """Publish one event to a topic, or a file of events."""
    begin(log_level or "warning", log_format, debug=debug)
    if file is None:
        module("publish").run(
            topic=given(topic, "TOPIC"),
            source=given(source, "--source"),
            type_name=given(type_name, "--type-name"),
            data=given(data, "--data"),
            host=host,
            connect_timeout_s=connect_timeout,
        )
        return
    for name, value in (("TOPIC", topic), ("--source", source), ("--data", data)):
        if value is not None:
            msg = f"{name} does not go with --file: each event there has its own"
            raise UsageError(msg)
    module("publish_file").run(
        file, type_name=type_name or "", host=host, connect_timeout_s=connect_timeout
    )


@app.command()
def call(
    agent: Annotated[str, typer.Argument(metavar="AGENT/KEY", show_default=False)],
    *,
    type_name: TypeName = None,
    data: Data = None,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="How long to wait for the reply. (default 300)"),
    ] = None,
    host: HostOption = None,
    connect_timeout: ConnectTimeout = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    debug: Debug = False,
) -> None:
    """Call an agent and print its reply as JSON. Ctrl-C cancels the call."""
    begin(log_level or "warning", log_format, debug=debug)
    module("call").run(
        given(agent, "AGENT/KEY"),  # typer 0.16 lets it be missing
        type_name=given(type_name, "--type-name"),
        data=given(data, "--data"),
        timeout_s=timeout,
        host=host,
        connect_timeout_s=connect_timeout,
    )


@app.command()
def status(
    *,
    host: HostOption = None,
    operators: Operators = None,
    connect_timeout: ConnectTimeout = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, as `DescribeResponse` of the protocol.")
    ] = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    debug: Debug = False,
) -> None:
    """Show what a host holds: agent types, sessions, counters."""
    begin(log_level or "warning", log_format, debug=debug)
    module("status").run(
        host=host, operators=operators, connect_timeout_s=connect_timeout, as_json=as_json
    )


@app.command()
def bench(
    rows: Annotated[
        list[Loads] | None,
        typer.Argument(
            metavar="[events|calls|stream]...", help="What to measure; all of it by default."
        ),
    ] = None,
    *,
    sizes: Annotated[
        list[int] | None,
        typer.Option(
            "--size",
            metavar="BYTES",
            min=64,
            help="How large messages are; more than once for several sizes. (default 256)",
        ),
    ] = None,
    tasks: Annotated[
        int, typer.Option(min=1, help="Tasks that publish, each awaiting one event at a time.")
    ] = 512,
    in_flight: Annotated[int, typer.Option(min=1, help="Calls, and streams, at once.")] = 64,
    duration: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="About how long each row takes.")
    ] = 3.0,
    rounds: Annotated[int, typer.Option(min=1, help="How often each row is measured.")] = 1,
    host: HostOption = None,
    operators: Operators = None,
    connect_timeout: ConnectTimeout = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    debug: Debug = False,
) -> None:
    """Measure a host with a load from this machine: a publisher and a worker of its own.

    The load takes what the machines have to give: other work at that host has to share. It uses
    agent types of its own, which end with it.
    """
    begin(log_level or "warning", log_format, debug=debug)
    module("bench").run(
        [each.value for each in rows or Loads],
        sizes=sizes or [256],
        tasks=tasks,
        in_flight=in_flight,
        duration_s=duration,
        rounds=rounds,
        as_json=as_json,
        operators=operators,
        host=host,
        connect_timeout_s=connect_timeout,
    )


def main() -> NoReturn:
    """Run the command line and exit."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what goes wrong there comes back as an error
    try:
        code = app(standalone_mode=False) or 0
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has enough; Python would complain when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except UsageError as error:
        where = error.ctx.command_path if error.ctx is not None else "callboard"
        _complain(f"{where}: {error.format_message()} (see {where} --help)")
        code = WRONG_USE
    except Exception as error:  # noqa: BLE001 (the one place that tells what went wrong)
        code = _tell(error)
    leave(code)


def _tell(error: Exception) -> int:
    """Say what went wrong; the exit code."""
    from callboard.core.errors import CallboardError, InvalidIdentifier  # noqa: PLC0415 (see the module)

    trace = getattr(error, "trace", "")
    if is_debugged():
        traceback.print_exception(error)
    elif trace:
        sys.stderr.write(trace)
    if isinstance(error, CallboardError):
        _complain(f"{error.code.name}: {error}")
    elif extra := extra_missed(error):
        _complain(f"UNIMPLEMENTED: this command needs more: pip install 'callboard[{extra}]'")
    else:
        hint = "" if is_debugged() else " (a fault in callboard: --debug shows where)"
        _complain(f"INTERNAL: {type(error).__name__}: {error}{hint}")
    return WRONG_USE if isinstance(error, InvalidIdentifier) else FAILED


def _complain(text: str) -> None:
    typer.echo(" ".join(text.split()), err=True)
