"""The publishes that a host has not answered yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from callboard.core.errors import CallboardError, ProtocolViolation, error_of
from callboard.core.event import Event
from callboard.core.frames import HostFrame, Publish

Done: TypeAlias = Callable[[CallboardError | None], None]
"""Called once: with None when the host has the event, else with why not."""


class UnconfirmedPublishes:
    """Numbers publishes from 1, keeps them until they are answered, tells each its one ending.

    Attributes:
        last: The highest number given.
        confirmed: All up to this number are answered.
    """

    def __init__(self) -> None:
        self.last = 0
        self.confirmed = 0
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

    def confirm(self, frame: HostFrame) -> None:
        """Tell those that ``frame`` answers.

        Raises `ProtocolViolation` for a number never given.
        """
        highest = max(frame.published_through, *frame.published_beyond, 0)
        if highest > self.last:
            msg = f"the host confirms publish {highest}, the last one sent is {self.last}"
            raise ProtocolViolation(msg)
        refused = {refusal.number: refusal for refusal in frame.publishes_refused}
        through = range(self.confirmed + 1, frame.published_through + 1)
        self.confirmed = max(self.confirmed, frame.published_through)
        for number in (*through, *frame.published_beyond):
            waiting = self._waiting.pop(number, None)
            if waiting is not None:  # one beyond is answered before the line reaches it
                refusal = refused.get(number)
                waiting[1](None if refusal is None else error_of(refusal.code, refusal.reason))

    def fail(self, error: CallboardError) -> None:
        """Nobody will answer what is open."""
        waiting, self._waiting = self._waiting, {}
        for _, done in waiting.values():
            done(error)

    @property
    def is_empty(self) -> bool:
        """Whether all are answered."""
        return not self._waiting
