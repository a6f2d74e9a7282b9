"""A collector that keeps what it gets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service

from telemetry.seen import Seen, values_of

PATIENCE_S = 20.0


class Sink(service.TraceServiceServicer):
    """Takes spans in."""

    def __init__(self) -> None:
        self.address = ""
        self.resources: list[dict[str, Any]] = []
        self._spans: list[Seen] = []
        self._changed = threading.Condition()

    def Export(  # noqa: N802 (gRPC's name)
        self, request: pb.ExportTraceServiceRequest, context: object
    ) -> pb.ExportTraceServiceResponse:
        """Keep what came."""
        with self._changed:
            for each in request.resource_spans:
                resource = values_of(each.resource.attributes)
                self.resources.append(resource)
                self._spans += [
                    Seen.received(span, resource)
                    for scope in each.scope_spans
                    for span in scope.spans
                ]
            self._changed.notify_all()
        return pb.ExportTraceServiceResponse()

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process export to here, soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.address}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    @property
    def names(self) -> set[str]:
        """Those of all spans so far."""
        with self._changed:
            return {span.name for span in self._spans}

    @property
    def count(self) -> int:
        """Of spans so far."""
        with self._changed:
            return len(self._spans)

    def trace_with(self, is_complete: Callable[[Sequence[Seen]], bool]) -> list[Seen]:
        """Wait until the spans of one trace, whichever, are complete; them."""

        def found() -> list[Seen] | None:
            for trace_id in {span.trace_id for span in self._spans}:
                spans = [span for span in self._spans if span.trace_id == trace_id]
                if is_complete(spans):
                    return spans
            return None

        with self._changed:
            self._changed.wait_for(found, PATIENCE_S)
            spans = found()
            assert spans is not None, [(each.trace_id[:6], each.name) for each in self._spans]
            return spans


@contextmanager
def sink() -> Iterator[Sink]:
    """A collector at a free port."""
    made = Sink()
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads)
        service.add_TraceServiceServicer_to_server(made, server)  # type: ignore[no-untyped-call]  # generated
        made.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield made
        finally:
            server.stop(None).wait()
