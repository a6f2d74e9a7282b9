"""What gRPC alone comes to on this machine: the limits of any runtime over it, in this language."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from callboard.bench.member import Member, run_member
from callboard.bench.rows import FIRST_COUNT, WARM_UP_S, Measured, quantiles

COMMAND = (sys.executable, str(Path(__file__).with_name("bare_program.py")))

SIZE_BYTES = 256
BATCH = 256
"""Items of a message in the pipeline: as many as a frame of Callboard's has at most."""


@asynccontextmanager
async def run_echo() -> AsyncIterator[Member]:
    """A client of a server that echoes."""
    async with run_member(COMMAND) as server, run_member(COMMAND) as client:
        await client.order("connect", address=await server.order("serve"))
        yield client


async def echo(client: Member, seconds: float) -> Measured:
    """Messages a second there and back."""
    per_s: float = await client.order("echo", count=FIRST_COUNT, size_bytes=SIZE_BYTES)
    for for_s in (WARM_UP_S, seconds):
        count = max(1, int(per_s * for_s))
        per_s = await client.order("echo", count=count, size_bytes=SIZE_BYTES)
    return Measured({"messages/s": per_s})


async def ping(client: Member, seconds: float) -> Measured:
    """How long a message takes there and back."""
    took_ns = await client.order("ping", count=FIRST_COUNT, size_bytes=SIZE_BYTES)
    count = int(seconds * 1e9 / quantiles(took_ns)["p50 ms"] / 1e6)
    took_ns = await client.order("ping", count=max(1, count), size_bytes=SIZE_BYTES)
    return Measured(quantiles(took_ns), took_ns)


async def pipeline(seconds: float) -> Measured:
    """Items a second from one process over a relay to a third, `BATCH` of them a message."""
    async with AsyncExitStack() as stack:
        relay, publisher, sink = [
            await stack.enter_async_context(run_member(COMMAND)) for _ in range(3)
        ]
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
