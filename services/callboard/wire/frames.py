"""Frames of the protocol as protobuf, and back. What does not fit raises `ProtocolViolation`."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from google.protobuf.message import DecodeError

from callboard.core.errors import ProtocolViolation
from callboard.core.event import Address, Delivery, Event, Grant
from callboard.core.frames import HostFrame, Publish, WorkerFrame
from callboard.core.session import BEGINNINGS, LEASES, RUNS, STREAMS
from callboard.wire.items import (
    MAX_COUNT,
    get_call,
    get_credit,
    get_delivery_ids,
    get_hop,
    get_partitions,
    get_refusals,
    get_registered,
    get_registration,
    get_reply,
    get_settlement,
    milliseconds,
    put_call,
    put_credit,
    put_delivery_ids,
    put_grant,
    put_hop,
    put_partitions,
    put_refusals,
    put_registered,
    put_registration,
    put_reply,
    put_settlements,
)
from callboard.wire.runs import (
    RUN_FROM,
    get_delivery_runs,
    get_publish_runs,
    get_settlement_runs,
    put_delivery_run,
    put_publish_runs,
    put_settlement_runs,
)
from callboard.wire.v1 import agent_host_pb2 as pb

PROTOCOL_VERSION = 1

CAPABILITIES: frozenset[str] = frozenset({LEASES, STREAMS, BEGINNINGS, RUNS})
"""The optional features of the protocol that hosts and workers of this version announce."""


FIELDS_OF_CAPABILITIES = {
    "credits": STREAMS,
    "beat": LEASES,
    "leave": LEASES,
    "received": LEASES,
    "begins": BEGINNINGS,
    "publish_runs": RUNS,
    "settlement_runs": RUNS,
}
"""Fields of a worker's frame that are only for hosts that announced something."""


def parse_worker_frame(data: bytes) -> pb.ConnectRequest:
    """The message in ``data``; `ProtocolViolation` when it is none."""
    try:
        return pb.ConnectRequest.FromString(data)
    except DecodeError as error:
        msg = f"malformed frame: {error}"
        raise ProtocolViolation(msg) from error


def parse_host_frame(data: bytes) -> pb.ConnectResponse:
    """The message in ``data``; `ProtocolViolation` when it is none."""
    try:
        return pb.ConnectResponse.FromString(data)
    except DecodeError as error:
        msg = f"malformed frame: {error}"
        raise ProtocolViolation(msg) from error


# Worker frames.


def encode_worker_frame(frame: WorkerFrame, capabilities: Container[str] = ()) -> bytes:
    """What `decode_worker_frame` reads; ``capabilities`` are those that the host announced."""
    message = pb.ConnectRequest()
    if frame.register is not None:
        put_registration(message.register, frame.register)
    by_runs = RUNS in capabilities
    if by_runs and len(frame.publishes) >= RUN_FROM:
        put_publish_runs(message, frame.publishes)
    else:
        _put_publishes(message, frame.publishes)
    if by_runs and len(frame.settlements) >= RUN_FROM:
        put_settlement_runs(message, frame.settlements)
    else:
        put_settlements(message.settlements, frame.settlements)
    _put_calls(message, frame)
    for given_up in frame.surrendered:
        put_partitions(message.surrendered.add(), given_up)
    if frame.begins:
        put_delivery_ids(message.begins, frame.begins)
    _put_presence(message, frame)
    return message.SerializeToString()


def _put_publishes(message: pb.ConnectRequest, publishes: Iterable[Publish]) -> None:
    for publish in publishes:
        event = publish.event
        item = message.publishes.add(
            number=publish.number,
            event=event.content,
            topic_type=event.topic_type,
            topic_source=event.topic_source,
            remaining_ms=milliseconds(publish.remaining_s),
        )
        if event.sender is not None:
            item.sender.type, item.sender.key = event.sender
        put_hop(item, event.hop)


def _put_presence(message: pb.ConnectRequest, frame: WorkerFrame) -> None:
    if frame.drain:
        message.drain.SetInParent()
    if frame.beat:
        message.beat.SetInParent()
    if frame.leave:
        message.leave.SetInParent()
    message.received = frame.received


def decode_worker_frame(
    message: pb.ConnectRequest, capabilities: Container[str] = CAPABILITIES
) -> WorkerFrame:
    """A frame after the first.

    Args:
        message: The frame.
        capabilities: What the host announced to the worker in its welcome; what needs another is a
            violation, for a peer never sends what the other side did not announce.

    Raises:
        ProtocolViolation: Names what is wrong.
    """
    if message.HasField("hello"):
        msg = "a second hello: it belongs into the first frame only"
        raise ProtocolViolation(msg)
    frame = WorkerFrame()
    if message.HasField("register"):
        frame.register = get_registration(message.register)
    if message.publishes:
        frame.publishes = [_get_publish(item) for item in message.publishes]
    if message.publish_runs:
        frame.publishes += get_publish_runs(message.publish_runs)
    if message.settlements:
        frame.settlements = [get_settlement(item) for item in message.settlements]
    if message.settlement_runs:
        frame.settlements += get_settlement_runs(message.settlement_runs)
    _get_calls(message, frame)
    if message.surrendered:
        frame.surrendered = [get_partitions(item) for item in message.surrendered]
    if message.begins:
        frame.begins = get_delivery_ids(message.begins)
    frame.drain = message.HasField("drain")
    frame.beat = message.HasField("beat")
    frame.leave = message.HasField("leave")
    frame.received = message.received
    _check_announced(message, capabilities)
    return frame


def _get_publish(message: pb.Publish) -> Publish:
    if not message.number:
        msg = "a publish without a number: they count from 1"
        raise ProtocolViolation(msg)
    sender = (message.sender.type, message.sender.key) if message.HasField("sender") else None
    event = Event(message.event, message.topic_type, message.topic_source, sender, get_hop(message))
    return Publish(message.number, event, message.remaining_ms / 1000)


def _put_calls(
    message: pb.ConnectRequest | pb.ConnectResponse, frame: WorkerFrame | HostFrame
) -> None:
    for call in frame.calls:
        put_call(message.calls.add(), call)
    for reply in frame.replies:
        put_reply(message.replies.add(), reply)
    for call_id in frame.cancels:
        message.cancels.add(call_id=call_id)
    for credit in frame.credits:
        put_credit(message.credits.add(), credit)


def _get_calls(
    message: pb.ConnectRequest | pb.ConnectResponse, frame: WorkerFrame | HostFrame
) -> None:
    if message.calls:
        frame.calls = [get_call(item) for item in message.calls]
    if message.replies:
        frame.replies = [get_reply(item) for item in message.replies]
    if message.cancels:
        frame.cancels = [item.call_id for item in message.cancels]
    if message.credits:
        frame.credits = [get_credit(item) for item in message.credits]


def _check_announced(message: pb.ConnectRequest, capabilities: Container[str]) -> None:
    for what, capability in _needs(message):
        if capability not in capabilities:
            msg = f"{what} needs the capability {capability!r}, which this host has not announced"
            raise ProtocolViolation(msg)


def _needs(message: pb.ConnectRequest) -> Iterator[tuple[str, str]]:
    """What in a frame is only for hosts that announced a capability, and which."""
    for field, _ in message.ListFields():
        if field.name in FIELDS_OF_CAPABILITIES:
            yield field.name, FIELDS_OF_CAPABILITIES[field.name]
    for what in _streamed(message):
        yield what, STREAMS
    for what in _effective(message):
        yield what, "effects"


def _effective(message: pb.ConnectRequest) -> Iterator[str]:
    """What in a frame is of state that the host keeps."""
    for reply in message.replies:
        if reply.HasField("effects"):
            yield f"effects in the reply to call {reply.call_id}"
    for settlement in message.settlements:
        if settlement.HasField("effects"):
            yield f"effects in settlement {settlement.number}"
    for run in message.settlement_runs:
        if any(form.HasField("effects") for form in run.forms):
            yield f"effects in settlements from {run.first_number} on"
    for entry in message.register.types:
        if entry.policy.persistent:
            yield f"persistent in agent type {entry.name[:80]!r}"


def _streamed(message: pb.ConnectRequest) -> Iterator[str]:
    """What in a frame is of streamed calls."""
    for call in message.calls:
        if call.credit:
            yield f"credit in call {call.id}"
    for reply in message.replies:
        if not reply.last:
            yield f"a reply to call {reply.call_id} that is not the last"


# Host frames.


def encode_host_frame(frame: HostFrame, capabilities: Container[str] = ()) -> bytes:
    """What `decode_host_frame` reads; ``capabilities`` are those that both sides announced."""
    message = pb.ConnectResponse()
    if frame.registered:
        (registered,) = frame.registered  # the outbox gives one a frame: no outcome hides another
        put_registered(message.registered, registered)
    if frame.published_through or frame.published_beyond:
        message.published.through = frame.published_through
        message.published.beyond.extend(frame.published_beyond)
        put_refusals(message.published.refused, frame.publishes_refused)
    if frame.settled_through:
        message.settled.through = frame.settled_through
        put_refusals(message.settled.refused, frame.settlements_refused)
    if RUNS in capabilities and len(frame.deliveries) >= RUN_FROM:
        put_delivery_run(message, frame.deliveries)
    else:
        _put_deliveries(message, frame.deliveries)
    if frame.begun:
        put_delivery_ids(message.begun, frame.begun)
    _put_calls(message, frame)
    for surrender in frame.surrenders:
        put_partitions(message.surrenders.add(), surrender)
    if frame.drain:
        message.drain.SetInParent()
    message.received = frame.received
    if frame.lease_ms:
        message.lease.ms = frame.lease_ms
    return message.SerializeToString()


def decode_host_frame(message: pb.ConnectResponse) -> HostFrame:
    """A frame after the first. Raises `ProtocolViolation` naming what is wrong."""
    if message.HasField("welcome"):
        msg = "a second welcome: it belongs into the first frame only"
        raise ProtocolViolation(msg)
    frame = HostFrame()
    if message.HasField("registered"):
        frame.registered = [get_registered(message.registered)]
    if message.HasField("published"):
        frame.published_through = message.published.through
        frame.published_beyond = list(message.published.beyond)
        frame.publishes_refused = get_refusals(message.published.refused)
    if message.HasField("settled"):
        frame.settled_through = message.settled.through
        frame.settlements_refused = get_refusals(message.settled.refused)
    for item in message.deliveries:
        event = Event(item.event, "", "", None, get_hop(item))
        targets = [_get_delivery(target, event) for target in item.targets]
        frame.deliveries.append((event, targets))
    if message.delivery_runs:
        frame.deliveries += get_delivery_runs(message.delivery_runs)
    if message.begun:
        frame.begun = get_delivery_ids(message.begun)
    _get_calls(message, frame)
    if message.surrenders:
        frame.surrenders = [get_partitions(item) for item in message.surrenders]
    frame.drain = message.HasField("drain")
    frame.received = message.received
    frame.lease_ms = message.lease.ms
    return frame


def _get_delivery(message: pb.DeliveryTarget, event: Event) -> Delivery:
    agent, grant = message.agent, message.grant
    return Delivery(
        message.position,
        (agent.type, agent.key),
        event,
        message.attempt,
        Grant(grant.epoch, grant.serial),
        0.0,
        message.failed_turns,
        message.losses,
    )


def _put_deliveries(
    message: pb.ConnectResponse, deliveries: Iterable[tuple[Event, list[Delivery]]]
) -> None:
    # One message, copied for each target: most have the agent and the grant of the one before.
    to = pb.DeliveryTarget()
    agent: Address | None = None
    grant: Grant | None = None
    for event, targets in deliveries:
        delivery = message.deliveries.add(event=event.content)
        if event.hop is not None:
            put_hop(delivery, event.hop)
        for target in targets:
            to.position, to.attempt = target.position, target.attempt
            to.failed_turns = min(target.failed_turns, MAX_COUNT)
            to.losses = target.losses
            if target.agent != agent:
                agent = to.agent.type, to.agent.key = target.agent
            if target.grant != grant:
                grant = target.grant
                put_grant(to, grant)
            delivery.targets.append(to)
