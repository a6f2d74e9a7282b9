"""What all of our spans have in common: how they begin and fail, how their context travels.

Nothing here raises, whatever a tracer or an exception does (`callboard.telemetry.harmless`), and
nothing that comes from a wire, a user or an agent's code is kept in full: what waits to be exported
is memory, and one text that is too large, or cannot be written, costs its whole batch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from traceback import TracebackException
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
from callboard.core.frames import clipped
from callboard.telemetry import names
from callboard.telemetry.harmless import harmless, nothing

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

_W3C = TraceContextTextMapPropagator()
"""Not what OTEL_PROPAGATORS names: the fields of frames and events hold W3C's form, always."""

_UNSAMPLED = re.compile("00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][02468ace]")
"""A traceparent of version 00 without the sampled flag."""

_ATTRIBUTE_CHARS = 256
"""Of a type or an id; a longer type is none, and its event or call is refused."""

_LONGER_ATTRIBUTE_CHARS = {names.AGENT_ID: 513}
"""Of an agent's id: two of the former and a slash."""

_STATUS_CHARS = 512
"""Of what a status says; that of an exception stands beside it at more length."""

_TEXT_CHARS = 1_024
"""Of what an exception says."""

_STACKTRACE_CHARS = 3_072
"""With all the others at their longest below 8 KiB of ASCII: a full batch of the SDK's, 512 spans,
stays below the 4 MiB that a collector takes at a time."""

_STACKTRACE_FRAMES = 32
"""Of each exception in a chain, the innermost."""

_TRACESTATE_CHARS = 4_096
"""Of a longer one nothing is passed on. W3C asks for 512 at least."""


def _unrecorded(*_: object, parent: Context, **__: object) -> Span:
    return NonRecordingSpan(get_current_span(parent).get_span_context())


@harmless(instead=_unrecorded)
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
    """Begin ``operation subject`` under the span in ``parent``, which may hold none.

    A tracer that fails passes on the context of the span above.
    """
    unrecorded = unrecorded_below(parent)
    if unrecorded is not None:
        return unrecorded
    kept = {name: _clipped(name, value) for name, value in attributes.items()}
    kept[names.SYSTEM] = names.CALLBOARD
    kept[names.OPERATION_NAME] = operation
    name = f"{operation} {clipped(subject, _ATTRIBUTE_CHARS)}"
    return tracer.start_span(name, parent, kind, kept, links, start_time_ns)


def _clipped(name: str, value: AttributeValue) -> AttributeValue:
    if not isinstance(value, str):
        return value
    return clipped(value, _LONGER_ATTRIBUTE_CHARS.get(name, _ATTRIBUTE_CHARS))


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
        _fail_with(span, error)
    finish(span)


@harmless(instead=nothing)
def finish(span: Span) -> None:
    """End ``span``."""
    span.end()


@harmless(instead=nothing)
def fail(span: Span, error_type: str, text: str) -> None:
    """Say that what ``span`` stands for has failed."""
    if span.is_recording():
        span.set_status(Status(StatusCode.ERROR, clipped(text, _STATUS_CHARS)))
        span.set_attribute(names.ERROR_TYPE, clipped(error_type, _ATTRIBUTE_CHARS))


@harmless(instead=nothing)
def _fail_with(span: Span, error: BaseException) -> None:
    if span.is_recording():
        fail(span, error_type_of(error), _text_of(error))


@harmless(instead=nothing)
def record(span: Span, error: BaseException) -> None:
    """Note what an agent's code raised: that itself, not the form in which it travels.

    Its class, its text and where it was raised; no variables. The text may quote a message, as it
    may in a dead letter and in logs: whoever raised it chose so. The event has the form of
    OpenTelemetry's convention for exceptions (``docs/exceptions/exceptions-spans.md``);
    `Span.record_exception` would keep all of the text, and fail where it cannot be had.
    """
    if not span.is_recording():
        return
    raised = (error.__cause__ if isinstance(error, RemoteAgentError) else None) or error
    span.add_event(
        names.EXCEPTION,
        {
            names.EXCEPTION_TYPE: clipped(_class_of(raised), _ATTRIBUTE_CHARS),
            names.EXCEPTION_MESSAGE: clipped(_text_of(raised), _TEXT_CHARS),
            names.EXCEPTION_STACKTRACE: _stacktrace_of(raised),
        },
    )


def error_type_of(error: BaseException) -> str:
    """The word for an error: the class that an agent's code raised, or the name of a code."""
    match error:
        case RemoteAgentError():
            return error.error_type
        case CallboardError():
            return error.code.name
        case _:
            return type(error).__name__


@harmless(instead=nothing)
def context_of(span: Span) -> TraceContext | None:
    """The context of ``span`` as it travels; None for a span that has none."""
    context = span.get_span_context()
    if not context.is_valid:
        return None
    traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    return TraceContext(traceparent, context.trace_state.to_header())


@harmless(instead=lambda *_: Context())
def parent_of(*travelled: TraceContext | None) -> Context:
    """The first of some contexts that is one; an empty context when none is."""
    for each in travelled:
        if each is not None:
            state = each.tracestate if len(each.tracestate) <= _TRACESTATE_CHARS else ""
            carrier = {"traceparent": each.traceparent, "tracestate": state}
            parent = _W3C.extract(carrier, Context())
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
    """Whether a context says that nothing is to be recorded; judged without making an object.

    Of a form or version not known here: False, and for `parent_of` to read.
    """
    return travelled is not None and _UNSAMPLED.fullmatch(travelled.traceparent) is not None


def _class_of(error: BaseException) -> str:
    module, name = type(error).__module__, type(error).__qualname__
    return name if module == "builtins" else f"{module}.{name}"


def _text_of(error: BaseException) -> str:
    """The text of ``error``; ``str`` may raise for what an agent's code made."""
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 (an agent's code may raise anything)
        return f"<its text cannot be had: {type(broken).__name__}>"


@harmless(instead=lambda _: "")
def _stacktrace_of(error: BaseException) -> str:
    """Python's own form, cut at the front: what was raised last, and where, stands at the end."""
    trace = TracebackException(
        type(error), error, error.__traceback__, limit=-_STACKTRACE_FRAMES, compact=True
    )
    text = "".join(clipped(part, _TEXT_CHARS) for part in trace.format())
    return text if len(text) <= _STACKTRACE_CHARS else f"...{text[3 - _STACKTRACE_CHARS :]}"
