"""What waits for one agent in its worker, and what may run next.

Rules: one turn at a time, or as many as the agent's type says. Calls go before events; events begin
in order. A call that comes back to an agent is let in at once while the very turn in its chain is
running there (A calls B, B calls A: no deadlock), and only then (a stranger does not slip in).

An event that is to be tried again waits in its place before the others, which wait with it; those
that had begun go on. A release gives back an event and all behind it that has not begun. It is told
when no turn behind it runs any more, for what is out after a release counts as given back: such a
turn ends well and is settled before, or it fails and is given back as well. From the moment that it
is decided nothing of the run released is taken in again until it has been handed out anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from enum import Enum
from math import inf
from typing import Generic, NamedTuple, TypeVar

from callboard.core.event import Delivery, TurnId
from callboard.core.frames import Call

MAX_CALLS_WAITING = 64

B = TypeVar("B")


class Admission(Enum):
    """What becomes of a call that arrives."""

    RUNS_NOW = "runs now, inside the turn that waits for it"
    WAITS = "waits for the present turn to end"
    REFUSED = "too many calls wait"


class GivenBack(NamedTuple):
    """A delivery that goes back to the host.

    Attributes:
        place: Where it is among all that arrived for its agent.
        due: When its next attempt may be; None when none of its turns has failed here.
    """

    place: int
    delivery: Delivery
    due: float | None


class Mailbox(Generic[B]):
    """What waits for one agent; ``B`` is what a delivery brings, kept beside it.

    Attributes:
        max_concurrency: How many turns may run at once. Calls that come back are let in beyond it,
            and count.
        released: What was given back and is not told yet; see `take_released`.
    """

    __slots__ = (
        "_arrived_count",
        "_calls",
        "_events",
        "_fence",
        "_running",
        "max_calls_waiting",
        "max_concurrency",
        "released",
    )

    def __init__(
        self, max_calls_waiting: int = MAX_CALLS_WAITING, max_concurrency: int = 1
    ) -> None:
        self.max_calls_waiting = max_calls_waiting
        self.max_concurrency = max_concurrency
        self._calls: deque[Call] = deque()
        # What waits, by place: where it is among all that arrived, its delivery, when it is due.
        self._events: deque[tuple[int, Delivery, B, float | None]] = deque()
        self._arrived_count = 0
        self._running: dict[TurnId, int] = {}  # the places of events, 0 for calls
        self._fence: GivenBack | None = None
        self.released: list[GivenBack] = []

    def deliver(self, delivery: Delivery, body: B) -> bool:
        """Take an event in; False for one of a run that was released and has not come anew."""
        if self._fence is not None:
            fence = self._fence.delivery
            if delivery.grant == fence.grant and (
                delivery.position != fence.position or delivery.attempt <= fence.attempt
            ):
                return False
            self._fence = None
        self._arrived_count += 1
        self._events.append((self._arrived_count, delivery, body, None))
        return True

    def call(self, call: Call) -> Admission:
        """Take a call in."""
        if not self._running.keys().isdisjoint(call.chain):
            return Admission.RUNS_NOW
        if len(self._calls) >= self.max_calls_waiting:
            return Admission.REFUSED
        self._calls.append(call)
        return Admission.WAITS

    def next(self, now: float = inf, *, events: bool = True) -> tuple[Delivery, B] | Call | None:
        """Begin the next turn; None while enough run or nothing waits that may run.

        Without ``events`` only calls count; events count as well only while the first of them is
        not to be tried again later than ``now``.
        """
        running = self._running
        if len(running) >= self.max_concurrency:
            return None
        if self._calls:
            call = self._calls.popleft()
            running[call.id] = 0
            return call
        if events and self._events:
            place, delivery, body, due = self._events[0]
            # One that was cut off may still run when another host hands the event out as new.
            turn = delivery.turn
            if (due is None or due <= now) and turn not in running:
                self._events.popleft()
                running[turn] = place
                return delivery, body
        return None

    def begin(self, turn: TurnId) -> None:
        """A call that was let in at once runs now."""
        self._running[turn] = 0

    def try_again(self, delivery: Delivery, body: B, due: float) -> None:
        """An event whose turn has failed waits in its place again, and may run from ``due`` on.

        Behind one that is being released it is given back instead.
        """
        place = self._running[delivery.turn]
        if self.released and place > min(self.released).place:
            self.released.append(GivenBack(place, delivery, due))
            return
        before = 0
        for each in self._events:
            if each[0] > place:
                break
            before += 1
        self._events.insert(before, (place, delivery, body, due))

    def place_of(self, turn: TurnId) -> int:
        """Where the event of a turn that runs is among all that arrived; 0 for a call."""
        return self._running.get(turn, 0)

    def finish(self, turn: TurnId) -> None:
        """A turn has ended."""
        self._running.pop(turn, None)

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

    def release(
        self, failed: Delivery | None = None, due: float | None = None, place: int = 0
    ) -> None:
        """Give back all events that wait; see `take_released`.

        With ``failed``, an event whose turn has failed and that may be tried again from ``due`` on,
        give back that and what waits behind it; ``place`` is where it was, if that has ended.
        """
        given_back: list[GivenBack] = []
        first = 0
        if failed is not None:
            first = place or self._running[failed.turn]
            given_back.append(GivenBack(first, failed, due))
        events = self._events
        while events and events[-1][0] > first:
            place, delivery, _, due_again = events.pop()
            given_back.append(GivenBack(place, delivery, due_again))
        if not given_back:
            return
        lowest = min(given_back)
        if self._fence is None or lowest.place < self._fence.place:
            self._fence = lowest
        # The first stands for those behind it, but for the counts of their failed turns.
        self.released += [each for each in given_back if each is lowest or each.due is not None]

    def take_released(self) -> list[GivenBack]:
        """What is to be told as released now, in this order: the last first.

        Nothing while a turn of an event runs that is behind one of them. Each stands for itself
        and all that is out behind it, and tells its own failed turns.
        """
        if not self.released:
            return []
        if max(self._running.values(), default=0) > min(self.released).place:
            return []
        released, self.released = sorted(self.released, reverse=True), []
        return released

    def drop(self) -> None:
        """Forget all that waits; somebody else is to handle it."""
        self._events.clear()
        self._calls.clear()
        self.released.clear()
        self._fence = None

    def lift_fence(self, unheard: Container[int]) -> None:
        """Another host is there, from which nothing is on its way.

        What it hands out it has counted anew, unless it is still to hear of the release: that is in
        `released`, or its position is among the ``unheard``.
        """
        fence = self._fence
        if fence is not None and not self.released and fence.delivery.position not in unheard:
            self._fence = None

    def drop_calls(self) -> None:
        """Forget the calls that wait: nobody waits for their answers."""
        self._calls.clear()

    @property
    def held(self) -> list[Delivery]:
        """What waits, in order, and what is given back and not told."""
        waiting = [delivery for _, delivery, _, _ in self._events]
        return [*waiting, *(given_back.delivery for given_back in self.released)]

    @property
    def due(self) -> float | None:
        """When the first event may be tried again; None when it was not tried, or there is none."""
        return self._events[0][3] if self._events else None

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not (self._running or self._calls or self._events)

    @property
    def is_fenced(self) -> bool:
        """Whether what was released has not come anew: to forget that would let others overtake."""
        return self._fence is not None

    @property
    def is_running(self) -> bool:
        """Whether a turn runs."""
        return bool(self._running)

    @property
    def is_waiting(self) -> bool:
        """Whether something waits, maybe for a time."""
        return bool(self._calls or self._events)
