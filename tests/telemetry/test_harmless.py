"""Whatever happens to spans, what they are of ends as it would without them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor

from callboard import (
    AgentId,
    AgentRuntime,
    MessageContext,
    Policy,
    RoutedAgent,
    TopicId,
    event,
    rpc,
    type_subscription,
)
from callboard.core.errors import RemoteAgentError
from callboard.core.event import TraceContext
from callboard.core.frames import Call
from callboard.host import Host
from callboard.local import LocalRuntime
from callboard.telemetry.agent_spans import AgentSpans
from callboard.telemetry.route_spans import RouteSpans
from callboard.telemetry.spans import end
from callboard.wire.codec import CloudEventCodec
from callboard.worker import WorkerRuntime
from telemetry.agents import Order
from telemetry.conftest import Exported


class Silent(Exception):
    """Has a text that cannot be had."""

    def __str__(self) -> str:
        raise ValueError("str is broken")


HAD_NONE = "<its text cannot be had: ValueError>"


@type_subscription("orders")
class Careless(RoutedAgent):
    """Fails in that way, unless it is asked to answer."""

    policy = Policy(max_attempts=1)

    def __init__(self) -> None:
        super().__init__("fails")

    @event
    async def on_event(self, message: Order, ctx: MessageContext) -> None:
        raise Silent

    @rpc
    async def on_call(self, message: Order, ctx: MessageContext) -> str:
        if message.what == "fail":
            raise Silent
        return message.what


async def use(runtime: AgentRuntime) -> list[str]:
    """Publish, call, and call what fails: how that ended."""
    await Careless.register(runtime, "careless", Careless)
    await runtime.publish_message(Order(), TopicId("orders", "x"))
    answer = await runtime.send_message(Order("fine"), AgentId("careless", "x"))
    with pytest.raises(RemoteAgentError) as failed:
        await runtime.send_message(Order("fail"), AgentId("careless", "x"))
    return [answer, str(failed.value)]


async def local() -> list[str]:
    """In one process, with the reason of the dead letter."""
    async with LocalRuntime() as runtime:
        ended = await use(runtime)
        await runtime.stop_when_idle()
        return [*ended, *(letter.detail for letter in await runtime.dead_letters())]


async def remote() -> list[str]:
    """Over a host, which stays at work."""
    async with Host(port=0) as host, WorkerRuntime(host.address) as runtime:
        ended = await use(runtime)
        await runtime.publish_many([Order()] * 3, TopicId("nobody", "x"))
        return ended


ENDED = ["fine", f"Silent: {HAD_NONE}"]


async def test_an_exception_without_a_text_ends_its_turn_as_ever(exported: Exported) -> None:
    """Its spans say what the caller and the dead letter say."""
    assert await local() == [*ENDED, f"Silent: {HAD_NONE}"]

    recorded = [dict(each.attributes or {}) for span in exported.finished for each in span.events]
    assert [(each["exception.type"], each["exception.message"]) for each in recorded] == [
        ("telemetry.test_harmless.Silent", HAD_NONE)
    ] * 2
    turns = [span for span in exported.spans if span.name == "process careless" and span.error]
    assert [span.error for span in turns] == [f"Silent: {HAD_NONE}"] * 2
    assert {span.attributes["error.type"] for span in exported.spans if span.error} == {"Silent"}


def test_an_error_without_a_text_fails_a_span(exported: Exported) -> None:
    """Also one that no agent raised."""
    end(exported.provider.get_tracer("x").start_span("x"), Silent())

    (span,) = exported.spans
    assert (span.error, span.attributes["error.type"]) == (HAD_NONE, "Silent")


class Broken(SpanProcessor):
    """Raises when a span does what it was made for."""

    def __init__(self, moment: str) -> None:
        self._moment = moment

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self._at("start")

    def on_end(self, span: Any) -> None:
        self._at("end")

    def _at(self, moment: str) -> None:
        if moment == self._moment:
            raise LookupError(f"broken at the {moment}")


class BrokenProvider(trace.TracerProvider):
    """Of another vendor; its spans can do nothing."""

    def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
        return BrokenTracer()


class BrokenTracer(trace.Tracer):
    """Makes them."""

    def start_span(self, *_: Any, **__: Any) -> trace.Span:
        return BrokenSpan()

    def start_as_current_span(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError


class BrokenSpan(trace.NonRecordingSpan):
    """Cannot be asked anything."""

    def __init__(self) -> None:
        super().__init__(trace.INVALID_SPAN_CONTEXT)

    def _fail(self, *_: Any, **__: Any) -> NoReturn:
        raise LookupError("broken")

    end = is_recording = _fail

    def get_span_context(self) -> NoReturn:
        self._fail()


@pytest.fixture(params=["start", "end", "all"])
def broken(
    request: pytest.FixtureRequest, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Exported]:
    """The program's tracing has a defect."""
    if request.param == "all":
        monkeypatch.setattr(trace, "get_tracer_provider", BrokenProvider)
    else:
        exported.provider.add_span_processor(Broken(request.param))
    yield exported
    exported.failures.clear()


async def test_a_program_s_broken_tracing_changes_no_outcome(
    broken: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither of turns, publishes and calls, nor of the host's work; each defect is told once."""
    for _ in range(2):
        assert await local() == [*ENDED, f"Silent: {HAD_NONE}"]
        assert await remote() == ENDED

    told = [each for each in caplog.messages if "traces are incomplete" in each]
    assert len(told) == len(broken.failures) > 0


def test_where_a_span_cannot_begin_the_one_above_is_passed_on(exported: Exported) -> None:
    """What a handler sends from there is still part of the trace."""
    exported.provider.add_span_processor(Broken("start"))
    spans = AgentSpans(exported.provider.get_tracer("x"), client_id=None, address=None)
    hop = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=b")

    with spans.process_call(Call(1, ("a", "x"), b"", hop=hop), None, 1):
        sent = spans.call(Call(1, ("a", "x"), b""), "id")
    exported.failures.clear()

    assert sent.context == hop


def test_a_span_that_cannot_end_keeps_no_other_from_it(exported: Exported) -> None:
    """Of a session that is over."""
    exported.provider.add_span_processor(Broken("end"))
    spans = RouteSpans(
        exported.provider.get_tracer("x"),
        engine="memory",
        partitions=1,
        trace_of=CloudEventCodec().trace_of,
    )
    for call_id in (1, 2, 3):
        spans.call("session-1", Call(call_id, ("a", "x"), b""))

    spans.leave("session-1")
    exported.failures.clear()

    assert len(exported.spans) == 3
