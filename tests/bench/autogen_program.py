"""A worker or a publisher of a benchmark, by AutoGen's runtime.

It runs in AutoGen's environment, with ``services`` on its path: of `callboard.bench` it takes what
needs the standard library alone, so that both runtimes have the same load, count and clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from typing import Any

from autogen_core import (
    AgentId,
    MessageContext,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    event,
    rpc,
    try_get_known_serializers_for_type,
)
from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntime

from callboard.bench.messages import Question, Tick
from callboard.bench.program import Program, run
from callboard.bench.side import Call, Publish
from callboard.bench.tally import Tally

AT_ONCE = 20


class Sink(RoutedAgent):
    """Counts events and answers calls with what they ask."""

    def __init__(self, tally: Tally) -> None:
        super().__init__("counts")
        self._tally = tally

    @event
    async def on_tick(self, message: Tick, ctx: MessageContext) -> None:
        """Count."""
        self._tally.count(message)

    @rpc
    async def on_question(self, message: Question, ctx: MessageContext) -> Question:
        """The same again."""
        return message


class AutoGenSide:
    """A `callboard.bench.side.Side` that is AutoGen."""

    def __init__(self) -> None:
        self._runtimes: list[GrpcWorkerAgentRuntime] = []

    async def connect(self, address: str) -> None:
        self._runtime = GrpcWorkerAgentRuntime(address)
        for message in (Tick, Question):
            self._runtime.add_message_serializer(try_get_known_serializers_for_type(message))
        await self._runtime.start()
        self._runtimes.append(self._runtime)

    async def serve(self, agent_type: str, topic_types: Sequence[str], tally: Tally) -> None:
        await Sink.register(self._runtime, agent_type, lambda: Sink(tally))
        for each in topic_types:
            await self._runtime.add_subscription(TypeSubscription(each, agent_type))

    def publisher(self, topic_type: str, source: str) -> Publish:
        """`publish_message`, and then the loop's other tasks.

        It waits for nothing and lets no other task run: by itself, a load would queue all of its
        events before the first one leaves. This way more of them go through.
        """
        publish = partial(self._runtime.publish_message, topic_id=TopicId(topic_type, source))

        async def publish_and_yield(tick: Tick) -> None:
            await publish(tick)
            await asyncio.sleep(0)

        return publish_and_yield

    async def publish_many(self, ticks: Iterable[Tick], topic_type: str, source: str) -> None:
        raise NotImplementedError("AutoGen has no pipelined form")

    def caller(self, agent_type: str, key: str) -> Call:
        return partial(self._runtime.send_message, recipient=AgentId(agent_type, key))

    def stream(self, question: Question, agent_type: str, key: str) -> AsyncIterator[Any]:
        raise NotImplementedError("AutoGen has no streams")

    async def crowd(self, address: str, count: int) -> None:
        for begin in range(0, count, AT_ONCE):
            runtimes = [
                GrpcWorkerAgentRuntime(
                    address, extra_grpc_config=[("grpc.use_local_subchannel_pool", 1)]
                )
                for _ in range(begin, min(begin + AT_ONCE, count))
            ]
            await asyncio.gather(*(runtime.start() for runtime in runtimes))
            self._runtimes.extend(runtimes)

    async def close(self) -> None:
        """Nothing: AutoGen's `stop` waits for its read loop, which an idle stream does not end."""


if __name__ == "__main__":
    run(lambda: Program(AutoGenSide()))
