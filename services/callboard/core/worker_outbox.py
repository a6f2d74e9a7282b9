"""What a worker has to say to its host: gathers until the writer takes a frame of it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from callboard.core.continuity import Continuity
from callboard.core.frames import (
    MAX_FRAME_BYTES,
    MAX_FRAME_ITEMS,
    Call,
    Credit,
    Partitions,
    Publish,
    Registration,
    Reply,
    Settlement,
    WorkerFrame,
)
from callboard.core.outbox import size_of_reply

if TYPE_CHECKING:
    from callboard.core.event import DeliveryId

SHORTEST_WAIT_S = 0.001
"""What is left to a publish that may wait when its time is up: none at all says something else."""


WORTH_A_FRAME = 128
BYTES_WORTH_A_FRAME = 128 << 10
"""So many publishes, or a fourth of it of calls and replies, are about a millisecond of work for
the host, ten times what a frame costs: it does that while further ones gather. The bytes of events,
taken for as large as the first.
"""

SETTLEMENTS_ALONE = 64
SETTLEMENTS_ALONE_S = 0.005
"""So many settlements leave with nothing else, or those of so long, if all are of turns that ended
well: what they make room for is far ahead. A frame costs more than what it brings.
"""


class WorkerOutbox:
    """What a worker has to say to its host.

    Publishes beyond the host's window wait here until earlier ones are confirmed. Whoever publishes
    outside a turn waits for the confirmation, so what gathers here is bounded by who waits and by
    what turns publish.

    Attributes:
        window: How many publishes may be unconfirmed at the host.
        confirmed: How many publishes the host has answered.
        register: The newest registration not yet said; an older one is not worth saying. Leaves
            with the last of the settlements and replies before it: it may leave their type out.
        cancels: Leave only after all calls, which they may name.
        credits: By call, room for further answers; leave like cancels.
        begins: Deliveries whose turns begin when the host has answered.
        surrendered: Leaves only after all settlements and replies that gathered before it.
        is_urgent: Whether a settlement is not to wait for company.
        beat: Asks for the lease to be renewed.
        leave: Leaves last, when nothing else is to be said.
        continuity: The frames said that the host may want again; None: it never will.
    """

    def __init__(self, window: int, *, keeps_frames: bool = False) -> None:
        self.window = window
        self.continuity: Continuity[WorkerFrame] | None = Continuity() if keeps_frames else None
        self.confirmed = 0
        self.register: Registration | None = None
        self.publishes: deque[Publish] = deque()
        self.settlements: deque[Settlement] = deque()
        self.is_urgent = False
        self._settled_at: float | None = None
        self.calls: deque[Call] = deque()
        self.replies: deque[Reply] = deque()
        self.cancels: list[int] = []
        self.credits: dict[int, int] = {}
        self.begins: deque[DeliveryId] = deque()
        self.surrendered: list[Partitions] = []
        self.drain = False
        self.beat = False
        self.leave = False

    @property
    def is_worth_a_frame(self) -> bool:
        """Whether what gathered is not to wait for more: see `WORTH_A_FRAME`."""
        publishes = self.publishes
        worth = len(self.settlements) // 2 + len(publishes)
        worth += 4 * (len(self.replies) + len(self.calls))
        return worth >= WORTH_A_FRAME or (
            bool(publishes)
            and len(publishes) * len(publishes[0].event.content) >= BYTES_WORTH_A_FRAME
        )

    @property
    def item_count(self) -> int:
        """What counts for the size of a frame."""
        return len(self.settlements) + len(self.publishes) + len(self.replies) + len(self.calls)

    def took_in(self, received: int) -> bool:
        """A frame of the host was taken in; it has taken in ``received`` of ours.

        Whether it is to be told, with nothing else to say. Raises `ProtocolViolation` for more than
        were sent.
        """
        if self.continuity is None:
            return False
        self.continuity.received += 1
        self.continuity.acknowledge(received)
        return self.continuity.owes

    def resume(self, count: int) -> None:
        """The host goes on with the session over another stream; see `Continuity.resume`.

        A beat that has not left is not said: the greeting has asked.
        """
        if self.continuity is not None:
            self.continuity.resume(count)
            self.beat = False

    def credit(self, call_id: int, count: int) -> None:
        """Let a streamed call have so many more answers."""
        self.credits[call_id] = self.credits.get(call_id, 0) + count

    @property
    def due_at(self) -> float | None:
        """When there is a frame though nothing is added; None: when something is."""
        return None if self._settled_at is None else self._settled_at + SETTLEMENTS_ALONE_S

    def take(self, now: float = 0.0, *, eagerly: bool = True) -> WorkerFrame | None:
        """The next frame; None when nothing may leave. Publishes say how long they may still wait.

        Unless it is taken ``eagerly`` settlements alone wait for company: `SETTLEMENTS_ALONE_S`.
        Holds at most `MAX_FRAME_ITEMS` items and `MAX_FRAME_BYTES`, or one item that is larger.
        """
        continuity = self.continuity
        again = None if continuity is None else continuity.say_again()
        if again is not None:
            again.beat = False  # see `resume`
            return again
        frame = None if not eagerly and self._may_wait(now) else self._take_new(now)
        if continuity is None:
            return frame
        if frame is None:
            if self.leave:
                self.leave = False
                return continuity.say(WorkerFrame(leave=True))
            if not continuity.owes:
                return None
            frame = WorkerFrame()
        return continuity.say(frame)

    def _may_wait(self, now: float) -> bool:
        settlements, publishes = self.settlements, self.publishes
        if (
            not settlements
            or self.is_urgent
            or len(settlements) >= SETTLEMENTS_ALONE
            or (publishes and publishes[0].number <= self.confirmed + self.window)
            or self.replies
            or self.calls
            or self.cancels
            or self.credits
            or self.begins
            or self.surrendered
            or self.register is not None
            or self.beat
            or self.drain
            or self.leave
            or (self.continuity is not None and self.continuity.owes)
        ):
            return False
        if self._settled_at is None:
            self._settled_at = now
        return now < self._settled_at + SETTLEMENTS_ALONE_S

    def _take_new(self, now: float) -> WorkerFrame | None:
        self.is_urgent, self._settled_at = False, None
        frame = WorkerFrame()
        is_empty = True
        if self.beat:
            is_empty = False
            frame.beat, self.beat = self.beat, False
        if self.drain:
            is_empty = False
            frame.drain, self.drain = self.drain, False
        if self._take_items(frame, now):
            is_empty = False
        if self.cancels and not self.calls:
            is_empty = False
            frame.cancels, self.cancels = self.cancels, []
        if self.credits and not self.calls:
            is_empty = False
            frame.credits = [Credit(*each) for each in self.credits.items()]
            self.credits = {}
        if not self.settlements and not self.replies:
            if self.register is not None:
                is_empty = False
                frame.register, self.register = self.register, None
            if self.surrendered:
                is_empty = False
                frame.surrendered, self.surrendered = self.surrendered, []
        return None if is_empty else frame

    def _take_items(self, frame: WorkerFrame, now: float) -> bool:
        items = MAX_FRAME_ITEMS
        size = MAX_FRAME_BYTES
        while self.begins and items:
            frame.begins.append(self.begins.popleft())
            items -= 1
        settlements = self.settlements
        while settlements and items:
            frame.settlements.append(settlements.popleft())
            items -= 1
        while self.replies and items and size > 0:
            length = size_of_reply(self.replies[0])
            if length > size and items < MAX_FRAME_ITEMS:
                return True
            frame.replies.append(self.replies.popleft())
            items -= 1
            size -= length
        while self.calls and items and size > 0:
            length = len(self.calls[0].payload)
            if length > size and items < MAX_FRAME_ITEMS:
                return True
            frame.calls.append(self.calls.popleft())
            items -= 1
            size -= length
        publishes = self.publishes
        last = self.confirmed + self.window
        while publishes and items and size > 0 and publishes[0].number <= last:
            length = len(publishes[0].event.content)
            if length > size and items < MAX_FRAME_ITEMS:
                return True
            publish = publishes.popleft()
            if publish.deadline is not None:
                publish.remaining_s = max(publish.deadline - now, SHORTEST_WAIT_S)
            frame.publishes.append(publish)
            items -= 1
            size -= length
        return items < MAX_FRAME_ITEMS
