"""`callboard publish` with one event on the command line."""

from __future__ import annotations

import asyncio

import typer

from callboard.agent.serialization import UnknownPayload
from callboard.cli.message import read_message
from callboard.cli.settings import read_settings
from callboard.core.identity import TopicId
from callboard.telemetry.export import exporting
from callboard.worker.settings import ClientSettings


def run(*, topic: str, source: str, type_name: str, data: str, **given: object) -> None:
    """Publish one event; returns when the host has it."""
    settings = read_settings(ClientSettings, **given)
    topic_id = TopicId(topic, source)
    message = read_message(type_name, data)
    asyncio.run(_publish(settings, topic_id, message))
    typer.echo(f"published 1 event to {topic_id}")


async def _publish(settings: ClientSettings, topic_id: TopicId, message: UnknownPayload) -> None:
    async with exporting("callboard-cli"), settings.runtime() as runtime:
        await runtime.publish_message(message, topic_id)
