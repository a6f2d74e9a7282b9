"""The agents of the benchmark."""

from __future__ import annotations

from dataclasses import dataclass

from callboard import (
    AgentRuntime,
    MessageContext,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    event,
    rpc,
)


@dataclass
class Tick:
    """An event; the last of a run says so."""

    number: int
    padding: str
    is_last: bool = False


@dataclass
class Done:
    """The last event of a run was handled."""


class Sink(RoutedAgent):
    """Handles events and says when the last one has come."""

    def __init__(self) -> None:
        super().__init__("sink")

    @event
    async def on_tick(self, message: Tick, ctx: MessageContext) -> None:
        """Publish `Done` for the last one."""
        if message.is_last:
            await self.publish_message(Done(), TopicId("done", "bench"))

    @rpc
    async def on_text(self, message: str, ctx: MessageContext) -> str:
        """The same text."""
        return message


async def setup(runtime: AgentRuntime) -> None:
    """Serve sinks that hear ticks."""
    await Sink.register(runtime, "sink", Sink)
    await runtime.add_subscription(TypeSubscription("ticks", "sink"))
