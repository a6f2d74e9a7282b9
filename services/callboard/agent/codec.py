"""What the agent layer needs to know of the wire."""

from __future__ import annotations

from typing import Protocol

from callboard.core.envelope import Envelope


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

    def encode_payload(self, envelope: Envelope) -> bytes:
        """An encoded ``Payload`` of a call or a reply; the sender travels beside it."""
        ...

    def decode_payload(self, payload: bytes) -> Envelope:
        """What is in an encoded ``Payload``."""
        ...
