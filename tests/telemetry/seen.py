"""Finished spans in one form, whether an exporter in this process saw them or a collector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2 as pb
from opentelemetry.sdk.trace import ReadableSpan


@dataclass(frozen=True)
class Seen:
    """A finished span; ids in hexadecimal, empty for none."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    links: tuple[str, ...]
    attributes: Mapping[str, Any]
    error: str | None
    """The status's text when that is an error."""
    exceptions: tuple[str, ...]
    service: str = ""

    @classmethod
    def of(cls, span: ReadableSpan) -> Seen:
        """A span of the SDK."""
        context, parent = span.get_span_context(), span.parent
        assert context is not None
        return cls(
            span.name,
            span.kind.name,
            f"{context.trace_id:032x}",
            f"{context.span_id:016x}",
            f"{parent.span_id:016x}" if parent is not None else "",
            tuple(f"{link.context.span_id:016x}" for link in span.links),
            dict(span.attributes or {}),
            None if span.status.is_unset else str(span.status.description),
            tuple(
                str((each.attributes or {})["exception.type"])
                for each in span.events
                if each.name == "exception"
            ),
        )

    @classmethod
    def received(cls, span: pb.Span, resource: Mapping[str, Any]) -> Seen:
        """A span as it travels."""
        is_error = span.status.code == pb.Status.STATUS_CODE_ERROR
        return cls(
            span.name,
            pb.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            tuple(link.span_id.hex() for link in span.links),
            values_of(span.attributes),
            span.status.message if is_error else None,
            tuple(
                str(values_of(each.attributes)["exception.type"])
                for each in span.events
                if each.name == "exception"
            ),
            str(resource["service.name"]),
        )


def values_of(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    """Attributes as they travel, as a dictionary."""
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value")
        for each in pairs
    }


class Trace:
    """Spans that have to be one trace without orphans."""

    def __init__(self, spans: Sequence[Seen]) -> None:
        self.spans = spans
        self._by_id = {span.span_id: span for span in spans}
        assert len({span.trace_id for span in spans}) == 1, self.tree()
        orphans = [s.name for s in spans if s.parent_id and s.parent_id not in self._by_id]
        assert not orphans, orphans

    def tree(self) -> list[str]:
        """Each span as the names and kinds from the root to it, sorted."""
        return sorted(" > ".join(f"{s.name} {s.kind}" for s in self._path(s)) for s in self.spans)

    def one(self, name: str) -> Seen:
        """The only span of that name."""
        (span,) = [span for span in self.spans if span.name == name]
        return span

    def linked(self, span: Seen) -> list[str]:
        """The names of what ``span`` links to."""
        return [self._by_id[each].name for each in span.links]

    def _path(self, span: Seen) -> list[Seen]:
        parent = self._by_id.get(span.parent_id)
        return [*([] if parent is None else self._path(parent)), span]
