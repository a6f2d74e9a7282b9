"""What a handler is told besides the message."""

from __future__ import annotations

from dataclasses import dataclass

from callboard.agent.cancellation import CancellationToken
from callboard.core.identity import AgentId, TopicId


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
        idempotency_key: 32 characters, for the world outside: the same whenever this agent gets
            this event, also in another process; different for each agent, event and call. Empty
            outside of a handler.
    """

    sender: AgentId | None
    topic_id: TopicId | None
    is_rpc: bool
    cancellation_token: CancellationToken
    message_id: str
    attempt: int = 1
    idempotency_key: str = ""
