"""The agents of the chaos run, in processes of their own."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from callboard import AgentRuntime, MessageContext, RoutedAgent, TypeSubscription, event
from chaos.journal import DIRECTORY, Journal

NEVER = -1
"""The ``work_ms`` of a turn that does not return."""


@dataclass
class Numbered:
    """An event with a number of its own for its agent, and how long to be at it."""

    publisher: str
    number: int
    work_ms: int


class Scribe(RoutedAgent):
    """Writes down its turns."""

    def __init__(self, journal: Journal) -> None:
        super().__init__("writes down its turns")
        self._journal = journal

    @event
    async def on_numbered(self, message: Numbered, ctx: MessageContext) -> None:
        """Take so long."""
        with self._journal.turn(self.id.key, message.publisher, message.number):
            if message.work_ms == NEVER:
                await asyncio.get_running_loop().create_future()
            await asyncio.sleep(message.work_ms / 1000)


async def _serve(runtime: AgentRuntime, name: str) -> None:
    journal = Journal(Path(os.environ[DIRECTORY]))
    await Scribe.register(runtime, name, lambda: Scribe(journal))
    await runtime.add_subscription(TypeSubscription(name, name))


async def setup(runtime: AgentRuntime) -> None:
    """Serve the agents of the chaos run."""
    await _serve(runtime, "scribe")


async def setup_load(runtime: AgentRuntime) -> None:
    """Serve agents that are a burden, beside those of `setup`."""
    await _serve(runtime, "load")
