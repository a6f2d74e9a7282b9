"""What publishers and callers do: the loads that are measured.

All are the same program whatever the runtime. Times are of the monotonic clock, in nanoseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from time import monotonic_ns

from callboard.bench.messages import Question, Tick
from callboard.bench.side import Call, Publish

LEAD_NS = 10_000_000
"""How long before its first event a load at a rate begins."""

YIELD_EVERY = 64
"""After how many events a load that is late lets other tasks run."""


async def publish_from_tasks(
    publishes: Sequence[Publish], count: int, tasks: int, padding: str
) -> None:
    """Publish so many events in all, from tasks that each await one before the next.

    They go to ``publishes`` by turns.
    """
    numbers = iter(range(count))
    topics = len(publishes)

    async def publish() -> None:
        for number in numbers:
            await publishes[number % topics](Tick(number, monotonic_ns(), padding))

    async with asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(publish())


async def publish_at_rate(publish: Publish, count: int, per_s: float, padding: str) -> None:
    """Publish at times that are fixed beforehand, whatever becomes of the events before.

    Each carries the time at which it should have left, so that what holds up the publisher counts
    as latency too: none is left out because another was slow.
    """
    first_ns = monotonic_ns() + LEAD_NS
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            due_ns = first_ns + int(number * 1e9 / per_s)
            ahead_ns = due_ns - monotonic_ns()
            if ahead_ns > 0:
                await asyncio.sleep(ahead_ns / 1e9)
            elif number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            group.create_task(_publish(publish, Tick(number, due_ns, padding)))


async def _publish(publish: Publish, tick: Tick) -> None:
    await publish(tick)


async def call_from_tasks(
    calls: Sequence[Call], count: int, in_flight: int, padding: str
) -> list[int]:
    """Call so often in all, from tasks that each call one agent; how long each call took."""
    numbers = iter(range(count))
    took_ns: list[int] = []

    async def call(ask: Call) -> None:
        for _ in numbers:
            began_ns = monotonic_ns()
            await ask(Question(0, padding))
            took_ns.append(monotonic_ns() - began_ns)

    async with asyncio.TaskGroup() as group:
        for number in range(in_flight):
            group.create_task(call(calls[number % len(calls)]))
    return took_ns


async def take_streams(streams: Sequence[Callable[[], AsyncIterator[object]]]) -> int:
    """Take all streams side by side, to their ends; how many answers came."""

    async def take(stream: Callable[[], AsyncIterator[object]]) -> int:
        count = 0
        async for _ in stream():
            count += 1
        return count

    return sum(await asyncio.gather(*(take(stream) for stream in streams)))
