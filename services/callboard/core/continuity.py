"""How a session goes on over another stream: nothing that was said is lost, doubled or disordered.

Both sides count the frames that they say after ``hello`` and ``welcome``, over all streams of the
session, and keep each until the other has taken it in. Every frame tells how many of the other's
were taken in; so do ``hello`` and ``welcome`` of the next stream, on which each side first says
again what the other has not.

Invariants: frames are taken in in order, each once; what is kept is a run without holes that ends
with the newest.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

from callboard.core.errors import ProtocolViolation

TELL_EVERY = 32
"""So many frames are taken in at most without telling the other side, which keeps them meanwhile.

Seldom does a frame leave for that reason alone: most are answered by what they ask for.
"""


class Frame(Protocol):
    """What both kinds of frame have."""

    received: int


F = TypeVar("F", bound=Frame)


class Continuity(Generic[F]):
    """One side of it.

    Attributes:
        received: Frames of the other side that were taken in.
    """

    __slots__ = ("_again_at", "_kept", "_said", "_told", "received")

    def __init__(self) -> None:
        self.received = 0
        self._told = 0
        self._said = 0
        self._kept: deque[F] = deque()
        self._again_at: int | None = None

    @property
    def owes(self) -> bool:
        """Whether the other side is to be told what was taken in, with nothing else to say."""
        return self.received - self._told >= TELL_EVERY

    @property
    def kept_count(self) -> int:
        """Frames said that the other side has not told to have taken in."""
        return len(self._kept)

    def say(self, frame: F) -> F:
        """``frame`` leaves now, for the first time."""
        frame.received = self._told = self.received
        self._said += 1
        self._kept.append(frame)
        return frame

    def say_again(self) -> F | None:
        """The next frame that leaves once more; None when all have, that were to."""
        if self._again_at is None:
            return None
        if self._again_at >= len(self._kept):
            self._again_at = None
            return None
        frame = self._kept[self._again_at]
        self._again_at += 1
        frame.received = self._told = self.received
        return frame

    def acknowledge(self, count: int) -> list[F]:
        """The other side has taken in so many frames: those that are kept no more.

        Raises `ProtocolViolation` for more than were said.
        """
        if count > self._said:
            msg = f"{count} frames are said to be received, {self._said} were sent"
            raise ProtocolViolation(msg)
        gone = [self._kept.popleft() for _ in range(count - (self._said - len(self._kept)))]
        if self._again_at is not None:
            self._again_at = max(0, self._again_at - len(gone))
        return gone

    def resume(self, count: int) -> list[F]:
        """The other side goes on over another stream and has taken in so many frames.

        What it has not leaves again. Returns, and raises, as `acknowledge`; also
        `ProtocolViolation` for fewer than it had told before.
        """
        forgotten = self._said - len(self._kept)
        if count < forgotten:
            msg = f"{count} frames are said to be received, {forgotten} were before"
            raise ProtocolViolation(msg)
        gone = self.acknowledge(count)
        self._again_at = 0
        return gone
