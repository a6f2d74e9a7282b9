"""Agents that nothing has wanted for a while are closed, and so are those that are too many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING

from callboard.core.idle import IdleSince

if TYPE_CHECKING:
    from callboard.agent.instances import Instances
    from callboard.agent.turn import Activation

DEFAULT_IDLE_TIMEOUT_S = 900.0
"""How long an agent of a worker may be idle: a conversation outlasts a pause for a coffee."""

DEFAULT_MAX_INSTANCES = 10_000
"""How many instances a runtime holds while some of them are idle."""

CLOSED_AT_ONCE = 100
"""Of those whose time has passed, how many begin to close in one step of the loop: some ms."""


class Deactivation:
    """Closes idle instances that were made here: in time, and the one idle longest when too many.

    One timer for all of them, and none for as long as nobody is idle. One that is busy is never
    closed, so that there may be more than the limit while more are busy.
    """

    def __init__(
        self,
        instances: Instances,
        closed: Callable[[Activation], None],
        idle_timeout_s: float,
        max_instances: int,
    ) -> None:
        """Close nothing before `start`.

        Args:
            instances: Where the instances are.
            closed: Hears of an agent that was closed at once.
            idle_timeout_s: How long one may be idle; 0: for ever.
            max_instances: How many there may be while some are idle; 0: only those that are busy.
        """
        self._instances = instances
        self._closed = closed
        self._max_instances = max_instances
        self._idle: IdleSince[Activation] = IdleSince(idle_timeout_s)
        self._is_on = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Turns run from here on."""
        self._is_on = True
        self._sweep()

    def stop(self) -> None:
        """No turn runs any more. Idempotent."""
        self._is_on = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def rest(self, activation: Activation) -> None:
        """An agent has become idle. It may be closed at once."""
        self._idle.rest(activation, asyncio.get_running_loop().time())
        if not self._is_on:
            return
        if self._instances.made_count > self._max_instances:
            self._close_surplus()
        if self._timer is None:
            self._set_timer()

    def forget(self, activation: Activation) -> None:
        """An agent is active no more."""
        self._idle.discard(activation)

    # Inside.

    def _close_surplus(self) -> None:
        while self._instances.made_count > self._max_instances:
            oldest = self._idle.take_oldest()
            if oldest is None:
                return
            self._close(oldest)

    def _sweep(self) -> None:
        self._timer = None
        self._close_surplus()
        now = asyncio.get_running_loop().time()
        for _ in range(CLOSED_AT_ONCE):
            due = self._idle.take_due(now)
            if due is None:
                break
            self._close(due)
        self._set_timer()

    def _close(self, activation: Activation) -> None:
        if activation.is_idle:
            self._instances.begin_close(activation)
            if activation.closing is None:
                self._closed(activation)

    def _set_timer(self) -> None:
        due = self._idle.next_due()
        if due is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(due, self._sweep, context=Context())
