"""`callboard call`."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import sys
from typing import Any

import typer

from callboard.agent.serialization import UnknownPayload
from callboard.cli.message import read_message
from callboard.cli.settings import read_settings
from callboard.cli.usage import UsageError
from callboard.core.envelope import JSON_DATA_CONTENT_TYPE
from callboard.core.identity import AgentId
from callboard.telemetry.export import exporting
from callboard.worker.settings import ClientSettings


def run(agent: str, *, type_name: str, data: str, timeout_s: float | None, **given: object) -> None:
    """Call an agent and print what it answers."""
    settings = read_settings(ClientSettings, **given)
    agent_id = AgentId.parse(agent)
    if timeout_s is not None and not (0 < timeout_s < math.inf):
        msg = f"--timeout: {timeout_s:g} is not a number of seconds above 0"
        raise UsageError(msg)
    message = read_message(type_name, data)
    reply = asyncio.run(_call(settings, agent_id, message, timeout_s))
    _show(reply)


async def _call(
    settings: ClientSettings, agent_id: AgentId, message: UnknownPayload, timeout_s: float | None
) -> Any:
    # Ctrl-C cancels this task and so the call; the host is told before the runtime leaves.
    async with exporting("callboard-cli"), settings.runtime() as runtime:
        return await runtime.send_message(
            message, agent_id, timeout_s=timeout_s, reply_type=UnknownPayload
        )


def _show(reply: Any) -> None:
    value = reply
    if isinstance(reply, UnknownPayload):
        value = _value_of(reply)
    if sys.stdout.isatty():
        import rich  # noqa: PLC0415 (not needed in a pipe)

        rich.print_json(data=value, ensure_ascii=False)
    else:
        typer.echo(json.dumps(value, ensure_ascii=False))


def _value_of(reply: UnknownPayload) -> Any:
    """JSON as it is; another reply as what travelled, in the words of CloudEvents' JSON format."""
    if reply.data_content_type == JSON_DATA_CONTENT_TYPE:
        return json.loads(reply.payload)
    return {
        "datacontenttype": reply.data_content_type,
        "dataschema": reply.type_name,
        "data_base64": base64.b64encode(reply.payload).decode(),
    }
