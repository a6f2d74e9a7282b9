"""Agents that publish, call and fail, in whatever process they live."""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry import trace

from callboard import (
    AgentId,
    AgentRuntime,
    MessageContext,
    Policy,
    RoutedAgent,
    TopicId,
    event,
    rpc,
    type_subscription,
)


@dataclass
class Order:
    """An event, or the question of a call."""

    what: str = ""


@type_subscription("orders")
class Pricing(RoutedAgent):
    """Publishes a quote, and asks the desk, inside a span of its own."""

    def __init__(self) -> None:
        super().__init__("prices orders")

    @event
    async def on_order(self, message: Order, ctx: MessageContext) -> None:
        """Publish, then call."""
        await self.publish_message(message, TopicId("quotes", self.id.key))
        with trace.get_tracer("pricing").start_as_current_span("think"):
            await self.send_message(message, AgentId("desk", "main"))


@type_subscription("orders")
class Audit(RoutedAgent):
    """Fails when it is told to, once."""

    policy = Policy(max_attempts=1)

    def __init__(self) -> None:
        super().__init__("audits orders")

    @event
    async def on_order(self, message: Order, ctx: MessageContext) -> None:
        """Fail."""
        if message.what == "fail":
            msg = "out of paper"
            raise ValueError(msg)


@type_subscription("quotes")
class Archive(RoutedAgent):
    """Hears quotes."""

    def __init__(self) -> None:
        super().__init__("keeps quotes")

    @event
    async def on_quote(self, message: Order, ctx: MessageContext) -> None:
        """Keep it in mind."""


class Desk(RoutedAgent):
    """Answers, or fails."""

    def __init__(self) -> None:
        super().__init__("answers")

    @rpc
    async def on_order(self, message: Order, ctx: MessageContext) -> str:
        """The same text."""
        if message.what == "refuse":
            msg = "closed"
            raise KeyError(msg)
        return message.what


async def pricing(runtime: AgentRuntime) -> None:
    """Serve the agents of one worker."""
    await Pricing.register(runtime, "pricing", Pricing)
    await Archive.register(runtime, "archive", Archive)


async def audit(runtime: AgentRuntime) -> None:
    """Serve those of the other."""
    await Audit.register(runtime, "audit", Audit)
    await Desk.register(runtime, "desk", Desk)


ORDER_TREE = [
    "publish orders PRODUCER",
    "publish orders PRODUCER > route orders INTERNAL",
    "publish orders PRODUCER > route orders INTERNAL > process audit CONSUMER",
    "publish orders PRODUCER > route orders INTERNAL > process pricing CONSUMER",
    *(
        f"publish orders PRODUCER > route orders INTERNAL > process pricing CONSUMER > {below}"
        for below in (
            "publish quotes PRODUCER",
            "publish quotes PRODUCER > route quotes INTERNAL",
            "publish quotes PRODUCER > route quotes INTERNAL > process archive CONSUMER",
            "think INTERNAL",
            "think INTERNAL > call desk CLIENT",
            "think INTERNAL > call desk CLIENT > route desk INTERNAL",
            "think INTERNAL > call desk CLIENT > route desk INTERNAL > process desk SERVER",
        )
    ),
]
"""The trace of one order."""
