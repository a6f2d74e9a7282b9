"""The lines between workers and a host: frames one way, in order, as late as they like."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

F = TypeVar("F")


class Line(Generic[F]):
    """Frames under way in one direction. What is under way when it is cut is lost."""

    def __init__(self) -> None:
        self._frames: deque[F] = deque()
        self._is_cut = False

    def send(self, frame: F) -> None:
        """Put a frame on its way."""
        if not self._is_cut:
            self._frames.append(frame)

    def receive(self) -> F | None:
        """The frame that arrives next; None when none is under way."""
        return self._frames.popleft() if self._frames else None

    def cut(self) -> None:
        """Lose what is under way, and all that is sent from here on."""
        self._is_cut = True
        self._frames.clear()

    def __len__(self) -> int:
        return len(self._frames)
