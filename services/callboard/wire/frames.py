"""Frames of the protocol as protobuf, and back. What does not fit raises `ProtocolViolation`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from callboard.core.errors import ProtocolViolation
from callboard.core.event import Delivery, Event, Grant, TraceContext, TurnId
from callboard.core.frames import (
    ACCEPTED,
    Accepted,
    Call,
    CallFailure,
    HostFrame,
    Outcome,
    Partitions,
    Publish,
    Refusal,
    Registered,
    Registration,
    RegistrationError,
    Rejected,
    Released,
    Reply,
    Settlement,
    SubscriptionEntry,
    TypeEntry,
    WorkerFrame,
)
from callboard.wire.v1 import agent_host_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable

PROTOCOL_VERSION = 1
MAX_REMAINING_MS = 2**32 - 1


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


def encode_worker_frame(frame: WorkerFrame) -> bytes:
    """What `decode_worker_frame` reads."""
    message = pb.ConnectRequest()
    if frame.register is not None:
        _put_registration(message.register, frame.register)
    for publish in frame.publishes:
        event = publish.event
        item = message.publishes.add(
            number=publish.number,
            event=event.content,
            topic_type=event.topic_type,
            topic_source=event.topic_source,
        )
        if event.sender is not None:
            item.sender.type, item.sender.key = event.sender
        _put_hop(item, event.hop)
    for settlement in frame.settlements:
        _put_settlement(message.settlements.add(), settlement)
    for call in frame.calls:
        _put_call(message.calls.add(), call)
    for reply in frame.replies:
        _put_reply(message.replies.add(), reply)
    for call_id in frame.cancels:
        message.cancels.add(call_id=call_id)
    for given_up in frame.surrendered:
        _put_partitions(message.surrendered.add(), given_up)
    if frame.drain:
        message.drain.SetInParent()
    return message.SerializeToString()


def decode_worker_frame(message: pb.ConnectRequest) -> WorkerFrame:
    """A frame after the first. Raises `ProtocolViolation` naming what is wrong."""
    if message.HasField("hello"):
        msg = "a second hello: it belongs into the first frame only"
        raise ProtocolViolation(msg)
    frame = WorkerFrame()
    if message.HasField("register"):
        frame.register = _get_registration(message.register)
    if message.publishes:
        frame.publishes = [
            Publish(
                item.number,
                Event(
                    item.event,
                    item.topic_type,
                    item.topic_source,
                    (item.sender.type, item.sender.key) if item.HasField("sender") else None,
                    _get_hop(item) if item.HasField("hop") else None,
                ),
            )
            for item in message.publishes
        ]
    if message.settlements:
        frame.settlements = [_get_settlement(item) for item in message.settlements]
    if message.calls:
        frame.calls = [_get_call(item) for item in message.calls]
    if message.replies:
        frame.replies = [_get_reply(item) for item in message.replies]
    if message.cancels:
        frame.cancels = [item.call_id for item in message.cancels]
    if message.surrendered:
        frame.surrendered = [_get_partitions(item) for item in message.surrendered]
    frame.drain = message.HasField("drain")
    return frame


# Host frames.


def encode_host_frame(frame: HostFrame) -> bytes:
    """What `decode_host_frame` reads."""
    message = pb.ConnectResponse()
    # One outcome a frame: revisions of one session are answered in order, and the last says it all.
    for registered in frame.registered[-1:]:
        message.registered.revision = registered.revision
        for error in registered.errors:
            item = message.registered.errors.add(code=error.code, reason=error.reason)
            if error.entry == "type":
                item.type_name = error.name
            else:
                item.subscription_id = error.name
    if frame.published_through or frame.published_beyond:
        message.published.through = frame.published_through
        message.published.beyond.extend(frame.published_beyond)
        _put_refusals(message.published.refused, frame.publishes_refused)
    if frame.settled_through:
        message.settled.through = frame.settled_through
        _put_refusals(message.settled.refused, frame.settlements_refused)
    for event, targets in frame.deliveries:
        delivery = message.deliveries.add(event=event.content)
        _put_hop(delivery, event.hop)
        for target in targets:
            item = delivery.targets.add(position=target.position, attempt=target.attempt)
            item.agent.type, item.agent.key = target.agent
            _put_grant(item.grant, target.grant)
    for call in frame.calls:
        _put_call(message.calls.add(), call)
    for reply in frame.replies:
        _put_reply(message.replies.add(), reply)
    for call_id in frame.cancels:
        message.cancels.add(call_id=call_id)
    for surrender in frame.surrenders:
        _put_partitions(message.surrenders.add(), surrender)
    if frame.drain:
        message.drain.SetInParent()
    return message.SerializeToString()


def decode_host_frame(message: pb.ConnectResponse) -> HostFrame:
    """A frame after the first. Raises `ProtocolViolation` naming what is wrong."""
    if message.HasField("welcome"):
        msg = "a second welcome: it belongs into the first frame only"
        raise ProtocolViolation(msg)
    frame = HostFrame()
    if message.HasField("registered"):
        errors = tuple(
            RegistrationError("type", item.type_name, item.code, item.reason)
            if item.WhichOneof("entry") == "type_name"
            else RegistrationError("subscription", item.subscription_id, item.code, item.reason)
            for item in message.registered.errors
        )
        frame.registered = [Registered(message.registered.revision, errors)]
    if message.HasField("published"):
        frame.published_through = message.published.through
        frame.published_beyond = list(message.published.beyond)
        frame.publishes_refused = _get_refusals(message.published.refused)
    if message.HasField("settled"):
        frame.settled_through = message.settled.through
        frame.settlements_refused = _get_refusals(message.settled.refused)
    for item in message.deliveries:
        event = Event(item.event, "", "", None, _get_hop(item) if item.HasField("hop") else None)
        targets = [
            Delivery(
                target.position,
                (target.agent.type, target.agent.key),
                event,
                target.attempt,
                Grant(target.grant.epoch, target.grant.serial),
            )
            for target in item.targets
        ]
        frame.deliveries.append((event, targets))
    if message.calls:
        frame.calls = [_get_call(item) for item in message.calls]
    if message.replies:
        frame.replies = [_get_reply(item) for item in message.replies]
    if message.cancels:
        frame.cancels = [item.call_id for item in message.cancels]
    if message.surrenders:
        frame.surrenders = [_get_partitions(item) for item in message.surrenders]
    frame.drain = message.HasField("drain")
    return frame


# The items.


def _put_registration(message: pb.Register, registration: Registration) -> None:
    message.revision = registration.revision
    for entry in registration.types:
        message.types.add(name=entry.name, session_only=entry.session_only)
    for subscription in registration.subscriptions:
        item = message.subscriptions.add(id=subscription.id, agent_type=subscription.agent_type)
        if subscription.kind == "type":
            item.topic_type = subscription.pattern
        else:
            item.topic_type_prefix = subscription.pattern


def _get_registration(message: pb.Register) -> Registration:
    if not message.revision:
        msg = "a register without a revision: revisions count from 1"
        raise ProtocolViolation(msg)
    types = tuple(TypeEntry(item.name, item.session_only) for item in message.types)
    subscriptions = []
    for item in message.subscriptions:
        match item.WhichOneof("match"):
            case "topic_type":
                entry = SubscriptionEntry(item.id, item.agent_type, "type", item.topic_type)
            case "topic_type_prefix":
                entry = SubscriptionEntry(item.id, item.agent_type, "prefix", item.topic_type_prefix)
            case _:
                msg = f"subscription {item.id!r} says neither topic_type nor topic_type_prefix"
                raise ProtocolViolation(msg)
        subscriptions.append(entry)
    return Registration(message.revision, types, tuple(subscriptions))


def _put_settlement(message: pb.Settlement, settlement: Settlement) -> None:
    message.number = settlement.number
    message.delivery.position = settlement.position
    message.delivery.attempt = settlement.attempt
    _put_grant(message.grant, settlement.grant)
    match settlement.outcome:
        case Accepted():
            message.accepted.SetInParent()
        case Rejected(reason, detail):
            message.rejected.reason = reason
            message.rejected.detail = detail
        case Released(not_before_s):
            message.released.not_before_ms = _milliseconds(not_before_s)


def _get_settlement(message: pb.Settlement) -> Settlement:
    outcome: Outcome
    match message.WhichOneof("outcome"):
        case "accepted":
            outcome = ACCEPTED
        case "rejected":
            outcome = Rejected(message.rejected.reason, message.rejected.detail)
        case "released":
            outcome = Released(message.released.not_before_ms / 1000)
        case _:
            msg = f"settlement {message.number} says no outcome"
            raise ProtocolViolation(msg)
    return Settlement(
        message.number,
        message.delivery.position,
        message.delivery.attempt,
        Grant(message.grant.epoch, message.grant.serial),
        outcome,
    )


def _put_call(message: pb.Call, call: Call) -> None:
    message.id = call.id
    message.target.type, message.target.key = call.target
    message.payload = call.payload
    message.remaining_ms = _milliseconds(call.remaining_s)
    if call.parent is not None:
        _put_turn(message.parent, call.parent)
    for turn in call.chain:
        _put_turn(message.chain.add(), turn)
    if call.sender is not None:
        message.sender.type, message.sender.key = call.sender
    _put_hop(message, call.hop)
    _put_grant(message.grant, call.grant)


def _get_call(message: pb.Call) -> Call:
    if not message.id or not message.HasField("target"):
        msg = "a call without an id or a target"
        raise ProtocolViolation(msg)
    return Call(
        message.id,
        (message.target.type, message.target.key),
        message.payload,
        message.remaining_ms / 1000,
        _get_turn(message.parent) if message.HasField("parent") else None,
        tuple(_get_turn(turn) for turn in message.chain),
        (message.sender.type, message.sender.key) if message.HasField("sender") else None,
        _get_hop(message) if message.HasField("hop") else None,
        Grant(message.grant.epoch, message.grant.serial) if message.HasField("grant") else None,
    )


def _put_reply(message: pb.Reply, reply: Reply) -> None:
    message.call_id = reply.call_id
    message.last = reply.last
    if reply.error is None:
        message.payload = reply.payload
    else:
        message.error.code = reply.error.code
        message.error.type = reply.error.type
        message.error.message = reply.error.message


def _get_reply(message: pb.Reply) -> Reply:
    match message.WhichOneof("answer"):
        case "payload":
            return Reply(message.call_id, message.payload, None, message.last)
        case "error":
            error = CallFailure(message.error.code, message.error.message, message.error.type)
            return Reply(message.call_id, b"", error, last=True)
        case _:
            msg = f"the reply to call {message.call_id} holds neither payload nor error"
            raise ProtocolViolation(msg)


def _put_turn(message: pb.TurnRef, turn: TurnId) -> None:
    if isinstance(turn, int):
        message.call = turn
    else:
        message.delivery.position, message.delivery.attempt = turn


def _get_turn(message: pb.TurnRef) -> TurnId:
    match message.WhichOneof("turn"):
        case "call":
            return message.call
        case "delivery":
            return (message.delivery.position, message.delivery.attempt)
        case _:
            msg = "a turn that is neither a call nor a delivery"
            raise ProtocolViolation(msg)


def _put_partitions(message: pb.Surrender | pb.Surrendered, partitions: Partitions) -> None:
    message.agent_type = partitions.agent_type
    for partition, grant in partitions.partitions:
        _put_grant(message.partitions.add(partition=partition).grant, grant)


def _get_partitions(message: pb.Surrender | pb.Surrendered) -> Partitions:
    pairs = tuple(
        (item.partition, Grant(item.grant.epoch, item.grant.serial)) for item in message.partitions
    )
    return Partitions(message.agent_type, pairs)


def _put_refusals(message: object, refusals: Iterable[Refusal]) -> None:
    for refusal in refusals:
        message.add(number=refusal.number, code=refusal.code, reason=refusal.reason)  # type: ignore[attr-defined]


def _get_refusals(message: Iterable[pb.Refusal]) -> list[Refusal]:
    return [Refusal(item.number, item.code, item.reason) for item in message]


def _put_grant(message: pb.Grant, grant: Grant | None) -> None:
    if grant is not None:
        message.epoch, message.serial = grant


def _put_hop(message: pb.Publish | pb.Delivery | pb.Call, hop: TraceContext | None) -> None:
    if hop is not None:
        message.hop.traceparent, message.hop.tracestate = hop


def _get_hop(message: pb.Publish | pb.Delivery | pb.Call) -> TraceContext:
    return TraceContext(message.hop.traceparent, message.hop.tracestate)


def _milliseconds(seconds: float) -> int:
    """Whole milliseconds, at least one for any time at all, at most what the field holds."""
    return min(max(round(seconds * 1000), 1), MAX_REMAINING_MS) if seconds > 0 else 0


