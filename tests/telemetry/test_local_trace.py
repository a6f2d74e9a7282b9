"""The spans of a runtime in one process, whose program has set a tracer provider."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from opentelemetry import baggage, context, trace

from callboard import AgentId, ClosureAgent, ClosureContext, MessageContext, Policy, TopicId
from callboard.core.envelope import JSON_DATA_CONTENT_TYPE, Envelope
from callboard.core.errors import AgentNotFound, CallboardError, RemoteAgentError
from callboard.core.event import Event, TraceContext
from callboard.core.frames import Call
from callboard.local import LocalRuntime
from callboard.telemetry.agent_spans import AgentSpans
from callboard.wire.codec import CloudEventCodec
from telemetry.agents import ORDER_TREE, Order, audit, pricing
from telemetry.conftest import Exported

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = TraceContext(f"00-{TRACE_ID}-b7ad6b7169203331-01", "vendor=x")
UNSAMPLED = TraceContext(f"00-{TRACE_ID}-b7ad6b7169203331-00", "vendor=x")


async def publish(order: Order) -> None:
    """Publish one order and let all come of it."""
    async with LocalRuntime() as runtime:
        await pricing(runtime)
        await audit(runtime)
        await runtime.publish_message(order, TopicId("orders", "ada"), message_id="id-1")
        await runtime.stop_when_idle()


async def test_one_event_is_one_tree(exported: Exported) -> None:
    """Publish, route, a process for each agent, and below it what its handler did."""
    await publish(Order())

    assert exported.trace.tree() == sorted(ORDER_TREE)


async def test_what_a_handler_processes_links_to_its_publish(exported: Exported) -> None:
    """The creation context is the publisher's, over whatever hops the event came."""
    await publish(Order())

    found = exported.trace
    for name, published in (("pricing", "orders"), ("audit", "orders"), ("archive", "quotes")):
        assert found.linked(found.one(f"process {name}")) == [f"publish {published}"]
    assert not found.one("process desk").links


async def test_attributes_follow_the_conventions(exported: Exported) -> None:
    """Messaging, CloudEvents and GenAI; our own where there is no word."""
    await publish(Order())

    event = {
        "messaging.system": "callboard",
        "messaging.destination.name": "orders",
        "messaging.message.id": "id-1",
        "cloudevents.event_id": "id-1",
        "cloudevents.event_source": "ada",
        "cloudevents.event_spec_version": "1.0",
        "cloudevents.event_type": "orders",
    }
    assert exported.trace.one("publish orders").attributes == {
        **event,
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
    }
    assert exported.trace.one("route orders").attributes == {
        "messaging.system": "callboard",
        "messaging.operation.name": "route",
        "messaging.destination.name": "orders",
        "callboard.route.fan_out": 2,
        "callboard.engine": "memory",
    }
    process = exported.trace.one("process pricing").attributes
    assert process == {
        **event,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.consumer.group.name": "pricing",
        "messaging.destination.partition.id": process["messaging.destination.partition.id"],
        "gen_ai.agent.name": "pricing",
        "gen_ai.agent.id": "pricing/ada",
        "callboard.delivery.attempt": 1,
    }
    to_one, archive = exported.trace.one("route quotes"), exported.trace.one("process archive")
    partition = "messaging.destination.partition.id"
    assert to_one.attributes[partition] == archive.attributes[partition]


async def test_a_stream_is_one_tree_and_its_spans_last_as_long(exported: Exported) -> None:
    """From the caller over the host to the handler, whose answers are no spans."""
    open_spans: list[int] = []

    async def count(_: ClosureContext, message: Order, ctx: MessageContext) -> AsyncIterator[str]:
        for number in range(40):
            open_spans.append(trace.get_current_span().get_span_context().span_id)
            yield str(number)

    async with LocalRuntime() as runtime:
        await ClosureAgent.register_closure(runtime, "counter", count)
        answers = runtime.stream_message(Order(), AgentId("counter", "x"))
        assert [answer async for answer in answers] == [str(number) for number in range(40)]

    assert exported.trace.tree() == [
        "call counter CLIENT",
        "call counter CLIENT > route counter INTERNAL",
        "call counter CLIENT > route counter INTERNAL > process counter SERVER",
    ]
    process = exported.trace.one("process counter")
    assert {f"{each:016x}" for each in open_spans} == {process.span_id}


async def test_the_spans_of_a_stream_say_how_it_ended(exported: Exported) -> None:
    """An error in the middle is one of all three; to leave early is none of the caller's."""

    async def fail(_: ClosureContext, message: Order, ctx: MessageContext) -> AsyncIterator[str]:
        yield "one"
        if message.what == "fail":
            raise KeyError
        await asyncio.Event().wait()

    async with LocalRuntime() as runtime:
        await ClosureAgent.register_closure(runtime, "agent", fail)
        for what in ("fail", "leave"):
            answers = runtime.stream_message(Order(what), AgentId("agent", "x"))
            assert await anext(answers) == "one"
            if what == "fail":
                with pytest.raises(RemoteAgentError):
                    await anext(answers)
            await answers.aclose()
        await runtime.stop_when_idle()

    errors = [(span.name, span.attributes.get("error.type")) for span in exported.spans]
    assert sorted(errors, key=str) == [
        ("call agent", "KeyError"),
        ("call agent", None),
        ("process agent", "CancelledError"),
        ("process agent", "KeyError"),
        ("route agent", "CANCELLED"),
        ("route agent", "KeyError"),
    ]


async def test_names_hold_no_key(exported: Exported) -> None:
    """There may be millions of keys, and a backend lists the names."""
    await publish(Order())

    assert not [span.name for span in exported.spans if "ada" in span.name]


async def test_a_handler_that_raises_fails_its_span(exported: Exported) -> None:
    """With the exception, its class for counting, and only there."""
    await publish(Order("fail"))

    failed = exported.trace.one("process audit")
    assert failed.error == "ValueError: out of paper"
    assert failed.exceptions == ("ValueError",)
    assert failed.attributes["error.type"] == "ValueError"
    assert [span.name for span in exported.spans if span.error] == ["process audit"]


async def test_each_attempt_is_a_span_of_its_own(exported: Exported) -> None:
    """Below the same route; it tells how many turns had failed before, and how it ended."""

    async def fail_twice(agent: ClosureContext, message: Order, ctx: MessageContext) -> None:
        if ctx.attempt < 3:
            msg = f"attempt {ctx.attempt}"
            raise ValueError(msg)

    async with LocalRuntime() as runtime:
        await ClosureAgent.register_closure(
            runtime, "clumsy", fail_twice, policy=Policy(max_attempts=3, backoff_s=0.0)
        )
        await runtime.publish_message(Order(), TopicId("clumsy:x", "ada"))
        await runtime.stop_when_idle()

    turns = [span for span in exported.spans if span.name == "process clumsy"]
    assert len({span.span_id for span in turns}) == 3
    assert [span.error for span in turns] == [
        "ValueError: attempt 1",
        "ValueError: attempt 2",
        None,
    ]
    counts = [span.attributes.get("callboard.delivery.failed_turns") for span in turns]
    assert counts == [None, 1, 2]
    assert {span.attributes["callboard.delivery.attempt"] for span in turns} == {1}


async def test_an_event_that_cannot_be_read_fails_a_span_too(exported: Exported) -> None:
    """The turn had begun, so there is a span of it."""
    async with LocalRuntime() as runtime:
        await audit(runtime)
        await runtime.publish_event(Event(b"\xff", "orders", "ada"))
        await runtime.stop_when_idle()

    (failed,) = [span for span in exported.spans if span.name == "process audit"]
    assert failed.attributes["error.type"] == "INVALID_ARGUMENT"
    assert failed.exceptions == ("callboard.core.errors.InvalidMessage",)


async def test_a_call_that_fails_fails_all_its_spans(exported: Exported) -> None:
    """Caller, host and agent each saw the same end."""
    async with LocalRuntime() as runtime:
        await audit(runtime)
        with pytest.raises(RemoteAgentError):
            await runtime.send_message(Order("refuse"), AgentId("desk", "main"))

    assert exported.trace.tree() == [
        "call desk CLIENT",
        "call desk CLIENT > route desk INTERNAL",
        "call desk CLIENT > route desk INTERNAL > process desk SERVER",
    ]
    assert {span.attributes["error.type"] for span in exported.spans} == {"KeyError"}
    assert all(span.error is not None for span in exported.spans)


async def test_a_call_that_nobody_can_take_has_no_process(exported: Exported) -> None:
    """The host answered it."""
    async with LocalRuntime() as runtime:
        with pytest.raises(AgentNotFound):
            await runtime.send_message(Order(), AgentId("nobody", "x"))

    assert exported.trace.tree() == [
        "call nobody CLIENT",
        "call nobody CLIENT > route nobody INTERNAL",
    ]
    assert {span.attributes["error.type"] for span in exported.spans} == {"NOT_FOUND"}


async def test_a_cancelled_call_ends_every_span(
    exported: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    """None stays open, and the handler's context is left where it was entered."""
    entered = asyncio.Event()

    async def hold(_: ClosureContext, message: Order, ctx: MessageContext) -> None:
        entered.set()
        await asyncio.Event().wait()

    async with LocalRuntime() as runtime:
        await ClosureAgent.register_closure(runtime, "slow", hold)
        calling = asyncio.create_task(runtime.send_message(Order(), AgentId("slow", "x")))
        await entered.wait()
        calling.cancel()
        await asyncio.wait([calling])
        await runtime.stop_when_idle()

    assert exported.trace.tree() == [
        "call slow CLIENT",
        "call slow CLIENT > route slow INTERNAL",
        "call slow CLIENT > route slow INTERNAL > process slow SERVER",
    ]
    assert exported.trace.one("call slow").attributes["error.type"] == "CancelledError"
    assert exported.trace.one("route slow").attributes["error.type"] == "CANCELLED"
    assert exported.trace.one("process slow").attributes["error.type"] == "CancelledError"
    assert not [each for each in caplog.records if each.levelno > logging.WARNING]


async def test_turns_do_not_see_each_other_s_span(exported: Exported) -> None:
    """One task serves an agent; each of its turns hangs below its own event."""
    async with LocalRuntime() as runtime:
        await pricing(runtime)
        await audit(runtime)
        for _ in range(3):
            await runtime.publish_message(Order(), TopicId("orders", "ada"))
        await runtime.stop_when_idle()

    trees: dict[str, int] = {}
    for span in exported.spans:
        trees[span.trace_id] = trees.get(span.trace_id, 0) + 1
    assert list(trees.values()) == [len(ORDER_TREE)] * 3


def test_a_turn_inherits_only_what_travelled(exported: Exported) -> None:
    """Neither baggage nor span of whoever happens to run it; which are theirs again afterwards."""
    spans = AgentSpans(exported.provider.get_tracer("x"), client_id=None, address=None)
    call = Call(1, ("desk", "main"), b"", hop=SAMPLED)

    token = context.attach(baggage.set_baggage("who", "somebody else"))
    try:
        with spans.process_call(call, None, 1):
            assert trace.get_current_span().is_recording()
            assert not baggage.get_all()
        assert dict(baggage.get_all()) == {"who": "somebody else"}
    finally:
        context.detach(token)

    (span,) = exported.spans
    assert span.parent_id == SAMPLED.traceparent.split("-")[2]


async def test_what_is_sent_hangs_below_the_current_span(exported: Exported) -> None:
    """A program's own span is the root."""
    with exported.provider.get_tracer("program").start_as_current_span("job"):
        await publish(Order())

    assert exported.trace.one("publish orders").parent_id == exported.trace.one("job").span_id


async def test_an_unsampled_trace_is_passed_on_and_not_recorded(exported: Exported) -> None:
    """Its agents still find it, for what they send elsewhere."""
    found: list[str] = []

    async def hear(_: ClosureContext, message: Order, ctx: MessageContext) -> None:
        current = trace.get_current_span().get_span_context()
        found.append(f"{current.trace_id:032x} {current.trace_state.to_header()}")
        assert not current.trace_flags.sampled

    async with LocalRuntime() as runtime:
        await ClosureAgent.register_closure(runtime, "ear", hear)
        above = trace.set_span_in_context(
            trace.NonRecordingSpan(
                trace.SpanContext(
                    int(TRACE_ID, 16), 1, is_remote=True, trace_state=trace.TraceState([("a", "b")])
                )
            )
        )
        token = context.attach(above)
        await runtime.send_message(Order(), AgentId("ear", "x"))
        context.detach(token)

    assert found == [f"{TRACE_ID} a=b"]
    assert exported.spans == []


def encoded(created: TraceContext | None) -> Event:
    """An event that was encoded elsewhere."""
    envelope = Envelope(
        "Order", JSON_DATA_CONTENT_TYPE, b'{"what": "traceparent"}', "id-1", None, ("orders", "ada")
    )
    return Event(CloudEventCodec().encode_event(envelope._replace(trace=created)), "orders", "ada")


async def test_an_event_keeps_the_trace_that_it_was_created_in(exported: Exported) -> None:
    """Its publish is part of that trace, and no PRODUCER: it is not where the event began."""
    async with LocalRuntime() as runtime:
        await audit(runtime)
        await runtime.publish_event(encoded(SAMPLED))
        await runtime.stop_when_idle()

    assert {span.trace_id for span in exported.spans} == {TRACE_ID}
    published, process = (
        next(span for span in exported.spans if span.name == name)
        for name in ("publish orders", "process audit")
    )
    assert (published.kind, published.parent_id) == ("CLIENT", "b7ad6b7169203331")
    assert published.links == process.links == ("b7ad6b7169203331",)


async def test_an_event_without_a_trace_gets_its_publisher_s(exported: Exported) -> None:
    """Also one that was encoded elsewhere, and whose data looks like one."""
    async with LocalRuntime() as runtime:
        await audit(runtime)
        await runtime.publish_event(encoded(None))
        await runtime.stop_when_idle()

    found = exported.trace
    assert found.linked(found.one("process audit")) == ["publish orders"]
    assert found.one("process audit").attributes["messaging.message.id"] == "id-1"


async def test_an_unsampled_event_leaves_no_span(exported: Exported) -> None:
    """Whoever published it had decided."""
    async with LocalRuntime() as runtime:
        await audit(runtime)
        await runtime.publish_event(encoded(UNSAMPLED))
        await runtime.stop_when_idle()

    assert exported.spans == []


async def test_pipelined_events_are_traced_each(exported: Exported) -> None:
    """`publish_many` is many publishes."""
    async with LocalRuntime() as runtime:
        await audit(runtime)
        await runtime.publish_many([Order()] * 5, TopicId("orders", "ada"))
        await runtime.stop_when_idle()

    assert len({span.trace_id for span in exported.spans}) == 5
    assert len(exported.spans) == 15


async def test_a_refused_publish_fails_its_spans(exported: Exported) -> None:
    """That of the publisher and that of the host."""
    async with LocalRuntime() as runtime:
        refused = runtime.publish_event(Event(encoded(None).content, "bad type", "ada"))
        with pytest.raises(CallboardError):
            await refused

    assert exported.trace.tree() == [
        "publish bad type PRODUCER",
        "publish bad type PRODUCER > route bad type INTERNAL",
    ]
    assert {span.attributes["error.type"] for span in exported.spans} == {"INVALID_ARGUMENT"}
