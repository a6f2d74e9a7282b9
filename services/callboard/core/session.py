"""What the broker knows of one worker's presence, and what it has to say to it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from callboard.core.frames import (
    MAX_FRAME_BYTES,
    MAX_FRAME_ITEMS,
    Call,
    HostFrame,
    Partitions,
    Refusal,
    Registered,
    Registration,
    Reply,
)

if TYPE_CHECKING:
    from callboard.core.event import Delivery, Event
    from callboard.core.queues import Lane


class HostOutbox:
    """What a host has to say to one worker: gathers until the writer takes a frame of it.

    Bounded by what the worker may have open: its publish window, its delivery windows, the calls waiting
    for its agents, its own calls. Nothing here refuses, because all those bounds are kept before.
    """

    def __init__(self) -> None:
        self.registered: list[Registered] = []
        self.published_through = 0
        self.publishes_refused: deque[Refusal] = deque()
        self.settled_through = 0
        self.settlements_refused: deque[Refusal] = deque()
        self.deliveries: deque[tuple[Event, list[Delivery]]] = deque()
        self.calls: deque[Call] = deque()
        self.replies: deque[Reply] = deque()
        self.cancels: list[int] = []
        self.surrenders: list[Partitions] = []
        self.drain = False
        self._told_published = 0
        self._told_settled = 0

    def deliver(self, delivery: Delivery) -> None:
        """Add ``delivery``, beside the last one when both bring the same event."""
        if self.deliveries:
            event, targets = self.deliveries[-1]
            if event is delivery.event and len(targets) < MAX_FRAME_ITEMS:
                targets.append(delivery)
                return
        self.deliveries.append((delivery.event, [delivery]))

    def take(self) -> HostFrame | None:
        """The next frame, of at most `MAX_FRAME_ITEMS` items and `MAX_FRAME_BYTES`; None when all is said."""
        frame = HostFrame()
        empty = True
        if self.registered or self.cancels or self.surrenders or self.drain:
            empty = False
            frame.registered, self.registered = self.registered, []
            frame.cancels, self.cancels = self.cancels, []
            frame.surrenders, self.surrenders = self.surrenders, []
            frame.drain, self.drain = self.drain, False
        if self.published_through > self._told_published:
            empty = False
            self._told_published = frame.published_through = self.published_through
            if self.publishes_refused:
                frame.publishes_refused = _take_refusals(self.publishes_refused)
                if self.publishes_refused:  # more than a frame holds: say no more than what is explained
                    through = frame.publishes_refused[-1].number
                    self._told_published = frame.published_through = through
        if self.settled_through > self._told_settled:
            empty = False
            self._told_settled = frame.settled_through = self.settled_through
            if self.settlements_refused:
                frame.settlements_refused = _take_refusals(self.settlements_refused)
                if self.settlements_refused:
                    through = frame.settlements_refused[-1].number
                    self._told_settled = frame.settled_through = through
        if self._take_messages(frame):
            empty = False
        return None if empty else frame

    def _take_messages(self, frame: HostFrame) -> bool:
        items = MAX_FRAME_ITEMS
        size = MAX_FRAME_BYTES
        while self.replies and items > 0 and (size > 0):
            reply = self.replies[0]
            if size < len(reply.payload) and items < MAX_FRAME_ITEMS:
                return True
            frame.replies.append(self.replies.popleft())
            items -= 1
            size -= len(reply.payload)
        while self.calls and items > 0 and size > 0:
            call = self.calls[0]
            if size < len(call.payload) and items < MAX_FRAME_ITEMS:
                return True
            frame.calls.append(self.calls.popleft())
            items -= 1
            size -= len(call.payload)
        while self.deliveries and items > 0 and size > 0:
            event, targets = self.deliveries[0]
            if items < MAX_FRAME_ITEMS and (size < len(event.content) or items < len(targets)):
                return True
            frame.deliveries.append(self.deliveries.popleft())
            items -= len(targets)
            size -= len(event.content)
        return items < MAX_FRAME_ITEMS


def _take_refusals(refusals: deque[Refusal]) -> list[Refusal]:
    return [refusals.popleft() for _ in range(min(len(refusals), MAX_FRAME_ITEMS))]


class Session:
    """One worker's presence at the broker.

    Attributes:
        id: For people and logs.
        client_id: The worker's own name, the same over its restarts; placement follows it.
        agent: The worker's programme, for people.
        registration: What it last declared and was granted.
        lanes: By agent type that it serves, what is out at it.
        last_publish: The highest publish number seen, -1 is never used: numbers start at 1.
        last_settlement: The highest settlement number seen.
        draining: It asked to leave, or the host asked it to.
        outbox: What is to be said to it.
    """

    def __init__(self, id: str, client_id: str, agent: str = "") -> None:  # noqa: A002 (what it is)
        self.id = id
        self.client_id = client_id
        self.agent = agent
        self.registration = Registration(0, (), ())
        self.lanes: dict[str, Lane] = {}
        self.last_publish = 0
        self.last_settlement = 0
        self.draining = False
        self.is_live = True
        self.outbox = HostOutbox()

    def __repr__(self) -> str:
        return f"Session({self.id}, {self.client_id})"
