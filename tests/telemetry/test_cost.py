"""What telemetry costs where nobody wants it: nothing."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.sdk.trace import Tracer, TracerProvider

from callboard import AgentId, TopicId
from callboard.core.envelope import JSON_DATA_CONTENT_TYPE, Envelope
from callboard.core.event import Event, TraceContext
from callboard.host import Host
from callboard.local import LocalRuntime
from callboard.telemetry.active import agent_spans
from callboard.wire.codec import CloudEventCodec
from callboard.worker import WorkerRuntime
from telemetry.agents import Order, audit
from telemetry.conftest import Exported

TESTS = Path(__file__).parent.parent

UNSAMPLED = Event(
    CloudEventCodec().encode_event(
        Envelope(
            *("Order", JSON_DATA_CONTENT_TYPE, b"{}", "1", None, ("orders", "x")),
            TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "a=b"),
        )
    ),
    "orders",
    "x",
)

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
    """Counts what is made for spans, and what is asked, from here on.

    At the classes that all of it goes through: what a module has imported by name is counted too.
    """
    counts: Counter[str] = Counter()

    def count(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def counting(*args: Any, **named: Any) -> Any:
            counts[f"{owner.__name__}.{name}"] += 1
            return original(*args, **named)

        monkeypatch.setattr(owner, name, counting)

    for tracer in (Tracer, trace.NoOpTracer, trace.ProxyTracer):
        count(tracer, "start_span")
    for made in (trace.NonRecordingSpan, trace.Link, trace.TraceState, context.Context):
        count(made, "__init__")
    count(trace.SpanContext, "__new__")
    for name in ("attach", "detach", "get_current"):
        count(ContextVarsRuntimeContext, name)
    return counts


async def work() -> None:
    """Publish, handle, call and fail, in one process and over a host; some of it unsampled."""
    async with LocalRuntime() as local:
        await audit(local)
        await local.publish_message(Order(), TopicId("orders", "x"))
        await local.publish_message(Order("fail"), TopicId("orders", "x"))
        await local.publish_event(UNSAMPLED)
        assert await local.send_message(Order("x"), AgentId("desk", "main")) == "x"
        await local.stop_when_idle()
    async with Host(port=0) as host, WorkerRuntime(host.address) as remote:
        await audit(remote)
        await remote.publish_many([Order()] * 10, TopicId("orders", "x"))
        assert await remote.send_message(Order("x"), AgentId("desk", "main")) == "x"


async def test_without_a_provider_a_message_touches_no_tracer(counted: Counter[str]) -> None:
    """Even in a program that has OpenTelemetry imported."""
    assert "opentelemetry.trace" in sys.modules

    await work()

    assert counted == {}


async def test_with_a_provider_all_that_is_counted_happens(
    counted: Counter[str], exported: Exported
) -> None:
    """Else the test above would say nothing."""
    await work()
    trace.ProxyTracer("x").start_span("x")

    assert sorted(counted) == [
        "Context.__init__",
        "ContextVarsRuntimeContext.attach",
        "ContextVarsRuntimeContext.detach",
        "ContextVarsRuntimeContext.get_current",
        "Link.__init__",
        "NoOpTracer.start_span",
        "NonRecordingSpan.__init__",
        "ProxyTracer.start_span",
        "SpanContext.__new__",
        "TraceState.__init__",
        "Tracer.start_span",
    ]


def test_a_provider_that_is_switched_off_is_none(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OTEL_SDK_DISABLED is read when one is made, by the SDK."""
    assert agent_spans() is not None
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    monkeypatch.setattr(exported, "provider", TracerProvider(shutdown_on_exit=False))

    assert agent_spans() is None
