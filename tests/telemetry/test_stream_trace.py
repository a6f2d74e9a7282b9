"""Traces over real streams: a host and workers, here in one process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.instrumentation.grpc import GrpcAioInstrumentorClient, GrpcAioInstrumentorServer

from callboard import (
    AgentId,
    ClosureAgent,
    ClosureContext,
    MessageContext,
    RoutedAgent,
    TopicId,
    event,
    type_subscription,
)
from callboard.core.errors import AlreadyRegistered, CallboardError, Unavailable
from callboard.host import Host
from callboard.worker import WorkerRuntime
from telemetry.agents import ORDER_TREE, Order, audit, pricing
from telemetry.conftest import Exported
from telemetry.seen import Seen, Trace

PATIENCE_S = 20.0


def of_callboard(exported: Exported) -> list[Seen]:
    """Without spans of gRPC."""
    return [span for span in exported.spans if not span.name.startswith("/")]


async def until(exported: Exported, count: int) -> None:
    """Wait until there are so many of our spans: settlements are told after their publishes."""
    async with asyncio.timeout(PATIENCE_S):
        while len(of_callboard(exported)) < count:
            await asyncio.sleep(0)


async def order(address: str, exported: Exported) -> None:
    """Publish one order to agents on two workers."""
    async with (
        WorkerRuntime(address, client_id="one") as one,
        WorkerRuntime(address, client_id="two") as two,
        WorkerRuntime(address, client_id="shop") as shop,
    ):
        await pricing(one)
        await audit(two)
        await shop.publish_message(Order(), TopicId("orders", "ada"))
        await until(exported, len(ORDER_TREE))


async def test_the_tree_is_the_same_over_a_host(exported: Exported) -> None:
    """As in one process."""
    async with Host(port=0) as host:
        await order(host.address, exported)
        port = int(host.address.rpartition(":")[2])

    assert exported.trace.tree() == sorted(ORDER_TREE)
    published = exported.trace.one("publish orders").attributes
    assert published["messaging.client.id"] == "shop"
    assert (published["server.address"], published["server.port"]) == ("127.0.0.1", port)
    assert exported.trace.one("process audit").attributes["messaging.client.id"] == "two"


async def test_a_redelivery_is_one_more_span_with_its_attempt(
    exported: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    """Below the same route; the turn that its worker's end broke off has failed."""
    entered = asyncio.Event()

    @type_subscription("orders")
    class Slow(RoutedAgent):
        """Holds its first event for ever."""

        def __init__(self) -> None:
            super().__init__("is slow")

        @event
        async def on_order(self, message: Order, ctx: MessageContext) -> None:
            """Hold the first."""
            if not entered.is_set():
                entered.set()
                await asyncio.Event().wait()

    async with Host(port=0) as host, WorkerRuntime(host.address) as shop:
        async with WorkerRuntime(host.address, drain_timeout_s=0) as first:
            await Slow.register(first, "slow", Slow)
            await shop.publish_message(Order(), TopicId("orders", "ada"))
            await entered.wait()
        async with WorkerRuntime(host.address) as second:
            await Slow.register(second, "slow", Slow)
            await until(exported, 4)

    assert exported.trace.tree() == [
        "publish orders PRODUCER",
        "publish orders PRODUCER > route orders INTERNAL",
        "publish orders PRODUCER > route orders INTERNAL > process slow CONSUMER",
        "publish orders PRODUCER > route orders INTERNAL > process slow CONSUMER",
    ]
    turns = [span for span in exported.spans if span.name == "process slow"]
    assert [
        (span.attributes["callboard.delivery.attempt"], span.attributes.get("error.type"))
        for span in turns
    ] == [(1, "CancelledError"), (2, None)]
    assert not [each for each in caplog.records if each.levelno > logging.WARNING]


async def test_a_call_ends_with_its_caller(exported: Exported) -> None:
    """The host holds no span of a session that is over."""
    entered = asyncio.Event()

    async def hold(_: ClosureContext, message: Order, ctx: MessageContext) -> None:
        entered.set()
        await asyncio.Event().wait()

    async with Host(port=0) as host, WorkerRuntime(host.address) as worker:
        await ClosureAgent.register_closure(worker, "slow", hold)
        async with WorkerRuntime(host.address, client_id="shop", drain_timeout_s=0) as shop:
            calling = asyncio.create_task(shop.send_message(Order(), AgentId("slow", "x")))
            await entered.wait()
        with pytest.raises(Unavailable):
            await calling
        await until(exported, 3)

    assert {span.name: span.attributes["error.type"] for span in exported.trace.spans} == {
        "call slow": "UNAVAILABLE",
        "route slow": "UNAVAILABLE",
        "process slow": "CancelledError",
    }


@pytest.fixture
def instrumented(exported: Exported) -> Iterator[Exported]:
    """A program that has all gRPC of its process instrumented, streams too."""
    classes: list[Any] = [GrpcAioInstrumentorServer, GrpcAioInstrumentorClient]  # not annotated
    instrumentors = [each() for each in classes]
    for each in instrumentors:
        each.instrument(tracer_provider=exported.provider)
    yield exported
    for each in instrumentors:
        each.uninstrument()


async def test_our_streams_survive_an_instrumented_grpc(instrumented: Exported) -> None:
    """Its never-ending span of the stream becomes nobody's parent."""
    async with Host(port=0) as host:
        await order(host.address, instrumented)

    assert Trace(of_callboard(instrumented)).tree() == sorted(ORDER_TREE)


async def test_the_end_of_an_instrumented_stream_keeps_its_reason(instrumented: Exported) -> None:
    """A worker whose name was taken hears so."""
    async with (
        Host(port=0) as host,
        WorkerRuntime(host.address, client_id="one") as first,
        WorkerRuntime(host.address, client_id="one"),
    ):
        with pytest.raises(AlreadyRegistered):
            await first.wait()
        with pytest.raises(CallboardError):
            await first.publish_message(Order(), TopicId("orders", "ada"))
