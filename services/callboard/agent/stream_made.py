"""The answers to one streamed call, on the side of whoever called."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from callboard.core.errors import CallboardError
from callboard.core.frames import Reply

STREAM_WINDOW = 32
"""How many answers a handler may be ahead of whoever takes them: enough for 30,000 a second where a
round trip takes a millisecond, and for 600 where it takes 50.
"""

CREDIT_BATCH = STREAM_WINDOW // 2
"""Room is told of when so much has come together: a word for each answer would double the items."""


class StreamMade:
    """The answers that have come and were not taken: at most `STREAM_WINDOW`, and the end.

    ``grant`` carries room for further answers to the host.

    Attributes:
        has_ended: The last of them was taken.
    """

    def __init__(self, grant: Callable[[int], None]) -> None:
        self._grant = grant
        self._come: deque[Reply] = deque()
        self._taken_count = 0
        self._error: BaseException | None = None
        self._is_cancelled = False
        self._news = asyncio.Event()
        self.has_ended = False

    async def next(self) -> Reply:
        """The next answer, in order; whoever asks has done with those before.

        Raises:
            asyncio.CancelledError: It was cancelled: at once, whatever has come.
            CallboardError: No more will come, and all that came was taken.
        """
        if self._taken_count == CREDIT_BATCH:
            self._grant(self._taken_count)
            self._taken_count = 0
        while not self._come and self._error is None and not self._is_cancelled:
            self._news.clear()
            await self._news.wait()
        if self._is_cancelled:
            raise asyncio.CancelledError
        if self._come:
            self._taken_count += 1
            reply = self._come.popleft()
            self.has_ended = reply.last
            return reply
        assert self._error is not None  # noqa: S101 (for the type checker)
        raise self._error

    def take(self, reply: Reply) -> None:
        """The host has passed an answer on."""
        self._come.append(reply)
        self._news.set()

    def fail(self, error: CallboardError) -> None:
        """No more will come."""
        self._error = self._error or error
        self._news.set()

    def cancel(self) -> None:
        """Nobody wants what has come, or more."""
        self._is_cancelled = True
        self._news.set()
