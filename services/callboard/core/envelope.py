"""A message as it travels: encoded, with what its sender says about it."""

from __future__ import annotations

from typing import NamedTuple

from callboard.core.event import Address, TraceContext

JSON_DATA_CONTENT_TYPE = "application/json"
PROTOBUF_DATA_CONTENT_TYPE = "application/x-protobuf"


class Envelope(NamedTuple):
    """A message as it travels.

    Attributes:
        type_name: Names the message's type; empty for ``None``.
        content_type: `JSON_DATA_CONTENT_TYPE` or `PROTOBUF_DATA_CONTENT_TYPE`.
        data: The message in that content type.
        message_id: Chosen by the sender; unique only by sender.
        sender: Who sent it; None when that was no agent.
        topic: The (type, source) of an event's topic; None in a call or reply.
        trace: The trace context in which an event was created; None when it holds none, and in a
            call or reply.
    """

    type_name: str
    content_type: str
    data: bytes
    message_id: str
    sender: Address | None = None
    topic: tuple[str, str] | None = None
    trace: TraceContext | None = None
