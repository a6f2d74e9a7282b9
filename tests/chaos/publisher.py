"""Publishes numbered events at a steady rate, and notes what became of each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from time import monotonic_ns

from callboard import TopicId
from callboard.core.errors import CallboardError, ResourceExhausted
from callboard.worker import WorkerRuntime
from chaos.agents import Numbered
from chaos.verdict import EventName


class Publisher:
    """Publishes over a runtime of this process.

    Attributes:
        name: Its name in the events.
        sent_ns: When each event was published.
        acknowledged: Those that the host said it had.
        refused: Those for which it had no room.
        unknown: Those that ended in another way: nobody knows whether it had them.
    """

    def __init__(self, name: str, runtime: WorkerRuntime) -> None:
        self.name = name
        self.sent_ns: dict[EventName, int] = {}
        self.acknowledged: set[EventName] = set()
        self.refused: set[EventName] = set()
        self.unknown: set[EventName] = set()
        self._runtime = runtime
        self._numbers: Counter[str] = Counter()

    @property
    def operators_port(self) -> int:
        """Where its host serves operators."""
        return self._runtime.welcome.operators_port

    async def leave(self) -> None:
        """Publish no more."""
        await self._runtime.stop()

    async def publish(
        self, rate: float, draw: Callable[[], tuple[str, int]], until: asyncio.Event
    ) -> None:
        """Publish to agents that ``draw`` names, with the ms to be at it; waits for all answers.

        When it comes late it makes up for it: the rate is that of the whole time.
        """
        loop = asyncio.get_running_loop()
        began_at, count = loop.time(), 0
        async with asyncio.TaskGroup() as tasks:
            while not until.is_set():
                while began_at + count / rate <= loop.time():
                    tasks.create_task(self._publish(*draw()))
                    count += 1
                await asyncio.sleep(max(0.0, began_at + count / rate - loop.time()))

    async def _publish(self, agent: str, work_ms: int) -> None:
        self._numbers[agent] += 1
        number = self._numbers[agent]
        event = (self.name, agent, number)
        self.sent_ns[event] = monotonic_ns()
        try:
            await self._runtime.publish_message(
                Numbered(self.name, number, work_ms),
                TopicId("scribe", agent),
                message_id=" ".join(map(str, event)),
            )
        except ResourceExhausted:
            self.refused.add(event)
        except CallboardError:
            self.unknown.add(event)
        else:
            self.acknowledged.add(event)
