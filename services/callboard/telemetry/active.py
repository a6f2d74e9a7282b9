"""Whether anybody wants spans, asked once when a runtime or host starts.

Where nobody has set a tracer provider there is no tracer, and what would use one asks no further:
no span, context or attribute is made for a message. OpenTelemetry is not even imported then, unless
the program has done so.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from callboard.core.event import TraceContext
    from callboard.telemetry.agent_spans import AgentSpans
    from callboard.telemetry.route_spans import RouteSpans


def agent_spans(*, client_id: str | None = None, address: str | None = None) -> AgentSpans | None:
    """What makes the spans of a runtime; None when nobody wants them.

    Args:
        client_id: The worker's name; None for a runtime that has none.
        address: The host's, as ``host:port``; None without a host.
    """
    tracer = _tracer()
    if tracer is None:
        return None
    from callboard.telemetry.agent_spans import AgentSpans  # noqa: PLC0415 (see the package)

    return AgentSpans(tracer, client_id=client_id, address=address)


def route_spans(
    *, engine: str, partitions: int, trace_of: Callable[[bytes], TraceContext | None]
) -> RouteSpans | None:
    """What makes the spans of a broker; None when nobody wants them.

    Args:
        engine: The name of where events are kept.
        partitions: Into how many each agent type is divided.
        trace_of: Reads the trace context in an encoded event, None when there is none.
    """
    tracer = _tracer()
    if tracer is None:
        return None
    from callboard.telemetry.route_spans import RouteSpans  # noqa: PLC0415 (see the package)

    return RouteSpans(tracer, engine=engine, partitions=partitions, trace_of=trace_of)


def _tracer() -> Tracer | None:
    """A tracer of the provider that the program has set; None for one that records nothing."""
    is_imported = "opentelemetry.trace" in sys.modules
    if not is_imported and not os.environ.get("OTEL_PYTHON_TRACER_PROVIDER"):
        return None
    from opentelemetry import trace  # noqa: PLC0415 (see the package)

    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return None
    tracer = provider.get_tracer("callboard", version("callboard"))
    return None if isinstance(tracer, trace.NoOpTracer) else tracer
