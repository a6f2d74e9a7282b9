"""Two runtimes of one process whose agents answer each other's events, five times each.

``python pair.py ADDRESS`` prints each answer, and ``stopped`` when both runtimes have ended.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from autogen_core import (
    DefaultTopicId,
    MessageContext,
    RoutedAgent,
    default_subscription,
    message_handler,
)
from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntime

TIMES = 5


@dataclass
class Hello:
    """A greeting."""

    text: str


@default_subscription
class Greeter(RoutedAgent):
    """Greets back until it has had enough."""

    def __init__(self, name: str, done: asyncio.Event) -> None:
        super().__init__("greets")
        self._name, self._done, self._count = name, done, 0

    @message_handler
    async def on_hello(self, message: Hello, ctx: MessageContext) -> None:
        """Greet."""
        self._count += 1
        if self._count > TIMES:
            return
        sys.stdout.write(f"{self._name} {self._count}\n")
        sys.stdout.flush()
        await self.publish_message(Hello(f"{self._name} {self._count}"), DefaultTopicId())
        if self._count == TIMES:
            self._done.set()


async def main(address: str) -> None:
    """Greet until both have had enough."""
    runtimes, done = [], []
    for name in ("one", "two"):
        runtime, enough = GrpcWorkerAgentRuntime(host_address=address), asyncio.Event()
        await runtime.start()
        await Greeter.register(
            runtime, name, lambda name=name, enough=enough: Greeter(name, enough)
        )
        runtimes.append(runtime)
        done.append(enough)
    await runtimes[1].publish_message(Hello("hello"), DefaultTopicId())
    for enough in done:
        await enough.wait()
    for runtime in runtimes:
        await runtime.stop()
    sys.stdout.write("stopped\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
