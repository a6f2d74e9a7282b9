"""What all of our spans have in common: how they begin and fail, how their context travels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from callboard.core.errors import CallboardError, RemoteAgentError
from callboard.core.event import TraceContext
from callboard.telemetry.names import CALLBOARD, ERROR_TYPE, OPERATION_NAME, SYSTEM

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

_W3C = TraceContextTextMapPropagator()
"""Not what OTEL_PROPAGATORS names: the fields of frames and events hold W3C's form, always."""

_NAME_CHARS = 256
"""Of a type; a longer one is none, and its event or call is refused."""

_CONTEXT_CHARS = 55
"""Of a traceparent of version 00."""


def start(
    tracer: Tracer,
    operation: str,
    subject: str,
    *,
    kind: SpanKind,
    parent: Context,
    attributes: dict[str, AttributeValue],
    links: Sequence[Link] = (),
    start_time_ns: int | None = None,
) -> Span:
    """Begin ``operation subject`` under the span in ``parent``, which may hold none."""
    unrecorded = unrecorded_below(parent)
    if unrecorded is not None:
        return unrecorded
    attributes[SYSTEM] = CALLBOARD
    attributes[OPERATION_NAME] = operation
    return tracer.start_span(
        f"{operation} {subject[:_NAME_CHARS]}", parent, kind, attributes, links, start_time_ns
    )


def unrecorded_below(parent: Context) -> Span | None:
    """What stands for a span below one that is not sampled; None when that is, or there is none.

    Nothing is recorded there, whatever the sampler here would say; the context above is passed on.
    """
    above = get_current_span(parent).get_span_context()
    if above.is_valid and not above.trace_flags.sampled:
        return NonRecordingSpan(above)
    return None


def end(span: Span, error: BaseException | None) -> None:
    """End ``span``, with ``error`` when there is one."""
    if error is not None:
        fail(span, error_type_of(error), _text_of(error))
    span.end()


def fail(span: Span, error_type: str, text: str) -> None:
    """Say that what ``span`` stands for has failed."""
    if span.is_recording():
        span.set_attribute(ERROR_TYPE, error_type)
        span.set_status(Status(StatusCode.ERROR, text))


def record(span: Span, error: BaseException) -> None:
    """Note what an agent's code raised: that itself, not the form in which it travels."""
    if span.is_recording():
        cause = error.__cause__ if isinstance(error, RemoteAgentError) else None
        span.record_exception(cause or error)


def error_type_of(error: BaseException) -> str:
    """The word for an error: the class that an agent's code raised, or the name of a code."""
    match error:
        case RemoteAgentError():
            return error.error_type
        case CallboardError():
            return error.code.name
        case _:
            return type(error).__name__


def context_of(span: Span) -> TraceContext | None:
    """The context of ``span`` as it travels; None for a span that has none."""
    context = span.get_span_context()
    if not context.is_valid:
        return None
    traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    return TraceContext(traceparent, context.trace_state.to_header())


def parent_of(*travelled: TraceContext | None) -> Context:
    """The first of some contexts that is one; an empty context when none is."""
    for each in travelled:
        if each is not None:
            parent = _W3C.extract(
                {"traceparent": each.traceparent, "tracestate": each.tracestate}, Context()
            )
            if get_current_span(parent).get_span_context().is_valid:
                return parent
    return Context()


def link_to(travelled: TraceContext | None) -> Sequence[Link]:
    """A link to the span whose context that is; none when it is none."""
    if travelled is None:
        return ()
    context = get_current_span(parent_of(travelled)).get_span_context()
    return (Link(context),) if context.is_valid else ()


def is_unsampled(travelled: TraceContext | None) -> bool:
    """Whether a context says that nothing is to be recorded; judged without making an object."""
    if travelled is None or len(travelled.traceparent) != _CONTEXT_CHARS:
        return False
    return travelled.traceparent[-1] in "02468ace"


def _text_of(error: BaseException) -> str:
    """The text of ``error``; ``str`` may raise for what an agent's code made."""
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 (an agent's code may raise anything)
        return type(broken).__name__
