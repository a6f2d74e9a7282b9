"""A worker's lease by its own clock.

A host lets a session live for a lease, and a margin, from the last beat that it has heard. The
worker counts from when it said that beat, so its lease has always run out before the host gives to
others what it had::

    RENEWED --a third has passed--> ASKED --answered--> RENEWED, counted from the asking
                                      |--another third--> OVERDUE: the line is dead, try another
    any --its length has passed since what was answered was asked--> RUN OUT, for good

Invariant: a worker whose lease has run out never finds it valid again.
"""

from __future__ import annotations

from enum import Enum
from math import inf


class Need(Enum):
    """What a lease needs."""

    NOTHING = "nothing yet"
    BEAT = "a beat is to be said"
    LINE = "what was said is not answered: the line is dead"
    END = "it has run out"


class Lease:
    """The lease of one session.

    Times are seconds of the worker's monotonic clock.

    Attributes:
        until: When it runs out; infinity for a session that lives as long as its stream.
    """

    def __init__(self, asked_at: float, length_s: float) -> None:
        """A session has begun whose ``hello`` was said at ``asked_at``.

        ``length_s`` is how long it lives; 0: as long as its stream.
        """
        self._length_s = length_s or inf
        self._renewed_at = asked_at
        self._asked_at: float | None = None
        self.until = asked_at + self._length_s

    def ask(self, now: float) -> None:
        """A beat is said, or the ``hello`` of another stream: it counts from here if answered."""
        self._asked_at = now

    def renew(self, length_s: float, now: float) -> None:
        """The host has answered. Nothing changes when it has run out, or nothing was asked."""
        if self._asked_at is None or now >= self.until:
            return
        self._renewed_at, self._asked_at = self._asked_at, None
        self._length_s = length_s or inf
        self.until = self._renewed_at + self._length_s

    def need(self, now: float) -> Need:
        """What it needs now."""
        if now >= self.until:
            return Need.END
        if self._asked_at is None:
            return Need.BEAT if now >= self._beat_at else Need.NOTHING
        return Need.LINE if now >= self._overdue_at(self._asked_at) else Need.NOTHING

    def next_at(self) -> float:
        """When `need` changes next, if nothing happens; infinity for never."""
        at = self._beat_at if self._asked_at is None else self._overdue_at(self._asked_at)
        return min(at, self.until)

    @property
    def _beat_at(self) -> float:
        return self._renewed_at + self._length_s / 3

    def _overdue_at(self, asked_at: float) -> float:
        return asked_at + self._length_s / 3
