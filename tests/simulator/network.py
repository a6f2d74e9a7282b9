"""A gRPC stream between a worker and a host, made of a model: late, and cut at any moment.

Messages of one direction arrive in order, each after a delay of its own. A writer waits while much
is under way, as gRPC's does. When a line is cut, each side finds out in its own time; what was
under way is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import grpc
import grpc.aio

MAX_UNDER_WAY = 4
"""Messages that a writer may have under way."""


class _End:
    """The end of what is said."""

    def __init__(self, ending: object) -> None:
        self.ending = ending


class Pipe:
    """One direction of a line."""

    def __init__(self, chance: Random, latency_s: float) -> None:
        self._chance = chance
        self._latency_s = latency_s
        self._arrived: deque[bytes] = deque()
        self._under_way: deque[bytes | _End] = deque()
        self._last_arrival = 0.0
        self._ends: object | None = None
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._is_cut = False

    async def write(self, data: bytes) -> None:
        """Put a message on its way; waits while there is no room."""
        while len(self._under_way) + len(self._arrived) >= MAX_UNDER_WAY and self._ends is None:
            self._room.clear()
            await self._room.wait()
        self._send(data)

    def finish(self, ending: object) -> None:
        """Say no more; the other side reads ``ending`` behind all that is under way."""
        self._send(_End(ending))

    def cut(self) -> None:
        """Lose what is under way and all that is written from here on."""
        self._is_cut = True

    def end(self, ending: object) -> None:
        """The reader finds out that there is nothing more to read, and why."""
        self._is_cut = True
        if self._ends is None:
            self._ends = ending
        self._news.set()
        self._room.set()

    async def read(self) -> bytes | object:
        """The next message, or how the line ended."""
        while not self._arrived and self._ends is None:
            self._news.clear()
            await self._news.wait()
        if self._arrived:
            data = self._arrived.popleft()
            self._room.set()
            return data
        return self._ends

    def _send(self, what: bytes | _End) -> None:
        loop = asyncio.get_running_loop()
        delay = self._chance.uniform(0.1, 1.0) * self._latency_s
        self._last_arrival = max(self._last_arrival, loop.time() + delay)
        self._under_way.append(what)
        loop.call_at(self._last_arrival, self._arrive)

    def _arrive(self) -> None:
        """The next message is there: in order, whichever timer of two at a time is the first."""
        what = self._under_way.popleft()
        if self._is_cut:
            return
        if isinstance(what, _End):
            self.end(what.ending)
        else:
            self._arrived.append(what)
            self._news.set()


class Ending:
    """How a stream ended, as gRPC tells a worker."""

    def __init__(self, code: grpc.StatusCode, details: str = "") -> None:
        self.code = code
        self.details = details


class Line:
    """A stream: the worker's call, and the messages that the host reads from it.

    Attributes:
        is_whole: Whether it has neither ended nor been cut.
        cut_at_s: When it was cut; None: it was not.
    """

    def __init__(self, chance: Random, latency_s: float) -> None:
        self.to_host = Pipe(chance, latency_s)
        self.to_worker = Pipe(chance, latency_s)
        self.is_whole = True
        self.cut_at_s: float | None = None
        self.host_task: asyncio.Task[None] | None = None

    def cut(self, worker_after_s: float, host_after_s: float) -> None:
        """Break it. The two sides find out after so many seconds."""
        if not self.is_whole:
            return
        self.is_whole = False
        self.cut_at_s = asyncio.get_running_loop().time()
        self.to_host.cut()
        self.to_worker.cut()
        loop = asyncio.get_running_loop()
        lost = Ending(grpc.StatusCode.UNAVAILABLE, "the line was cut")
        loop.call_later(worker_after_s, self.to_worker.end, lost)
        loop.call_later(host_after_s, self._break_at_host)

    def _break_at_host(self) -> None:
        self.to_host.end(grpc.aio.EOF)
        if self.host_task is not None:
            self.host_task.cancel()

    async def requests(self) -> AsyncIterator[bytes]:
        """What the host reads."""
        while isinstance(data := await self.to_host.read(), bytes):
            yield data


class Call:
    """The worker's side of a stream, with the methods of gRPC's call."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self._ending: Ending | None = None
        self._is_cancelled = False
        self._known = asyncio.Event()

    async def write(self, data: bytes) -> None:
        """See gRPC's."""
        if self._ending is not None:
            msg = "the stream is over"
            raise asyncio.InvalidStateError(msg)
        await self.line.to_host.write(data)

    async def read(self) -> Any:
        """See gRPC's."""
        data = await self.line.to_worker.read()
        if isinstance(data, bytes):
            return data
        assert isinstance(data, Ending)
        self._end(data)
        if self._is_cancelled:
            raise asyncio.CancelledError
        if data.code is grpc.StatusCode.OK:
            return grpc.aio.EOF
        raise grpc.aio.AioRpcError(
            data.code, grpc.aio.Metadata(), grpc.aio.Metadata(), data.details
        )

    async def done_writing(self) -> None:
        """See gRPC's."""
        if self._ending is None:
            self.line.to_host.finish(grpc.aio.EOF)

    def cancel(self) -> None:
        """See gRPC's."""
        if self._ending is None:
            self._is_cancelled = True
            ending = Ending(grpc.StatusCode.CANCELLED, "cancelled here")
            self._end(ending)
            self.line.cut(0.0, 0.05)
            self.line.to_worker.end(ending)

    async def code(self) -> grpc.StatusCode:
        """See gRPC's."""
        await self._known.wait()
        assert self._ending is not None
        return self._ending.code

    async def details(self) -> str:
        """See gRPC's."""
        await self._known.wait()
        assert self._ending is not None
        return self._ending.details

    def _end(self, ending: Ending) -> None:
        if self._ending is None:
            self._ending = ending
            self._known.set()


class Channel:
    """What a worker opens its stream on."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def stream_stream(self, method: str) -> Any:
        """See gRPC's."""
        return lambda: Call(self._line)

    async def close(self) -> None:
        """See gRPC's."""
