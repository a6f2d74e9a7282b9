"""The bounds that a broker keeps, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass

from callboard.core.partition import DEFAULT_PARTITIONS


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """The bounds that a broker keeps.

    Attributes:
        partitions: Into how many partitions each agent type is divided; fixed for the life of the
            engine.
        delivery_window: Deliveries out by agent type and session. Eight frames, so that the pipe
            stays full.
        agent_share: Deliveries out for one agent; at most ``delivery_window``. 64 costs 28 % of
            throughput.
        ahead_s: How much work may be out for one agent beyond the turns that it has at once, by how
            long its turns have taken. Long enough that it need not wait for the next delivery,
            short for its neighbours: what is out for slow agents takes the room of all.
        publish_window: Publishes that a session may have unacknowledged.
        max_types: Agent types that are kept, those without a worker included; further ones are
            refused by entry with RESOURCE_EXHAUSTED.
        type_retention_s: How long a durable type is kept without a worker; then it ends, and what
            waits for it becomes dead letters.
        max_subscriptions: Subscriptions that are kept, of all sessions and of types without a
            worker; further ones are refused by entry with RESOURCE_EXHAUSTED.
        max_event_bytes: The largest encoded event, call payload or reply payload.
        max_type_events: Events queued and out for the agents of one type. What is published beyond
            it outside of turns waits for room, until its time is up. Turns, which wait for nothing,
            may bring twice as many; then their publishes are refused with RESOURCE_EXHAUSTED.
        max_type_bytes: The same in bytes, each event with what the broker keeps beside it; both
            hold. Less than half of ``max_queued_bytes``, or one type can fill the queues of all.
        max_queued_bytes: All events queued, out and waiting for room, together, each with what the
            broker keeps beside it; beyond it publishes are refused with RESOURCE_EXHAUSTED, also
            those that might wait. Also the events that a session may have been sent and not
            acknowledged.
        max_calls_waiting: Calls that may wait at the host for one agent whose partition has no
            holder; beyond it they are refused with RESOURCE_EXHAUSTED.
        max_open_calls: Calls that one session may have made and not seen ended; beyond it they are
            refused with RESOURCE_EXHAUSTED.
        max_stream_credit: Answers that a caller may let one streamed call be ahead of it; more ends
            the call with INVALID_ARGUMENT.
        memory_bytes: How much of that is at hand; what comes beyond waits in the engine, if that
            can hold it, until its turn comes near. With more types than one, less than that.
        max_exclusive_bytes: Events queued and out for a type that has one worker to itself, which
            hears of them at most once; beyond it they become dead letters. One worker that does not
            read must not fill the queues of all.
        max_call_bytes: All open calls, together; beyond it calls are refused with
            RESOURCE_EXHAUSTED.
        max_unread_bytes: Calls and answers that may wait until a session reads them; beyond it they
            fail with RESOURCE_EXHAUSTED.
        max_answers_waiting: Answers that may wait until a session reads them; with more it does not
            read, which is a violation. Above ``max_open_calls`` and twice ``publish_window``.
        max_unread_frames: Frames that may be said to a worker that does not tell what it has taken
            in, which is a violation. One that does never leaves more than some of them open.
        lease_s: How long a worker may be silent before it loses what it holds, by its own clock.
        lease_margin_s: How much longer a host waits before it gives that to others. For turns that
            are cancelled to end, and for clocks that do not go alike.
        call_timeout_s: The deadline of a call that names none.
        max_losses: With how many sessions lost while it may have been running an event becomes a
            dead letter. One is a machine that failed, three are no chance. Whether it was running
            is known from the second on.
    """

    partitions: int = DEFAULT_PARTITIONS
    delivery_window: int = 2048
    agent_share: int = 256
    ahead_s: float = 1.0
    publish_window: int = 2048
    max_types: int = 10_000
    type_retention_s: float = 7 * 86_400.0
    max_subscriptions: int = 100_000
    max_event_bytes: int = 8 << 20
    max_type_events: int = 1_000_000
    max_type_bytes: int = 256 << 20
    max_queued_bytes: int = 1 << 30
    memory_bytes: int = 64 << 20
    max_exclusive_bytes: int = 64 << 20
    max_calls_waiting: int = 64
    max_open_calls: int = 16_384
    max_stream_credit: int = 1024
    max_call_bytes: int = 256 << 20
    max_unread_bytes: int = 256 << 20
    max_answers_waiting: int = 65_536
    max_unread_frames: int = 16_384
    lease_s: float = 10.0
    lease_margin_s: float = 1.0
    call_timeout_s: float = 300.0
    max_losses: int = 3


@dataclass(slots=True)
class Counters:
    """What has happened since the broker started.

    Fields as in ``Counters`` of ``operations.proto``.
    """

    published: int = 0
    unmatched: int = 0
    delivered: int = 0
    accepted: int = 0
    rejected: int = 0
    released: int = 0
    calls: int = 0
    calls_failed: int = 0
    replayed: int = 0
    dropped: int = 0


def too_large(what: str, size: int, limit: int) -> str:
    """Why something of ``size`` bytes is refused."""
    return f"the {what} has {size} bytes, the host takes at most {limit}"
