"""A process of a benchmark: obeys orders, one line of JSON each, and answers each with a line.

``{"id": 1, "do": "publish", ...}`` comes by the standard input, ``{"id": 1, "ok": ...}`` or
``{"id": 1, "error": "..."}`` goes out by the standard output. Orders run side by side. The end of
the input, which comes also when the parent is killed, ends the process in good order.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from selectors import SelectSelector
from time import monotonic_ns
from typing import Any, TypedDict

from callboard.bench.load import (
    call_from_tasks,
    publish_at_rate,
    publish_from_tasks,
    take_streams,
)
from callboard.bench.messages import Question, Tick, padding_for
from callboard.bench.side import Side
from callboard.bench.tally import Handled, Tally

MAX_LINE_BYTES = 1 << 28

EXACT_TIMERS = "--exact-timers"
"""Has timers end within some microseconds. asyncio's own round up to a millisecond, since epoll
counts in those; a load at a rate would add that to each latency."""


class Ran(TypedDict):
    """Attributes: began_ns, ended_ns: of the load; took_ns: each call; count: answers of streams.

    A load ends when its last publish or call returns; events may be handled later.
    """

    began_ns: int
    ended_ns: int
    took_ns: list[int]
    count: int


class Program:
    """The orders that a worker or a publisher obeys."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._tally = Tally()

    async def connect(self, address: str) -> None:
        """Connect to a host."""
        await self._side.connect(address)

    async def serve(self, agent_type: str, topic_types: list[str]) -> None:
        """Serve a type that is subscribed to these topics."""
        await self._side.serve(agent_type, topic_types, self._tally)

    async def expect(self, count: int, *, is_timed: bool) -> None:
        """Begin to count."""
        self._tally.expect(count, is_timed=is_timed)

    async def handled(self) -> Handled:
        """Wait for all that is expected."""
        return await self._tally.handled()

    async def publish(
        self, topic_type: str, *, count: int, tasks: int, keys: int, size_bytes: int
    ) -> Ran:
        """Publish from tasks that each await one event before the next."""
        publishes = [self._side.publisher(topic_type, f"key-{key}") for key in range(keys)]
        began_ns = monotonic_ns()
        await publish_from_tasks(publishes, count, tasks, padding_for(size_bytes))
        return _ran(began_ns)

    async def publish_many(self, topic_type: str, *, count: int, size_bytes: int) -> Ran:
        """Publish pipelined."""
        padding = padding_for(size_bytes)
        ticks = (Tick(number, monotonic_ns(), padding) for number in range(count))
        began_ns = monotonic_ns()
        await self._side.publish_many(ticks, topic_type, "key-0")
        return _ran(began_ns)

    async def publish_at_rate(
        self, topic_type: str, *, count: int, per_s: float, size_bytes: int
    ) -> Ran:
        """Publish at fixed times."""
        publish = self._side.publisher(topic_type, "key-0")
        began_ns = monotonic_ns()
        await publish_at_rate(publish, count, per_s, padding_for(size_bytes))
        return _ran(began_ns)

    async def call(self, agent_type: str, *, count: int, in_flight: int, size_bytes: int) -> Ran:
        """Call, each task an agent of its own."""
        calls = [self._side.caller(agent_type, f"key-{key}") for key in range(in_flight)]
        began_ns = monotonic_ns()
        took_ns = await call_from_tasks(calls, count, in_flight, padding_for(size_bytes))
        return _ran(began_ns, took_ns=took_ns)

    async def stream(self, agent_type: str, *, count: int, in_flight: int, size_bytes: int) -> Ran:
        """Take streams side by side, with so many answers in all."""
        question = Question(max(1, count // in_flight), padding_for(size_bytes))
        streams = [
            partial(self._side.stream, question, agent_type, f"key-{key}")
            for key in range(in_flight)
        ]
        began_ns = monotonic_ns()
        answers = await take_streams(streams)
        return _ran(began_ns, count=answers)

    async def crowd(self, address: str, count: int) -> None:
        """Open connections that do nothing."""
        await self._side.crowd(address, count)

    async def close(self) -> None:
        """Leave."""
        await self._side.close()


def _ran(began_ns: int, *, took_ns: list[int] | None = None, count: int = 0) -> Ran:
    ended_ns = monotonic_ns()
    return {"began_ns": began_ns, "ended_ns": ended_ns, "took_ns": took_ns or [], "count": count}


def run(make: Callable[[], Any]) -> None:
    """Obey the standard input with what ``make`` makes, until it ends; then ``close`` that."""
    with asyncio.Runner(loop_factory=_loop if EXACT_TIMERS in sys.argv else None) as runner:
        runner.run(_obey_all(make()))
    sys.stdout.flush()
    os._exit(0)  # a runtime that leaves threads behind does not hold up the end


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(SelectSelector())


async def _obey_all(program: Any) -> None:
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    async with asyncio.TaskGroup() as orders:
        running: list[asyncio.Task[None]] = []
        while line := await reader.readline():
            running.append(orders.create_task(_obey(program, json.loads(line))))
        for task in _unfinished(running):
            task.cancel()
    await program.close()


def _unfinished(tasks: list[asyncio.Task[None]]) -> Iterator[asyncio.Task[None]]:
    return (task for task in tasks if not task.done())


async def _obey(program: Any, order: dict[str, Any]) -> None:
    number = order.pop("id")
    try:
        answer = {"id": number, "ok": await getattr(program, order.pop("do"))(**order)}
    except Exception as error:  # noqa: BLE001 (whoever gave the order is told)
        while isinstance(error, ExceptionGroup):  # of tasks that all failed, most likely alike
            error = error.exceptions[0]
        answer = {"id": number, "error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
