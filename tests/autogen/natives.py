"""Our side of the stock workers' messages, and a worker of ours for a process of its own."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from callboard import (
    AgentRuntime,
    MessageContext,
    RoutedAgent,
    TopicId,
    event,
    rpc,
    type_subscription,
)


@dataclass
class Note:
    """The stock workers' dataclass."""

    text: str
    number: int


class Bill(BaseModel):
    """The stock workers' pydantic model."""

    name: str
    lines: list[int]
    tax: float | None = None


@type_subscription("natives.echo")
class Echo(RoutedAgent):
    """Answers a note, and publishes the note of an event once more."""

    def __init__(self) -> None:
        super().__init__("echoes")

    @rpc
    async def on_call(self, message: Note, ctx: MessageContext) -> Note:
        """With the agent's name before the text."""
        return Note(f"{self.id}: {message.text}", message.number)

    @event
    async def on_event(self, message: Note, ctx: MessageContext) -> None:
        """Under the same source."""
        await self.publish_message(message, TopicId("natives.echoed", self.id.key))


async def setup(runtime: AgentRuntime) -> None:
    """Serve it."""
    await Echo.register(runtime, "native_echo", Echo)
