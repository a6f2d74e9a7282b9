"""Messages as they travel to turns, and replies as they leave them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callboard.core.envelope import JSON_DATA_CONTENT_TYPE, Envelope
from callboard.core.errors import InvalidMessage, ResourceExhausted
from callboard.core.limits import too_large

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.agent.codec import Codec
    from callboard.agent.serialization import SerializationRegistry

NO_VALUE = (b"null", b"")
"""What ``None`` travels as, under an empty type name."""


class Payloads:
    """Reads what arrives for agents, and writes their replies.

    Attributes:
        max_bytes: The largest reply that the host takes.
    """

    def __init__(self, serializers: SerializationRegistry, codec: Codec) -> None:
        self._serializers = serializers
        self._codec = codec
        self.max_bytes = 1 << 62

    def read(self, envelope: Envelope) -> Any:
        """The message in an envelope. Raises `InvalidMessage`."""
        if not envelope.type_name and envelope.data in NO_VALUE:
            return None
        return self._serializers.deserialize(
            envelope.data, envelope.type_name, envelope.content_type
        )

    def write(self, result: Any) -> bytes:
        """A reply. Raises `ResourceExhausted` for one that the host does not take."""
        if result is None:
            return self._codec.encode_payload(Envelope("", JSON_DATA_CONTENT_TYPE, b"null", ""))
        payload = self._codec.encode_payload(Envelope(*self._serializers.serialize(result), ""))
        if len(payload) > self.max_bytes:
            raise ResourceExhausted(too_large("reply", len(payload), self.max_bytes))
        return payload


def readable(envelope: Callable[[], Envelope]) -> Envelope | None:
    """What was sent about a message; None for one that the turn will find it cannot read."""
    try:
        return envelope()
    except InvalidMessage:
        return None
