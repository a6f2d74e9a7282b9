"""What a handler publishes: not waited for by the handler, but by the end of its turn."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from callboard import (
    AgentId,
    MessageContext,
    ResourceExhausted,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    event,
    rpc,
)
from callboard.core.limits import BrokerLimits
from callboard.host import Host
from callboard.local import LocalRuntime
from callboard.worker import WorkerRuntime


@dataclass
class Report:
    """Something long."""

    text: str


class Writer(RoutedAgent):
    """Publishes a report for everything it hears, without waiting for it."""

    def __init__(self) -> None:
        super().__init__("writes reports")
        self.turns = 0

    @event
    async def on_report(self, message: Report, ctx: MessageContext) -> None:
        """Publish a report a hundred times as long."""
        self.turns += 1
        await self.publish_message(Report(message.text * 100), TopicId("reports", "x"))

    @rpc
    async def on_text(self, message: str, ctx: MessageContext) -> int:
        """Publish a report of that many characters and answer at once."""
        await self.publish_message(Report("x" * int(message)), TopicId("reports", "x"))
        return self.turns


WRITER = AgentId("writer", "x")
SMALL = BrokerLimits(max_queued_bytes=50_000)


async def register(runtime: LocalRuntime | WorkerRuntime) -> None:
    """Serve writers, and readers of reports that never come to read."""
    await Writer.register(runtime, "writer", Writer)
    await runtime.add_subscription(TypeSubscription("notes", "writer"))
    await runtime.add_subscription(TypeSubscription("reports", "reader"))


async def test_an_event_is_given_up_when_there_is_never_room_for_what_its_turn_publishes() -> None:
    """The handler had returned; the refusal fails the turn all the same, each time it is tried."""
    async with LocalRuntime(limits=SMALL) as runtime:
        await register(runtime)
        await Writer.register(runtime, "reader", Writer)
        await runtime.publish_message(Report("x" * 1000), TopicId("notes", "x"))
        await runtime.stop_when_idle()
        letters = await runtime.dead_letters()
        assert [letter.reason for letter in letters] == ["queue_full"]
        assert letters[0].detail.startswith("5 attempts, the last: the host's queues are full")
        writer = await runtime.try_get_underlying_agent_instance(WRITER, Writer)
        assert writer.turns == 5


async def test_a_call_fails_when_what_its_turn_published_is_refused() -> None:
    """The answer is held back until the host has what the handler published, and replaced."""
    async with Host(port=0, limits=SMALL) as host, WorkerRuntime(host.address) as runtime:
        await register(runtime)
        await Writer.register(runtime, "reader", Writer)
        assert await runtime.send_message("10", WRITER) == 0
        with pytest.raises(ResourceExhausted, match="queues are full"):
            await runtime.send_message("60000", WRITER)
        assert await runtime.send_message("10", WRITER) == 0
