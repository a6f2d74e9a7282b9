"""The calls that this process waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import Context
from math import inf
from typing import Any

from callboard.agent.cancellation import CancellationToken
from callboard.agent.slices import in_slices
from callboard.agent.stream_made import StreamMade
from callboard.core.errors import CallboardError, DeadlineExceeded
from callboard.core.frames import Call, Reply

HOST_GRACE_S = 5.0
"""How long after its deadline a call is given up here, should the host that keeps it be stuck."""

SLICE = 32
"""How many callers go on in one step of the loop."""


class CallsMade:
    """Pairs each call made here with its one ending.

    One timer looks after the deadlines of all: most calls end long before theirs.

    ``send``, ``cancel`` and ``grant`` carry a call, the wish to end it, and room for further
    answers to it, to the host.
    """

    def __init__(
        self,
        send: Callable[[Call], None],
        cancel: Callable[[int], None],
        grant: Callable[[int, int], None],
    ) -> None:
        self._send = send
        self._cancel = cancel
        self._grant = grant
        self._open: dict[int, asyncio.Future[Reply] | StreamMade] = {}
        self._answers: dict[asyncio.Future[Reply], Reply] = {}  # that callers are to hear yet
        self._late_at: dict[int, tuple[float, Call]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._none_open = asyncio.Event()
        self._none_open.set()
        self._last_id = 0

    def next_id(self) -> int:
        """An id for the next call."""
        self._last_id += 1
        return self._last_id

    async def reply_to(self, call: Call, token: CancellationToken | None) -> Reply:
        """Send ``call`` and wait for its reply.

        Raises:
            asyncio.CancelledError: The token, or the task that waits, was cancelled; the handler is
                told.
            DeadlineExceeded: The host did not even say that the call was too late.
            CallboardError: The host was lost.
        """
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._begin(call, future)
        if token is not None:
            token.link_future(future)
        try:
            if not future.done():
                self._send(call)
            return await future
        except (asyncio.CancelledError, CallboardError):
            self._cancel(call.id)
            hear(future)
            raise
        finally:
            if token is not None:
                token.remove_callback(future.cancel)
            self._close(call)

    @contextmanager
    def stream(self, call: Call, token: CancellationToken) -> Iterator[StreamMade]:
        """Send a streamed call; in the block its answers come.

        A block that is left before the last of them gives the call up: the handler is told.
        """
        answers = StreamMade(lambda count: self._grant(call.id, count))
        self._begin(call, answers)
        token.add_callback(answers.cancel)
        try:
            if not token.is_cancelled():
                self._send(call)
            yield answers
        finally:
            if not answers.has_ended:
                self._cancel(call.id)
            token.remove_callback(answers.cancel)
            self._close(call)

    @property
    def none_open(self) -> bool:
        """Whether no call is open."""
        return not self._open

    async def wait_ended(self) -> None:
        """Return when no call is open."""
        await self._none_open.wait()

    def take(self, replies: Iterable[Reply]) -> None:
        """The host has answered; what nobody waits for is passed over."""
        ended: list[asyncio.Future[Reply]] = []
        for reply in replies:
            made = self._open.get(reply.call_id)
            if isinstance(made, StreamMade):
                made.take(reply)
            elif made is not None:
                self._answers.setdefault(made, reply)
                ended.append(made)
        in_slices(self._answer, ended, SLICE)

    def fail(self, error: CallboardError) -> None:
        """Nobody will answer what is open and has no answer."""
        for answered in list(self._answers):
            self._answer(answered)
        for made in self._open.values():
            _fail(made, error)

    # Inside.

    def _answer(self, future: asyncio.Future[Reply]) -> None:
        reply = self._answers.pop(future, None)
        if reply is not None and not future.done():
            future.set_result(reply)

    def _begin(self, call: Call, made: asyncio.Future[Reply] | StreamMade) -> None:
        self._open[call.id] = made
        self._none_open.clear()
        late_at = asyncio.get_running_loop().time() + call.remaining_s + HOST_GRACE_S
        self._late_at[call.id] = late_at, call
        if self._timer is None or late_at < self._timer.when():
            self._look_at(late_at)

    def _look_at(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(at, self._give_up_late_ones, context=Context())

    def _give_up_late_ones(self) -> None:
        self._timer = None
        now, next_at = asyncio.get_running_loop().time(), inf
        for late_at, call in self._late_at.values():
            if late_at <= now:
                _fail(self._open[call.id], _too_late(call))
            else:
                next_at = min(next_at, late_at)
        if next_at < inf:
            self._look_at(next_at)

    def _close(self, call: Call) -> None:
        del self._open[call.id]
        del self._late_at[call.id]
        if not self._open:
            self._none_open.set()


def _too_late(call: Call) -> DeadlineExceeded:
    return DeadlineExceeded(f"no reply from {call.target[0]}/{call.target[1]} in time")


def _fail(made: asyncio.Future[Reply] | StreamMade, error: CallboardError) -> None:
    if isinstance(made, StreamMade):
        made.fail(error)
    else:
        resolve(made, error)


def hear(future: asyncio.Future[Any]) -> None:
    """Take note of how ``future`` has ended, if it has.

    Whoever waited for it may have been cancelled at that moment; asyncio would complain that nobody
    has heard of the error.
    """
    if future.done() and not future.cancelled():
        future.exception()


def resolve(future: asyncio.Future[Any], error: CallboardError | None) -> None:
    """End ``future``, with None or with ``error``, unless it has ended."""
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
