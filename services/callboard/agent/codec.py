"""What the agent layer needs to know of the wire."""

from __future__ import annotations

from typing import Protocol

from callboard.core.envelope import Envelope
from callboard.core.event import TraceContext


class Codec(Protocol):
    """Wraps messages for the wire and unwraps them.

    Unwrapping raises `InvalidMessage` when it cannot read.
    """

    def encode_event(self, envelope: Envelope) -> bytes:
        """An encoded CloudEvent; the envelope names the topic."""
        ...

    def decode_event(self, content: bytes) -> Envelope:
        """What is in an encoded CloudEvent."""
        ...

    def with_trace(self, content: bytes, trace: TraceContext) -> bytes:
        """An encoded CloudEvent that holds no trace context, with one."""
        ...

    def encode_payload(self, envelope: Envelope) -> bytes:
        """An encoded ``Payload`` of a call or a reply; the sender travels beside it."""
        ...

    def decode_payload(self, payload: bytes) -> Envelope:
        """What is in an encoded ``Payload``."""
        ...
