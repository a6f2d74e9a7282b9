"""What a host has to say to one worker: gathers until the writer takes a frame of it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from callboard.core.continuity import Continuity
from callboard.core.frames import (
    MAX_FRAME_BYTES,
    MAX_FRAME_ITEMS,
    Call,
    Credit,
    HostFrame,
    Partitions,
    Refusal,
    Registered,
    Reply,
)

if TYPE_CHECKING:
    from callboard.core.event import Delivery, DeliveryId, Event


ANSWERS_ALONE = 64
ANSWERS_ALONE_S = 0.05
"""So many answers to settlements leave with nothing else, or those of so long: nobody waits for
them, a worker only forgets then what it would say again. A frame costs more than what it brings.
"""


class _Kept(NamedTuple):
    """What a frame counts for that was said and not acknowledged."""

    message_bytes: int
    event_bytes: int
    answer_count: int


class HostOutbox:
    """What a host has to say to one worker.

    Bounded by what the worker may have open: its publish window, its delivery windows, the calls to
    its agents, its own calls; what answers it may be as much as it asks, so the broker ends a
    session that does not read (`answer_count`), and lets calls and answers fail for which there is
    no room (`unread_bytes`). Nothing here refuses, because those bounds are kept before. A call
    that ends before it was said is never said. What a worker has to acknowledge counts until it
    has.

    Attributes:
        continuity: The frames said that the worker may want again; None: it never will.
        published_through: All publishes up to this number are answered.
        published_beyond: Publishes beyond that number that are answered, with why not.
        settled_through: All settlements up to this number are answered.
        unread_bytes: What calls and replies count for that wait to be read.
        kept_event_bytes: The events in frames that were said and are not acknowledged.
        lease_ms: Answers a beat; 0: there is none.
        drain: Leaves last, when nothing else is to be said.
    """

    def __init__(self, *, keeps_frames: bool = False) -> None:
        self.continuity: Continuity[HostFrame] | None = Continuity() if keeps_frames else None
        self.lease_ms = 0
        self.registered: list[Registered] = []
        self.published_through = 0
        self.publishes_refused: deque[Refusal] = deque()
        self.published_beyond: deque[tuple[int, Refusal | None]] = deque()
        self.settled_through = 0
        self.settlements_refused: deque[Refusal] = deque()
        self.deliveries: deque[tuple[Event, list[Delivery]]] = deque()
        self.unread_bytes = 0
        self.kept_event_bytes = 0
        self.surrenders: deque[Partitions] = deque()
        self.drain = False
        self._replies: deque[Reply] = deque()
        self._calls: OrderedDict[int, Call] = OrderedDict()
        self._cancels: deque[int] = deque()
        self._credits: dict[int, int] = {}
        self._begun: deque[DeliveryId] = deque()
        self._told_published = 0
        self._told_settled = 0
        self._settled_at: float | None = None
        self._unread_answers = 0
        self._kept: deque[_Kept] = deque()

    @property
    def answer_count(self) -> int:
        """What waits to be read because the worker said something."""
        return (
            self._unread_answers
            + len(self.registered)
            + len(self.publishes_refused)
            + len(self.published_beyond)
            + len(self.settlements_refused)
            + len(self._replies)
            + len(self._begun)
        )

    def deliver(self, delivery: Delivery) -> None:
        """Add ``delivery``, beside the last one when both bring the same event."""
        if self.deliveries:
            event, targets = self.deliveries[-1]
            if event is delivery.event and len(targets) < MAX_FRAME_ITEMS:
                targets.append(delivery)
                return
        self.deliveries.append((delivery.event, [delivery]))

    def call(self, call: Call) -> None:
        """Add a call for one of the worker's agents."""
        self._calls[call.id] = call
        self.unread_bytes += call.size

    def has_call(self, call_id: int) -> bool:
        """Whether a call is still to be said."""
        return call_id in self._calls

    def reply(self, reply: Reply) -> None:
        """Add an answer to one of the worker's own calls."""
        self._replies.append(reply)
        self.unread_bytes += size_of_reply(reply)

    def begun(self, deliveries: Iterable[DeliveryId]) -> None:
        """The worker has said of ``deliveries`` that their turns begin: they may."""
        self._begun.extend(deliveries)

    def credit(self, call_id: int, count: int) -> None:
        """A streamed call may have so many more answers; said with the call, or after it."""
        call = self._calls.get(call_id)
        if call is not None:
            call.credit += count
        else:
            self._credits[call_id] = self._credits.get(call_id, 0) + count

    def cancel(self, call_id: int) -> None:
        """Nobody wants the answer to a call any more, which the worker may know of or not yet."""
        self._credits.pop(call_id, None)
        if not self.recall(call_id):
            self._cancels.append(call_id)

    def recall(self, call_id: int) -> bool:
        """A call is not for this worker: it is not said here, unless (False) it was already."""
        call = self._calls.pop(call_id, None)
        if call is None:
            return False
        self.unread_bytes -= call.size
        return True

    def forget(self, agent_type: str) -> None:
        """The worker serves the type no more: what it was to get of it is not said.

        Nothing of the type that is said after the next `Registered` is of before.
        """
        deliveries = self.deliveries
        self.deliveries = deque()
        for event, targets in deliveries:
            others = [each for each in targets if each.agent[0] != agent_type]
            if others:
                self.deliveries.append((event, others))
        for call in [each for each in self._calls.values() if each.target[0] == agent_type]:
            self.recall(call.id)

    @property
    def due_at(self) -> float | None:
        """When there is a frame though nothing is added; None: when something is."""
        return None if self._settled_at is None else self._settled_at + ANSWERS_ALONE_S

    def take(self, now: float = inf) -> HostFrame | None:
        """The next frame; None when nothing is to be said ``now``. See `ANSWERS_ALONE_S`.

        Holds at most `MAX_FRAME_ITEMS` items and `MAX_FRAME_BYTES`, or one item that is larger.
        Answers to publishes and settlements count apart: at most `MAX_FRAME_ITEMS` refusals of
        each.
        """
        continuity = self.continuity
        if continuity is None:
            return self._take_new(now)
        again = continuity.say_again()
        if again is not None:
            again.lease_ms = 0  # told by the welcome; it must not be taken for a later answer
            return again
        frame = self._take_new(now)
        if frame is None:
            if not continuity.owes:
                return None
            frame = HostFrame()
        kept = _Kept(_size_of_messages(frame), _size_of_events(frame), _answers_in(frame))
        self._kept.append(kept)
        self.unread_bytes += kept.message_bytes
        self.kept_event_bytes += kept.event_bytes
        self._unread_answers += kept.answer_count
        return continuity.say(frame)

    def took_in(self, received: int) -> bool:
        """A frame of the worker was taken in; it has taken in ``received`` of ours.

        Whether it is to be told, with nothing else to say. Raises `ProtocolViolation` for more than
        were said.
        """
        continuity = self.continuity
        if continuity is None:
            return False
        continuity.received += 1
        self._acknowledged(len(continuity.acknowledge(received)))
        return continuity.owes

    def resume(self, count: int) -> None:
        """The worker goes on over another stream; see `Continuity.resume`.

        A beat of the former stream is not answered: the worker has asked again by the greeting.
        """
        if self.continuity is not None:
            self._acknowledged(len(self.continuity.resume(count)))
            self.lease_ms = 0

    def _acknowledged(self, count: int) -> None:
        """So many frames more were taken in, those that were said first."""
        for _ in range(count):
            kept = self._kept.popleft()
            self.unread_bytes -= kept.message_bytes
            self.kept_event_bytes -= kept.event_bytes
            self._unread_answers -= kept.answer_count

    def _take_new(self, now: float) -> HostFrame | None:
        frame = HostFrame()
        items = self._take_notices(frame)
        items = self._take_messages(frame, items)
        is_empty = items == MAX_FRAME_ITEMS
        # A number is never answered before its refusal is told.
        if self.published_beyond:
            is_empty = False
            self._take_beyond(frame)
        elif self.published_through > self._told_published:
            is_empty = False
            frame.publishes_refused, frame.published_through = _answers(
                self.publishes_refused, self.published_through
            )
            self._told_published = frame.published_through
        is_alone = is_empty and not self.lease_ms and not self.drain
        if self.settled_through > self._told_settled and not (is_alone and self._may_wait(now)):
            is_empty = False
            self._settled_at = None
            frame.settlements_refused, frame.settled_through = _answers(
                self.settlements_refused, self.settled_through
            )
            self._told_settled = frame.settled_through
        if self.lease_ms:
            is_empty = False
            frame.lease_ms, self.lease_ms = self.lease_ms, 0
        if self.drain and is_empty:
            is_empty = False
            frame.drain, self.drain = True, False
        return None if is_empty else frame

    def _may_wait(self, now: float) -> bool:
        """Whether answers to settlements, alone, may still wait for company."""
        if self.settlements_refused or self.settled_through - self._told_settled >= ANSWERS_ALONE:
            return False
        if self._settled_at is None:
            self._settled_at = now
        return now < self._settled_at + ANSWERS_ALONE_S

    def _take_beyond(self, frame: HostFrame) -> None:
        """Put in answers that are out of order, before those that may cover them by now.

        With them refusals of the latter, of which the publisher must hear while they are known:
        answers out of order may keep coming.
        """
        refused, beyond = self.publishes_refused, self.published_beyond
        told = [refused.popleft() for _ in range(min(len(refused), MAX_FRAME_ITEMS // 2))]
        answers: list[tuple[int, Refusal | None]] = [(each.number, each) for each in told]
        room = MAX_FRAME_ITEMS - len(told)
        answers += [beyond.popleft() for _ in range(min(len(beyond), room))]
        for number, why in answers:
            frame.published_beyond.append(number)
            if why is not None:
                frame.publishes_refused.append(why)
        frame.published_through = self._told_published

    def _take_notices(self, frame: HostFrame) -> int:
        """Put in what is small and rare; how many items may follow, possibly none."""
        items = MAX_FRAME_ITEMS
        if self.registered:
            frame.registered.append(self.registered.pop(0))
            items -= 1
        while self.surrenders and items > 0:
            surrender = self.surrenders.popleft()
            frame.surrenders.append(surrender)
            items -= len(surrender.partitions)
        while self._begun and items > 0:
            frame.begun.append(self._begun.popleft())
            items -= 1
        while self._cancels and items > 0:
            frame.cancels.append(self._cancels.popleft())
            items -= 1
        while self._credits and items > 0:
            call_id = next(iter(self._credits))
            frame.credits.append(Credit(call_id, self._credits.pop(call_id)))
            items -= 1
        return items

    def _take_messages(self, frame: HostFrame, items: int) -> int:
        """Put in what carries payloads, until something does not fit; how many items may follow."""
        size = MAX_FRAME_BYTES
        while self._replies and items > 0 and size > 0:
            length = size_of_reply(self._replies[0])
            if size < length and items < MAX_FRAME_ITEMS:
                return items
            frame.replies.append(self._replies.popleft())
            self.unread_bytes -= length
            items -= 1
            size -= length
        while self._calls and items > 0 and size > 0:
            call = next(iter(self._calls.values()))
            length = call.size
            if size < length and items < MAX_FRAME_ITEMS:
                return items
            frame.calls.append(self._calls.popitem(last=False)[1])
            self.unread_bytes -= length
            items -= 1
            size -= length
        while self.deliveries and items > 0 and size > 0:
            event, targets = self.deliveries[0]
            if items < MAX_FRAME_ITEMS and (size < len(event.content) or items < len(targets)):
                return items
            frame.deliveries.append(self.deliveries.popleft())
            items -= len(targets)
            size -= len(event.content)
        return items


def size_of_reply(reply: Reply) -> int:
    """What a reply counts for, in bytes."""
    return len(reply.payload) if reply.error is None else 4 * len(reply.error.message)


def _size_of_messages(frame: HostFrame) -> int:
    if not frame.replies and not frame.calls:
        return 0
    return sum(map(size_of_reply, frame.replies)) + sum(call.size for call in frame.calls)


def _size_of_events(frame: HostFrame) -> int:
    return sum(len(event.content) for event, _ in frame.deliveries) if frame.deliveries else 0


def _answers_in(frame: HostFrame) -> int:
    return (
        len(frame.registered)
        + len(frame.publishes_refused)
        + len(frame.settlements_refused)
        + len(frame.replies)
        + len(frame.begun)
    )


def _answers(refusals: deque[Refusal], through: int) -> tuple[list[Refusal], int]:
    """The refusals that fit into a frame, and up to which number all is answered with them."""
    told = [refusals.popleft() for _ in range(min(len(refusals), MAX_FRAME_ITEMS))]
    return told, told[-1].number if refusals else through
