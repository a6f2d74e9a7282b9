"""What a process of a benchmark asks of the runtime that it measures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias

from callboard.bench.messages import Question, Tick
from callboard.bench.tally import Tally

Publish: TypeAlias = Callable[[Tick], Awaitable[None]]
"""Publishes to one topic; awaited, it returns when the runtime says that the event is on its way,
or has arrived, whatever it promises."""

Call: TypeAlias = Callable[[Question], Awaitable[Any]]
"""Calls one agent; awaited, it returns the answer."""


class Side(Protocol):
    """One runtime, connected to its host.

    Its methods return what the runtime's own users call, with arguments bound: nothing stands
    between a load and the runtime.
    """

    async def connect(self, address: str) -> None:
        """Connect to the host."""
        ...

    async def serve(self, agent_type: str, topic_types: Sequence[str], tally: Tally) -> None:
        """Serve agents of a type that count what comes from these topics, and answer calls."""
        ...

    def publisher(self, topic_type: str, source: str) -> Publish:
        """What publishes to a topic."""
        ...

    async def publish_many(self, ticks: Iterable[Tick], topic_type: str, source: str) -> None:
        """Publish all of them, pipelined."""
        ...

    def caller(self, agent_type: str, key: str) -> Call:
        """What calls an agent."""
        ...

    def stream(self, question: Question, agent_type: str, key: str) -> AsyncIterator[Any]:
        """The answers of an agent that streams them."""
        ...

    async def crowd(self, address: str, count: int) -> None:
        """Open so many connections more that do nothing, each with a socket of its own."""
        ...

    async def close(self) -> None:
        """Leave the host."""
        ...
