"""The spans of a broker, without one."""

from __future__ import annotations

import gc
import weakref
from time import time_ns

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from callboard.core.commit import Append, Commit
from callboard.core.event import Event, TraceContext
from callboard.core.frames import Call, CallFailure, Publish, Refusal, Reply
from callboard.core.session import Session
from callboard.telemetry import route_spans
from callboard.telemetry.route_spans import RouteSpans
from callboard.telemetry.spans import is_unsampled
from callboard.wire.codec import CloudEventCodec
from callboard.wire.v1.cloudevent_pb2 import CloudEvent
from telemetry.conftest import Exported

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CREATED = TraceContext(f"00-{TRACE_ID}-00000000000000c1-01")
HOP = TraceContext(f"00-{TRACE_ID}-00000000000000a1-01", "vendor=x")
UNSAMPLED = TraceContext(f"00-{TRACE_ID}-00000000000000a1-00", "vendor=x")
SESSION = Session("session-1", "one")


class SessionId(str):
    """One that a weak reference can be had to."""

    __slots__ = ("__weakref__",)


@pytest.fixture
def spans(exported: Exported) -> RouteSpans:
    """Those of a host."""
    return RouteSpans(
        exported.provider.get_tracer("x"),
        engine="memory",
        partitions=256,
        trace_of=CloudEventCodec().trace_of,
    )


def event(hop: TraceContext | None, created: TraceContext | None = None) -> Event:
    """An event that was created in one context and came over a hop in another."""
    content = CloudEvent(id="1", source="x", spec_version="1.0", type="t").SerializeToString()
    if created is not None:
        content = CloudEventCodec().with_trace(content, created)
    return Event(content, "t", "x", None, hop)


def route(spans: RouteSpans, *events: Event) -> None:
    """Let events come, and the engine keep them."""
    spans.arrive([Publish(number, each) for number, each in enumerate(events, 1)])
    appends = [Append(SESSION, n, each, (("a", "x"),)) for n, each in enumerate(events, 1)]
    spans.end(spans.begin(Commit(appends)))


@pytest.mark.parametrize(
    ("hop", "created", "parent_id"),
    [
        (HOP, CREATED, "00000000000000a1"),
        (None, CREATED, "00000000000000c1"),
        (TraceContext("of no form"), None, ""),
        (None, TraceContext("of no form"), ""),
        (None, None, ""),
    ],
)
def test_the_hop_goes_before_the_event_s_own_context(
    spans: RouteSpans,
    exported: Exported,
    hop: TraceContext | None,
    created: TraceContext | None,
    parent_id: str,
) -> None:
    """A publisher that knows only CloudEvents is traced as well; what cannot be read is none."""
    came = event(hop, created)
    content = came.content

    route(spans, came)

    (span,) = exported.spans
    assert span.parent_id == parent_id
    assert came.hop is not None
    assert came.hop.traceparent.startswith(f"00-{span.trace_id}-{span.span_id}-0")
    assert came.content == content


def test_the_span_of_an_event_that_waited_for_room_begins_with_its_arrival(
    spans: RouteSpans,
) -> None:
    """However many commits have passed."""
    came = event(HOP)
    spans.arrive([Publish(1, came)])
    spans.end(spans.begin(Commit()))

    began_at_ns = time_ns()
    (span,) = spans.begin(Commit([Append(SESSION, 1, came, (("a", "x"),), waited_s=2.0)]))

    assert isinstance(span, ReadableSpan)
    assert span.start_time is not None
    assert 1.0 < (began_at_ns - span.start_time) / 1e9 <= 2.0


def test_the_hop_keeps_the_vendors_state(spans: RouteSpans) -> None:
    """W3C: who does not know it passes it on."""
    came = event(HOP)

    route(spans, came)

    assert came.hop is not None
    assert came.hop.tracestate == "vendor=x"


def test_an_unsampled_hop_is_passed_on(spans: RouteSpans, exported: Exported) -> None:
    """As it came."""
    came = event(UNSAMPLED)
    call = Call(1, ("a", "x"), b"", hop=UNSAMPLED)

    route(spans, came)
    spans.call("session-1", call)

    assert came.hop is call.hop is UNSAMPLED
    assert exported.spans == []


def test_an_event_without_a_hop_that_was_created_unsampled_hands_that_on(
    spans: RouteSpans, exported: Exported
) -> None:
    """So that no host or worker behind begins a trace of its own."""
    came = event(None, UNSAMPLED)

    route(spans, came)

    assert came.hop == UNSAMPLED
    assert exported.spans == []


def test_a_hop_of_no_form_hides_no_event(spans: RouteSpans, exported: Exported) -> None:
    """However much it looks like one that is not sampled; its call neither."""
    garbage = TraceContext("x" * 54 + "0")
    came, call = event(garbage), Call(1, ("a", "x"), b"", hop=garbage)

    route(spans, came)
    spans.call("session-1", call)
    spans.leave("session-1")

    assert [span.name for span in exported.spans] == ["route t", "route a"]
    assert came.hop is not garbage
    assert call.hop is not garbage


def test_a_route_begins_when_its_event_arrives(
    spans: RouteSpans, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long its broker took to know its targets; what arrived earlier counts no more."""
    first, second = event(None), event(None)
    for now_ns, each in ((1000, first), (2000, second)):
        monkeypatch.setattr(route_spans, "time_ns", lambda now_ns=now_ns: now_ns)
        spans.arrive([Publish(1, each)])
    spans.end(spans.begin(Commit([Append(SESSION, 1, each, ()) for each in (second, first)])))
    spans.end(spans.begin(Commit([Append(SESSION, 2, first, ())])))

    begun = [span.start_time for span in exported.finished]
    assert begun[:2] == [2000, 1000]
    assert (begun[2] or 0) > 2000


def test_a_refusal_is_the_span_s_error(spans: RouteSpans, exported: Exported) -> None:
    """With the code that the publisher is told."""
    append = Append(SESSION, 1, event(HOP), (), Refusal(1, 8, "the queues are full"))

    spans.end(spans.begin(Commit([append])))

    (span,) = exported.spans
    assert (span.error, span.attributes["error.type"]) == (
        "the queues are full",
        "RESOURCE_EXHAUSTED",
    )


def test_nothing_is_kept_of_what_is_over(spans: RouteSpans, exported: Exported) -> None:
    """Answered, cancelled, lost with its session: each call's span ends once."""
    session_id = SessionId("session-1")
    for call_id in (1, 2, 3, 4):
        spans.call(session_id, Call(call_id, ("a", "x"), b"", hop=HOP))
    spans.call(session_id, Call(1, ("a", "x"), b"", hop=HOP))  # a repeated frame

    spans.answer(session_id, [Reply(1, b""), Reply(1, b""), Reply(7, b"")])
    spans.answer(session_id, [Reply(2, b"", CallFailure(99, "of a later version"))])
    spans.cancel(session_id, 3)
    spans.cancel(session_id, 3)
    spans.leave(session_id)
    spans.leave(session_id)

    kept = weakref.ref(session_id)
    del session_id
    gc.collect()
    assert kept() is None
    assert [span.attributes.get("error.type") for span in exported.spans] == [
        None,
        "99",
        "CANCELLED",
        "UNAVAILABLE",
    ]


@pytest.mark.parametrize(
    ("traceparent", "expected"),
    [
        (f"00-{TRACE_ID}-00000000000000a1-00", True),
        (f"00-{TRACE_ID}-00000000000000a1-02", True),
        (f"00-{TRACE_ID}-00000000000000a1-01", False),
        (f"00-{TRACE_ID}-00000000000000a1-03", False),
        (f"01-{TRACE_ID}-00000000000000a1-00-more", False),
        (f"00-{TRACE_ID}-00000000000000a1-00-more", False),
        (f"00-{'0' * 32}-00000000000000a1-00", False),
        (f"00-{TRACE_ID}-{'0' * 16}-00", False),
        (f"00-{TRACE_ID.upper()}-00000000000000a1-00", False),
        ("x" * 54 + "0", False),
        (f"00-{TRACE_ID}_00000000000000a1-00", False),
        (f"00-{TRACE_ID}-00000000000000a1-00\n", False),
        ("", False),
    ],
)
def test_whether_it_is_sampled_stands_in_the_last_bit(traceparent: str, *, expected: bool) -> None:
    """W3C Trace Context, section "trace-flags"; a form not known is left to its reader."""
    assert is_unsampled(TraceContext(traceparent)) is expected
    assert is_unsampled(None) is False
