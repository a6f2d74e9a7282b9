"""When a worker's frames leave: a small one after one of several items waits for the host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from callboard.core.event import Event
from callboard.core.frames import HostFrame, Publish
from callboard.core.worker_outbox import WorkerOutbox
from callboard.wire.frames import encode_host_frame
from callboard.wire.v1 import agent_host_pb2 as pb
from callboard.worker import connection
from callboard.worker.connection import Connection, Welcome

STEPS = 20
"""Of the loop, in which all happens that waits for nothing."""


class Line:
    """A stream, and the channel that it goes over, to a host that a test plays."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self._said: asyncio.Queue[Any] = asyncio.Queue()

    async def write(self, data: bytes) -> None:
        """The worker says something: note how many publishes."""
        self.counts.append(len(pb.ConnectRequest.FromString(data).publishes))

    async def read(self) -> Any:
        """What the host says next."""
        return await self._said.get()

    def say(self) -> None:
        """The host says that nothing is new."""
        self._said.put_nowait(encode_host_frame(HostFrame()))

    async def done_writing(self) -> None:
        """The worker has said all; so has the host."""
        self._said.put_nowait(grpc.aio.EOF)

    def cancel(self) -> None:
        """Nothing is open."""

    async def close(self) -> None:
        """Nothing is open."""


class Speaker:
    """Says publishes over a `Line`."""

    def __init__(self, line: Line) -> None:
        welcome = Welcome("s", 1 << 20, 2048, 1, 0, b"", 10.0, False, 0, False, frozenset())  # noqa: FBT003
        self.connection = Connection("nowhere", line, line, welcome, 0.0)  # type: ignore[arg-type]
        self.outbox = WorkerOutbox(2048)
        self._number = 0

    async def publish(self, count: int, content: bytes = b"event") -> None:
        """So many at once; what waits for nothing then has left."""
        for _ in range(count):
            self._number += 1
            self.outbox.publishes.append(Publish(self._number, Event(content, "t", "s")))
        self.connection.wake()
        await steps()


async def steps() -> None:
    """Let all happen that waits for nothing."""
    for _ in range(STEPS):
        await asyncio.sleep(0)


@asynccontextmanager
async def speaking(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Speaker, Line]]:
    """A worker that would linger for ever."""
    monkeypatch.setattr(connection, "LINGER_S", 3600.0)
    line = Line()
    speaker = Speaker(line)
    running = asyncio.create_task(speaker.connection.run(speaker.outbox, lambda _: None))
    yield speaker, line
    speaker.connection.close()
    await running


async def test_a_small_frame_waits_after_one_of_several_items(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What comes one by one shares a frame, which leaves when the host has said something."""
    async with speaking(monkeypatch) as (speaker, line):
        await speaker.publish(2)
        for _ in range(5):
            await speaker.publish(1)
        assert line.counts == [2]
        line.say()
        await steps()
        assert line.counts == [2, 5]


async def test_a_frame_of_one_item_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for each answer before the next publish waits for nothing else."""
    async with speaking(monkeypatch) as (speaker, line):
        for _ in range(3):
            await speaker.publish(1)
        assert line.counts == [1, 1, 1]


async def test_a_worker_that_leaves_lingers_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left to say leaves at once when the stream is closed."""
    async with speaking(monkeypatch) as (speaker, line):
        await speaker.publish(2)
        await speaker.publish(1)
    assert line.counts == [2, 1]


async def test_large_events_wait_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame costs little beside them."""
    async with speaking(monkeypatch) as (speaker, line):
        await speaker.publish(3, b"." * connection.LARGE_BYTES)
        await speaker.publish(1)
        assert line.counts == [3, 1]
