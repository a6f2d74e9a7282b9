"""The publishes that a host has not answered yet."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from callboard.agent.slices import in_slices
from callboard.core.errors import (
    CallboardError,
    ProtocolViolation,
    ResourceExhausted,
    error_of,
)
from callboard.core.event import Event
from callboard.core.frames import HostFrame, Publish

if TYPE_CHECKING:
    from callboard.core.event import Event

SLICE = 128
SLICE_BYTES = 128 << 10
"""How many publishers go on in one step of the loop, or fewer whose last events had so much."""

Done: TypeAlias = Callable[[CallboardError | None], None]
"""Called once: with None when the host has the event, else with why not."""


class UnconfirmedPublishes:
    """Numbers publishes from 1, keeps them until they are answered, tells each its one ending.

    Attributes:
        last: The highest number given.
        confirmed: All up to this number are answered.
        answered_count: How many are answered.
    """

    def __init__(self) -> None:
        self.last = 0
        self.confirmed = 0
        self.answered_count = 0
        self._waiting: dict[int, tuple[Publish, Done]] = {}

    def add(self, event: Event, done: Done) -> Publish:
        """The next publish; ``done`` hears how it ends."""
        self.last += 1
        publish = Publish(self.last, event)
        self._waiting[self.last] = publish, done
        return publish

    @property
    def unanswered(self) -> list[Publish]:
        """Those without an ending, in order."""
        return [publish for publish, _ in self._waiting.values()]

    def confirm(self, frame: HostFrame) -> int:
        """Tell those that ``frame`` answers. How many of them had a deadline.

        Raises `ProtocolViolation` for a number never given.
        """
        highest = max(frame.published_through, *frame.published_beyond, 0)
        if highest > self.last:
            msg = f"the host confirms publish {highest}, the last one sent is {self.last}"
            raise ProtocolViolation(msg)
        refused = {refusal.number: refusal for refusal in frame.publishes_refused}
        through = range(self.confirmed + 1, frame.published_through + 1)
        self.confirmed = max(self.confirmed, frame.published_through)
        take_out = self._waiting.pop
        with_deadline = 0
        ended: list[tuple[Done, CallboardError | None]] = []
        size = 0
        for number in (*through, *frame.published_beyond):
            waiting = take_out(number, None)
            if waiting is None:
                continue  # one beyond is answered before the line reaches it
            publish, done = waiting
            self.answered_count += 1
            if publish.deadline is not None:
                with_deadline += 1
            size += len(publish.event.content)
            refusal = refused.get(number) if refused else None
            why = None if refusal is None else error_of(refusal.code, refusal.reason)
            ended.append((done, why))
        in_slices(_tell, ended, max(1, min(SLICE, SLICE_BYTES * len(ended) // max(size, 1))))
        return with_deadline

    def give_up(self, through: int, error: CallboardError) -> int:
        """Nobody will answer those up to that number. How many of them had a deadline."""
        numbers = [number for number in self._waiting if number <= through]
        with_deadline = 0
        for number in numbers:
            publish, done = self._waiting.pop(number)
            self.answered_count += 1
            if publish.deadline is not None:
                with_deadline += 1
            done(error)
        return with_deadline

    def fail(self, error: CallboardError) -> None:
        """Nobody will answer what is open."""
        waiting, self._waiting = self._waiting, {}
        for _, done in waiting.values():
            done(error)

    @property
    def is_empty(self) -> bool:
        """Whether all are answered."""
        return not self._waiting


def _tell(ended: tuple[Done, CallboardError | None]) -> None:
    done, why = ended
    done(why)


@dataclass(slots=True, eq=False)
class _Held:
    event: Event
    done: Done
    deadline: float
    timer: asyncio.TimerHandle = field(init=False)


class OutsidePublishes:
    """The publishes made outside of turns, of which only so many are under way at a time.

    They may wait for room at the host, and must leave a part of the window to turns: it may be
    those that make room. Further ones are held here, in order, until their deadline.

    Attributes:
        limit: How many may be under way.
    """

    def __init__(self, send: Callable[[Event, Done, float], None]) -> None:
        self._send = send
        self.limit = 1
        self._under_way = 0
        self._held: OrderedDict[_Held, None] = OrderedDict()

    def publish(self, event: Event, done: Done, deadline: float) -> None:
        """Send ``event``, now or when it is its turn; ``done`` hears how it ends."""
        if self._under_way < self.limit and not self._held:
            self._under_way += 1
            self._send(event, done, deadline)
            return
        held = _Held(event, done, deadline)
        held.timer = asyncio.get_running_loop().call_at(deadline, self._give_up, held)
        self._held[held] = None

    def ended(self, count: int) -> None:
        """So many of those under way have ended."""
        self._under_way -= count
        while self._held and self._under_way < self.limit:
            held, _ = self._held.popitem(last=False)
            held.timer.cancel()
            self._under_way += 1
            self._send(held.event, held.done, held.deadline)

    def fail(self, error: CallboardError) -> None:
        """Nobody will take what is held."""
        while self._held:
            held, _ = self._held.popitem(last=False)
            held.timer.cancel()
            held.done(error)

    def _give_up(self, held: _Held) -> None:
        del self._held[held]
        reason = f"{self._under_way} events wait for room at the host already, that is the limit"
        held.done(ResourceExhausted(reason))
