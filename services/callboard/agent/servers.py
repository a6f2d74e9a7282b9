"""The tasks that run turns: one for all turns that do not wait, one more for each that does."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any

from callboard.agent.in_context import InContext

if TYPE_CHECKING:
    from callboard.agent.turn import Activation

SLICE_S = 0.001
"""How long an agent with much to do runs before others may."""


class Servers:
    """Serves agents for whom something waits, in the order in which they became ready.

    One task goes from agent to agent. When a turn has to wait, that task stays with it and with its
    agent's mailbox, and another one goes on with the agents that are ready: most handlers never
    wait, and a task for each agent would cost more than their turns.

    A task that a turn leaves cancelled serves no further one: the cancellation, swallowed or not
    struck when the turn ended, is not for the next.
    """

    def __init__(
        self,
        next_turn: Callable[
            [Activation, float, asyncio.Task[Any]], Coroutine[Any, Any, None] | None
        ],
        left: Callable[[Activation], None],
    ) -> None:
        """Serve nobody before `start`.

        Args:
            next_turn: Begins an agent's next turn, at a time of the loop and in a task; None when
                none may begin.
            left: Hears that one task fewer serves an agent.
        """
        self._next_turn = next_turn
        self._left = left
        self._tasks: asyncio.TaskGroup | None = None
        self._ready: deque[Activation] = deque()
        # The task that goes from agent to agent; None when all there are stay with theirs.
        self._going: asyncio.Task[None] | None = None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Serve by tasks of this group."""
        self._tasks = tasks

    def stop(self) -> None:
        """Begin no further turn. Those that run are for the group to cancel."""
        self._tasks = self._going = (
            None  # a task that is cancelled before its first step says nothing
        )
        for activation in self._ready:
            activation.server_count -= 1
        self._ready.clear()

    def serve(self, activation: Activation) -> None:
        """Something waits for an agent: serve it, by one task more if it may have that."""
        if self._tasks is not None and activation.server_count < activation.mailbox.max_concurrency:
            activation.server_count += 1
            self._ready.append(activation)
            if self._going is None:
                self._start_task(self._tasks)

    # Inside.

    def _start_task(self, tasks: asyncio.TaskGroup) -> None:
        self._going = tasks.create_task(self._go(), name="turns of agents", context=Context())

    async def _go(self) -> None:
        """Serve agents that are ready for as long as no other task does.

        Each step of the loop serves those that were ready at its beginning, each for a slice.
        """
        ready, left_count = self._ready, len(self._ready)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (for the type checker)
        try:
            while ready and (self._going is task or self._going is None) and not task.cancelling():
                self._going = task
                if not left_count:
                    await asyncio.sleep(0)
                    left_count = len(ready)
                    continue
                await self._serve(ready.popleft(), task)
                left_count = left_count - 1 if self._going is task else 0
        finally:
            if self._going is task:
                self._go_on_without()

    async def _serve(self, activation: Activation, task: asyncio.Task[Any]) -> None:
        """Run what is in a mailbox, until nothing may run, or its slice is over."""
        now = asyncio.get_running_loop().time
        at = now()
        give_way_at = at + SLICE_S
        try:
            while (turn := self._next_turn(activation, at, task)) is not None:
                context = Context()
                try:
                    waited_for = context.run(turn.send, None)
                except StopIteration:
                    pass
                else:
                    if self._going is task:
                        self._go_on_without()
                    await InContext(turn, context, waited_for)
                at = now()
                if at >= give_way_at or task.cancelling():
                    break
        finally:
            activation.server_count -= 1
        if turn is not None and activation.mailbox.is_waiting:
            self.serve(activation)
        self._left(activation)

    def _go_on_without(self) -> None:
        """The task that goes from agent to agent goes no further."""
        self._going = None
        if self._ready and self._tasks is not None:
            self._start_task(self._tasks)
