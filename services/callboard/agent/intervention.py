"""Hooks that see, change or drop messages before a runtime takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, final, runtime_checkable

if TYPE_CHECKING:
    from callboard.agent.context import MessageContext
    from callboard.core.identity import AgentId


@final
class DropMessage:
    """What an intervention handler returns, as the class or an instance, to drop the message."""


@runtime_checkable
class InterventionHandler(Protocol):
    """Sees each message that a program hands to its runtime, in the process that sends it.

    Each method returns the message to go on with: the same, another, or `DropMessage`. Handlers run
    in the order in which the runtime was given them; each gets what the one before returned. What a
    handler raises goes to whoever sent the message.
    """

    async def on_send(
        self,
        message: Any,
        *,
        message_context: MessageContext,
        recipient: AgentId,
    ) -> Any | type[DropMessage]:
        """A call is about to leave. Dropped, it ends with `MessageDroppedException`."""
        ...

    async def on_publish(
        self,
        message: Any,
        *,
        message_context: MessageContext,
    ) -> Any | type[DropMessage]:
        """An event is about to leave. Dropped, nobody gets it and the publisher goes on."""
        ...

    async def on_response(
        self,
        message: Any,
        *,
        sender: AgentId,
        recipient: AgentId | None,
    ) -> Any | type[DropMessage]:
        """An agent's reply to a call is about to leave; ``recipient`` is None when no agent called.

        Dropped, the call ends with `MessageDroppedException`.
        """
        ...


class DefaultInterventionHandler(InterventionHandler):
    """Lets every message pass as it is; override what you need."""

    async def on_send(
        self,
        message: Any,
        *,
        message_context: MessageContext,  # noqa: ARG002 (for overriders)
        recipient: AgentId,  # noqa: ARG002 (for overriders)
    ) -> Any | type[DropMessage]:
        """Let the call pass."""
        return message

    async def on_publish(
        self,
        message: Any,
        *,
        message_context: MessageContext,  # noqa: ARG002 (for overriders)
    ) -> Any | type[DropMessage]:
        """Let the event pass."""
        return message

    async def on_response(
        self,
        message: Any,
        *,
        sender: AgentId,  # noqa: ARG002 (for overriders)
        recipient: AgentId | None,  # noqa: ARG002 (for overriders)
    ) -> Any | type[DropMessage]:
        """Let the reply pass."""
        return message
