"""Measure a host, a worker and a publisher, each a process on this machine: ``make bench``.

Each row is run several times, all rows by turns; the table has medians with the lowest and highest.
"""

from __future__ import annotations

import asyncio
import os
import platform
import statistics
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parent.parent))

from rich.console import Console
from rich.table import Table

from behaviour.world import cluster
from bench.agents import Done, Tick
from callboard import (
    AgentId,
    ClosureAgent,
    ClosureContext,
    MessageContext,
    TopicId,
    TypeSubscription,
)
from callboard.worker import WorkerRuntime

ROUNDS = int(os.environ.get("ROUNDS", "5"))
TICKS = TopicId("ticks", "bench")
SINK = AgentId("sink", "bench")


class Bench:
    """A publisher that knows when its events have been handled."""

    def __init__(self, runtime: WorkerRuntime) -> None:
        self.runtime = runtime
        self.done = asyncio.Event()

    async def listen(self) -> None:
        """Hear of the last event of each run."""

        async def hear(_: ClosureContext, message: Done, ctx: MessageContext) -> None:
            self.done.set()

        await ClosureAgent.register_closure(
            self.runtime, "bench", hear, subscriptions=lambda: [TypeSubscription("done", "bench")]
        )

    async def pipelined(self, count: int, size: int) -> float:
        """Events a second from `publish_many` to the handler of the last one."""
        padding = "x" * size
        self.done.clear()
        began = perf_counter()
        ticks = (Tick(number, padding, number == count) for number in range(1, count + 1))
        await self.runtime.publish_many(ticks, TICKS)
        await self.done.wait()
        return count / (perf_counter() - began)

    async def awaited_by_many(self, tasks: int, each: int) -> float:
        """Events a second when so many tasks await the acknowledgement of each of theirs."""
        padding = "x" * 180
        self.done.clear()

        async def publish() -> None:
            for number in range(each):
                await self.runtime.publish_message(Tick(number, padding), TICKS)

        began = perf_counter()
        await asyncio.gather(*(publish() for _ in range(tasks)))
        await self.runtime.publish_message(Tick(0, padding, is_last=True), TICKS)
        await self.done.wait()
        return tasks * each / (perf_counter() - began)

    async def calls_at_once(self, tasks: int, each: int) -> float:
        """Calls a second with so many under way, each at an agent of its own."""

        async def call(number: int) -> None:
            for _ in range(each):
                await self.runtime.send_message("hello", AgentId("sink", f"bench-{number}"))

        began = perf_counter()
        await asyncio.gather(*(call(number) for number in range(tasks)))
        return tasks * each / (perf_counter() - began)

    async def call_latency_ms(self, count: int, quantile: float) -> float:
        """Milliseconds of a call, one at a time."""
        times = []
        for _ in range(count):
            began = perf_counter()
            await self.runtime.send_message("hello", SINK)
            times.append(perf_counter() - began)
        times.sort()
        return times[int(count * quantile)] * 1000


async def main() -> None:
    """Run every row so many times and print the table."""
    with cluster(workers=1, setup="bench.agents:setup") as made:
        async with WorkerRuntime(made.address) as runtime:
            bench = Bench(runtime)
            await bench.listen()
            rows: dict[str, Callable[[], Awaitable[float]]] = {
                "events/s, 256 B, pipelined": lambda: bench.pipelined(50_000, 180),
                "events/s, 4 KiB, pipelined": lambda: bench.pipelined(20_000, 4_000),
                "events/s, 256 KiB, pipelined": lambda: bench.pipelined(1_000, 262_000),
                "events/s, 256 B, 512 tasks await each": lambda: bench.awaited_by_many(512, 80),
                "events/s, 256 B, one task awaits each": lambda: bench.awaited_by_many(1, 2_000),
                "calls/s, 64 at once": lambda: bench.calls_at_once(64, 100),
                "call, one at a time: p50 ms": lambda: bench.call_latency_ms(2_000, 0.5),
                "call, one at a time: p99 ms": lambda: bench.call_latency_ms(2_000, 0.99),
            }
            results: dict[str, list[float]] = {name: [] for name in rows}
            for _ in range(ROUNDS):
                for name, row in rows.items():
                    results[name].append(await row())
    table = Table("measure", "median", "lowest", "highest", title=_where())
    for name, values in results.items():
        digits = 2 if name.endswith("ms") else 0
        numbers = (statistics.median(values), min(values), max(values))
        table.add_row(name, *(f"{number:,.{digits}f}" for number in numbers))
    Console().print(table)


def _where() -> str:
    return (
        f"Python {platform.python_version()}, grpcio {version('grpcio')}, "
        f"protobuf {version('protobuf')}, {os.cpu_count()} cores"
    )


asyncio.run(main())
