"""The spans of a broker: of an event on its way to the queues, of a call until its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import time_ns
from typing import TYPE_CHECKING

from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Tracer

from callboard.core.errors import Code
from callboard.core.partition import partition_of
from callboard.telemetry import names
from callboard.telemetry.harmless import harmless, nothing
from callboard.telemetry.spans import context_of, fail, finish, is_unsampled, parent_of, start

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

    from callboard.core.commit import Append, Commit
    from callboard.core.event import Event, TraceContext
    from callboard.core.frames import Call, Publish, Reply


class RouteSpans:
    """Makes the spans of one broker, and puts their contexts into what is handed on.

    The span of an event lasts from its arrival, however long it then waits for room, until the
    engine has it and its deliveries are queued; one made when its targets are known, so that
    samplers see them. The span of a call lasts until its answer leaves. Of calls are held those
    that are open, of events those that arrived since the last commit was taken.
    """

    def __init__(
        self,
        tracer: Tracer,
        *,
        engine: str,
        partitions: int,
        trace_of: Callable[[bytes], TraceContext | None],
    ) -> None:
        self._tracer = tracer
        self._engine = engine
        self._partitions = partitions
        self._trace_of = trace_of
        self._arrived_at_ns: dict[Event, int] = {}
        self._calls: dict[str, dict[int, Span]] = {}

    # Events.

    def arrive(self, publishes: Iterable[Publish]) -> None:
        """Publishes have come that the broker, which is told next, will take or refuse."""
        now_ns = time_ns()
        for publish in publishes:
            self._arrived_at_ns[publish.event] = now_ns

    def begin(self, commit: Commit) -> Sequence[Span]:
        """The engine is to keep ``commit``: begin the spans of its events, and say who is next."""
        arrived_at_ns, self._arrived_at_ns = self._arrived_at_ns, {}
        return [
            self._route(append, arrived_at_ns.get(append.event))
            for append in commit.appends
            if not append.is_told and not is_unsampled(append.event.hop)
        ]

    def end(self, spans: Iterable[Span], why_not: str = "") -> None:
        """The engine has what they are of, or could not keep it."""
        for span in spans:
            if why_not:
                fail(span, Code.UNAVAILABLE.name, why_not)
            finish(span)

    @harmless(instead=lambda *_: INVALID_SPAN)
    def _route(self, append: Append, arrived_at_ns: int | None) -> Span:
        event, targets = append.event, append.targets
        if append.waited_s:
            arrived_at_ns = time_ns() - round(append.waited_s * 1e9)
        attributes: dict[str, AttributeValue] = {
            names.DESTINATION: event.topic_type,
            names.FAN_OUT: len(targets),
            names.ENGINE: self._engine,
        }
        if len(targets) == 1:
            attributes[names.PARTITION] = str(partition_of(*targets[0], self._partitions))
        created = self._trace_of(event.content) if event.hop is None else None
        span = start(
            self._tracer,
            names.ROUTE,
            event.topic_type,
            kind=SpanKind.INTERNAL,
            parent=parent_of(event.hop, created),
            attributes=attributes,
            start_time_ns=arrived_at_ns,
        )
        event.hop = context_of(span) or event.hop
        if append.refusal is not None:
            fail(span, Code(append.refusal.code).name, append.refusal.reason)
        return span

    # Calls.

    @harmless(instead=nothing)
    def call(self, session_id: str, call: Call) -> None:
        """A session calls; the broker is told next."""
        made = self._calls.setdefault(session_id, {})
        if call.id in made or is_unsampled(call.hop):
            return
        agent_type = call.target[0]
        span = start(
            self._tracer,
            names.ROUTE,
            agent_type,
            kind=SpanKind.INTERNAL,
            parent=parent_of(call.hop),
            attributes={
                names.DESTINATION: agent_type,
                names.PARTITION: str(partition_of(*call.target, self._partitions)),
            },
        )
        call.hop = context_of(span) or call.hop
        made[call.id] = span

    def answer(self, session_id: str, replies: Iterable[Reply]) -> None:
        """A session is told how calls of it went."""
        made = self._calls.get(session_id, {})
        for reply in replies:
            span = made.pop(reply.call_id, None) if reply.last or reply.error else None
            if span is None:
                continue
            if reply.error is not None:
                fail(span, reply.error.type or _name_of(reply.error.code), reply.error.message)
            finish(span)

    def cancel(self, session_id: str, call_id: int) -> None:
        """A session wants no answer any more."""
        span = self._calls.get(session_id, {}).pop(call_id, None)
        if span is not None:
            fail(span, Code.CANCELLED.name, "the caller gave the call up")
            finish(span)

    def leave(self, session_id: str) -> None:
        """A session is over, and with it its calls."""
        for span in self._calls.pop(session_id, {}).values():
            fail(span, Code.UNAVAILABLE.name, "the caller was lost")
            finish(span)


def _name_of(code: int) -> str:
    try:
        return Code(code).name
    except ValueError:  # a worker may say any number
        return str(code)
