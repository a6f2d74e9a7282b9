"""Where spans go, for processes that Callboard's own commands run.

What decides are OpenTelemetry's variables, and the SDK reads them: the sampler, limits, batches,
headers and endpoints are its business. Here stands only whether there is to be an SDK, which
exporters, and that it ends in time. A program with a tracer provider of its own needs none of this.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.metadata import entry_points, version
from time import monotonic
from typing import TYPE_CHECKING
from uuid import uuid4

from callboard.core.errors import CallboardError, Code, Unsupported
from callboard.log import Logger

if TYPE_CHECKING:
    import grpc.aio
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

log = Logger(__name__)

FLUSH_TIMEOUT_S = 2.0
"""How long the last spans may take to leave. Without a collector the exporter tries for 5.6 s
(measured, opentelemetry 1.45)."""

SELDOM_S = 60.0
"""Within this time the SDK may complain once in each of its loggers."""

ASKING = (
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
)
"""One of these asks for traces."""

_PROTOCOLS = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
"""The values of OTEL_EXPORTER_OTLP_PROTOCOL and the names under which exporters are installed."""

_LOGGERS = (
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.trace.export",
)
"""Where the SDK complains about a collector that is not there, at every attempt."""


class MisconfiguredTraces(CallboardError, ValueError):
    """A variable that asks for traces holds what cannot be done. Mend it, or leave it out."""

    code = Code.INVALID_ARGUMENT


@asynccontextmanager
async def exporting(service: str) -> AsyncIterator[TracerProvider | None]:
    """Export traces for the length of a block, if the environment asks for it.

    The block gets the provider that was set for it; None when none was.

    The process is called ``service`` unless OTEL_SERVICE_NAME names it. Where the program has set
    a tracer provider already, that stays and nothing is done. At the end the last spans have
    `FLUSH_TIMEOUT_S` to leave.

    Raises:
        Unsupported: The packages for it are not installed; the text names the extra.
        MisconfiguredTraces: There is no such exporter or protocol; the text names those there are.
    """
    asking = _asking_variable()
    provider = None if asking is None else _set_up(service, asking)
    try:
        yield provider
    finally:
        if provider is not None:
            await _finish(provider)


def interceptors_of(provider: TracerProvider | None) -> Sequence[grpc.aio.ServerInterceptor]:
    """What makes spans of the calls of a gRPC server that has unary ones only; for None nothing.

    For other servers it is none: the span of a stream ends with the stream, after all that should
    hang below it (https://github.com/open-telemetry/semantic-conventions/issues/3703).
    """
    if provider is None:
        return ()
    from opentelemetry.instrumentation.grpc import aio_server_interceptor  # noqa: PLC0415 (see the package)

    return (aio_server_interceptor(tracer_provider=provider),)  # type: ignore[no-untyped-call]  # written without annotations


def _asking_variable() -> str | None:
    """The variable that asks for traces; None when none does, or another forbids it."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if _exporter_names() == ["none"]:
        return None
    return next((name for name in ASKING if os.environ.get(name, "").strip()), None)


def _exporter_names() -> list[str]:
    given = os.environ.get("OTEL_TRACES_EXPORTER", "")
    return [name.strip() for name in given.split(",") if name.strip()] or ["otlp"]


def _set_up(service: str, asking: str) -> TracerProvider | None:
    try:
        from opentelemetry import trace  # noqa: PLC0415 (see the package)
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise _extra_missing(asking) from error
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    own = {
        "service.name": service,
        "service.version": version("callboard"),
        "service.instance.id": str(uuid4()),
    }
    given = OTELResourceDetector().detect().attributes
    resource = Resource.create({name: own[name] for name in own.keys() - given.keys()})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)  # that would have no limit
    for exporter in _exporters(asking):
        provider.add_span_processor(BatchSpanProcessor(exporter))
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(Seldom(SELDOM_S))
    trace.set_tracer_provider(provider)
    return provider


def _exporters(asking: str) -> Iterator[SpanExporter]:
    installed = {each.name: each for each in entry_points(group="opentelemetry_traces_exporter")}
    for name in _exporter_names():
        found = installed.get(_otlp() if name == "otlp" else name)
        if found is not None:
            yield found.load()()
        elif name == "otlp" and _otlp() == _PROTOCOLS["grpc"]:
            raise _extra_missing(asking)
        elif name == "otlp":
            msg = (
                "OTEL_EXPORTER_OTLP_PROTOCOL http/protobuf needs the package "
                "opentelemetry-exporter-otlp-proto-http; grpc comes with 'callboard[otel]'"
            )
            raise Unsupported(msg)
        else:
            msg = (
                f"OTEL_TRACES_EXPORTER names {name!r}, which is not installed: there are "
                f"{', '.join(sorted({'otlp', 'none', *installed} - {*_PROTOCOLS.values()}))}"
            )
            raise MisconfiguredTraces(msg)


def _otlp() -> str:
    """The exporter for the protocol that the environment names."""
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = os.environ.get(variable, "").strip()
        if protocol and protocol not in _PROTOCOLS:
            msg = f"{variable} is {protocol!r}: it is one of {', '.join(_PROTOCOLS)}"
            raise MisconfiguredTraces(msg)
        if protocol:
            return _PROTOCOLS[protocol]
    return _PROTOCOLS["grpc"]


def _extra_missing(asking: str) -> Unsupported:
    return Unsupported(f"{asking} asks for traces, which need more: pip install 'callboard[otel]'")


async def _finish(provider: TracerProvider) -> None:
    """Let the last spans leave, within the time for it.

    In a thread that nothing waits for: an exporter without a collector would hold up the end. It is
    none of the loop's executor, whose threads may all be held by handlers that do not end.
    """
    loop, has_left = asyncio.get_running_loop(), asyncio.Event()

    def flush() -> None:
        provider.shutdown()
        with suppress(RuntimeError):  # the loop has been closed: it came too late
            loop.call_soon_threadsafe(has_left.set)

    threading.Thread(target=flush, name="flush traces", daemon=True).start()
    try:
        async with asyncio.timeout(FLUSH_TIMEOUT_S):
            await has_left.wait()
    except TimeoutError:
        log.warning("the last traces were not exported in time", timeout_s=FLUSH_TIMEOUT_S)


class Seldom(logging.Filter):
    """Lets one record of a logger pass in so many seconds."""

    def __init__(self, interval_s: float) -> None:
        super().__init__()
        self._interval_s = interval_s
        self._next_at = 0.0

    def filter(self, _record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        now = monotonic()
        if now < self._next_at:
            return False
        self._next_at = now + self._interval_s
        return True
