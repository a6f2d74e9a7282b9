"""What telemetry costs where nobody wants it: nothing."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import context, trace

from callboard import TopicId
from callboard.host import Host
from callboard.local import LocalRuntime
from callboard.worker import WorkerRuntime
from telemetry.agents import Order, audit

TESTS = Path(__file__).parent.parent

BUSY = """
import asyncio, sys
from callboard import AgentId, ClosureAgent, ClosureContext, MessageContext, TopicId
from callboard import TypeSubscription
from callboard.host import Host
from callboard.local import LocalRuntime
from callboard.worker import WorkerRuntime
import callboard.cli.call, callboard.cli.host, callboard.cli.publish, callboard.cli.worker
import callboard_samples.command

async def use(runtime):
    async def hear(_: ClosureContext, message: str, ctx: MessageContext) -> str:
        return message
    await ClosureAgent.register_closure(
        runtime, "ear", hear, subscriptions=lambda: [TypeSubscription("news", "ear")]
    )
    await runtime.publish_message("hello", TopicId("news", "x"))
    assert await runtime.send_message("hello", AgentId("ear", "x")) == "hello"

async def main():
    async with LocalRuntime() as runtime:
        await use(runtime)
    async with Host(port=0) as host, WorkerRuntime(host.address) as runtime:
        await use(runtime)

asyncio.run(main())
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


def test_a_process_without_traces_never_imports_opentelemetry() -> None:
    """Its import alone takes a tenth of a second."""
    done = subprocess.run(
        [sys.executable, "-c", BUSY], capture_output=True, check=True, text=True, cwd=TESTS
    )

    assert done.stdout.strip() == "[]"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts every span, context and link that anybody makes, and every question for a tracer."""
    counts: Counter[str] = Counter()

    def count(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def counting(*args: Any, **named: Any) -> Any:
            counts[f"{owner.__name__}.{name}"] += 1
            return original(*args, **named)

        monkeypatch.setattr(owner, name, counting)

    for tracer in (trace.NoOpTracer, trace.ProxyTracer):
        count(tracer, "start_span")
        count(tracer, "start_as_current_span")
    count(trace.NonRecordingSpan, "__init__")
    count(trace.Link, "__init__")
    for name in ("get_tracer", "get_current_span", "set_span_in_context"):
        count(trace, name)
    for name in ("attach", "detach", "get_current", "set_value"):
        count(context, name)
    return counts


async def test_without_a_provider_a_message_touches_no_tracer(counted: Counter[str]) -> None:
    """Even in a program that has OpenTelemetry imported."""
    assert "opentelemetry.trace" in sys.modules

    async with LocalRuntime() as local:
        await audit(local)
        await local.publish_message(Order(), TopicId("orders", "x"))
        await local.stop_when_idle()
    async with Host(port=0) as host, WorkerRuntime(host.address) as remote:
        await audit(remote)
        await remote.publish_many([Order()] * 10, TopicId("orders", "x"))

    assert counted == {}
