"""What gRPC alone comes to on this machine: the limits of any runtime over it, in this language."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from callboard.bench.member import Member, run_member
from callboard.bench.rows import FIRST_COUNT, WARM_UP_S, Measured, quantiles
from callboard.bench.usage import usage_of
from callboard.wire import WITHOUT_EVENT_ENGINE

COMMAND = (sys.executable, str(Path(__file__).with_name("bare_program.py")))

AS_IN_CALLBOARD = {"GRPC_EXPERIMENTS": WITHOUT_EVENT_ENGINE}
"""gRPC runs as it does there: what is measured beside it is what Callboard adds."""

SIZE_BYTES = 256
BATCH = 256
"""Items of a message in the pipeline: as many as a frame of Callboard's has at most."""


def _run() -> AbstractAsyncContextManager[Member]:
    return run_member(COMMAND, AS_IN_CALLBOARD)


@dataclass(frozen=True)
class Echo:
    """A server that echoes, and its client."""

    server: Member
    client: Member

    def cpu_s(self) -> float:
        """Processor time of both so far."""
        usages = [usage_of(each.pid) for each in (self.server, self.client)]
        return sum(each.cpu_s for each in usages if each)


@asynccontextmanager
async def run_echo() -> AsyncIterator[Echo]:
    """An echo for the length of the block."""
    async with _run() as server, _run() as client:
        await client.order("connect", address=await server.order("serve"))
        yield Echo(server, client)


async def echo(run: Echo, seconds: float) -> Measured:
    """Messages a second there and back, and what one costs the two processes."""
    per_s = await _echo(run, FIRST_COUNT)
    per_s = await _echo(run, max(1, int(per_s * WARM_UP_S)))
    count = max(1, int(per_s * seconds))
    before_s = run.cpu_s()
    per_s = await _echo(run, count)
    return Measured({"messages/s": per_s, "CPU us": (run.cpu_s() - before_s) * 1e6 / count})


async def _echo(run: Echo, count: int) -> float:
    per_s: float = await run.client.order("echo", count=count, size_bytes=SIZE_BYTES)
    return per_s


async def ping(run: Echo, seconds: float) -> Measured:
    """How long a message takes there and back, one at a time, and what it costs."""
    took_ns = await _ping(run, FIRST_COUNT)
    count = max(1, int(seconds * 1e9 / quantiles(took_ns)["p50 ms"] / 1e6))
    before_s = run.cpu_s()
    took_ns = await _ping(run, count)
    cost_us = (run.cpu_s() - before_s) * 1e6 / count
    return Measured({**quantiles(took_ns), "CPU us": cost_us}, took_ns)


async def _ping(run: Echo, count: int) -> list[int]:
    took_ns: list[int] = await run.client.order("ping", count=count, size_bytes=SIZE_BYTES)
    return took_ns


async def pipeline(seconds: float) -> Measured:
    """Items a second from one process over a relay to a third, `BATCH` of them a message."""
    async with AsyncExitStack() as stack:
        relay, publisher, sink = [await stack.enter_async_context(_run()) for _ in range(3)]
        address = await relay.order("serve")
        for client in (publisher, sink):
            await client.order("connect", address=address)
        per_s = await _pass_on(publisher, sink, FIRST_COUNT // 4)
        for for_s in (WARM_UP_S, seconds):
            per_s = await _pass_on(publisher, sink, max(1, int(per_s * for_s / BATCH)))
        return Measured({"items/s": per_s})


async def _pass_on(publisher: Member, sink: Member, count: int) -> float:
    began_ns, ended_ns = await asyncio.gather(
        publisher.order("push", count=count, items=BATCH, size_bytes=SIZE_BYTES),
        sink.order("pull", size_bytes=SIZE_BYTES),
    )
    return count * BATCH * 1e9 / float(ended_ns - began_ns)
