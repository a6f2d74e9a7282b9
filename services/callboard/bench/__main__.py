"""A worker or a publisher of a benchmark, by `WorkerRuntime`: see `program`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

from callboard import (
    AgentId,
    MessageContext,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    event,
    rpc,
)
from callboard.bench.messages import Question, Tick
from callboard.bench.program import Program, run
from callboard.bench.side import Call, Publish
from callboard.bench.tally import Tally
from callboard.worker import WorkerRuntime

AT_ONCE = 20
"""How many connections are opened side by side."""


class Sink(RoutedAgent):
    """Counts events and answers calls with what they ask."""

    durable: ClassVar[bool] = False  # nothing stays at the host

    def __init__(self, tally: Tally) -> None:
        super().__init__("counts")
        self._tally = tally

    @event
    async def on_tick(self, message: Tick, ctx: MessageContext) -> None:  # noqa: ARG002
        """Count."""
        self._tally.count(message)

    @rpc
    async def on_question(self, message: Question, ctx: MessageContext) -> Question:  # noqa: ARG002
        """The same again."""
        return message


class Streamer(RoutedAgent):
    """Answers with streams."""

    durable: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__("streams")

    @rpc
    async def on_question(
        self,
        message: Question,
        ctx: MessageContext,  # noqa: ARG002
    ) -> AsyncGenerator[Question, None]:
        """The same, as often as it says."""
        for _ in range(message.count):
            yield message


class CallboardSide:
    """A `Side` that is Callboard."""

    def __init__(self) -> None:
        self._runtimes: list[WorkerRuntime] = []

    async def connect(self, address: str) -> None:
        """Connect to the host."""
        self._runtime = WorkerRuntime(address)
        await self._runtime.start()
        self._runtimes.append(self._runtime)

    async def serve(self, agent_type: str, topic_types: Sequence[str], tally: Tally) -> None:
        """Serve a type, and beside it one that streams."""
        runtime = self._runtime
        await Sink.register(runtime, agent_type, lambda: Sink(tally))
        await Streamer.register(runtime, streamer_of(agent_type), Streamer)
        await asyncio.gather(
            *(runtime.add_subscription(TypeSubscription(each, agent_type)) for each in topic_types)
        )

    def publisher(self, topic_type: str, source: str) -> Publish:
        """`WorkerRuntime.publish_message`."""
        return partial(self._runtime.publish_message, topic_id=TopicId(topic_type, source))

    async def publish_many(self, ticks: Iterable[Tick], topic_type: str, source: str) -> None:
        """`WorkerRuntime.publish_many`."""
        await self._runtime.publish_many(ticks, TopicId(topic_type, source))

    def caller(self, agent_type: str, key: str) -> Call:
        """`WorkerRuntime.send_message`."""
        return partial(self._runtime.send_message, recipient=AgentId(agent_type, key))

    def stream(self, question: Question, agent_type: str, key: str) -> AsyncIterator[Any]:
        """`WorkerRuntime.stream_message`."""
        return self._runtime.stream_message(question, AgentId(streamer_of(agent_type), key))

    async def crowd(self, address: str, count: int) -> None:
        """Open sessions that do nothing."""
        for begin in range(0, count, AT_ONCE):
            runtimes = [
                WorkerRuntime(address, extra_grpc_config=[("grpc.use_local_subchannel_pool", 1)])
                for _ in range(begin, min(begin + AT_ONCE, count))
            ]
            await asyncio.gather(*(runtime.start() for runtime in runtimes))
            self._runtimes.extend(runtimes)

    async def close(self) -> None:
        """Leave in good order."""
        await asyncio.gather(*(runtime.stop() for runtime in self._runtimes))


def streamer_of(agent_type: str) -> str:
    """The type that streams, beside one that counts."""
    return f"{agent_type}-stream"


if __name__ == "__main__":
    run(lambda: Program(CallboardSide()))
