"""The agents of the tally: one for each key, which answers what it gets.

::

    driver ==Hello==> tally-counter/<key>                                (== is a call, -- an event)
    driver --Item--> tally-counter/<key> --Counted--> driver
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from callboard import (
    AgentRuntime,
    MessageContext,
    RoutedAgent,
    TopicId,
    event,
    rpc,
    type_subscription,
)
from callboard_samples.command import place_of

COUNTER = "tally-counter"
ITEM_TOPIC = "tally.item"
DEFAULT_WORK_S = 0.005


@dataclass(frozen=True)
class Item:
    """One event of a run. Its key is its topic's source, and so becomes the agent's.

    Attributes:
        run: The run's name.
        number: Its place in the run, from 0.
        key: Which agent gets it.
        answer_to: The topic type for the answer.
        work_s: How long the agent is to be busy with it.
    """

    run: str
    number: int
    key: str
    answer_to: str
    work_s: float = DEFAULT_WORK_S


@dataclass(frozen=True)
class Counted:
    """The answer to an `Item`.

    Attributes:
        worker: Where it was handled.
    """

    run: str
    number: int
    key: str
    worker: str


@dataclass(frozen=True)
class Hello:
    """A call: is this agent type known at all?"""


@type_subscription(ITEM_TOPIC)
class Counter(RoutedAgent):
    """Works a little for each item of its key, then answers it.

    It remembers nothing, so that it may move to another worker at any time.
    """

    def __init__(self, worker: str) -> None:
        super().__init__("Answers every item.")
        self._worker = worker

    @event
    async def on_item(self, message: Item, ctx: MessageContext) -> None:
        """An item that is handled twice is answered twice: the driver counts that too."""
        await asyncio.sleep(message.work_s)
        counted = Counted(message.run, message.number, message.key, self._worker)
        await self.publish_message(counted, TopicId(message.answer_to, message.run))

    @rpc
    async def on_hello(self, message: Hello, ctx: MessageContext) -> None:
        """Yes, it is."""


async def setup(runtime: AgentRuntime) -> None:
    """Serve the agents: ``callboard worker callboard_samples.tally:setup``."""
    worker = place_of(runtime)
    await Counter.register(runtime, COUNTER, lambda: Counter(worker))
