"""A runtime started by hand, a class of the default topic, and a signal to end it.

``python chain.py ADDRESS relay`` passes numbers on, ``python chain.py ADDRESS watcher`` begins with
1 and prints who got which number from whom. SIGTERM ends both.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from uuid import uuid4

from autogen_core import (
    DefaultTopicId,
    MessageContext,
    RoutedAgent,
    default_subscription,
    message_handler,
    try_get_known_serializers_for_type,
)
from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntime

LAST = 3


def say(line: str) -> None:
    """Print one line, now."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@dataclass
class Number:
    """A number on its way."""

    value: int


@dataclass
class Passed:
    """A number has been passed on."""

    value: int
    giver: str
    taker: str


@default_subscription
class Relay(RoutedAgent):
    """Passes the next number on, up to the last."""

    def __init__(self) -> None:
        super().__init__("passes on")

    @message_handler
    async def on_number(self, message: Number, ctx: MessageContext) -> None:
        """Say so first."""
        passed = Passed(message.value, str(ctx.sender), str(self.id))
        await self.publish_message(passed, DefaultTopicId())
        if message.value < LAST:
            await self.publish_message(Number(message.value + 1), DefaultTopicId())


@default_subscription
class Watcher(RoutedAgent):
    """Prints."""

    def __init__(self) -> None:
        super().__init__("watches")

    @message_handler
    async def on_passed(self, message: Passed, ctx: MessageContext) -> None:
        """One line each."""
        say(f"{message.value} {message.giver} {message.taker}")


async def main(address: str, role: str) -> None:
    """Serve until a signal comes."""
    runtime = GrpcWorkerAgentRuntime(host_address=address)
    for cls in (Number, Passed):
        runtime.add_message_serializer(try_get_known_serializers_for_type(cls))
    await runtime.start()
    if role == "relay":
        await Relay.register(runtime, f"relay_{uuid4().hex[:8]}", Relay)
        say("ready")
    else:
        await Watcher.register(runtime, "watcher", Watcher)
        say("ready")
        await runtime.publish_message(Number(1), topic_id=DefaultTopicId())
    await runtime.stop_when_signal()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
