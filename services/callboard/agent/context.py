"""What a handler is told besides the message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from callboard.agent.cancellation import CancellationToken
from callboard.core.errors import InvalidIdentifier
from callboard.core.idempotency import key_of_call, key_of_event
from callboard.core.identity import AgentId, TopicId

if TYPE_CHECKING:
    from callboard.core.envelope import Envelope
    from callboard.core.event import Address, Delivery
    from callboard.core.frames import Call


_REMEMBERED = 4096
_topic_id = lru_cache(_REMEMBERED)(TopicId)
_agent_id = lru_cache(_REMEMBERED)(AgentId)
"""Ids come again with each event: what is checked and made once is kept for a while."""


@dataclass(slots=True)
class MessageContext:
    """What a handler is told besides the message.

    Attributes:
        sender: The agent that published or called; None when that was no agent.
        topic_id: The topic of an event; None for a call.
        is_rpc: Whether the sender waits for the handler's result.
        cancellation_token: Cancelled when the result is no longer wanted.
        message_id: The CloudEvent's id, or the call's; chosen by the sender, unique only by source.
        attempt: Which attempt of the agent type's policy this is, from 1; a call has one. An
            attempt that was lost with its worker is not counted.
    """

    sender: AgentId | None
    topic_id: TopicId | None
    is_rpc: bool
    cancellation_token: CancellationToken
    message_id: str
    attempt: int = 1
    _make_key: Callable[[], str] = field(default=str, repr=False, compare=False)

    @property
    def idempotency_key(self) -> str:
        """32 characters, for the world outside.

        The same whenever this agent gets this event, also in another process; different for each
        agent, event and call. Empty outside of a handler.
        """
        return self._make_key()


def context_of_event(
    delivery: Delivery, envelope: Envelope, token: CancellationToken
) -> MessageContext:
    """What the handler of an event is told. Raises `InvalidIdentifier` for a topic that is none."""
    message_id, topic = envelope.message_id, envelope.topic
    return MessageContext(  # by position: names cost every turn as much again
        _sender_of(envelope.sender),
        _topic_id(*topic) if topic else None,
        False,  # noqa: FBT003 (see above)
        token,
        message_id,
        delivery.failed_turns + 1,
        partial(key_of_event, delivery, message_id),
    )


def context_of_call(call: Call, envelope: Envelope, token: CancellationToken) -> MessageContext:
    """What the handler of a call is told."""
    return MessageContext(
        sender=_sender_of(call.sender),
        topic_id=None,
        is_rpc=True,
        cancellation_token=token,
        message_id=envelope.message_id,
        _make_key=partial(key_of_call, call, envelope.message_id),
    )


def _sender_of(address: Address | None) -> AgentId | None:
    """Who sent a message. None also for an AutoGen agent with a name that our rules refuse."""
    try:
        return None if address is None else _agent_id(*address)
    except InvalidIdentifier:
        return None
