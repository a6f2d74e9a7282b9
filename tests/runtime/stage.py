"""A runner of turns between a host and agents, both of which a test plays."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from callboard import BaseAgent, MessageContext, Policy
from callboard.agent.serialization import SerializationRegistry
from callboard.agent.turn import AgentFactory
from callboard.agent.turn_runner import TurnRunner
from callboard.core.envelope import Envelope
from callboard.core.event import Delivery, Event, Grant
from callboard.core.frames import Call, Outcome, Partitions, Reply
from callboard.local import LocalRuntime
from callboard.wire.codec import CloudEventCodec

CODEC = CloudEventCodec()
GRANT = Grant(1, 1)
ME = ("agent", "me")
PATIENCE_S = 20.0
ONCE = Policy(max_attempts=1)
"""For tests of what a failed turn does, not of what follows it."""

Handler = Callable[["Doing", Any, MessageContext], Awaitable[Any]]


class Doing(BaseAgent):
    """Does with a message what its test says."""

    def __init__(self, do: Handler) -> None:
        super().__init__("does what a test says")
        self.do = do

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        """What the test says."""
        return await self.do(self, message, ctx)


@dataclass
class Output:
    """What a runner has told, in order."""

    told: list[tuple[str, Any]] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        self.told.append((f"settle {delivery.position}", outcome))

    def reply(self, reply: Reply) -> None:
        self.replies.append(reply)
        self.told.append((f"reply {reply.call_id}", reply.error))

    def surrendered(self, partitions: Partitions) -> None:
        self.told.append(("surrendered", partitions))


class Stage:
    """A runner of turns between a host and agents that a test plays."""

    def __init__(self, do: Handler, policy: Policy) -> None:
        self.output = Output()
        self.runner = TurnRunner(LocalRuntime(), self.output, SerializationRegistry(), CODEC)
        self.runner.add_factory("agent", AgentFactory(lambda: Doing(do), policy=policy))
        self.runner.divide(4)
        self._last_position = 0

    def deliver(self, text: str, agent: tuple[str, str] = ME) -> None:
        """An event arrives."""
        self._last_position += 1
        self.deliver_again(self._last_position, text, agent, attempt=1)

    def deliver_again(
        self,
        position: int,
        text: str,
        agent: tuple[str, str] = ME,
        *,
        attempt: int,
        failed_turns: int = 0,
        losses: int = 0,
    ) -> None:
        """An event that was released arrives anew."""
        content = CODEC.encode_event(
            Envelope("str", "application/json", f'"{text}"'.encode(), "id", None, ("t", agent[1]))
        )
        event = Event(content, "t", agent[1])
        delivery = Delivery(
            position, agent, event, attempt, GRANT, failed_turns=failed_turns, losses=losses
        )
        self.runner.deliver(event, [delivery])

    def call(self, call_id: int, *chain: Any, agent: tuple[str, str] = ME, credit: int = 0) -> None:
        """A call arrives."""
        payload = CODEC.encode_payload(Envelope("str", "application/json", b'"call"', "id"))
        self.runner.call(Call(call_id, agent, payload, chain=chain, grant=GRANT, credit=credit))

    def surrender(self, partition: int) -> None:
        """The host asks for a partition."""
        self.runner.surrender(Partitions("agent", ((partition, GRANT),)))

    @property
    def told(self) -> list[str]:
        """What the runner has told, without the details."""
        return [what for what, _ in self.output.told]

    async def until_told(self, count: int) -> list[tuple[str, Any]]:
        """Wait until it has told so much."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.output.told) < count:
                await asyncio.sleep(0)
        return self.output.told


@contextlib.asynccontextmanager
async def running(do: Handler, policy: Policy = ONCE) -> AsyncIterator[Stage]:
    """A stage whose turns run."""
    stage = Stage(do, policy)
    run = asyncio.create_task(stage.runner.run())
    await asyncio.sleep(0)
    yield stage
    assert not run.done(), "the runner broke"
    run.cancel()
    await asyncio.wait([run])
    assert run.cancelled()
