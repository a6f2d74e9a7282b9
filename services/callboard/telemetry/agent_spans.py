"""The spans of a runtime: what its program and agents send, and the turns of its agents."""

from __future__ import annotations

from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING

from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
    Tracer,
    get_current_span,
    set_span_in_context,
)

from callboard.telemetry import names
from callboard.telemetry.harmless import harmless, nothing
from callboard.telemetry.spans import (
    context_of,
    end,
    link_to,
    parent_of,
    record,
    start,
    unrecorded_below,
)

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

    from callboard.core.envelope import Envelope
    from callboard.core.event import Address, Delivery, Event, TraceContext
    from callboard.core.frames import Call


class SentSpan:
    """The span of an event or call, from when it was sent until its sender knows how it ended.

    Attributes:
        context: What travels with what was sent; None when there is none to travel.
    """

    __slots__ = ("_span", "context")

    def __init__(self, span: Span) -> None:
        self._span = span
        self.context = context_of(span)

    def end(self, error: BaseException | None) -> None:
        """It was taken or answered, or it failed."""
        end(self._span, error)


class TurnSpan:
    """A block whose code finds the span as the current one, and which ends it."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span) -> None:
        self._span = span
        self._token: Token[Context] | None = None

    def __enter__(self) -> None:
        self._token = _make_current(self._span)

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        if self._token is not None:
            _leave(self._token)
        if error is not None:
            record(self._span, error)
        end(self._span, error)


class AgentSpans:
    """Makes the spans of one runtime; the `callboard.agent.tracing.Tracer` of a process with any.

    What is sent hangs below the span that is current where it is sent. A turn hangs below what
    travelled with its message, and is the current span while its handler runs.
    """

    def __init__(self, tracer: Tracer, *, client_id: str | None, address: str | None) -> None:
        self._tracer = tracer
        self._own: dict[str, AttributeValue] = {}
        if client_id is not None:
            self._own[names.CLIENT_ID] = client_id
        self._sent = dict(self._own)
        if address is not None:
            machine, _, port = address.rpartition(":")
            self._sent[names.SERVER_ADDRESS] = machine
            if port.isdecimal():
                self._sent[names.SERVER_PORT] = int(port)

    @harmless(instead=lambda *_: SentSpan(INVALID_SPAN))
    def publish(self, event: Event, message_id: str, created: TraceContext | None) -> SentSpan:
        """An event is published.

        One that was created in a trace of its own (``created``) keeps that: this span links to it,
        and hangs below it where no span is current. By the conventions it is then no PRODUCER.
        """
        parent = get_current()
        if created is not None and not get_current_span(parent).get_span_context().is_valid:
            parent = parent_of(created)
        return SentSpan(
            start(
                self._tracer,
                names.PUBLISH,
                event.topic_type,
                kind=SpanKind.PRODUCER if created is None else SpanKind.CLIENT,
                parent=parent,
                attributes={
                    **self._sent,
                    names.OPERATION_TYPE: names.SEND,
                    names.DESTINATION: event.topic_type,
                    **_of_event(message_id, event.topic_type, event.topic_source),
                },
                links=link_to(created),
            )
        )

    @harmless(instead=lambda *_: SentSpan(INVALID_SPAN))
    def call(self, call: Call, message_id: str) -> SentSpan:
        """An agent is called."""
        agent_type = call.target[0]
        return SentSpan(
            start(
                self._tracer,
                names.CALL,
                agent_type,
                kind=SpanKind.CLIENT,
                parent=get_current(),
                attributes={
                    **self._sent,
                    names.OPERATION_TYPE: names.SEND,
                    names.DESTINATION: agent_type,
                    names.MESSAGE_ID: message_id,
                },
            )
        )

    @harmless(instead=lambda *_: TurnSpan(INVALID_SPAN))
    def process_event(
        self, delivery: Delivery, envelope: Envelope | None, partition: int
    ) -> TurnSpan:
        """The turn of an event, for the length of the block; None for one that cannot be read."""
        created = None if envelope is None else envelope.trace
        parent = parent_of(delivery.event.hop, created)
        span = unrecorded_below(parent)  # asked before all that would be made in vain
        if span is None:
            attributes: dict[str, AttributeValue] = {names.ATTEMPT: delivery.attempt}
            if delivery.failed_turns:
                attributes[names.FAILED_TURNS] = delivery.failed_turns
            if envelope is not None and envelope.topic is not None:
                attributes[names.DESTINATION] = envelope.topic[0]
                attributes |= _of_event(envelope.message_id, *envelope.topic)
            attributes |= self._of_turn(delivery.agent, partition)
            span = start(
                self._tracer,
                names.PROCESS,
                delivery.agent[0],
                kind=SpanKind.CONSUMER,
                parent=parent,
                attributes=attributes,
                links=link_to(created),
            )
        return TurnSpan(span)

    @harmless(instead=lambda *_: TurnSpan(INVALID_SPAN))
    def process_call(self, call: Call, envelope: Envelope | None, partition: int) -> TurnSpan:
        """The turn of a call, for the length of the block; None for one that cannot be read."""
        attributes: dict[str, AttributeValue] = {names.DESTINATION: call.target[0]}
        if envelope is not None:
            attributes[names.MESSAGE_ID] = envelope.message_id
        attributes |= self._of_turn(call.target, partition)
        span = start(
            self._tracer,
            names.PROCESS,
            call.target[0],
            kind=SpanKind.SERVER,
            parent=parent_of(call.hop),
            attributes=attributes,
        )
        return TurnSpan(span)

    def _of_turn(self, agent: Address, partition: int) -> dict[str, AttributeValue]:
        agent_type, key = agent
        return {
            **self._own,
            names.OPERATION_TYPE: names.PROCESS,
            names.CONSUMER_GROUP: agent_type,
            names.PARTITION: str(partition),
            names.AGENT_NAME: agent_type,
            names.AGENT_ID: f"{agent_type}/{key}",
        }


@harmless(instead=nothing)
def _make_current(span: Span) -> Token[Context] | None:
    return attach(set_span_in_context(span, Context()))


@harmless(instead=nothing)
def _leave(token: Token[Context]) -> None:
    detach(token)


def _of_event(message_id: str, topic_type: str, topic_source: str) -> dict[str, AttributeValue]:
    return {
        names.MESSAGE_ID: message_id,
        names.EVENT_ID: message_id,
        names.EVENT_SOURCE: topic_source,
        names.EVENT_SPEC_VERSION: "1.0",
        names.EVENT_TYPE: topic_type,
    }
