"""What waits for one agent in its worker, and what may run next.

Rules: one turn at a time. Calls go before events; events in order. A call that comes back to an
agent is let in at once while the very turn in its chain is running there (A calls B, B calls A: no
deadlock), and only then (a stranger does not slip in). An event that is to be tried again waits in
front of the others, which wait with it. After a release nothing of the run released is taken in
again until it has been handed out anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from enum import Enum
from math import inf
from typing import Generic, TypeVar

from callboard.core.event import Delivery, TurnId
from callboard.core.frames import Call

MAX_CALLS_WAITING = 64

B = TypeVar("B")


class Admission(Enum):
    """What becomes of a call that arrives."""

    RUNS_NOW = "runs now, inside the turn that waits for it"
    WAITS = "waits for the present turn to end"
    REFUSED = "too many calls wait"


class Mailbox(Generic[B]):
    """What waits for one agent; ``B`` is what a delivery brings, kept beside it."""

    __slots__ = ("_calls", "_due", "_events", "_fence", "_running", "max_calls_waiting")

    def __init__(self, max_calls_waiting: int = MAX_CALLS_WAITING) -> None:
        self.max_calls_waiting = max_calls_waiting
        self._calls: deque[Call] = deque()
        self._events: deque[tuple[Delivery, B]] = deque()
        self._running: set[TurnId] = set()
        self._fence: Delivery | None = None
        self._due: float | None = None

    def deliver(self, delivery: Delivery, body: B) -> bool:
        """Take an event in; False for one of a run that was released and has not come anew."""
        fence = self._fence
        if fence is not None:
            if delivery.grant == fence.grant and (
                delivery.position != fence.position or delivery.attempt <= fence.attempt
            ):
                return False
            self._fence = None
        self._events.append((delivery, body))
        return True

    def call(self, call: Call) -> Admission:
        """Take a call in."""
        if not self._running.isdisjoint(call.chain):
            return Admission.RUNS_NOW
        if len(self._calls) >= self.max_calls_waiting:
            return Admission.REFUSED
        self._calls.append(call)
        return Admission.WAITS

    def next(self, now: float = inf, *, events: bool = True) -> tuple[Delivery, B] | Call | None:
        """Begin the next turn; None while one runs or nothing waits that may run.

        Without ``events`` only calls count; events count as well only while none is to be tried
        again later than ``now``.
        """
        if self._running:
            return None
        if self._calls:
            call = self._calls.popleft()
            self._running.add(call.id)
            return call
        if events and self._events and (self._due is None or self._due <= now):
            self._due = None
            delivery, body = self._events.popleft()
            self._running.add(delivery.turn)
            return delivery, body
        return None

    def begin(self, turn: TurnId) -> None:
        """A call that was let in at once runs now."""
        self._running.add(turn)

    def try_again(self, delivery: Delivery, body: B, due: float) -> None:
        """An event whose turn has failed is the next again, from ``due`` on."""
        self._events.appendleft((delivery, body))
        self._due = due

    def finish(self, turn: TurnId) -> None:
        """A turn has ended."""
        self._running.discard(turn)

    def withdraw(self, call_id: int) -> bool:
        """Forget a call that waits; whether there was one."""
        for call in self._calls:
            if call.id == call_id:
                self._calls.remove(call)
                return True
        return False

    def credit(self, call_id: int, count: int) -> None:
        """There is room for further answers to a call that waits."""
        for call in self._calls:
            if call.id == call_id:
                call.credit += count

    def release(self, running: Delivery | None = None) -> Delivery | None:
        """Give back all events that wait: the first, for the host to hand out anew from there.

        With ``running``, an event whose turn is to be given back as well, that is the first.
        """
        if running is None and not self._events:
            return None
        first = self._events[0][0] if running is None else running
        self._events.clear()
        self._due = None
        self._fence = first
        return first

    def drop(self) -> None:
        """Forget all that waits; somebody else is to handle it."""
        self._events.clear()
        self._calls.clear()
        self._due = self._fence = None

    def lift_fence(self, unanswered: Container[int]) -> None:
        """Another host is there, from which nothing is on its way.

        Unless it is still to hear of the release (its position is among the ``unanswered``), what
        it hands out it has counted anew.
        """
        if self._fence is not None and self._fence.position not in unanswered:
            self._fence = None

    def drop_calls(self) -> None:
        """Forget the calls that wait: nobody waits for their answers."""
        self._calls.clear()

    @property
    def events(self) -> list[Delivery]:
        """Those that wait, in order."""
        return [delivery for delivery, _ in self._events]

    @property
    def due(self) -> float | None:
        """When the event that is to be tried again may be; None when there is none."""
        return self._due

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not (self._running or self._calls or self._events)

    @property
    def is_running(self) -> bool:
        """Whether a turn runs."""
        return bool(self._running)
