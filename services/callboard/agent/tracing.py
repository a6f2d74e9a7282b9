"""What the agent layer needs to know of tracing."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from callboard.core.envelope import Envelope
from callboard.core.event import Delivery, Event, TraceContext
from callboard.core.frames import Call


class SentSpan(Protocol):
    """Stands for an event or a call from when it was sent until its sender knows how it ended."""

    @property
    def context(self) -> TraceContext | None:
        """What travels with what was sent; None when there is none to travel."""
        ...

    def end(self, error: BaseException | None) -> None:
        """It was taken or answered; or it failed, with ``error``. Called once."""
        ...


class Tracer(Protocol):
    """Makes the spans of one runtime. A runtime without one makes none, at no cost."""

    def publish(self, event: Event, message_id: str, created: TraceContext | None) -> SentSpan:
        """An event is published; ``created`` is the trace context that it holds already, if any."""
        ...

    def call(self, call: Call, message_id: str) -> SentSpan:
        """An agent is called."""
        ...

    def process_event(
        self, delivery: Delivery, envelope: Envelope | None, partition: int
    ) -> AbstractContextManager[None]:
        """The turn of an event, whose handler runs in the block. Of what cannot be read: None."""
        ...

    def process_call(
        self, call: Call, envelope: Envelope | None, partition: int
    ) -> AbstractContextManager[None]:
        """The turn of a call, whose handler runs in the block. Of what cannot be read: None."""
        ...
