"""Frames of the protocol as protobuf, and back. What does not fit raises `ProtocolViolation`."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any

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
    frame = WorkerFrame()
    # Asking each field costs more than all that most frames hold.
    for field, value in message.ListFields():
        name = field.name
        if name in FIELDS_OF_CAPABILITIES:
            _check_announced(name, FIELDS_OF_CAPABILITIES[name], capabilities)
        if name in _LISTS_OF_WORKERS:
            attribute, read = _LISTS_OF_WORKERS[name]
            getattr(frame, attribute).extend(read(value))
        elif name == "received":
            frame.received = value
        elif name == "register":
            frame.register = get_registration(value)
        elif name == "hello":
            msg = "a second hello: it belongs into the first frame only"
            raise ProtocolViolation(msg)
        else:
            setattr(frame, name, True)  # drain, beat, leave
        for capability, find in _PARTS_OF_CAPABILITIES.get(name, ()):
            for what in find(value):
                _check_announced(what, capability, capabilities)
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


def _check_announced(what: str, capability: str, capabilities: Container[str]) -> None:
    if capability not in capabilities:
        msg = f"{what} needs the capability {capability!r}, which this host has not announced"
        raise ProtocolViolation(msg)


_PARTS_OF_CAPABILITIES: dict[str, Sequence[tuple[str, Callable[[Any], Iterator[str]]]]] = {
    "calls": (
        (STREAMS, lambda calls: (f"credit in call {call.id}" for call in calls if call.credit)),
    ),
    "replies": (
        (
            STREAMS,
            lambda replies: (
                f"a reply to call {reply.call_id} that is not the last"
                for reply in replies
                if not reply.last
            ),
        ),
        (
            "effects",
            lambda replies: (
                f"effects in the reply to call {reply.call_id}"
                for reply in replies
                if reply.HasField("effects")
            ),
        ),
    ),
    "settlements": (
        (
            "effects",
            lambda settlements: (
                f"effects in settlement {settlement.number}"
                for settlement in settlements
                if settlement.HasField("effects")
            ),
        ),
    ),
    "settlement_runs": (
        (
            "effects",
            lambda runs: (
                f"effects in settlements from {run.first_number} on"
                for run in runs
                if any(form.HasField("effects") for form in run.forms)
            ),
        ),
    ),
    "register": (
        (
            "effects",
            lambda register: (
                f"persistent in agent type {entry.name[:80]!r}"
                for entry in register.types
                if entry.policy.persistent
            ),
        ),
    ),
}
"""What of these fields is only for hosts that announced something, and how it is found."""


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
    frame = HostFrame()
    for field, value in message.ListFields():
        name = field.name
        if name in _LISTS_OF_HOSTS:
            attribute, read = _LISTS_OF_HOSTS[name]
            getattr(frame, attribute).extend(read(value))
        elif name == "received":
            frame.received = value
        elif name == "drain":
            frame.drain = True
        elif name == "lease":
            frame.lease_ms = value.ms
        elif name == "registered":
            frame.registered.append(get_registered(value))
        elif name == "welcome":
            msg = "a second welcome: it belongs into the first frame only"
            raise ProtocolViolation(msg)
        else:
            _get_answers(frame, value)
    return frame


def _get_answers(frame: HostFrame, message: pb.Published | pb.Settled) -> None:
    refused = get_refusals(message.refused)
    if isinstance(message, pb.Settled):
        frame.settled_through, frame.settlements_refused = message.through, refused
    else:
        frame.published_through, frame.publishes_refused = message.through, refused
        frame.published_beyond.extend(message.beyond)


def _get_delivery_of(message: pb.Delivery) -> tuple[Event, list[Delivery]]:
    event = Event(message.event, "", "", None, get_hop(message))
    return event, [_get_delivery(target, event) for target in message.targets]


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


# The fields that hold lists: where their items go, and how they are read.

_LISTS_OF_BOTH: dict[str, tuple[str, Callable[[Any], Iterable[Any]]]] = {
    "calls": ("calls", lambda items: map(get_call, items)),
    "replies": ("replies", lambda items: map(get_reply, items)),
    "cancels": ("cancels", lambda items: [item.call_id for item in items]),
    "credits": ("credits", lambda items: map(get_credit, items)),
}
_LISTS_OF_WORKERS = _LISTS_OF_BOTH | {
    "publishes": ("publishes", lambda items: map(_get_publish, items)),
    "publish_runs": ("publishes", get_publish_runs),
    "settlements": ("settlements", lambda items: map(get_settlement, items)),
    "settlement_runs": ("settlements", get_settlement_runs),
    "surrendered": ("surrendered", lambda items: map(get_partitions, items)),
    "begins": ("begins", get_delivery_ids),
}
_LISTS_OF_HOSTS = _LISTS_OF_BOTH | {
    "deliveries": ("deliveries", lambda items: map(_get_delivery_of, items)),
    "delivery_runs": ("deliveries", get_delivery_runs),
    "surrenders": ("surrenders", lambda items: map(get_partitions, items)),
    "begun": ("begun", get_delivery_ids),
}
