"""The program that publishes by the clock and listens for the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

from callboard import (
    AgentId,
    AgentNotFound,
    AgentRuntime,
    CallboardError,
    ClosureAgent,
    ClosureContext,
    DeadlineExceeded,
    MessageContext,
    TopicId,
    TypeSubscription,
    Unavailable,
)
from callboard_samples.command import SampleFailed
from callboard_samples.tally.agents import (
    COUNTER,
    DEFAULT_WORK_S,
    ITEM_TOPIC,
    Counted,
    Hello,
    Item,
)
from callboard_samples.tally.score import Report, Score

DEFAULT_DEADLINE_S = 60.0
PROGRESS_S = 1.0
HELLO_TIMEOUT_S = 2.0

MAX_UNDER_WAY = 1024
"""How many events may leave without an acknowledgement; beyond it the schedule has to wait."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to publish.

    Attributes:
        events: How many.
        rate: How many in a second.
        keys: Over how many agents they are spread, in turn.
        work_s: How long an agent is to be busy with each.

    Raises:
        SampleFailed: One of them makes no sense; names it.
    """

    events: int = 5000
    rate: float = 200.0
    keys: int = 100
    work_s: float = DEFAULT_WORK_S

    def __post_init__(self) -> None:
        for name, value in (("events", self.events), ("rate", self.rate), ("keys", self.keys)):
            if not value > 0:
                msg = f"--{name} is {value:g}: it has to be above 0"
                raise SampleFailed(msg)
        if self.work_s < 0:
            msg = f"--work is {self.work_s:g}: seconds do not run backwards"
            raise SampleFailed(msg)


class Run:
    """One run of a load. `count` it once."""

    def __init__(
        self,
        runtime: AgentRuntime,
        load: Load,
        *,
        deadline_s: float = DEFAULT_DEADLINE_S,
        tell: Callable[[str], None] = lambda _line: None,
        until_lost: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Describe it.

        Args:
            runtime: Publishes and listens; the agents may be elsewhere.
            load: What to publish.
            deadline_s: How long to wait for answers once all is published.
            tell: Is given a line each second that says how far it is.
            until_lost: Returns when the runtime has lost its host; None for one without a host.
        """
        self.name = uuid4().hex[:8]
        self.score = Score(self.name, load.events)
        self._runtime = runtime
        self._load = load
        self._deadline_s = deadline_s
        self._tell = tell
        self._until_lost = until_lost
        # A type of its own, or the answers would be spread over all drivers; a topic of its own,
        # or each would hear those of the others.
        self._listener = f"tally-listener-{self.name}"
        self._answer_to = f"tally.counted.{self.name}"
        self._has_all_left = False
        self._is_over = asyncio.Event()

    async def count(self) -> Report:
        """Publish everything and wait for the answers; never longer than the deadline.

        Raises:
            SampleFailed: Nobody ever served the agents.
            CallboardError: The host was lost before it began.
        """
        await self._check_served()
        subscription = TypeSubscription(self._answer_to, self._listener)
        await ClosureAgent.register_closure(
            self._runtime, self._listener, self._hear, subscriptions=lambda: [subscription]
        )
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(self._show_progress(), name="progress")]
            if self._until_lost is not None:
                beside.append(tasks.create_task(self._watch(self._until_lost), name="watch"))
            await self._publish()
            self._has_all_left = True
            self._end_when_settled()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._deadline_s):
                    await self._is_over.wait()
            for each in beside:
                each.cancel()
        with suppress(CallboardError):  # a lost host is in the report
            await self._runtime.remove_subscription(subscription.id)
        return self.score.report()

    async def _check_served(self) -> None:
        """An event that matches no subscription goes nowhere, and that is no loss."""
        try:
            await self._runtime.send_message(
                Hello(), AgentId(COUNTER, "0"), timeout_s=HELLO_TIMEOUT_S
            )
        except AgentNotFound as error:
            msg = (
                f"no worker has registered {COUNTER} yet: "
                "start one, callboard worker callboard_samples.tally:setup"
            )
            raise SampleFailed(msg) from error
        except (DeadlineExceeded, Unavailable):
            pass  # it is known, and busy or without a worker: events wait

    async def _hear(self, _context: ClosureContext, message: Counted, _ctx: MessageContext) -> None:
        now = asyncio.get_running_loop().time()
        self.score.answered(message.number, key=message.key, worker=message.worker, now=now)
        self._end_when_settled()

    async def _publish(self) -> None:
        """Each event when it is due, whether those before it are acknowledged or not."""
        loop = asyncio.get_running_loop()
        room = asyncio.Semaphore(MAX_UNDER_WAY)
        began = loop.time()
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._load.events):
                due = began + number / self._load.rate
                await asyncio.sleep(max(0.0, due - loop.time()))
                await room.acquire()
                if self._is_over.is_set():
                    break
                self.score.sent(number, due=due, now=loop.time())
                # Tasks begin in the order in which they were made, and so the events leave.
                tasks.create_task(self._publish_one(number, room))

    async def _publish_one(self, number: int, room: asyncio.Semaphore) -> None:
        key = str(number % self._load.keys)
        item = Item(self.name, number, key, self._answer_to, self._load.work_s)
        try:
            await self._runtime.publish_message(item, TopicId(ITEM_TOPIC, key))
        except CallboardError as error:
            self.score.refused(str(error))
        else:
            self.score.acknowledged(number)
        finally:
            room.release()

    def _end_when_settled(self) -> None:
        if self._has_all_left and self.score.is_settled:
            self._is_over.set()

    async def _watch(self, until_lost: Callable[[], Awaitable[None]]) -> None:
        """Wait for no answers that cannot come."""
        await until_lost()
        self.score.refused("the host was lost")
        self._is_over.set()

    async def _show_progress(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            await asyncio.sleep(PROGRESS_S)
            score = self.score
            self._tell(
                f"tally {self.name}: {loop.time() - began:.0f} s, "
                f"{score.published_count} of {self._load.events} published, "
                f"{score.answered_count} answered, {score.duplicates} twice"
            )
