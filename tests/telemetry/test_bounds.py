"""How much of what others wrote gets into spans: no more than can be kept and exported."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from callboard import ClosureAgent, ClosureContext, MessageContext, TypeSubscription
from callboard.core.commit import Append, Commit
from callboard.core.envelope import JSON_DATA_CONTENT_TYPE, Envelope
from callboard.core.errors import CallboardError, RemoteAgentError
from callboard.core.event import Delivery, Event, TraceContext
from callboard.core.frames import Call, CallFailure, Publish, Refusal, Reply
from callboard.core.limits import BrokerLimits
from callboard.core.session import Session
from callboard.local import LocalRuntime
from callboard.telemetry.agent_spans import AgentSpans
from callboard.telemetry.route_spans import RouteSpans
from callboard.telemetry.spans import end, parent_of, record
from callboard.wire.codec import CloudEventCodec
from telemetry.agents import Order
from telemetry.conftest import Exported
from telemetry.sink import sink

LONG = "x" * 2_000_000
MUCH = "x" * 10_000
"""Enough to be cut."""
UNWRITABLE = "no such file: a\udcff.txt"
BATCH = 512
"""Of the SDK, by default."""

NAME_CHARS, ID_CHARS, AGENT_ID_CHARS = 256, 256, 513
STATUS_CHARS, TEXT_CHARS, STACKTRACE_CHARS = 512, 1024, 3072


@pytest.fixture
def agents(exported: Exported) -> AgentSpans:
    """A runtime whose name is long too."""
    tracer = exported.provider.get_tracer("x")
    return AgentSpans(tracer, client_id=LONG, address="127.0.0.1:1")


@pytest.fixture
def routes(exported: Exported) -> RouteSpans:
    """Those of a host."""
    return RouteSpans(
        exported.provider.get_tracer("x"),
        engine="memory",
        partitions=256,
        trace_of=CloudEventCodec().trace_of,
    )


def raised(error: BaseException) -> BaseException:
    """With a traceback, and with what it was raised from."""
    error.__cause__ = KeyError(MUCH)
    error.__cause__.__cause__ = KeyError(MUCH)
    with pytest.raises(type(error)) as failure:
        raise error
    return failure.value


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(LONG),
        RuntimeError(UNWRITABLE),
        RuntimeError(UNWRITABLE + LONG),
        ExceptionGroup(LONG, [ValueError(UNWRITABLE + LONG)] * 20),
        RemoteAgentError(LONG, UNWRITABLE),
        type("X" * 5000, (Exception,), {})(LONG),
    ],
    ids=["long", "unwritable", "both", "group", "remote", "named"],
)
def test_of_an_exception_is_kept_what_can_be_exported(
    exported: Exported, error: BaseException
) -> None:
    """The beginning of its text, the end of its traceback, all of it writable."""
    span = exported.provider.get_tracer("x").start_span("x")
    record(span, RuntimeError(LONG) if isinstance(error, RemoteAgentError) else raised(error))
    end(span, error)

    (finished,) = exported.finished
    kept = {key: str(value) for key, value in (finished.events[0].attributes or {}).items()}
    kept |= {key: str(value) for key, value in (finished.attributes or {}).items()}
    kept["status"] = finished.status.description or ""
    for text in kept.values():
        text.encode()
    assert len(kept["status"]) <= STATUS_CHARS
    assert len(kept["exception.message"]) <= TEXT_CHARS
    assert len(kept["exception.stacktrace"]) <= STACKTRACE_CHARS
    assert len(kept["exception.type"]) <= NAME_CHARS
    assert len(kept["error.type"]) <= NAME_CHARS


def test_a_recorded_exception_has_the_form_of_the_convention(exported: Exported) -> None:
    """As `Span.record_exception` would write it, without ``exception.escaped``, which is over."""
    span = exported.provider.get_tracer("x").start_span("x")
    error = raised(ValueError("out of paper"))

    record(span, error)
    span.record_exception(error)
    span.end()

    ours, theirs = (dict(each.attributes or {}) for each in exported.finished[0].events)
    assert {each.name for each in exported.finished[0].events} == {"exception"}
    assert (ours["exception.type"], ours["exception.message"]) == ("ValueError", "out of paper")
    tail = "\n".join(str(theirs["exception.stacktrace"]).splitlines()[-4:])
    assert "in raised" in tail
    assert str(ours["exception.stacktrace"]).rstrip().endswith(tail)
    assert ours.keys() == theirs.keys() - {"exception.escaped"}


def test_a_batch_of_the_worst_failures_is_exported(exported: Exported) -> None:
    """A collector takes 4 MiB at a time, and so does the sink."""
    with sink() as collector:
        exporter = OTLPSpanExporter(endpoint=f"http://{collector.address}", insecure=True)
        exported.provider.add_span_processor(
            BatchSpanProcessor(exporter, max_export_batch_size=BATCH, schedule_delay_millis=60_000)
        )
        agents = AgentSpans(exported.provider.get_tracer("x"), client_id=LONG, address=None)
        error = raised(RuntimeError(UNWRITABLE + MUCH))
        for _ in range(BATCH):
            with pytest.raises(RuntimeError), agents.process_event(*_delivery(MUCH), 1):
                raise error.with_traceback(None)
        exported.provider.force_flush()

        assert collector.count == BATCH


def _delivery(text: str) -> tuple[Delivery, Envelope]:
    event = Event(b"", text, text)
    envelope = Envelope("Order", JSON_DATA_CONTENT_TYPE, b"{}", text, None, (text, text))
    return Delivery(1, (text, text), event, 1), envelope


def test_of_what_comes_from_a_wire_or_a_user_the_beginning_is_kept(
    agents: AgentSpans, routes: RouteSpans, exported: Exported
) -> None:
    """Types, ids, sources, keys, reasons, codes: in names and attributes, refused or not."""
    event, call = Event(b"", LONG, LONG), Call(1, (LONG, LONG), b"")
    agents.publish(event, LONG, None).end(None)
    agents.call(call, LONG).end(CallboardError(LONG))
    with agents.process_event(*_delivery(LONG), 1):
        pass
    with agents.process_call(call, _delivery(LONG)[1], 1):
        pass
    session = Session("session-1", "one")
    routes.arrive([Publish(1, event)])
    refused = Append(session, 1, event, (), Refusal(1, 3, LONG))
    kept = Append(session, 2, Event(b"", LONG, LONG), ((LONG, LONG),))
    routes.end(routes.begin(Commit([refused, kept])))
    routes.call("session-1", call)
    routes.answer("session-1", [Reply(1, b"", CallFailure(2, LONG, LONG))])

    assert len(exported.finished) == 7
    for span in exported.finished:
        assert len(span.name) <= NAME_CHARS + len("publish ")
        assert len(span.status.description or "") <= STATUS_CHARS
        for key, value in (span.attributes or {}).items():
            limit = AGENT_ID_CHARS if key == "gen_ai.agent.id" else ID_CHARS
            assert len(str(value)) <= limit, (span.name[:10], key)


def test_nothing_valid_is_cut(agents: AgentSpans, exported: Exported) -> None:
    """The longest type and key are whole, in the name as well."""
    name, key = "t" * NAME_CHARS, "k" * ID_CHARS
    with agents.process_call(Call(1, (name, key), b""), None, 1):
        pass

    (span,) = exported.spans
    assert span.name == f"process {name}"
    assert span.attributes["gen_ai.agent.id"] == f"{name}/{key}"


def test_of_a_trace_state_too_long_nothing_is_passed_on() -> None:
    """That in an event is as long as its publisher likes; its trace goes on."""
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    def state(tracestate: str) -> str:
        parent = parent_of(TraceContext(traceparent, tracestate))
        context = trace.get_current_span(parent).get_span_context()
        assert context.is_valid
        return context.trace_state.to_header()

    assert state("a=b") == "a=b"
    assert state(",".join(f"vendor{n}={'x' * 200}" for n in range(30))) == ""


def encoded() -> bytes:
    """An event."""
    topic, data = ("orders", "ada"), b'{"what": "much"}'
    envelope = Envelope("Order", JSON_DATA_CONTENT_TYPE, data, "id-1", None, topic)
    return CloudEventCodec().encode_event(envelope)


@pytest.mark.parametrize(("room_bytes", "is_linked"), [(0, False), (60, False), (500, True)])
async def test_the_largest_event_is_as_large_as_without_traces(
    exported: Exported, room_bytes: int, *, is_linked: bool
) -> None:
    """One without room for its trace goes without; the hop still tells of it."""
    content = encoded()
    handled: list[str] = []

    async def hear(_: ClosureContext, message: Order, ctx: MessageContext) -> None:
        handled.append(message.what)

    limits = BrokerLimits(max_event_bytes=len(content) + room_bytes)
    async with LocalRuntime(limits=limits) as runtime:
        await ClosureAgent.register_closure(
            runtime, "ear", hear, subscriptions=lambda: [TypeSubscription("orders", "ear")]
        )
        await runtime.publish_event(Event(content, "orders", "ada"))
        await runtime.stop_when_idle()

    assert handled == ["much"]
    found = exported.trace
    assert found.tree() == [
        "publish orders PRODUCER",
        "publish orders PRODUCER > route orders INTERNAL",
        "publish orders PRODUCER > route orders INTERNAL > process ear CONSUMER",
    ]
    links = found.linked(found.one("process ear"))
    assert links == (["publish orders"] if is_linked else [])
