"""Agents for the tests' workers; each test looks at what they print."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from pathlib import Path

from callboard import (
    AgentRuntime,
    MessageContext,
    Policy,
    RoutedAgent,
    TypeSubscription,
    event,
    rpc,
)


def say(text: str) -> None:
    """Print a line, for the test to find."""
    print(text, flush=True)  # noqa: T201 (tests read it)


@dataclass
class Order:
    """What all agents here take."""

    text: str


class Clerk(RoutedAgent):
    """Prints events; answers calls as they ask."""

    agent_type = "clerk"
    policy = Policy(max_attempts=1)

    def __init__(self) -> None:
        super().__init__("a clerk")

    @event
    async def on_event(self, message: Order, ctx: MessageContext) -> None:
        say(f"{self.id} got {message.text} as {ctx.message_id} on {ctx.topic_id}")
        if message.text == "fail":
            secret = f"secret {message.text}"
            raise ValueError(len(secret))
        if message.text.startswith("need "):
            say(f"{self.id} has it: {read(message.text.removeprefix('need '))}")
        if message.text.startswith("hold "):
            await hold(message.text.removeprefix("hold "))
            say(f"{self.id} finished")

    @rpc
    async def on_call(self, message: Order, ctx: MessageContext) -> Order | None:
        match message.text:
            case "none":
                return None
            case "fail":
                msg = "no such\norder"
                raise ValueError(msg)
            case "wait":
                say(f"{self.id} waits")
                try:
                    await asyncio.Event().wait()
                finally:
                    say(f"{self.id} was told to stop")
        return message


class Stamper(RoutedAgent):
    """Has neither a declared type nor a constructor."""

    @rpc
    async def on_call(self, message: Order, ctx: MessageContext) -> Order:
        return Order(f"{self.type} stamped {message.text}: {self.metadata['description']}")


class Porter(RoutedAgent):
    """Cannot be made without an argument."""

    def __init__(self, door: int) -> None:
        super().__init__(f"door {door}")


class NoAgent:
    """A class that cannot be registered."""


async def setup(runtime: AgentRuntime) -> None:
    """What most tests run."""
    await Clerk.register(runtime, "clerk", Clerk)
    await runtime.add_subscription(TypeSubscription("orders", "clerk"))


async def failing(runtime: AgentRuntime) -> None:
    """Fails in the author's own code."""
    await runtime.add_subscription(TypeSubscription("not a topic", "clerk"))


async def endless(runtime: AgentRuntime) -> None:
    """Never gets ready."""
    say("setting up")
    await asyncio.Event().wait()


async def two_arguments(runtime: AgentRuntime, other: str) -> None:
    """Asks for more than a worker has."""


def plain(runtime: AgentRuntime) -> None:
    """No coroutine function."""


def read(path: str) -> str:
    """What is in a small file; raises when it is not there."""
    return Path(path).read_text()


async def hold(path: str) -> None:
    """Return when the test has written to the FIFO ``path``; a daemon thread waits for it."""
    loop = asyncio.get_running_loop()
    written = loop.create_future()

    def read() -> None:
        Path(path).read_text()
        loop.call_soon_threadsafe(written.set_result, None)

    threading.Thread(target=read, daemon=True).start()
    await written
