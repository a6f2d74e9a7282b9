"""Events and addresses in the form that routing and queueing need.

These are the values of the hot path: plain tuples and slotted classes, built once at the edge and
passed by reference. Addresses arrive checked (`callboard.core.identity` holds their rules).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

Address: TypeAlias = tuple[str, str]
"""An agent as (type, key)."""

DeliveryId: TypeAlias = tuple[int, int]
"""A delivery, as (position, attempt)."""

TurnId: TypeAlias = DeliveryId | int
"""A turn, by the host's id of what it handles: a delivery, or the id of a call."""


class TraceContext(NamedTuple):
    """A W3C trace context (https://www.w3.org/TR/trace-context/)."""

    traceparent: str
    tracestate: str = ""


def size_of_pairs(*pairs: tuple[str, str] | None) -> int:
    """How many characters addresses and trace contexts have, together; None has none."""
    size = 0
    for pair in pairs:
        if pair is not None:
            size += len(pair[0]) + len(pair[1])
    return size


@dataclass(slots=True, eq=False)
class Event:
    """One published event.

    Attributes:
        content: The encoded CloudEvent. Never decoded by a host, never changed by anybody.
        topic_type: The CloudEvent's ``type``.
        topic_source: The CloudEvent's ``source``, the key of the agents that get it.
        sender: The publishing agent, which does not get its own event; None when it was no agent.
        hop: The trace context of the last hop, in which the next one goes on; None when not traced.
            Replaced by each hop, while that in ``content`` stays the publisher's.
    """

    content: bytes
    topic_type: str
    topic_source: str
    sender: Address | None = None
    hop: TraceContext | None = None


class Grant(NamedTuple):
    """The number of one session's right to run the agents of one (agent type, partition).

    Attributes:
        epoch: Rises whenever a host takes the partition over, a restart included.
        serial: Rises with each grant of an epoch.
    """

    epoch: int
    serial: int


@dataclass(slots=True, eq=False)
class Delivery:
    """One event on its way to one agent. Its id is (position, attempt).

    Once handed out nothing of it changes that travels: it may still be on its way to a worker that
    has lost the grant, and must arrive there under the grant that has passed.

    Attributes:
        position: The place in the engine, one for each target of an event; never reused.
        agent: For whom it is.
        event: What it brings.
        attempt: How many times it was handed out, from 1; 0 while it never was.
        grant: The grant it was handed out under; None while it waits.
        enqueued_at: When the engine had it, in the broker's time, in seconds.
        failed_turns: How many turns of it have failed, as far as workers have told.
        losses: How many sessions were lost that may have been handling it: of the first that is
            not known, of the others it is, see `has_begun`.
        has_begun: Whether its turn has begun, as far as the host was told, or, at its worker, as
            the host was told; told for those with ``losses`` alone.
    """

    position: int
    agent: Address
    event: Event
    attempt: int = 0
    grant: Grant | None = None
    enqueued_at: float = 0.0
    failed_turns: int = 0
    losses: int = 0
    has_begun: bool = False

    def to_be_handed_out_again(self) -> Delivery:
        """The same event for the same agent, waiting."""
        return replace(self, grant=None, has_begun=False)

    def to_be_tried_again(self) -> Delivery:
        """The same delivery after one more failed turn, at the worker that has it."""
        return replace(self, failed_turns=self.failed_turns + 1)

    @property
    def turn(self) -> DeliveryId:
        """The id of the turn that handles it."""
        return (self.position, self.attempt)
