"""Keys by which the world outside can tell that the same thing is asked of it again."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from callboard.core.event import Delivery
    from callboard.core.frames import Call

KEY_BYTES = 16


def key_of_event(delivery: Delivery, message_id: str) -> str:
    """The key of an event for one agent: the same in every attempt, wherever that is made.

    The position alone would come again: an engine that forgets counts anew after each start.
    """
    return _key("event", delivery.position, *delivery.agent, message_id)


def key_of_call(call: Call, message_id: str) -> str:
    """The key of a call, which no other call has: one is made only once."""
    epoch = call.grant.epoch if call.grant is not None else 0
    return _key("call", epoch, call.id, *call.target, message_id)


def _key(*parts: object) -> str:
    """32 hexadecimal digits, which fit into any header."""
    text = "\0".join(map(str, parts))
    return blake2b(text.encode(errors="surrogatepass"), digest_size=KEY_BYTES).hexdigest()
