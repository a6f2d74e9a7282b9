"""A tracer provider for one test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from callboard.telemetry import harmless
from telemetry.seen import Seen, Trace


class Exported:
    """What a provider that keeps its spans has exported.

    Attributes:
        failures: What of our own code has failed, and was kept from doing harm: whoever expects it
            clears it.
    """

    def __init__(self) -> None:
        self.failures: set[str] = set()
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def finished(self) -> tuple[ReadableSpan, ...]:
        """All so far, as the SDK has them."""
        return self._exporter.get_finished_spans()

    @property
    def spans(self) -> list[Seen]:
        """All so far."""
        return [Seen.of(span) for span in self.finished]

    @property
    def trace(self) -> Trace:
        """All so far, which must be one trace."""
        return Trace(self.spans)


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[Exported]:
    """The process has a provider. It can really be set but once, for all tests of a process."""
    made = Exported()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: made.provider)
    monkeypatch.setattr(harmless, "_told", made.failures)
    yield made
    made.provider.shutdown()
    assert not made.failures
