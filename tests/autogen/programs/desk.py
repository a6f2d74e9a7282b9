"""Two agents of one worker that talk by events and by calls, subscribed by hand.

``python desk.py ADDRESS`` prints what comes of one question; SIGTERM ends it.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import Any

from autogen_core import (
    AgentId,
    DefaultSubscription,
    DefaultTopicId,
    MessageContext,
    RoutedAgent,
    message_handler,
)
from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntime


def say(line: str) -> None:
    """Print one line, now."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@dataclass
class Question:
    """An event."""

    text: str


@dataclass
class Lookup:
    """A call and its answer."""

    text: str


@dataclass
class Verdict:
    """An event that ends it."""

    text: str


class Shelf(RoutedAgent):
    """Answers calls, and hears verdicts."""

    def __init__(self) -> None:
        super().__init__("answers")

    @message_handler
    async def on_lookup(self, message: Lookup, ctx: MessageContext) -> Lookup:
        """Answer."""
        return Lookup(f"found {message.text}")

    @message_handler
    async def on_verdict(self, message: Verdict, ctx: MessageContext) -> None:
        """Print it."""
        say(f"{self.id} heard {message.text} from {ctx.sender}")

    async def on_unhandled_message(self, message: Any, ctx: MessageContext) -> None:
        """Print what is not for it."""
        say(f"{self.id} passed over {message}")


class Desk(RoutedAgent):
    """Asks the shelf when it hears a question."""

    def __init__(self) -> None:
        super().__init__("asks")

    @message_handler
    async def on_question(self, message: Question, ctx: MessageContext) -> None:
        """Ask, and tell."""
        found = await self.send_message(Lookup(message.text), AgentId("shelf", self.id.key))
        await self.publish_message(Verdict(found.text), topic_id=DefaultTopicId())


async def main(address: str) -> None:
    """Serve until a signal comes."""
    runtime = GrpcWorkerAgentRuntime(host_address=address)
    await runtime.start()
    await Shelf.register(runtime, "shelf", Shelf)
    await runtime.add_subscription(DefaultSubscription(agent_type="shelf"))
    await Desk.register(runtime, "desk", Desk)
    await runtime.add_subscription(DefaultSubscription(agent_type="desk"))
    await runtime.publish_message(Question("ink"), topic_id=DefaultTopicId())
    await runtime.stop_when_signal()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
